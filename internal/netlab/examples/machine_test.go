package examples

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

const (
	// bootBound is how long a machine may take to boot, a program on it to start, and one to end.
	bootBound = 15 * time.Second
	// path is the programs' PATH on a machine, as under systemd.
	path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// etc is what a machine has of the real one's /etc: what programs ask for users, names and certificates.
var etc = []string{"passwd", "group", "nsswitch.conf", "protocols", "services", "ld.so.cache", "alternatives", "ssl/openssl.cnf", "nginx/mime.types"}

// account is the daemon's user as the package makes it; of two of a name the first counts.
var account = map[string]string{
	"passwd": "understudy:x:64990:64990::/nonexistent:/usr/sbin/nologin\n",
	"group":  "understudy:x:64990:\n",
}

// machine is a host that looks whole from inside: it has its own processes, host name, /etc, /run, /var and /dev/log, and the
// real machine's programs. The daemon on it runs with its default paths, and finds its name by itself.
type machine struct {
	*pairtest.Server
	root   string // its file system, seen from outside; what the machine mounts there is not seen
	syslog *syslog
	first  int // its first process, seen from outside
	daemon *service
}

// boot makes a machine of a host, with its files below a directory.
func boot(t testing.TB, h *netlab.Host, root string) *machine {
	t.Helper()
	labtest.Require(t, "unshare", "nsenter")
	m := &machine{Server: &pairtest.Server{Host: h, Run: filepath.Join(root, "run", "understudy")}, root: root}
	m.make(t)
	m.syslog = listenSyslog(t, filepath.Join(m.root, "dev", "log"))
	script, err := filepath.Abs("testdata/boot")
	if err != nil {
		t.Fatal(err)
	}
	init, err := h.Start("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", script, m.root, h.Name(), program)
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, bootBound, func() (bool, string) {
		_, err := os.Stat(filepath.Join(root, "run", "booted"))
		return err == nil, fmt.Sprintf("%s has not booted: %v %s", h.Name(), err, init.Output())
	})
	// The directory is removed at the end, with all that is seen in it from here.
	if seen, err := os.ReadDir(filepath.Join(m.root, "usr")); err != nil || len(seen) > 0 {
		panic(fmt.Sprintf("the mounts of %s are seen outside of it: %v, %v", h.Name(), seen, err))
	}
	if m.first, err = child(init.PID()); err != nil {
		t.Fatal(err)
	}
	return m
}

// make makes what the machine has of its own.
func (m *machine) make(t testing.TB) {
	t.Helper()
	dirs := []string{"dev", "run", "etc/understudy", "etc/nginx/conf.d", "var/lib/understudy", "var/lib/nginx", "var/log/nginx", "etc/haproxy", "var/lib/haproxy", "var/tmp", "etc/sysctl.d", "etc/systemd/system"}
	for _, dir := range dirs {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range etc {
		from := filepath.Join("/etc", name)
		if info, err := os.Stat(from); err != nil {
			continue // not every machine has all of them
		} else if info.IsDir() {
			if err := os.CopyFS(filepath.Join(m.root, "etc", name), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		m.write(t, from, string(text)+account[name], 0o644)
	}
	// The package brings it; what its examples' validate asks is whether it is there.
	m.write(t, "/etc/systemd/system/understudy-helper.socket", "", 0o644)
}

// memoryDir makes a directory in memory, as /run is: what is written there stands between an election and the addresses. It is to
// be made before the lab, so that it is removed when nothing runs any more.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "understudy-examples-")
	if err != nil {
		dir, err = os.MkdirTemp("", "understudy-examples-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// child finds the one process that another one has started.
func child(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// write puts a file on the machine, in one step.
func (m *machine) write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	path = filepath.Join(m.root, path)
	next := path + ".next"
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), writeWhole(next, text, mode), os.Rename(next, path))
	if err != nil {
		t.Fatal(err)
	}
}

// writeWhole writes a file that may be executed at once: a process forked while it is open for writing would make that fail.
func writeWhole(path, text string, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), mode)
}

// read reads a file of the machine; one that is not there is empty.
func (m *machine) read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// inside is the command line that runs a command on the machine.
func (m *machine) inside(argv []string) []string {
	enter := []string{"nsenter", "--target", strconv.Itoa(m.first), "--mount", "--uts", "--pid", "--root", "--"}
	return slices.Concat(enter, []string{"env", "-C", "/root", "-i", path, "HOME=/root", "LANG=C.UTF-8", "GORACE=" + os.Getenv("GORACE")}, argv)
}

// sh runs shell commands on the machine, as an administrator types them, and returns what they print.
func (m *machine) sh(t testing.TB, commands string) string {
	t.Helper()
	out, err := m.Exec(t.Context(), m.inside([]string{"sh", "-euc", commands})...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// service is a program that runs on a machine until it is stopped.
type service struct {
	*netlab.Proc
	pid int // of the program itself, seen from outside
}

// serve starts a program on the machine.
func (m *machine) serve(t testing.TB, argv ...string) *service {
	t.Helper()
	p, err := m.Host.Start(m.inside(argv)...)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Proc: p}
	labtest.Eventually(t, bootBound, func() (bool, string) {
		s.pid, err = child(p.PID())
		return err == nil, fmt.Sprintf("%q on %s has not started: %v %s", argv, m.Name(), err, p.Output())
	})
	return s
}

// signal sends a signal to the program.
func (s *service) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		t.Fatal(err)
	}
}

// stop ends the program as a service manager does. It must end with status 0.
func (s *service) stop(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(t.Context(), bootBound)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Error(err)
	}
}
