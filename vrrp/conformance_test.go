package vrrp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folders are where the files that CONFORMANCE.md names are.
var folders = map[string]string{
	"trace":   "testdata/trace",
	"node":    "../internal/node/testdata",
	"invalid": "../internal/config/testdata/invalid",
	"warn":    "../internal/config/testdata/warn",
}

// reasons are what a row without a test begins with, or has behind its tests.
var reasons = []string{"Deviates", "Not applicable", "Administrator's"}

// TestConformance holds that each test and file that CONFORMANCE.md names exists, and that each row has one or a reason.
func TestConformance(t *testing.T) {
	text, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t, "..")
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for line := range strings.Lines(string(text)) {
		named := 0
		for _, match := range quoted.FindAllStringSubmatch(line, -1) {
			switch exists, isOne := evidence(t, match[1], tests); {
			case !isOne:
			case !exists:
				t.Errorf("%s does not exist: %s", match[1], strings.TrimSpace(line))
			default:
				named++
			}
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || !strings.Contains(cells[1], "MUST") && !strings.Contains(cells[1], "SHOULD") {
			continue
		}
		rows++
		if named == 0 && !hasReason(cells[3]) {
			t.Errorf("neither a test nor a reason: %s", strings.TrimSpace(line))
		}
	}
	if rows < 100 {
		t.Errorf("%d requirements found, want more: the tables are not read as they are written", rows)
	}
}

func hasReason(cell string) bool {
	for _, r := range reasons {
		if strings.HasPrefix(strings.TrimSpace(cell), r) {
			return true
		}
	}
	return false
}

// evidence says whether a quoted text names a test or a file, and whether that exists.
func evidence(t *testing.T, text string, tests map[string]bool) (exists, isOne bool) {
	t.Helper()
	if regexp.MustCompile(`^\w+\.(Test|Fuzz)\w+$`).MatchString(text) && text != "package.TestName" {
		return tests[text], true
	}
	folder, name, _ := strings.Cut(text, "/")
	if folders[folder] == "" || !strings.HasSuffix(name, ".txt") || name == "NAME.txt" {
		return false, false
	}
	_, err := os.Stat(filepath.Join(folders[folder], name))
	return err == nil, true
}

// testNames are all tests of the repository, each with the last part of its package's path.
func testNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Abs(filepath.Dir(path))
		for _, match := range declared.FindAllSubmatch(text, -1) {
			names[filepath.Base(dir)+"."+string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
