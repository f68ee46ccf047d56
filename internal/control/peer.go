package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection, by the kernel's word.
type peer struct {
	pid    int32 // 0: it is in another namespace of processes
	uid    uint32
	groups []uint32
	err    error
	conn   syscall.RawConn
}

// maxGroups bounds the supplementary groups that are asked for; Linux allows 65536.
const maxGroups = 65536

type peerKey struct{}

// withPeer keeps the peer of a connection for its requests.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(c))
}

// peerIn is who makes a request; nobody, where that was not asked: an empty peer would be root.
func peerIn(ctx context.Context) peer {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return peer{err: errors.New("it is not known who asks")}
	}
	return p
}

// peerOf asks the kernel by SO_PEERCRED and SO_PEERGROUPS, which tell the credentials of the connect call.
func peerOf(c net.Conn) peer {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return peer{err: fmt.Errorf("%T is not a unix socket", c)}
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{err: err}
	}
	var p peer
	if err := raw.Control(func(fd uintptr) { p = credentials(int(fd)) }); err != nil {
		return peer{err: err}
	}
	p.conn = raw
	return p
}

// gone says whether who asked has closed the connection. Then the daemon was frozen for longer than anybody waits, and what was wanted
// then may be the last thing that is wanted now.
func (p peer) gone() (gone bool) {
	if p.conn == nil {
		return false
	}
	_ = p.conn.Control(func(fd uintptr) { // else the server has closed it
		at := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(at, 0)
		gone = err == nil && n > 0 && at[0].Revents&unix.POLLHUP != 0
	})
	return gone
}

func credentials(fd int) peer {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{err: fmt.Errorf("ask for the peer's credentials: %w", err)}
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return peer{err: fmt.Errorf("ask for the peer's groups: %w", err)}
	}
	return peer{pid: cred.Pid, uid: cred.Uid, groups: append(groups, cred.Gid)}
}

// peerGroups is getsockopt(SO_PEERGROUPS), which x/sys/unix has no function for.
func peerGroups(fd int) ([]uint32, error) {
	buf := make([]uint32, 64)
	for {
		size := uint32(len(buf) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && len(buf) < maxGroups:
			buf = make([]uint32, min(maxGroups, max(int(size/4), 2*len(buf))))
		case errno != 0:
			return nil, errno
		default:
			return buf[:size/4], nil
		}
	}
}

// maySteer says whether a peer may change what a daemon of the user own does; the error says who may. Its own user can do whatever
// it likes with the daemon anyway.
func (p peer) maySteer(group string, own uint32) error {
	if p.err != nil {
		return p.err
	}
	if p.uid == 0 || p.uid == own {
		return nil
	}
	if group == "" {
		return fmt.Errorf("only root may steer; name a group in control { steer_group = \"...\" } to let its members")
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return fmt.Errorf("only root may steer: steer_group: %w", err)
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("only root may steer: steer_group %q has the id %q: %w", group, g.Gid, err)
	}
	if !slices.Contains(p.groups, uint32(gid)) {
		return fmt.Errorf("only root and the members of group %q may steer", group)
	}
	return nil
}
