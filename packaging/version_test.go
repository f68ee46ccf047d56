package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// script runs a script of this directory with an environment of its own, and returns what it prints.
func script(t *testing.T, path string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
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
	labtest.Require(t, "git", "dpkg")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "packaging"), os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	date := "2026-11-26T10:00:00+05:00"
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE="+date, "GIT_AUTHOR_DATE="+date)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	commit := func() { git("commit", "--quiet", "--allow-empty", "--message=c") }
	change := func() {
		if err := os.WriteFile(filepath.Join(dir, "packaging", "version"), []byte(read(t, "version")+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "--quiet")
	git("add", ".")
	commit()
	last := ""
	for _, step := range []struct {
		name string
		do   func()
		want string // what stands before the commit's name
	}{
		{"before the first tag", func() {}, "0~20261126050000.g"},
		{"a second later", func() { date = "2026-11-26T06:00:01+01:00"; commit() }, "0~20261126050001.g"},
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
		got, err := script(t, filepath.Join(dir, "packaging", "version"))
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

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
