package door

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/command"
)

// peerOf is the user at the other end of a connection, by the kernel's word at its connect call.
func peerOf(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}

// mayAsk refuses everybody but root and the daemon's user.
func mayAsk(uid uint32, daemonUser string) error {
	if uid == 0 {
		return nil
	}
	own, err := command.UID(daemonUser)
	if err != nil {
		return fmt.Errorf("%s may not ask: only root and the daemon's user may, and %w", command.UserName(uid), err)
	}
	if uid != own {
		return fmt.Errorf("%s may not ask: only root and %s may", command.UserName(uid), command.UserName(own))
	}
	return nil
}
