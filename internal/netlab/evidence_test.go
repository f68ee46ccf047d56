package netlab_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// shownIn are the packages whose tests STORIES.md names, and where they are.
var shownIn = map[string]string{
	"mechanisms": "mechanisms", "stories": "stories", "interop": "interop", "bench": "bench", "checks": "../../checks", "daemon": "../daemon",
	"linux": "../linux", "node": "../node", "sim": "../sim", "vrrp": "../../vrrp",
}

// TestStoriesExist holds that STORIES.md shows every rule by something, and that what it names is there.
func TestStoriesExist(t *testing.T) {
	text, err := os.ReadFile("STORIES.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for n, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| Rule") || strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		named := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("STORIES.md:%d: nothing shows %q", n+1, strings.TrimSpace(cells[1]))
		}
		for _, name := range named {
			if why := missing(t, name[1]); why != "" {
				t.Errorf("STORIES.md:%d: %s: %s", n+1, name[1], why)
			}
		}
	}
	if rows < 60 {
		t.Errorf("STORIES.md has %d rules, want all of them", rows)
	}
}

// missing says what is not there of something that shows a rule.
func missing(t *testing.T, name string) string {
	t.Helper()
	trace, isTrace := strings.CutSuffix(name, ".txt")
	pkg, test, _ := strings.Cut(name, ".")
	switch {
	case isTrace:
		return absent(filepath.Join("..", "node", "testdata", trace+".txt"))
	case pkg == "config":
		if absent(filepath.Join("..", "config", "testdata", "warn", test+".hcl")) == "" {
			return ""
		}
		return absent(filepath.Join("..", "config", "testdata", "invalid", test+".hcl"))
	case shownIn[pkg] == "":
		return "no such package of tests"
	}
	source := tests(t, shownIn[pkg])
	test, story, isStory := strings.Cut(test, "/")
	if !strings.Contains(source, "\nfunc "+test+"(t *testing.T)") {
		return "no such test"
	}
	if isStory && !strings.Contains(source, strconv.Quote(story)) {
		return "the test tells no such story"
	}
	return ""
}

func absent(path string) string {
	if _, err := os.Stat(path); err != nil {
		return err.Error()
	}
	return ""
}

// tests is the source of all tests of a package.
func tests(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
