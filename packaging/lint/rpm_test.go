package lint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestRPMQueries: what the package says of itself, and what an administrator's changes survive in.
func TestRPMQueries(t *testing.T) {
	b := packages(t)
	for arch, rpmArch := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		query := func(args ...string) string {
			t.Helper()
			return strings.TrimSpace(output(t, append([]string{"rpm", "--query", "--package", b.rpm[arch]}, args...)...))
		}
		if got, want := query("--queryformat", "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE} %{BUILDHOST}"), "understudy "+b.version+" 1 "+rpmArch+" Apache-2.0 understudy"; got != want {
			t.Errorf("%s: %q, want %q", arch, got, want)
		}
		output(t, "rpm", "--checksig", "--nosignature", b.rpm[arch])
		if diff := cmp.Diff("/usr/sbin/useradd\nsystemd >= 244", sorted(query("--requires"))); diff != "" {
			t.Errorf("%s: requires (-want +got):\n%s", arch, diff)
		}
		if got := query("--recommends"); got != "nginx" {
			t.Errorf("%s: recommends %q", arch, got)
		}
		if got := query("--conflicts", "--obsoletes"); got != "" {
			t.Errorf("%s: conflicts with %q", arch, got)
		}
		config := "/etc/sysconfig/understudy\n/etc/understudy/README\n/etc/understudy/understudy.hcl.example"
		if diff := cmp.Diff(config, sorted(query("--configfiles"))); diff != "" {
			t.Errorf("%s: configuration (-want +got):\n%s", arch, diff)
		}
		if got := query("--scripts"); strings.Count(got, "scriptlet (using /bin/sh)") != 5 || !strings.Contains(got, "posttrans scriptlet") {
			t.Errorf("%s: scriptlets:\n%s", arch, got)
		}
		for _, line := range lines(query("--queryformat", "[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES}\n]")) {
			mode, rest, _ := strings.Cut(line, " ")
			owner, name, _ := strings.Cut(rest, " ")
			private := slices.Contains([]string{"/etc/understudy", "/etc/understudy/conf.d", "/etc/understudy/checks.d"}, name)
			if private != (mode == "drwxr-x---" && owner == "root:understudy") || !private && owner != "root:root" || mode[5] == 'w' || mode[8] == 'w' {
				t.Errorf("%s: %s is %s of %s", arch, name, mode, owner)
			}
		}
	}
}

func sorted(text string) string {
	all := lines(text)
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// bareTree is a system with a shell and little else, in which the programs that scriptlets call only write down that they were.
func bareTree(t *testing.T) string {
	t.Helper()
	labtest.Root(t)
	labtest.Require(t, "rpm", "busybox")
	root := t.TempDir()
	for _, dir := range []string{"bin", "dev", "etc", "tmp", "usr/bin", "usr/sbin", "var/lib/rpm"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	output(t, "sh", "-c", "cp $(command -v busybox) "+root+"/bin/busybox")
	for _, applet := range []string{"sh", "cut", "grep", "timeout", "cat", "stat"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mknod(filepath.Join(root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"etc/passwd":        "root:x:0:0::/:/bin/sh\n",
		"etc/group":         "root:x:0:\n",
		"log":               "",
		"usr/bin/getent":    "#!/bin/sh\nexec grep -q \"^$2:\" /etc/$1\n",
		"usr/sbin/groupadd": "#!/bin/sh\necho groupadd \"$@\" >>/log\necho understudy:x:990: >>/etc/group\n",
		"usr/sbin/useradd":  "#!/bin/sh\necho useradd \"$1 $2 $3 $4\" >>/log\necho understudy:x:991:990::/:/sbin/nologin >>/etc/passwd\n",
		"usr/bin/systemctl": "#!/bin/sh\necho systemctl \"$@\" >>/log\n[ \"$1\" != show ] || echo 0\n",
		"usr/bin/setpriv":   "#!/bin/sh\necho setpriv \"$1 $2\" >>/log\n",
	} {
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// told empties the log of a tree and returns what was in it.
func told(t *testing.T, root string) string {
	t.Helper()
	log := filepath.Join(root, "log")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRPMScriptlets installs, installs again as an upgrade does, and removes, where systemd is not running (an image that is
// being made) and where it is.
func TestRPMScriptlets(t *testing.T) {
	const users = "groupadd -r understudy\nuseradd -r -g understudy -d\n"
	const preset = "systemctl --no-reload preset understudy.service understudy-nginx.service\n"
	for _, tt := range []struct {
		name                     string
		runs                     bool
		install, upgrade, remove string
	}{
		{
			"in an image", false, users + preset, "",
			"systemctl --no-reload disable understudy-nginx.service understudy.service\n",
		},
		{
			"on a host", true,
			users + preset + "systemctl daemon-reload\nsystemctl show --property=MainPID --value understudy.service\n",
			"systemctl daemon-reload\nsystemctl daemon-reload\nsystemctl show --property=MainPID --value understudy.service\n",
			"systemctl --no-reload disable --now understudy-nginx.service understudy.service\nsystemctl stop understudy-helper.socket\n" +
				"setpriv --reuid understudy\nsystemctl show --property=MainPID --value understudy.service\nsystemctl daemon-reload\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) { lifeInATree(t, tt.runs, tt.install, tt.upgrade, tt.remove) })
	}
}

func lifeInATree(t *testing.T, runs bool, install, upgrade, remove string) {
	b, root := packages(t), bareTree(t)
	if runs {
		for _, dir := range []string{"run/systemd/system", "run/understudy"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	step := func(name, want string, args ...string) {
		t.Helper()
		output(t, append([]string{"rpm", "--root", root, "--nodeps"}, args...)...)
		if diff := cmp.Diff(want, told(t, root)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	own := filepath.Join(root, "etc/understudy/understudy.hcl")
	step("install", install, "--install", b.rpm["amd64"])
	if info, err := os.Stat(filepath.Dir(own)); err != nil || info.Sys().(*syscall.Stat_t).Gid != 990 {
		t.Errorf("/etc/understudy: %v, %v", info, err)
	}
	if err := os.WriteFile(own, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	step("upgrade", upgrade, "--upgrade", "--replacepkgs", b.rpm["amd64"])
	output(t, "rpm", "--root", root, "--verify", "--nodeps", "understudy")
	if runs {
		if err := os.Chown(filepath.Join(root, "run/understudy"), 991, 990); err != nil {
			t.Fatal(err)
		}
	}
	step("remove", remove, "--erase", "understudy")
	if _, err := os.Stat(own); err != nil {
		t.Errorf("what a person wrote: %v", err)
	}
	left, err := exec.CommandContext(t.Context(), "find", filepath.Join(root, "usr"), "-name", "*understudy*").Output()
	if err != nil || len(left) > 0 {
		t.Errorf("the package left %s (%v)", left, err)
	}
	if _, err := os.Stat(filepath.Join(root, "etc/understudy/conf.d")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("conf.d, which was empty: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "run/understudy")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the runtime directory: %v", err)
	}
}
