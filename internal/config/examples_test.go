package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestExamples loads every configuration in examples/, for all of its hosts: what people copy must be right, and says whether the address
// moves back to a better host. What it needs of its hosts is there in internal/netlab/examples, which runs them.
func TestExamples(t *testing.T) {
	const root = "../../examples"
	password := regexp.MustCompile(`is VRRPv2's password`) // for the way from keepalived
	expect := regexp.MustCompile(`expect "(\w+)"`)
	loaded := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".hcl") {
			return err
		}
		loaded++
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if says := regexp.MustCompile(`preempt = false|\bback\b`); !says.Match(text) {
			t.Errorf("%s does not say whether the address moves back", file)
		}
		var nodes []string
		for _, m := range expect.FindAllStringSubmatch(string(text), -1) {
			nodes = append(nodes, m[1])
		}
		slices.Sort(nodes)
		for _, f := range Validate([]string{file}, slices.Compact(nodes), Options{Node: "buildbox"}).Findings {
			excused := strings.Contains(file, "migration") && password.MatchString(f.Summary)
			if f.Severity == Error || f.Severity == Warning && !excused {
				t.Errorf("%s: %s", file, f)
			}
		}
		return nil
	})
	if err != nil || loaded < 12 {
		t.Errorf("%d examples were loaded, want all of them; %v", loaded, err)
	}
}

// TestExampleScripts looks whether what is to be executed can be, and whether the READMEs and headers name files that are there.
func TestExampleScripts(t *testing.T) {
	const root = "../../examples"
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if script := strings.HasPrefix(string(text), "#!"); script != (info.Mode()&0o111 != 0) {
			t.Errorf("%s has mode %s", file, info.Mode())
		}
		for _, m := range regexp.MustCompile(`(\.\./)+[a-z-]+(/[\w.-]*\w)?`).FindAllString(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m)); err != nil {
				t.Errorf("%s names %s: %v", file, m, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
