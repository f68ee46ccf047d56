package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the files in testdata produce; read every difference before it is kept")

func noEnvironment(string) (string, bool) { return "", false }

// golden compares what validate says of a file on lb1, without its notes, with the text beside it.
func golden(t *testing.T, path string) Report {
	t.Helper()
	r := Validate([]string{path}, nil, Options{Node: "lb1", Getenv: noEnvironment})
	var said findings
	for _, f := range r.Findings {
		if f.Severity != Note {
			said = append(said, f)
		}
	}
	got := strings.ReplaceAll(format(said, r.Sources), filepath.Dir(path)+"/", "")
	file := strings.TrimSuffix(strings.TrimSuffix(path, ".json"), ".hcl") + ".txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("validate %s (-want +got):\n%s", path, diff)
	}
	return r
}

func corpus(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.hcl*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in testdata/%s: %v", dir, err)
	}
	return paths
}

func TestEveryMistakeHasItsMessage(t *testing.T) {
	for _, path := range corpus(t, "invalid") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			if r := golden(t, path); r.OK(false) {
				t.Error("the file is accepted")
			}
		})
	}
}

func TestEveryDoubtIsAWarning(t *testing.T) {
	for _, path := range corpus(t, "warn") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r := golden(t, path)
			if !r.OK(false) || r.OK(true) {
				t.Errorf("OK(false) = %v and OK(true) = %v, want a warning and no error", r.OK(false), r.OK(true))
			}
		})
	}
}
