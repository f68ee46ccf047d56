package linux

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Router is a virtual router as this host knows it.
type Router struct {
	Interface string
	VRID      uint8
	IPv6      bool
}

// routerLockPrefix begins the names of the locks.
const routerLockPrefix = "@understudy/"

// name is the abstract one of the socket that locks it.
func (r Router) name() string {
	family := 4
	if r.IPv6 {
		family = 6
	}
	return fmt.Sprintf("%s%s/%d/%d", routerLockPrefix, r.Interface, r.VRID, family)
}

// TakenError says that another daemon of this host runs a virtual router.
type TakenError struct {
	Router Router
	PID    int // 0: it is in another PID namespace
}

// Error says what to do about it.
func (e *TakenError) Error() string {
	where := "in another container"
	if e.PID > 0 {
		where = fmt.Sprintf("pid %d", e.PID)
	}
	return fmt.Sprintf("another understudy on this host (%s) runs virtual router %d on %q already: stop one of the two, or give them different VRIDs and addresses",
		where, e.Router.VRID, e.Router.Interface)
}

// RouterLocks keep the other daemons of a host from running a virtual router of this one. A lock is a socket with an abstract name: there
// is one such name in a network namespace, as there is one such virtual router, whatever files and processes its containers see; and the
// kernel takes it back when the process dies. One goroutine uses it.
type RouterLocks struct {
	held map[Router]*os.File
}

// NewRouterLocks holds none, but for those among the files that a program before this one in the process left. Others returns the files
// that are none.
func NewRouterLocks(inherited []*os.File) (l *RouterLocks, others []*os.File) {
	l = &RouterLocks{held: map[Router]*os.File{}}
	for _, f := range inherited {
		if r, ok := lockedBy(f); ok && l.held[r] == nil {
			l.held[r] = f
			continue
		}
		others = append(others, f)
	}
	return l, others
}

// lockedBy says which virtual router a file locks.
func lockedBy(f *os.File) (r Router, ok bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return Router{}, false
	}
	_ = raw.Control(func(fd uintptr) {
		at, err := unix.Getsockname(int(fd))
		if unixAt, is := at.(*unix.SockaddrUnix); err == nil && is {
			r, ok = parseRouterLock(unixAt.Name)
		}
	})
	return r, ok
}

// parseRouterLock reads the name of a lock.
func parseRouterLock(name string) (Router, bool) {
	rest, is := strings.CutPrefix(name, routerLockPrefix)
	parts := strings.Split(rest, "/")
	if !is || len(parts) != 3 {
		return Router{}, false
	}
	vrid, err := strconv.ParseUint(parts[1], 10, 8)
	r := Router{Interface: parts[0], VRID: uint8(vrid), IPv6: parts[2] == "6"}
	return r, err == nil && r.name() == name
}

// Take locks a virtual router for this process, until Keep lets go of it or the process ends. The error is a TakenError where another
// daemon has it; any other one says why that cannot be known.
func (l *RouterLocks) Take(r Router) error {
	var err error
	for range routerLockTries {
		if err = l.TakeFree(r); !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		if err = holderOf(r); !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		time.Sleep(routerLockPause) // it has the name, and does not listen yet or any more
	}
	return err
}

// Bounds of a lock.
const (
	routerLockTries = 3
	routerLockPause = time.Millisecond
	// routerLockAsked is how often others may ask whose it is: nobody answers, the kernel only keeps count.
	routerLockAsked = 4096
	// routerLockShare is which part of the files that a process may have open can be locks.
	routerLockShare = 4
)

// TakeFree locks a virtual router, and leaves its holder alone: where it has one the error is EADDRINUSE.
func (l *RouterLocks) TakeFree(r Router) error {
	if l.held[r] != nil {
		return nil
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && uint64(len(l.held)) >= files.Cur/routerLockShare {
		return fmt.Errorf("lock more than %d virtual routers: a process may have %d files open (LimitNOFILE)", len(l.held), files.Cur)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), r.name())
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: r.name()})
	if err == nil {
		err = unix.Listen(fd, routerLockAsked) // only so that the kernel tells who it is
	}
	if err != nil {
		return abandon(fmt.Errorf("lock virtual router %d on %q: %w", r.VRID, r.Interface, err), f)
	}
	l.held[r] = f
	return nil
}

// holderOf says who has a lock: a TakenError if that may be a daemon. Any user may take any abstract name, and must not keep a daemon
// from its work by that.
func holderOf(r Router) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: r.name()}); err != nil {
		return fmt.Errorf("ask who has virtual router %d on %q: %w", r.VRID, r.Interface, err)
	}
	holder, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("SO_PEERCRED", err)
	}
	if !mayRunRouters(holder) {
		return fmt.Errorf("the name %s belongs to a process that may not send VRRP (pid %d, uid %d)", r.name(), holder.Pid, holder.Uid)
	}
	return &TakenError{Router: r, PID: int(holder.Pid)}
}

// mayRunRouters says whether a process has what a daemon needs. One in another PID namespace cannot be looked at: root is believed.
func mayRunRouters(p *unix.Ucred) bool {
	if p.Uid == 0 {
		return true
	}
	caps, err := threadCaps(filepath.Join("/proc", strconv.Itoa(int(p.Pid)), "status"), "CapEff:")
	return err == nil && caps&(1<<unix.CAP_NET_RAW) != 0
}

// Keep releases the locks of what is not wanted any more.
func (l *RouterLocks) Keep(wanted func(Router) bool) {
	for r, f := range l.held {
		if !wanted(r) {
			_ = f.Close()
			delete(l.held, r)
		}
	}
}

// Close releases all of them.
func (l *RouterLocks) Close() { l.Keep(func(Router) bool { return false }) }
