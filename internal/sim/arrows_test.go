package sim

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/understudy-ha/understudy/"

// arrows are which packages of ours a package may import. checks and notify import internal/command,
// which is how both run programs, and config asks it as whom they can be run: the one deviation. internal/door is what a daemon
// that is not root has of the helper that is, and the helper. pairtest and bench are for tests alone, and read
// the daemons' reports. What is below a folder has the folder's arrows, unless it is listed.
var arrows = map[string][]string{
	"vrrp":                         {},
	"internal/command":             {},
	"internal/command/commandtest": {},
	"internal/linux":               {},
	"internal/netlab":              {},
	"internal/netlab/pairtest":     {"internal/netlab", "internal/netlab/labtest", "internal/control", "internal/node", "vrrp"},
	"internal/netlab/bench":        {"internal/netlab", "internal/netlab/labtest", "internal/control", "internal/node"},
	"checks":                       {"internal/command"},
	"notify":                       {"internal/command"},
	"internal/node":                {"vrrp"},
	"internal/sim":                 {"internal/node", "vrrp"},
	"internal/config":              {"internal/command", "internal/node", "vrrp", "checks", "notify"},
	"internal/control":             {"internal/node"},
	"internal/metrics":             {"internal/node"},
	"internal/keepalived":          {"internal/config", "internal/node", "vrrp", "checks", "notify"},
	"internal/door":                {"internal/command", "internal/config", "checks", "notify"},
	"internal/daemon":              {"internal/node", "vrrp", "internal/config", "internal/linux", "checks", "notify"},
}

// pure are the packages that may import nothing but what computes.
var pure = map[string]bool{"vrrp": true, "internal/node": true}

// computes are the packages of the standard library that have no clock, no I/O, no randomness and no log. time is one of them
// for its types; its clock is looked for by name.
var computes = []string{"bytes", "cmp", "container/heap", "crypto/hmac", "crypto/sha256", "crypto/subtle", "encoding/binary", "errors", "fmt", "iter", "maps", "math", "math/bits", "net/netip", "reflect", "slices", "strconv", "strings", "time"}

// clock is what time must not be used for.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// TestArrows keeps the imports going one way.
func TestArrows(t *testing.T) {
	seen := map[string]bool{}
	for file, f := range sources(t, "../..") {
		pkg := filepath.ToSlash(filepath.Dir(file))
		if strings.HasPrefix(pkg, "cmd") || pkg == "." || strings.HasPrefix(pkg, "examples") {
			continue // cmd may import all
		}
		rule, allowed := arrowsOf(pkg)
		if rule == "" {
			t.Errorf("%s: package %s has no entry in arrows", file, pkg)
			continue
		}
		seen[rule] = true
		for _, path := range imports(f) {
			if own, ok := strings.CutPrefix(path, module); ok && own != rule && !strings.HasPrefix(own, rule+"/") && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s; %s may import only %v", file, own, rule, allowed)
			}
		}
	}
	for _, rule := range []string{"vrrp", "internal/node", "internal/sim"} {
		if !seen[rule] {
			t.Errorf("no file of %s was looked at", rule)
		}
	}
}

// TestPure keeps the clock, randomness, I/O and logs out of the packages that decide.
func TestPure(t *testing.T) {
	looked := 0
	for file, f := range sources(t, "../..") {
		pkg := filepath.ToSlash(filepath.Dir(file))
		if !pure[pkg] {
			continue
		}
		looked++
		for _, path := range imports(f) {
			if !strings.HasPrefix(path, module) && !slices.Contains(computes, path) {
				t.Errorf("%s imports %q, which does more than compute", file, path)
			}
		}
		for _, used := range clocks(f) {
			t.Errorf("%s uses time.%s; the time is an argument", file, used)
		}
	}
	if looked < 10 {
		t.Errorf("%d files were looked at, want those of vrrp and internal/node", looked)
	}
}

// TestClocksFound keeps the search for the clock honest.
func TestClocksFound(t *testing.T) {
	const source = "package p\nimport \"time\"\nvar a = time.Now\nfunc f(t time.Time) { time.Since(t); _ = time.Second }\n"
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := clocks(f); !slices.Equal(got, []string{"Now", "Since"}) {
		t.Errorf("clocks found %v, want Now and Since", got)
	}
}

// arrowsOf finds the rule for a package: its own, or that of the folder above.
func arrowsOf(pkg string) (rule string, allowed []string) {
	for rule = pkg; rule != "."; rule = filepath.ToSlash(filepath.Dir(rule)) {
		if allowed, ok := arrows[rule]; ok {
			return rule, allowed
		}
	}
	return "", nil
}

// sources parses every file below a folder that is no test.
func sources(t *testing.T, root string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && rel != "." && (strings.HasPrefix(name, ".") || name == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files[rel] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// imports lists what a file imports.
func imports(f *ast.File) []string {
	var paths []string
	for _, i := range f.Imports {
		if path, err := strconv.Unquote(i.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// clocks lists where a file reads the clock.
func clocks(f *ast.File) []string {
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, s.Sel.Name) {
				found = append(found, s.Sel.Name)
			}
		}
		return true
	})
	return found
}
