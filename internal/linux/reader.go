package linux

import (
	"errors"
	"fmt"
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

// leastCharge is less than what the kernel charges a socket's buffer with for any packet: its own notes on one are larger.
const leastCharge = 512

// Mark is an instant in the life of a socket: how far its reader is when it has delivered what the socket held then. Either
// count shows it.
type Mark struct{ emptied, delivered uint64 }

// progress is how far the reader of a socket is. It may be asked from any goroutine.
type progress struct {
	// holds is how many packets the socket holds at most.
	holds uint64
	// reading is set before a packet leaves the socket and cleared after it was delivered.
	reading atomic.Bool
	// emptied counts how often the reader found the socket empty, delivered the packets that it is done with.
	emptied, delivered atomic.Uint64
}

// measure takes note of the size of the socket's buffer.
func (p *progress) measure(raw syscall.RawConn) error {
	return control(raw, func(fd int) error {
		size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		if err != nil {
			return fmt.Errorf("ask for the size of the receive buffer: %w", err)
		}
		p.holds = uint64(size/leastCharge) + 1 // the last one may reach beyond
		return nil
	})
}

// done takes note that the reader has finished with a packet.
func (p *progress) done() {
	p.delivered.Add(1)
	p.reading.Store(false)
}

// empty takes note that the reader found nothing.
func (p *progress) empty() {
	p.reading.Store(false)
	p.emptied.Add(1)
}

// mark is this instant. The reader may just have found the socket empty, or one packet may have left it, without being counted.
func (p *progress) mark() Mark {
	return Mark{p.emptied.Load() + 2, p.delivered.Load() + p.holds + 1}
}

// passed says whether the counts show that all is delivered that had arrived by the mark: the socket was empty since, or as much
// came out of it as it can hold.
func (p *progress) passed(m Mark) bool {
	return p.emptied.Load() >= m.emptied || p.delivered.Load() >= m.delivered
}

// pending says whether a socket holds packets, or its reader one that it has not delivered yet.
func (p *progress) pending(raw syscall.RawConn) (bool, error) {
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
	return queued || p.reading.Load(), err
}
