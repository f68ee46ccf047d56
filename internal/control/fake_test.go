package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// bound is how long a test waits for what should come at once.
const bound = 10 * time.Second

// fakeDaemon answers with its fields; one that is nil is an error.
type fakeDaemon struct {
	report  func() node.Report
	drain   func(ctx context.Context, name string) (node.Drained, error)
	undrain func(ctx context.Context, name string) error
	reload  func(ctx context.Context) (node.Reloaded, error)
	reexec  func(ctx context.Context) error
}

var _ Daemon = (*fakeDaemon)(nil)

var errUnasked = errors.New("the test asked for none of this")

func (f *fakeDaemon) Report() node.Report {
	if f.report == nil {
		return node.Report{Node: &node.Status{Node: "lb1"}}
	}
	return f.report()
}

func (f *fakeDaemon) Drain(ctx context.Context, name string) (node.Drained, error) {
	if f.drain == nil {
		return node.Drained{}, errUnasked
	}
	return f.drain(ctx, name)
}

func (f *fakeDaemon) Undrain(ctx context.Context, name string) error {
	if f.undrain == nil {
		return errUnasked
	}
	return f.undrain(ctx, name)
}

func (f *fakeDaemon) Reload(ctx context.Context) (node.Reloaded, error) {
	if f.reload == nil {
		return node.Reloaded{}, errUnasked
	}
	return f.reload(ctx)
}

func (f *fakeDaemon) Reexec(ctx context.Context) error {
	if f.reexec == nil {
		return errUnasked
	}
	return f.reexec(ctx)
}

// runtimeDir makes a directory whose path leaves room for a socket's, which t.TempDir's may not.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve runs a server on a directory until the returned function is called, at the latest at the test's end.
func serve(t *testing.T, dir, steerGroup string, d Daemon) (*Server, func()) {
	t.Helper()
	s, err := Listen(dir, steerGroup, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(bound):
			t.Error("the server does not end")
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// gone says whether a directory has no socket.
func gone(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, socketName))
	return errors.Is(err, os.ErrNotExist)
}
