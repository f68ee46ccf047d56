package linux

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// channel is two ends of datagrams, closed at the test's end.
func channel(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	return fds[0], fds[1]
}

// TestGateIsToldOnce holds that the kernel says nothing of what comes after the first packet, until the gate is asked again, and that
// then nothing is missed.
func TestGateIsToldOnce(t *testing.T) {
	at, from := channel(t)
	g := must(newGate(at))
	defer g.Close()
	told := func() int {
		var events [1]unix.EpollEvent
		var n int
		if err := control(g.raw, func(epoll int) (err error) { n, err = unix.EpollWait(epoll, events[:], 0); return err }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	write := func() { must(unix.Write(from, []byte{1})) }
	waited := make(chan error, 1)
	go func() { waited <- g.wait() }()
	write()
	if err := receive(t, waited); err != nil {
		t.Fatal(err)
	}
	write()
	if n := told(); n > 0 {
		t.Error("a packet was told of although nobody waits")
	}
	if err := g.wait(); err != nil { // both are still there
		t.Fatal(err)
	}
}

// TestGateEndsItsWait by a deadline, after which it can be used again, and when it is closed.
func TestGateEndsItsWait(t *testing.T) {
	at, from := channel(t)
	g := must(newGate(at))
	ctx, cancel := context.WithCancel(t.Context())
	stop := endReads(ctx, g)
	waited := make(chan error, 1)
	wait := func() { waited <- g.wait() }
	go wait()
	cancel()
	if err := receive(t, waited); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after its deadline: %v", err)
	}
	stop()
	defer endReads(t.Context(), g)()
	must(unix.Write(from, []byte{1}))
	if err := g.wait(); err != nil {
		t.Error(err)
	}
	must(unix.Read(at, make([]byte, 1)))
	go wait()
	g.Close()
	if err := receive(t, waited); err == nil {
		t.Error("a gate that was closed says that something came")
	}
}

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	type look struct {
		at      time.Duration
		packets int
		want    bool
	}
	tests := []struct {
		name  string
		looks []look
	}{
		{"now and then one", []look{{0, 1, false}, {ms, 1, false}, {2 * ms, 1, false}, {30 * ms, 1, false}}},
		{"a burst", []look{{0, highTide, true}, {ms, 1, true}, {tide, 0, true}, {2 * tide, 0, false}}},
		{"a burst long ago", []look{{0, highTide, true}, {2 * tide, 1, false}}},
		{"many single ones", []look{{0, highTide - 1, false}, {ms, 1, true}}},
		{"a flood, from its second tide on at once", []look{{0, highTide, true}, {tide, 1, true}, {tide + ms, highTide, true}, {2 * tide, 1, true}}},
		{"a flood that ends", []look{{0, highTide, true}, {tide, 1, true}, {2 * tide, 1, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			begin := time.Now()
			for _, l := range tt.looks {
				if got := p.flooded(begin.Add(l.at), l.packets); got != l.want {
					t.Errorf("%d packets after %s: flood %t, want %t", l.packets, l.at, got, l.want)
				}
			}
		})
	}
}
