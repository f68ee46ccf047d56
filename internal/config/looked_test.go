package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWhatIsLookedFor: a daemon that rejects a configuration has to know what to watch until it is mended.
func TestWhatIsLookedFor(t *testing.T) {
	key := with("auth {\n  active = 1\n  key \"1\" {\n    file = \"keys/web.key\"\n  }\n}")
	script := minimal + "check \"script\" \"backends\" {\n  command = [\"/bin/sh\", \"-c\", \"/nonexistent/check\"]\n  user = \"nosuchuser\"\n}\n"
	tests := []struct {
		name  string
		files map[string]string
		want  []string // beside the main file
	}{
		{"a key", map[string]string{"understudy.hcl": key}, []string{"keys/web.key"}},
		{"a file of the function file", map[string]string{"understudy.hcl": strings.Replace(minimal, `"eth0"`, `file("interface")`, 1)}, []string{"interface"}},
		{"one that is tried", map[string]string{"understudy.hcl": strings.Replace(minimal, `"eth0"`, `try(file("interface"), "eth0")`, 1)}, []string{"interface"}},
		{"a fragment that is no file", map[string]string{"understudy.hcl": minimal, "conf.d/x.hcl/y": ""}, []string{"conf.d/x.hcl"}},
		{"what a check cannot run", map[string]string{"understudy.hcl": script}, []string{"/bin/sh", "/nonexistent/check"}},
		{"a check that can", map[string]string{"understudy.hcl": strings.Replace(script, "  user = \"nosuchuser\"\n", "", 1)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.files)
			_, found := Load([]string{dir}, Options{Node: "lb1", OnThisHost: true})
			var got []string
			for _, path := range found.Files {
				if path = strings.TrimPrefix(path, dir+"/"); path != "understudy.hcl" {
					got = append(got, path)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("looked for (-want +got):\n%s\n%s", diff, found.Text())
			}
		})
	}
}

// A configuration that cannot be used says why without what else there is to say.
func TestMistakesAreErrorsAlone(t *testing.T) {
	dir := write(t, map[string]string{"understudy.hcl": with(`dead_adverts = 300`), "other.hcl": "", "conf.d/x.hcl": ""})
	_, found := Load([]string{dir}, Options{Node: "lb1"})
	want := filepath.Join(dir, "understudy.hcl") + ":6:16: error: dead_adverts is 300; allowed: 2..100\n    6 | dead_adverts = 300"
	if got := found.Mistakes(); got != want || found.Count(Warning) != 1 {
		t.Errorf("mistakes:\n%s\nwant\n%s\nof\n%s", got, want, found.Text())
	}
}
