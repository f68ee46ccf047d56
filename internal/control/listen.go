package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// lockName is the file whose lock a daemon holds as long as it lives. The socket alone does not show that: a daemon
	// that is stopped, or whose queue of connections is full, answers nobody and still holds its addresses.
	lockName = "daemon.lock"
	// maxPath is the longest path of a unix socket (unix(7): 108 bytes with the final zero).
	maxPath = 107
)

// lockDir makes the runtime directory and takes it for this process. The lock ends with the file, so also with the
// process, however that ends; no child inherits it.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make runtime directory: %w", err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock runtime directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("another daemon runs with the runtime directory %s; use another --runtime-dir", dir)
	case err != nil:
		err = fmt.Errorf("lock runtime directory: %s: %w", path, err)
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// listen makes the socket in place of one that a dead daemon left. The directory is locked.
func listen(path string) (*net.UnixListener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket %s: the path of a socket has at most %d bytes; use a shorter --runtime-dir", path, maxPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	old := unix.Umask(0o117) // never open to others, not even for an instant
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if g, err := user.LookupGroup(socketGroup); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // not root: the socket has the daemon's own group already
		}
	}
	return l, nil
}
