package config

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestReadme loads every HCL snippet of the README, alone and in the company of the first one: nothing in it is untried.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(snippets) < 4 {
		t.Fatalf("%d snippets found in the README, want all of them", len(snippets))
	}
	for n, s := range snippets {
		file := filepath.Join(t.TempDir(), "readme.hcl")
		if err := os.WriteFile(file, []byte(s[1]), 0o644); err != nil {
			t.Fatal(err)
		}
		report := Validate([]string{file}, []string{"lb1", "lb2"}, Options{Node: "buildbox"})
		for _, f := range report.Findings {
			if f.Severity != Note {
				t.Errorf("snippet %d: %s", n+1, f)
			}
		}
	}
}
