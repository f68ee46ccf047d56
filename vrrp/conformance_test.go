package vrrp

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// levels are what a row may have as its level.
var levels = []string{
	"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "NOT RECOMMENDED", "must", "should", "text",
}

// row is a requirement: a line of one of CONFORMANCE.md's tables.
type row struct{ rfc, sections, level, demand, shown, line string }

// conformance reads the tables.
func conformance(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	rfc := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			rfc = heading
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| section") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Errorf("a row of %d cells, want 4: %s", len(cells), line)
			continue
		}
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		rows = append(rows, row{rfc, cells[0], cells[1], cells[2], cells[3], line})
	}
	return rows
}

// TestConformance holds that each test and file that CONFORMANCE.md names exists, and that each row has one or a reason.
func TestConformance(t *testing.T) {
	tests := testNames(t, "..")
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, r := range conformance(t) {
		named := 0
		for _, match := range quoted.FindAllStringSubmatch(r.shown, -1) {
			switch exists, isOne := evidence(t, match[1], tests); {
			case !isOne:
			case !exists:
				t.Errorf("%s does not exist: %s", match[1], r.line)
			default:
				named++
			}
		}
		if named == 0 && !hasReason(r.shown) {
			t.Errorf("neither a test nor a reason: %s", r.line)
		}
		if !slices.Contains(levels, r.level) {
			t.Errorf("level %q, want one of %q: %s", r.level, levels, r.line)
		}
	}
}

// keyWords says how often each section has each key word of RFC 2119, MAY left out. Section 7.1 of RFC 9568 has those of its
// errata, too. A SHOULD that restates another section's (RFC 9568 section 1.1) is not counted.
var keyWords = map[string]map[string]map[string]int{
	"RFC 9568": {
		"2.5":       {"SHOULD": 1},
		"5.1.1.2":   {"MUST NOT": 1},
		"5.1.1.3":   {"MUST": 2},
		"5.1.2.2":   {"MUST NOT": 1},
		"5.1.2.3":   {"MUST": 2},
		"5.2.2":     {"MUST": 1},
		"5.2.4":     {"MUST": 2},
		"5.2.5":     {"MUST": 1},
		"5.2.6":     {"MUST": 1},
		"5.2.9":     {"MUST": 2},
		"6.1":       {"MUST": 1, "MUST NOT": 1},
		"6.4.2":     {"MUST": 2, "MUST NOT": 4},
		"6.4.3":     {"MUST": 7, "MUST NOT": 2},
		"7.1":       {"MUST": 11, "SHOULD": 5},
		"7.2":       {"MUST": 1},
		"7.4":       {"MUST NOT": 1},
		"8.1.2":     {"MUST": 2, "MUST NOT": 1, "SHOULD": 2, "SHOULD NOT": 1},
		"8.1.3":     {"MUST": 1},
		"8.2.1":     {"SHOULD": 1},
		"8.2.2":     {"MUST": 3, "MUST NOT": 2, "SHOULD": 1, "SHOULD NOT": 1},
		"8.2.3":     {"MUST": 1, "SHOULD NOT": 1},
		"8.2.4":     {"SHOULD": 1},
		"8.3.1":     {"SHOULD NOT": 1},
		"8.3.2":     {"SHOULD": 3},
		"8.4.2":     {"MUST": 3, "SHOULD": 1, "NOT RECOMMENDED": 1},
		"8.4.2.1.1": {"SHOULD NOT": 1},
		"9":         {"RECOMMENDED": 1},
	},
	"RFC 3768": {
		"5.2.2":  {"MUST NOT": 1},
		"5.2.3":  {"MUST": 2},
		"5.3.2":  {"MUST": 1},
		"5.3.4":  {"MUST": 2},
		"5.3.6":  {"MUST": 1},
		"5.3.10": {"SHOULD": 1},
		"6.4.2":  {"MUST": 2, "MUST NOT": 2},
		"6.4.3":  {"MUST": 4, "MUST NOT": 1},
		"7.1":    {"MUST": 10, "SHOULD": 3},
		"7.2":    {"MUST": 1},
		"8.2":    {"MUST": 1, "MUST NOT": 1, "SHOULD NOT": 1},
		"8.4":    {"SHOULD NOT": 1},
		"9.1":    {"SHOULD": 1},
		"9.2":    {"MUST": 1},
	},
}

// TestConformanceIsComplete holds that CONFORMANCE.md has as many rows of a section as that has key words, at least, and none
// of a key word that it does not have. What is said of a row before does not count.
func TestConformanceIsComplete(t *testing.T) {
	type place struct{ rfc, section, level string }
	rows := map[place]int{}
	for _, r := range conformance(t) {
		if strings.HasPrefix(r.demand, "the same") {
			continue
		}
		for section := range strings.SplitSeq(r.sections, ", ") {
			rows[place{r.rfc, section, r.level}]++
			if r.level == strings.ToUpper(r.level) && !strings.Contains(section, " ") && keyWords[r.rfc][section][r.level] == 0 {
				t.Errorf("%s section %s has no %s: %s", r.rfc, section, r.level, r.line)
			}
		}
	}
	for rfc, sections := range keyWords {
		for section, words := range sections {
			for level, want := range words {
				if got := rows[place{rfc, section, level}]; got < want {
					t.Errorf("%s section %s has %s %d times, and %d rows", rfc, section, level, want, got)
				}
			}
		}
	}
}

func hasReason(cell string) bool {
	for _, r := range reasons {
		if strings.HasPrefix(cell, r) {
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
