package machines

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const (
	// packagesDir is where make packages leaves what it built.
	packagesDir = "../../../dist/packages"
	// programPath is where a package has the daemon.
	programPath = "usr/bin/understudy"
)

// deb is a package file.
type deb struct {
	path    string
	version string // the package's
}

// name is the file's name.
func (d deb) name() string { return filepath.Base(d.path) }

// built is the package that make packages built for this machine.
func built(t *testing.T) deb {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(packagesDir, "understudy_*_"+runtime.GOARCH+".deb"))
	if err != nil || len(found) != 1 {
		missing := fmt.Sprintf("%s has %d packages for %s, want one: run make packages", packagesDir, len(found), runtime.GOARCH)
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return deb{found[0], field(t, found[0], "Version")}
}

func field(t *testing.T, path, name string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "", "dpkg-deb", "--field", path, name))
}

// with makes a package like this one, of another version and with another program.
func (d deb) with(t *testing.T, version string, program []byte) deb {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	run(t, "", "dpkg-deb", "--raw-extract", d.path, tree)
	control := filepath.Join(tree, "DEBIAN/control")
	text, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAll(text, []byte("Version: "+version))
	sums := "cd " + tree + " && find usr etc -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums"
	if err := errors.Join(os.WriteFile(control, text, 0o644), os.WriteFile(filepath.Join(tree, programPath), program, 0o755)); err != nil {
		t.Fatal(err)
	}
	run(t, "", "sh", "-c", sums)
	next := deb{filepath.Join(t.TempDir(), "understudy_next_"+runtime.GOARCH+".deb"), version}
	run(t, "", "dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, next.path)
	return next
}

// program builds the daemon as a package has it, with a version of its own.
func program(t *testing.T, version string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "understudy")
	run(t, "CGO_ENABLED=0", "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-X main.release="+version, "-o", path, "github.com/understudy-ha/understudy/cmd/understudy")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// run runs a command of this machine to its end, and returns what it printed.
func run(t *testing.T, env string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run %q: %v\n%s", argv, err, out)
	}
	return string(out)
}
