package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// namespaceDir is where iproute2 keeps named network namespaces.
	namespaceDir = "/run/netns"
	// killBound is how long the processes of a namespace may take to disappear after SIGKILL, and then the namespace. The
	// kernel takes down one after another; on a loaded machine that was seen to take more than 5 s.
	killBound = 30 * time.Second
)

// namespace is a named network namespace with a netlink socket in it.
type namespace struct {
	name   string
	handle netns.NsHandle
	link   *netlink.Handle
}

func newNamespace(ctx context.Context, name string) (*namespace, error) {
	if _, err := run(ctx, "", "ip", "netns", "add", name); err != nil {
		return nil, err
	}
	n, err := openNamespace(name)
	if err != nil {
		return nil, errors.Join(err, deleteNamespace(name))
	}
	return n, nil
}

func openNamespace(name string) (*namespace, error) {
	handle, err := netns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	link, err := netlink.NewHandleAt(handle, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in namespace %s: %w", name, err), handle.Close())
	}
	return &namespace{name: name, handle: handle, link: link}, nil
}

// do runs fn on an OS thread that is in the namespace.
func (n *namespace) do(fn func() error) error {
	errc := make(chan error, 1)
	go func() { errc <- n.enter(fn) }()
	return <-errc
}

func (n *namespace) enter(fn func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("find the thread's own network namespace: %w", err)
	}
	defer home.Close()
	if err := netns.Set(n.handle); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.name, err)
	}
	err = fn()
	if back := netns.Set(home); back != nil {
		// Still locked: the runtime ends the thread with this goroutine, so that no other one lands in the namespace.
		return errors.Join(err, fmt.Errorf("leave network namespace %s: %w", n.name, back))
	}
	runtime.UnlockOSThread()
	return err
}

// close kills every process in the namespace and removes it. Its interfaces go with it.
func (n *namespace) close() error {
	err := n.killAll()
	n.link.Close()
	return errors.Join(err, n.handle.Close(), deleteNamespace(n.name))
}

func deleteNamespace(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), killBound)
	defer cancel()
	_, err := run(ctx, "", "ip", "netns", "delete", name)
	if _, gone := os.Lstat(filepath.Join(namespaceDir, name)); errors.Is(gone, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (n *namespace) killAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), killBound)
	defer cancel()
	return Eventually(ctx, killBound, func() (bool, string) {
		pids, err := n.signal(syscall.SIGKILL, func(int) bool { return true })
		if err != nil {
			return false, err.Error()
		}
		return len(pids) == 0, fmt.Sprintf("processes %v in namespace %s outlive SIGKILL", pids, n.name)
	})
}

// signal sends sig to the processes of the namespace that match, and returns their ids.
func (n *namespace) signal(sig syscall.Signal, match func(pid int) bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var hit []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !n.contains(pid) || !match(pid) {
			continue
		}
		// The handle is a pidfd; the namespace is looked at again, since the id may have changed hands before.
		p, err := os.FindProcess(pid)
		if err != nil || !n.contains(pid) {
			continue
		}
		if err := p.Signal(sig); err == nil {
			hit = append(hit, pid)
		}
	}
	return hit, nil
}

// contains says whether a process is in the namespace. A zombie is in none.
func (n *namespace) contains(pid int) bool {
	var own, other unix.Stat_t
	if err := unix.Fstat(int(n.handle), &own); err != nil {
		return false
	}
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &other); err != nil {
		return false
	}
	return own.Ino == other.Ino && own.Dev == other.Dev
}
