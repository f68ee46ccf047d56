package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lockable is what one daemon of a host has for itself: a Router or a Place.
type Lockable interface {
	fmt.Stringer
	name() string  // of the lock
	taken() string // what the daemon does that has it, and what to do about that
}

var (
	_ Lockable = Router{}
	_ Lockable = Place{}
)

// Router is a virtual router as this host knows it.
type Router struct {
	Interface string
	VRID      uint8
	IPv6      bool
}

// String names it in errors.
func (r Router) String() string { return fmt.Sprintf("virtual router %d on %q", r.VRID, r.Interface) }

func (r Router) name() string {
	family := 4
	if r.IPv6 {
		family = 6
	}
	return fmt.Sprintf("%s%s/%d/%d", lockPrefix, r.Interface, r.VRID, family)
}

func (r Router) taken() string {
	return fmt.Sprintf("runs %s already: stop one of the two, or give them different VRIDs and addresses", r)
}

// Place is a virtual address on an interface, whichever virtual router has it.
type Place struct {
	Interface string
	IP        netip.Addr
}

// String names it in errors.
func (p Place) String() string { return fmt.Sprintf("address %s on %q", p.IP, p.Interface) }

func (p Place) name() string { return fmt.Sprintf("%s%s/%s", lockPrefix, p.Interface, p.IP) }

func (p Place) taken() string {
	return fmt.Sprintf("has %s in another virtual router: an address can be in one only; take it out of one of the two configurations", p)
}

// lockPrefix begins the names of the locks.
const lockPrefix = "@understudy/"

// TakenError says that another daemon of this host has something.
type TakenError struct {
	What Lockable
	PID  int // 0: it is in another PID namespace
}

// Error says what to do about it.
func (e *TakenError) Error() string {
	where := "in another container"
	if e.PID > 0 {
		where = fmt.Sprintf("pid %d", e.PID)
	}
	return fmt.Sprintf("another understudy on this host (%s) %s", where, e.What.taken())
}

// Locks keep the other daemons of a host from running a virtual router of this one, and from having its addresses in another one. A lock is
// a socket with an abstract name: there is one such name in a network namespace, as there is one such virtual router, whatever files and
// processes its containers see; and the kernel takes it back when the process dies. One goroutine uses it.
type Locks struct {
	held map[Lockable]*os.File
}

// NewLocks holds none, but for those among the files that a program before this one in the process left. Others returns the files that
// are none.
func NewLocks(inherited []*os.File) (l *Locks, others []*os.File) {
	l = &Locks{held: map[Lockable]*os.File{}}
	for _, f := range inherited {
		if x, ok := lockedBy(f); ok && l.held[x] == nil {
			l.held[x] = f
			continue
		}
		others = append(others, f)
	}
	return l, others
}

// lockedBy says what a file locks.
func lockedBy(f *os.File) (x Lockable, ok bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, false
	}
	_ = raw.Control(func(fd uintptr) {
		at, err := unix.Getsockname(int(fd))
		if unixAt, is := at.(*unix.SockaddrUnix); err == nil && is {
			x, ok = parseLock(unixAt.Name)
		}
	})
	return x, ok
}

// parseLock reads the name of a lock; nil: it is none.
func parseLock(name string) (x Lockable, ok bool) {
	rest, is := strings.CutPrefix(name, lockPrefix)
	if !is {
		return nil, false
	}
	switch parts := strings.Split(rest, "/"); len(parts) {
	case 2:
		ip, err := netip.ParseAddr(parts[1])
		x, ok = Place{parts[0], ip}, err == nil
	case 3:
		vrid, err := strconv.ParseUint(parts[1], 10, 8)
		x, ok = Router{Interface: parts[0], VRID: uint8(vrid), IPv6: parts[2] == "6"}, err == nil
	}
	if !ok || x.name() != name {
		return nil, false
	}
	return x, true
}

// Take locks something for this process, until Keep or Drop lets go of it or the process ends. The error is a TakenError where another
// daemon has it; any other one says why that cannot be known.
func (l *Locks) Take(x Lockable) error {
	var err error
	for range lockTries {
		if err = l.TakeFree(x); !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		if err = holderOf(x); !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		time.Sleep(lockPause) // it has the name, and does not listen yet or any more
	}
	return err
}

// Bounds of a lock.
const (
	lockTries = 3
	lockPause = time.Millisecond
	// lockAsked is how often others may ask whose it is: nobody answers, the kernel only keeps count.
	lockAsked = 4096
	// lockShare is which part of the files that a process may have open can be locks.
	lockShare = 4
)

// Has says whether this process has a lock.
func (l *Locks) Has(x Lockable) bool { return l.held[x] != nil }

// Others lists the virtual routers whose locks other processes have. Any user may take such a name: it is no proof.
func (l *Locks) Others() (list []Router, err error) {
	sockets, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return nil, fmt.Errorf("list the locks of other daemons: %w", err)
	}
	return l.others(string(sockets)), nil
}

// others reads the kernel's list of sockets, of which anybody may have any number, with names of their choice.
func (l *Locks) others(sockets string) (list []Router) {
	seen := map[Router]bool{}
	for line := range strings.Lines(sockets) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		x, _ := parseLock(fields[len(fields)-1])
		if r, is := x.(Router); is && !l.Has(r) && !seen[r] {
			seen[r] = true
			list = append(list, r)
		}
	}
	return list
}

// TakeFree locks something, and leaves its holder alone: where it has one the error is EADDRINUSE.
func (l *Locks) TakeFree(x Lockable) error {
	if l.Has(x) {
		return nil
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && uint64(len(l.held)) >= files.Cur/lockShare {
		return fmt.Errorf("lock more than %d virtual routers and addresses: a process may have %d files open (LimitNOFILE)", len(l.held), files.Cur)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), x.name())
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: x.name()})
	if err == nil {
		err = unix.Listen(fd, lockAsked) // only so that the kernel tells who it is
	}
	if err != nil {
		return abandon(fmt.Errorf("lock %s: %w", x, err), f)
	}
	l.held[x] = f
	return nil
}

// holderOf says who has a lock: a TakenError if that may be a daemon. Any user may take any abstract name, and must not keep a daemon
// from its work by that.
func holderOf(x Lockable) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: x.name()}); err != nil {
		return fmt.Errorf("ask who has %s: %w", x, err)
	}
	holder, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return os.NewSyscallError("SO_PEERCRED", err)
	}
	if !mayRunRouters(holder) {
		return fmt.Errorf("the name %s belongs to a process that may not send VRRP (pid %d, uid %d)", x.name(), holder.Pid, holder.Uid)
	}
	return &TakenError{What: x, PID: int(holder.Pid)}
}

// mayRunRouters says whether a process has what a daemon needs. One in another PID namespace cannot be looked at: root is believed.
func mayRunRouters(p *unix.Ucred) bool {
	if p.Uid == 0 {
		return true
	}
	caps, err := threadCaps(filepath.Join("/proc", strconv.Itoa(int(p.Pid)), "status"), "CapEff:")
	return err == nil && caps&(1<<unix.CAP_NET_RAW) != 0
}

// Drop releases a lock.
func (l *Locks) Drop(x Lockable) {
	if f := l.held[x]; f != nil {
		_ = f.Close()
		delete(l.held, x)
	}
}

// Keep releases the locks of what is not wanted any more.
func (l *Locks) Keep(wanted func(Lockable) bool) {
	for x := range l.held {
		if !wanted(x) {
			l.Drop(x)
		}
	}
}

// Close releases all of them.
func (l *Locks) Close() { l.Keep(func(Lockable) bool { return false }) }
