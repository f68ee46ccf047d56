package control

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKernelWithoutMemory: a connection that the kernel has no memory for is no reason to end a daemon, and with it its mastership.
func TestKernelWithoutMemory(t *testing.T) {
	dir := runtimeDir(t)
	s, err := Listen(dir, "", &fakeDaemon{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	short := []error{unix.ENOMEM, unix.ENOBUFS}
	accept := s.listener.accept
	s.listener.accept = func() (net.Conn, error) {
		if len(short) > 0 {
			errno := short[0]
			short = short[1:]
			return nil, &net.OpError{Op: "accept", Net: "unix", Err: os.NewSyscallError("accept4", errno)}
		}
		return accept()
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	asked, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if _, err := Dial(dir).Report(asked); err != nil {
		t.Errorf("nobody answers after it: %v", err)
	}
	end()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the control socket ended: %v", err)
		}
	case <-time.After(bound):
		t.Error("it does not end")
	}
}
