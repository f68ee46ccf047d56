package linux

import (
	"errors"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// reader waits for packets on a socket. What a read needs of memory is allocated once, with the reader: a flood of packets
// makes no garbage.
type reader struct {
	raw syscall.RawConn
	try func(fd uintptr) bool
	n   int
	err error
}

// newReader makes a reader whose packets are taken by receive, which does not wait.
func newReader(raw syscall.RawConn, receive func(fd int) (int, error)) *reader {
	r := &reader{raw: raw}
	r.try = func(fd uintptr) bool {
		r.n, r.err = receive(int(fd))
		for errors.Is(r.err, unix.EINTR) {
			r.n, r.err = receive(int(fd))
		}
		return !errors.Is(r.err, unix.EAGAIN)
	}
	return r
}

// next waits for one packet and returns its length.
func (r *reader) next() (int, error) {
	if err := r.raw.Read(r.try); err != nil {
		return 0, err
	}
	return r.n, r.err
}

// pending says whether a socket holds packets, or its reader one that it has not delivered yet.
func pending(raw syscall.RawConn, reading *atomic.Bool) (bool, error) {
	var queued bool
	// The order matters: a packet that has left the socket before this look at it set reading before.
	err := control(raw, func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			n, err = 1, nil // not known: ask again
		}
		queued = n > 0
		return err
	})
	return queued || reading.Load(), err
}
