package examples

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// containerCommand makes the test's binary what a container runtime is.
const containerCommand = "run-container"

// container is what runs with a file system of its own, and with the network of its host.
type container struct {
	Root     string // the image
	ReadOnly bool
	Host     string // the host's name
	Dir      string
	Mounts   []containerMount
	// Capabilities are those that are left, with no way to more; nil leaves all.
	Capabilities []string
	Argv, Env    []string
}

// containerMount is a directory or a file of the host.
type containerMount struct {
	From, To string
	ReadOnly bool
}

// capabilities are those that the examples name.
var capabilities = map[string]uintptr{"NET_ADMIN": unix.CAP_NET_ADMIN, "NET_RAW": unix.CAP_NET_RAW}

// start starts the container on a host.
func (c *container) start(t testing.TB, h *netlab.Host) *service {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.Start("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", self, containerCommand, string(spec))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Proc: p}
	labtest.Eventually(t, bootBound, func() (bool, string) {
		s.pid, err = child(p.PID())
		return err == nil, fmt.Sprintf("the container on %s has not started: %v %s", h.Name(), err, p.Output())
	})
	return s
}

// enterContainer becomes the container's process. It is the first one of its namespaces, and returns only what went wrong.
func enterContainer(args []string) error {
	var c container
	if len(args) != 1 {
		return errors.New("want a container")
	}
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	runtime.LockOSThread() // what it gives up, it gives up for this thread
	if err := c.mount(); err != nil {
		return err
	}
	if err := errors.Join(unix.Sethostname([]byte(c.Host)), unix.Chroot(c.Root), os.Chdir(c.Dir)); err != nil {
		return fmt.Errorf("enter %s: %w", c.Root, err)
	}
	if c.Capabilities != nil {
		if err := c.dropCapabilities(); err != nil {
			return err
		}
	}
	return fmt.Errorf("execute %q: %w", c.Argv, syscall.Exec(c.Argv[0], c.Argv, c.Env))
}

func (c *container) mount() error {
	if err := unix.Mount(c.Root, c.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", c.Root, err)
	}
	proc := filepath.Join(c.Root, "proc")
	if err := errors.Join(os.MkdirAll(proc, 0o755), unix.Mount("proc", proc, "proc", 0, "")); err != nil {
		return fmt.Errorf("mount %s: %w", proc, err)
	}
	for _, m := range c.Mounts {
		to := filepath.Join(c.Root, m.To)
		if err := errors.Join(mountPoint(m.From, to), unix.Mount(m.From, to, "", unix.MS_BIND, "")); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.From, to, err)
		}
		if err := readOnly(to, m.ReadOnly); err != nil {
			return err
		}
	}
	return readOnly(c.Root, c.ReadOnly)
}

// mountPoint makes what something can be mounted on.
func mountPoint(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(to, 0o755)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, nil, 0o644))
}

func readOnly(path string, is bool) error {
	if !is {
		return nil
	}
	if err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

// dropCapabilities leaves what the container asked for: root has what is in its bounding set once it executes a program.
func (c *container) dropCapabilities() error {
	var keep []uintptr
	for _, name := range c.Capabilities {
		number, ok := capabilities[name]
		if !ok {
			return fmt.Errorf("capability %s is none that an example has", name)
		}
		keep = append(keep, number)
	}
	for number := uintptr(0); number <= unix.CAP_LAST_CAP; number++ {
		if slices.Contains(keep, number) {
			continue
		}
		// A kernel that is older than x/sys has fewer.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, number, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", number, err)
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// holdsOnly asserts which capabilities a process has.
func holdsOnly(t testing.TB, pid int, want ...string) {
	t.Helper()
	var mask uint64
	for _, name := range want {
		mask |= 1 << capabilities[name]
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		if line := fmt.Sprintf("%s:\t%016x\n", set, mask); !strings.Contains(string(text), line) {
			t.Errorf("the process has not %q:\n%s", line, text)
		}
	}
}
