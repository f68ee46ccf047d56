package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples loads every configuration in examples/, for both of its hosts: what people copy must be right.
func TestExamples(t *testing.T) {
	dirs, err := filepath.Glob("../../examples/*/understudy.hcl")
	if err != nil || len(dirs) < 2 {
		t.Fatalf("%d examples found: %v", len(dirs), err)
	}
	for _, file := range dirs {
		report := Validate([]string{file}, []string{"lb1", "lb2"}, Options{})
		for _, f := range report.Findings {
			machine := strings.Contains(f.Summary, "notify.d") || strings.Contains(f.Summary, ".key does not exist") // not installed here
			if f.Severity == Error || f.Severity == Warning && !machine {
				t.Errorf("%s: %s", file, f)
			}
		}
	}
}

// TestExampleScriptsAreExecutable looks at the hooks beside them.
func TestExampleScriptsAreExecutable(t *testing.T) {
	info, err := os.Stat("../../examples/pair/tell")
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode()&0o111 == 0 {
		t.Errorf("examples/pair/tell has mode %s", info.Mode())
	}
}
