package linux

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// leastCharge is less than what the kernel charges a socket's buffer with for any packet: its own notes on one are larger.
const leastCharge = 512

// Mark is an instant in the life of a socket: how far its reader is when it has delivered what the socket held then. Either
// count shows it.
type Mark struct{ emptied, delivered uint64 }

// progress is a socket, and how far its reader is. It may be asked from any goroutine.
type progress struct {
	what string // the socket, in errors
	raw  syscall.RawConn
	// holds is how many packets the socket holds at most.
	holds uint64
	// reading is set before the reader looks for a packet, and cleared after it delivered one, or counted that there was none.
	reading atomic.Bool
	// emptied counts how often the reader found the socket empty, delivered the packets that it is done with.
	emptied, delivered atomic.Uint64
}

// attach begins it for a socket, whose buffer it measures.
func (p *progress) attach(socket syscall.Conn, what, ifName string) (err error) {
	p.what = fmt.Sprintf("%s on %q", what, ifName)
	if p.raw, err = socket.SyscallConn(); err != nil {
		return err
	}
	return control(p.raw, func(fd int) error {
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
	p.emptied.Add(1)
	p.reading.Store(false)
}

// Mark takes note of an instant, for Passed. It may be called from any goroutine.
func (p *progress) Mark() Mark {
	waiting := p.waiting() // before the count of what was delivered: what comes out in between is waited for, and not forgotten
	looks := uint64(0)
	if p.reading.Load() { // it may just have found the socket empty, or have a packet, which is not counted yet
		looks = 1
	}
	// The order matters: a look that begins from here on counts.
	return Mark{p.emptied.Load() + looks + 1, p.delivered.Load() + waiting + 1}
}

// waiting is how many packets may wait in the socket now: as many as its buffer is charged for, which the kernel says first of all that
// it says of a socket's memory (SK_MEMINFO_RMEM_ALLOC of sock_diag(7)).
func (p *progress) waiting() uint64 {
	most := p.holds
	_ = control(p.raw, func(fd int) error {
		charged, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MEMINFO)
		if err == nil { // Linux before 4.12 does not say it
			most = min(most, uint64(charged)/leastCharge)
		}
		return err
	})
	return most
}

// Passed reports whether deliver has returned for every packet that had arrived by an instant. Under a flood Pending may be true
// for ever. It may be called from any goroutine.
func (p *progress) Passed(m Mark) (bool, error) {
	// The counts show it: the socket was empty since, or as much came out of it as it held.
	if p.emptied.Load() >= m.emptied || p.delivered.Load() >= m.delivered {
		return true, nil
	}
	waits, err := p.Pending()
	return err == nil && !waits, err
}

// Pending reports whether packets have arrived that Run has not delivered yet: in the socket, or between the socket
// and the return of deliver. It may be called from any goroutine.
//
// When it returns false, deliver has returned for every packet that had arrived before the call. So a loop that woke
// late waits until it is false, then takes what deliver left for it, and only then believes its timer.
func (p *progress) Pending() (bool, error) {
	var queued bool
	// The order matters: a packet that has left the socket before this look at it set reading before.
	err := control(p.raw, func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			n, err = 1, nil // not known: ask again
		}
		queued = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("poll %s: %w", p.what, err)
	}
	return queued || p.reading.Load(), nil
}
