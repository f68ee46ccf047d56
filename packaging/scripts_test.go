package packaging

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// daemonLog makes this test program play the daemon's, in whose place root is asked to run it: it writes there as what it was run.
const daemonLog = "UNDERSTUDY_TEST_DAEMON_LOG"

func TestMain(m *testing.M) {
	if log := os.Getenv(daemonLog); log != "" {
		if err := playDaemon(log, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func playDaemon(log, command string) error {
	if command == "run" {
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	if command == "version" {
		fmt.Println("understudy 1.0")
	}
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, "daemon", command)
	return err
}

// host is a directory in whose place a script takes the host, with programs that only write down that they were run.
type host struct{ root, log string }

func newHost(t *testing.T) host {
	t.Helper()
	labtest.Root(t)
	h := host{root: t.TempDir()}
	h.log = filepath.Join(h.root, "log")
	for _, dir := range []string{"usr/bin", "run/systemd/system", "etc/understudy/checks.d", "etc/understudy/conf.d"} {
		if err := os.MkdirAll(filepath.Join(h.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, does := range map[string]string{
		"systemctl":          `[ "$1" != show ] || echo "${DAEMON:-0}"`,
		"systemd-sysusers":   `echo sysusers >>` + h.log + `; [ ! -e ` + h.root + `/broken ]`,
		"deb-systemd-helper": "",
		"deb-systemd-invoke": `echo "$@" >>` + h.log,
		"chgrp":              `echo chgrp "$1" "${2#` + h.root + `}" >>` + h.log,
		"dpkg":               "exit 1", // neither version is the newer one
		"dpkg-statoverride":  "exit 1",
		"rpm":                "echo 0",
		"understudy":         "echo understudy 2.0",
	} {
		h.write(t, "usr/bin/"+name, "#!/bin/sh\n"+does+"\n")
	}
	h.write(t, "log", "")
	return h
}

func (h host) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.root, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// runs runs a script and returns what it says, and what was written down.
func (h host) runs(t *testing.T, path string, env []string, args ...string) (said, log string, err error) {
	t.Helper()
	moved := strings.NewReplacer("/run/", h.root+"/run/", "/var/lib/", h.root+"/var/lib/", "/etc/understudy", h.root+"/etc/understudy", "/usr/bin/", h.root+"/usr/bin/")
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", moved.Replace(read(t, path)), path}, args...)...)
	cmd.Env = append(append(os.Environ(), "PATH="+h.root+"/usr/bin:"+os.Getenv("PATH")), env...)
	out, err := cmd.CombinedOutput()
	return string(out), read(t, h.log), err
}

// daemon starts a process whose program has a mode and an owner, and then deletes the program, as an upgrade does.
func (h host) daemon(t *testing.T, mode os.FileMode, owner int) (env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.root, "usr/bin/running")
	h.write(t, "usr/bin/running", read(t, self))
	env = []string{daemonLog + "=" + h.log}
	cmd := exec.CommandContext(t.Context(), path, "run")
	cmd.Env = append(os.Environ(), env...)
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stop.Close()
		_ = cmd.Wait()
	})
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chown(path, owner, 0), os.Chmod(path, mode), os.Remove(path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return append(env, "DAEMON="+strconv.Itoa(cmd.Process.Pid))
}

// TestUpgradeRunsOnlyRootsProgram: the daemon's user decides which program its process is, and root must not run one of its making.
func TestUpgradeRunsOnlyRootsProgram(t *testing.T) {
	const nobody = 65534
	for path, args := range map[string][]string{"deb/postinst": {"configure", "1.0"}, "rpm/posttrans": nil} {
		for _, tt := range []struct {
			name  string
			mode  os.FileMode
			owner int
			runs  bool
		}{
			{"root's", 0o755, 0, true},
			{"root's, which nobody can write", 0o555, 0, true},
			{"another's", 0o755, nobody, false},
			{"root's, which its group can write", 0o775, 0, false},
			{"root's, which everybody can write", 0o757, 0, false},
		} {
			t.Run(path+", "+tt.name, func(t *testing.T) {
				h := newHost(t)
				said, log, err := h.runs(t, path, h.daemon(t, tt.mode, tt.owner), args...)
				if err != nil {
					t.Errorf("%v: %s", err, said)
				}
				if runs := strings.HasSuffix(log, "daemon version\ndaemon reexec\n"); runs != tt.runs || strings.Contains(log, "daemon") != tt.runs {
					t.Errorf("run were:\n%s%s", log, said)
				}
				if told := strings.Contains(said, "to hand over and change: systemctl restart understudy"); told == tt.runs {
					t.Errorf("it says %q", said)
				}
			})
		}
	}
}

// TestUpgradeWaitsForNobody: each run of the daemon's program ends.
func TestUpgradeWaitsForNobody(t *testing.T) {
	for _, path := range []string{"deb/postinst", "rpm/posttrans"} {
		bounded := 0
		for line := range strings.Lines(read(t, path)) {
			switch {
			case strings.Contains(line, "timeout 10 /proc/self/fd/3 "), strings.Contains(line, "timeout 60 /proc/self/fd/3 "):
				bounded++
			case strings.Contains(line, "stat -L -c '%u %a' /proc/self/fd/3"), strings.Contains(line, `change 3<"/proc/$pid/exe"`),
				strings.Contains(line, `[ "/proc/$pid/exe" -ef `):
			case strings.Contains(line, "/proc/"):
				t.Errorf("%s: %s", path, strings.TrimSpace(line))
			}
		}
		if bounded != 2 {
			t.Errorf("%s runs the daemon's program %d times, want 2", path, bounded)
		}
	}
}

// TestRemovalBesideADaemon: what could not be stopped goes on, and can be spoken to; else nothing stays in /run.
func TestRemovalBesideADaemon(t *testing.T) {
	for path, arg := range map[string]string{"deb/postrm": "remove", "rpm/postun": "0"} {
		for _, running := range []bool{true, false} {
			h := newHost(t)
			socket := filepath.Join(h.root, "run/understudy/control.sock")
			if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
				t.Fatal(err)
			}
			h.write(t, "run/understudy/control.sock", "")
			var env []string
			if running {
				env = []string{"DAEMON=812"}
			}
			if said, _, err := h.runs(t, path, env, arg); err != nil || said != "" {
				t.Errorf("%s: %v: %s", path, err, said)
			}
			if _, err := os.Stat(socket); (err == nil) != running {
				t.Errorf("%s, with a running daemon %t: its socket: %v", path, running, err)
			}
		}
	}
}

// TestNewInstallation: what is new is started, and its directories are the daemon's to read; what failed half way is new still.
func TestNewInstallation(t *testing.T) {
	const began = "sysusers\nchgrp understudy /etc/understudy\nchgrp understudy /etc/understudy/checks.d\nchgrp understudy /etc/understudy/conf.d\n"
	const marker = "run/understudy.installed"
	for _, tt := range []struct {
		name   string
		args   []string
		marked bool
		broken bool
		want   string
	}{
		{"a new one", []string{"configure", ""}, true, false, began + "start understudy.service\n"},
		{"a new one, with another /run", []string{"configure", ""}, false, false, began + "start understudy.service\n"},
		{"over the rest of an old one", []string{"configure", "1.0"}, true, false, began + "start understudy.service\n"},
		{"an upgrade", []string{"configure", "1.0"}, false, false, "sysusers\n"},
		{"an upgrade that is taken back", []string{"abort-upgrade", "2.0"}, false, false, "sysusers\n"},
		{"a removal that is taken back", []string{"abort-remove"}, false, false, "sysusers\nstart understudy.service\n"},
		{"a new one that fails", []string{"configure", "1.0"}, true, true, "sysusers\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			if tt.marked {
				h.write(t, marker, "")
			}
			if tt.broken {
				h.write(t, "broken", "")
			}
			said, log, err := h.runs(t, "deb/postinst", nil, tt.args...)
			if (err != nil) != tt.broken {
				t.Errorf("%v: %s", err, said)
			}
			if diff := cmp.Diff(tt.want, log); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := os.Stat(filepath.Join(h.root, marker)); (err == nil) != tt.broken {
				t.Errorf("the marker: %v", err)
			}
		})
	}
}
