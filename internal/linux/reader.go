package linux

import (
	"errors"
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
