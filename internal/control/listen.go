package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockName is the file whose lock a daemon holds as long as it lives. The socket alone does not show that: a daemon
	// that is stopped, or whose queue of connections is full, answers nobody and still holds its addresses.
	lockName = "daemon.lock"
	// socketMode keeps the socket to the daemon's user and the group that may steer.
	socketMode = 0o660
	// maxPath is the longest path of a unix socket (unix(7): 108 bytes with the final zero).
	maxPath = 107
)

const (
	// cleaning is what the lock's file says while a cleanup has it.
	cleaning = "cleanup"
	// cleanupBound is how long a daemon that starts waits for a cleanup, which takes 18 s at most. cleanupPoll is how often it looks.
	cleanupBound = 20 * time.Second
	cleanupPoll  = 20 * time.Millisecond
	// dyingBound is how long a daemon that was killed may keep the lock: the kernel closes its files when the last of its threads has ended.
	dyingBound = time.Second
)

// Lock takes the runtime directory for a cleanup, until the file is closed. No daemon and no other cleanup may have it; a
// daemon that is started meanwhile waits.
func Lock(runtimeDir string) (io.Closer, error) {
	f, err := lockDir(runtimeDir, 0, nil)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte(cleaning), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock runtime directory: %w", err), f.Close())
	}
	return f, nil
}

// lockDir makes the runtime directory and takes it for this process; for a cleanup that has it, it waits up to a bound, and says so
// first. The lock ends with the file, so also with the process, however that ends; no child inherits it.
func lockDir(dir string, wait time.Duration, waits func(most time.Duration)) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make runtime directory: %w", err)
	}
	path := filepath.Join(dir, lockName)
	// The directory belongs to the daemon's user, and root comes here too, with a cleanup by hand: it must write where no link leads.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock runtime directory: %w", err)
	}
	for began := time.Now(); ; time.Sleep(cleanupPoll) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			err = f.Truncate(0) // a cleanup that was killed may have left its word
		}
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			err = fmt.Errorf("lock runtime directory: %s: %w", path, err)
		case !heldByCleanup(f) && time.Since(began) < dyingBound: // or a cleanup that has not said so yet
			continue
		case !heldByCleanup(f):
			err = fmt.Errorf("another daemon runs with the runtime directory %s: stop that one first", dir)
		case time.Since(began) < wait:
			if waits != nil {
				waits(wait)
			}
			waits = nil // it was said
			continue
		default:
			err = fmt.Errorf("a cleanup is at work in the runtime directory %s: try again when it has ended", dir)
		}
		return nil, errors.Join(err, f.Close())
	}
}

// heldByCleanup says whether it is a cleanup that has the lock.
func heldByCleanup(f *os.File) bool {
	word := make([]byte, len(cleaning))
	n, _ := f.ReadAt(word, 0)
	return string(word[:n]) == cleaning
}

// listen makes the socket in place of one that a dead daemon left. The directory is locked.
func listen(path string) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket %s: the path of a socket has at most %d bytes; use a shorter --runtime-dir", path, maxPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // what the umask took from the group
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	if g, err := user.LookupGroup(socketGroup); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // not root: the socket has the daemon's own group already
		}
	}
	return l.(*net.UnixListener), nil
}

// private makes sockets that are never open to others, not even for an instant: unix_bind gives the file the mode that the socket has
// before. (A umask is the whole process's, whatever else makes files meanwhile.)
var private = net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
	var err error
	if ctlErr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), socketMode) }); ctlErr != nil {
		return ctlErr
	}
	return err
}}
