package lint

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLintian: neither an error nor a warning is left, and no override is one too many.
func TestLintian(t *testing.T) {
	b := packages(t)
	for _, arch := range []string{"amd64", "arm64"} {
		// Its exit status counts what is overridden too.
		for _, line := range lines(output(t, "lintian", "--allow-root", "--display-info", "--fail-on", "none", b.deb[arch])) {
			if strings.HasPrefix(line, "E:") || strings.HasPrefix(line, "W:") || strings.Contains(line, "mismatched-override") {
				t.Errorf("%s: %s", arch, line)
			}
		}
	}
}

// TestDebianRelations: any nginx will do, and keepalived may be there as long as a pair is being moved.
func TestDebianRelations(t *testing.T) {
	b := packages(t)
	for _, arch := range []string{"amd64", "arm64"} {
		for field, want := range map[string]string{
			"Package": "understudy", "Version": b.version + "-1", "Architecture": arch,
			"Depends": "systemd (>= 244) | systemd-standalone-sysusers", "Recommends": "nginx", "Conflicts": "", "Breaks": "", "Replaces": "",
		} {
			if got := strings.TrimSpace(output(t, "dpkg-deb", "--field", b.deb[arch], field)); got != want {
				t.Errorf("%s: %s: %q, want %q", arch, field, got, want)
			}
		}
	}
}

// TestDebianFiles: an administrator's changes of these files survive an upgrade, everything is root's, and what is private is
// private before a maintainer script has run.
func TestDebianFiles(t *testing.T) {
	b := packages(t)
	var listings []string
	for _, arch := range []string{"amd64", "arm64"} {
		want := []string{
			"/etc/default/understudy", "/etc/needrestart/conf.d/understudy.conf", "/etc/understudy/README", "/etc/understudy/understudy.hcl.example",
		}
		got := lines(output(t, "dpkg-deb", "--info", b.deb[arch], "conffiles"))
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: conffiles (-want +got):\n%s", arch, diff)
		}
		modes := map[string]string{"./etc/understudy/": "drwxr-x---", "./etc/understudy/conf.d/": "drwxr-x---", "./etc/understudy/checks.d/": "drwxr-x---"}
		var names []string
		for _, line := range lines(output(t, "dpkg-deb", "--contents", b.deb[arch])) {
			fields := strings.Fields(line) // mode, owner, size, day, time, name
			mode, owner, name := fields[0], fields[1], fields[5]
			names = append(names, mode+" "+name)
			want, private := modes[name]
			switch {
			case private:
			case strings.HasSuffix(name, "/"):
				want = "drwxr-xr-x"
			case name == "./usr/bin/understudy", strings.HasPrefix(name, "./usr/share/doc/understudy/examples/") && mode[3] == 'x':
				want = "-rwxr-xr-x"
			default:
				want = "-rw-r--r--"
			}
			if mode != want || owner != "root/root" {
				t.Errorf("%s: %s is %s of %s", arch, name, mode, owner)
			}
		}
		listings = append(listings, strings.Join(names, "\n"))
	}
	if diff := cmp.Diff(listings[0], listings[1]); diff != "" {
		t.Errorf("the packages for amd64 and arm64 have different files (-amd64 +arm64):\n%s", diff)
	}
}
