package linux

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gate waits until a socket holds something. Go's own poller is told of each packet that arrives, whether or not anybody waits for
// one, and wakes a thread for it: under a flood that costs several times what it costs to read them. From one packet on until it is asked again
// the kernel says nothing more to a gate.
//
// The socket must not be known to Go's poller, and must be closed after the gate.
type gate struct {
	epoll  *os.File
	raw    syscall.RawConn
	socket int
	look   func(epoll uintptr) bool
	err    error // of the last look
}

func newGate(socket int) (*gate, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// Go's poller takes what is made a file of, if it does not block.
	err = os.NewSyscallError("fcntl", unix.SetNonblock(epoll, true))
	g := &gate{epoll: os.NewFile(uintptr(epoll), "epoll"), socket: socket}
	if err == nil {
		err = os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, socket, &unix.EpollEvent{Events: once}))
	}
	if err == nil {
		g.raw, err = g.epoll.SyscallConn()
	}
	if err != nil {
		return nil, abandon(err, g.epoll)
	}
	var events [1]unix.EpollEvent
	g.look = func(epoll uintptr) bool {
		var n int
		n, g.err = unix.EpollWait(int(epoll), events[:], 0)
		return n > 0 || g.err != nil && !errors.Is(g.err, unix.EINTR)
	}
	return g, nil
}

// once is what the kernel tells a gate of: that there is something to read, one time. An error is told in any case.
const once = unix.EPOLLIN | unix.EPOLLONESHOT

// wait returns when the socket holds something, at once if it does already.
func (g *gate) wait() error {
	err := control(g.raw, func(epoll int) error {
		return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_MOD, g.socket, &unix.EpollEvent{Events: once}))
	})
	if err != nil {
		return err
	}
	if err := g.raw.Read(g.look); err != nil {
		return fmt.Errorf("wait for packets: %w", err)
	}
	return os.NewSyscallError("epoll_wait", g.err)
}

// SetReadDeadline ends a wait; see endReads.
func (g *gate) SetReadDeadline(t time.Time) error { return g.epoll.SetReadDeadline(t) }

// Close ends a wait, and releases what the gate has.
func (g *gate) Close() error { return g.epoll.Close() }

const (
	// A socket that gives so many packets within a tide is flooded. (255 masters of the usual interval have a twentieth of it.)
	tide, highTide = 10 * time.Millisecond, 64
	// ebb is how long the reader of a flooded socket leaves it alone when it has read it dry: what comes meanwhile waits in a buffer that
	// holds many times as much.
	ebb = time.Millisecond
)

// pace is how fast a socket's packets come.
type pace struct {
	since   time.Time
	packets int
	flood   bool // in the tide before
}

// flooded takes note of how many packets came since it was asked last, and says whether that is a flood.
func (p *pace) flooded(now time.Time, packets int) bool {
	if gone := now.Sub(p.since); gone >= tide {
		p.flood = p.packets >= highTide && gone < 2*tide
		p.since, p.packets = now, 0
	}
	p.packets += packets
	return p.flood || p.packets >= highTide
}
