package linux

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// past is a deadline that ends a blocked read at once.
var past = time.Unix(1, 0)

// Timer is one deadline, kept by the kernel in a timerfd. A timer of the Go runtime is late by up to a millisecond once
// every goroutine sleeps, because the netpoller waits in whole milliseconds; a readable descriptor wakes it precisely.
//
// The clock is CLOCK_MONOTONIC, which like Go's own monotonic reading stands still while the host is suspended: after
// a resume the deadline is as far off as it was before. CLOCK_BOOTTIME would fire at once instead, for intervals that
// nobody measured on that clock; whether a host slept is asked elsewhere, before it acts.
type Timer struct {
	file *os.File
	raw  syscall.RawConn
	tick chan struct{}
}

// NewTimer makes a timer with no deadline set.
func NewTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timerfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("create timerfd: %w", abandon(err, file))
	}
	return &Timer{file: file, raw: raw, tick: make(chan struct{}, 1)}, nil
}

// Set moves the deadline to at, an instant with a monotonic reading; one that has passed ticks at once. It may be
// called from any goroutine, also before Run.
func (t *Timer) Set(at time.Time) error {
	d := max(time.Until(at), time.Nanosecond) // zero would disarm the timer
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	var setErr error
	err := t.raw.Control(func(fd uintptr) {
		setErr = unix.TimerfdSettime(int(fd), 0, &spec, nil)
	})
	if err == nil {
		err = setErr
	}
	if err != nil {
		return fmt.Errorf("set timerfd: %w", err)
	}
	return nil
}

// C delivers a tick at the deadline. Ticks that nobody took are one tick, and one may belong to a deadline that has
// been moved since: the receiver compares the clock with what it waits for.
func (t *Timer) C() <-chan struct{} { return t.tick }

// Run delivers the ticks until ctx ends.
func (t *Timer) Run(ctx context.Context) error {
	stop := endReads(ctx, t.file)
	defer stop()
	var expirations [8]byte
	for {
		_, err := t.file.Read(expirations[:])
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read timerfd: %w", err)
		}
		select {
		case t.tick <- struct{}{}:
		default:
		}
	}
}

// Close releases the descriptor. Run must have ended.
func (t *Timer) Close() error { return t.file.Close() }
