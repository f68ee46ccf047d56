package linux

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errCaps says what to do about missing capabilities.
var errCaps = errors.New("run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW")

// secbitNoRoot is SECBIT_NOROOT of linux/securebits.h: root is a user like any other.
const secbitNoRoot = 1 << 0

// CheckCaps says which capability the daemon needs and the process does not have.
func CheckCaps() error {
	return checkCaps(needs{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}, needs{"CAP_NET_RAW", unix.CAP_NET_RAW})
}

// CheckListenCaps says the same for a process that only listens.
func CheckListenCaps() error { return checkCaps(needs{"CAP_NET_RAW", unix.CAP_NET_RAW}) }

// needs is a capability.
type needs struct {
	name string
	bit  int
}

func checkCaps(all ...needs) error {
	effective, err := threadCaps("/proc/thread-self/status", "CapEff:")
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range all {
		if effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s missing: %w", strings.Join(missing, " and "), errCaps)
	}
	return nil
}

// DropAmbient makes every thread give up its inheritable capabilities, and with them the ambient ones, so that no
// program that the daemon starts has any. The daemon keeps its own. It is called once, at start.
//
// Go can do this on all threads only in a program without cgo.
func DropAmbient() error {
	inherits, err := anyThreadInherits()
	if err != nil || !inherits {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP:
		return errors.New("drop inheritable capabilities: this program was built with cgo: build it with CGO_ENABLED=0")
	default:
		return fmt.Errorf("drop inheritable capabilities: %w", errno)
	}
}

// rootGives says whether every program that this process executes has its capabilities because it is root's (capabilities(7)).
func rootGives() (bool, error) {
	if os.Geteuid() != 0 {
		return false, nil
	}
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return false, fmt.Errorf("read the secure bits: %w", err)
	}
	return bits&secbitNoRoot == 0, nil
}

// anyThreadInherits reports whether a program started by some thread would get a capability from it.
func anyThreadInherits() (bool, error) {
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return false, fmt.Errorf("list threads: %w", err)
	}
	for _, path := range threads {
		inheritable, err := threadCaps(path, "CapInh:")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has ended
		}
		if err != nil || inheritable != 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// threadCaps reads one set of capabilities from a thread's status file. An ambient capability is always an inheritable
// one too (capabilities(7)), so that CapInh tells of both.
func threadCaps(path, field string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			return strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return 0, fmt.Errorf("read capabilities: %s has no %s", path, field)
}

// raiseAmbient lets a program that this thread executes have the capabilities of the process; lower takes that back. The thread
// must be locked. What root executes has them without, and may be a program that could not drop them again.
func raiseAmbient() (lower func(), err error) {
	if givesAll, err := rootGives(); err != nil || givesAll {
		return func() {}, err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return func() {}, fmt.Errorf("read capabilities: %w", err)
	}
	was := data
	lower = func() {
		_ = unix.Capset(&header, &was[0]) // without the inheritable ones there are no ambient ones
	}
	for k := range data {
		data[k].Inheritable |= data[k].Permitted
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return lower, fmt.Errorf("make capabilities inheritable: %w", err)
	}
	for bit := range 64 {
		if data[bit/32].Permitted&(1<<(bit%32)) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(bit), 0, 0); err != nil {
			return lower, fmt.Errorf("raise ambient capability %d: %w", bit, err)
		}
	}
	return lower, nil
}
