package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// FuzzLoad looks for a text that panics, and for one that is accepted and leaves something unset.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"valid", "invalid", "warn"} {
		paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.hcl*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text, strings.HasSuffix(path, ".json"))
		}
	}
	f.Add([]byte("instance \"\" {\n vrid = [null][0]\n addresses = [null, {}]\n}"), false)
	f.Fuzz(func(t *testing.T, text []byte, json bool) {
		name := "fuzz.hcl"
		if json {
			name = "fuzz.json"
		}
		files := new(files)
		body, diags := parse(name, text)
		if strings.Contains(diags.Error(), "gave up") {
			t.Fatal(diags)
		}
		if shown := newMask(name, text).lines; len(shown) != strings.Count(string(text), "\n")+1 {
			t.Fatalf("%q is shown of %q", shown, text)
		}
		if diags.HasErrors() {
			return
		}
		files.bodies = []*hcl.File{body}
		v := evaluate(files, loader{node: "lb1", getenv: noEnvironment, complete: true})
		format(v.found, []Source{{Path: name, Bytes: text}})
		if strings.Contains(format(v.found, nil), "panicked") {
			t.Fatal(format(v.found, nil))
		}
		if v.found.broken() {
			return
		}
		for _, in := range v.config.Instances {
			if in.Name == "" || in.Interface == "" || in.VRID == 0 || in.Priority < 2 || len(in.Addresses) == 0 ||
				in.Interval <= 0 || in.DeadAdverts < minDeadAdverts || !in.Addresses[0].IP.IsValid() {
				t.Errorf("accepted an impossible instance: %+v", in)
			}
		}
		for _, c := range v.config.Checks {
			if c.Timing.Interval <= 0 || c.Timing.Timeout <= 0 || c.Timing.PendingInterval <= 0 || c.Timing.Rise < 1 || c.Timing.Fall < 1 {
				t.Errorf("accepted an impossible check: %+v", c)
			}
		}
	})
}
