package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// script runs a script of this directory with an environment of its own, and returns what it prints.
func script(t *testing.T, path string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	if filepath.IsAbs(path) {
		cmd.Dir = filepath.Dir(path)
	}
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestVersionAsGiven takes a version in each of git's spellings, and refuses what no package can have.
func TestVersionAsGiven(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"1.2.3", "1.2.3"},
		{"v1.2.3", "1.2.3"},
		{"v1.3.0-rc1", "1.3.0~rc1"},
		{"v1.3.0-rc-1", "1.3.0~rc.1"},
		{"v1.2.3-0-gabcdef0", "1.2.3"},
		{"v1.2.3-0-gabcdef0-dirty", "1.2.3+0.gabcdef0.dirty"},
		{"v1.2.3-4-gabcdef0", "1.2.3+4.gabcdef0"},
		{"v1.3.0-rc1-4-gabcdef0-dirty", "1.3.0~rc1+4.gabcdef0.dirty"},
		{"0~20261126083053.gabcdef0+next", "0~20261126083053.gabcdef0+next"},
		{"devel", `version: "devel" cannot be a package's version; give one such as VERSION=1.2.3`},
		{"1.2 3", `version: "1.2 3" cannot be a package's version; give one such as VERSION=1.2.3`},
	} {
		t.Run(tt.given, func(t *testing.T) {
			got, err := script(t, "./version", "VERSION="+tt.given)
			if got != tt.want || (err != nil) != strings.HasPrefix(tt.want, "version:") {
				t.Errorf("%q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// TestVersionRises makes a history, and asks for the version at each step: an upgrade has the higher one.
func TestVersionRises(t *testing.T) {
	labtest.Require(t, "dpkg")
	c := newCheckout(t)
	git := func(args ...string) { c.git(t, args...) }
	commit := func() { git("commit", "--quiet", "--allow-empty", "--message=c") }
	change := func() {
		c.write(t, "packaging/version", read(t, "version")+"\n")
	}
	last := ""
	for _, step := range []struct {
		name string
		do   func()
		want string // what stands before the commit's name
	}{
		{"before the first tag", func() {}, "0~20261126050000.g"},
		{"a second later", func() { c.date = "2026-11-26T06:00:01+01:00"; commit() }, "0~20261126050001.g"},
		{"with changes", change, "0~20261126050001.g"},
		{"a pre-release", func() { git("checkout", "--quiet", "."); git("tag", "v0.1.0-rc1") }, "0.1.0~rc1"},
		{"after it", commit, "0.1.0~rc1+1.g"},
		{"a release", func() { commit(); git("tag", "v0.1.0") }, "0.1.0"},
		{"with changes", change, "0.1.0+0.g"},
		{"after it", func() { git("checkout", "--quiet", "."); commit() }, "0.1.0+1.g"},
		{"nine later", func() {
			for range 9 {
				commit()
			}
		}, "0.1.0+10.g"},
		{"another tag than a version's", func() { git("tag", "demo"); commit() }, "0.1.0+11.g"},
		{"the next release", func() { git("tag", "v0.1.1") }, "0.1.1"},
	} {
		step.do()
		got, err := script(t, c.script("version"))
		if err != nil || !strings.HasPrefix(got, step.want) || !strings.HasSuffix(step.want, ".g") && got != step.want {
			t.Errorf("%s: %q (%v), want %s", step.name, got, err, step.want)
		}
		if dirty := strings.HasSuffix(got, ".dirty"); dirty != (step.name == "with changes") {
			t.Errorf("%s: %q: changes are not shown as they are", step.name, got)
		}
		if out, err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", got, "gt", last).CombinedOutput(); err != nil {
			t.Errorf("%s: %s is not higher than %s: %v %s", step.name, got, last, err, out)
		}
		last = got
	}
}

// TestVersionTellsOfChanges: what is in the packages and in no commit makes them dirty, also what git would not show.
func TestVersionTellsOfChanges(t *testing.T) {
	for _, tag := range []string{"", "v1.0.0"} {
		c := newCheckout(t)
		c.write(t, ".gitignore", "*.test\n/dist/\n")
		c.git(t, "add", ".gitignore")
		c.git(t, "commit", "--quiet", "--message=c")
		if tag != "" {
			c.git(t, "tag", tag)
		}
		for _, tt := range []struct {
			name, path string
			dirty      bool
		}{
			{"nothing", "", false},
			{"what is built", "dist/packages/x.deb", false},
			{"a file that is changed", "packaging/version", true},
			{"a file that git does not know", "examples/notes", true},
			{"a program's file that git does not know", "cmd/understudy/more.go", true},
			{"a file that git is told to ignore", "packaging/etc/x.test", true},
		} {
			if tt.path != "" {
				c.write(t, tt.path, read(t, "version")+"\n")
			}
			got, err := script(t, c.script("version"))
			if err != nil || strings.HasSuffix(got, ".dirty") != tt.dirty {
				t.Errorf("%s, tag %q: %q, %v", tt.name, tag, got, err)
			}
			c.git(t, "checkout", "--quiet", ".")
			c.git(t, "clean", "--quiet", "--force", "-d", "-x")
		}
	}
}

// TestChangelogNeedsNoHistory: a clone without it, as continuous integration makes one, gives the same packages.
func TestChangelogNeedsNoHistory(t *testing.T) {
	c := newCheckout(t)
	c.git(t, "commit", "--quiet", "--allow-empty", "--message=A second commit")
	shallow := &checkout{dir: filepath.Join(t.TempDir(), "shallow"), date: c.date}
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "--depth=1", "file://"+c.dir, shallow.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var logs []string
	for _, in := range []*checkout{c, shallow} {
		version, err := script(t, in.script("version"))
		if err != nil {
			t.Fatalf("%v: %s", err, version)
		}
		log, err := script(t, in.script("changelog"), "VERSION="+version, "SOURCE_DATE_EPOCH=1795600000", "TZ=UTC", "LC_ALL=C")
		if err != nil || !strings.HasPrefix(log, "understudy ("+version+"-1) unstable; urgency=medium\n\n  * ") {
			t.Fatalf("%v: %s", err, log)
		}
		logs = append(logs, log)
	}
	if diff := cmp.Diff(logs[0], logs[1]); diff != "" {
		t.Errorf("(-whole +shallow):\n%s", diff)
	}
}

// checkout is a repository with the scripts of this directory.
type checkout struct {
	dir  string
	date string // of what is committed
}

// newCheckout makes one with one commit.
func newCheckout(t *testing.T) *checkout {
	t.Helper()
	labtest.Require(t, "git")
	c := &checkout{t.TempDir(), "2026-11-26T10:00:00+05:00"}
	if err := os.CopyFS(filepath.Join(c.dir, "packaging"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	c.git(t, "init", "--quiet")
	c.git(t, "add", ".")
	c.git(t, "commit", "--quiet", "--message=c")
	return c
}

func (c *checkout) git(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", c.dir, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE="+c.date, "GIT_AUTHOR_DATE="+c.date)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// write writes a file; one that is there keeps its mode.
func (c *checkout) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// script is a script of the checkout.
func (c *checkout) script(name string) string { return filepath.Join(c.dir, "packaging", name) }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
