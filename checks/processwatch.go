package checks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// rewatch is how soon a directory that cannot be watched, because it is not there yet, is tried again.
const rewatch = time.Second

// Watch calls changed when the process that the last run found exits, and when its pid file changes.
func (c *processChecker) Watch(ctx context.Context, changed func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.watchExit(ctx, changed) })
	if c.pidFile != "" {
		g.Go(func() error {
			c.watchFile(ctx, changed)
			return nil
		})
	}
	return g.Wait()
}

// watchExit follows the process that was last found.
func (c *processChecker) watchExit(ctx context.Context, changed func()) error {
	var watched process
	exited := make(chan error, 1) // the end of the one wait that is under way
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-exited:
			watched, stop = process{}, func() {}
			if err != nil {
				return err
			}
			changed()
		case p := <-c.found:
			if p.same(watched) {
				continue
			}
			stop()
			w, err := openPIDFD(p.pid)
			if err != nil {
				return err
			}
			// It may have ended, and its pid been given away, since it was found.
			if now, err := readProcess(c.root, p.pid); w == nil || err != nil || !now.same(p) {
				closePIDFD(w)
				watched, stop = process{}, func() {}
				changed()
				continue
			}
			watched = p
			exited = make(chan error, 1)
			stop = follow(w, exited)
		}
	}
}

// follow waits for the process of a pidfd to exit and says so on exited; stop ends the wait, and waits for that.
func follow(w *os.File, exited chan<- error) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer closePIDFD(w)
		exited <- waitReadable(w)
	}()
	return func() {
		_ = w.SetReadDeadline(time.Unix(1, 0))
		<-done
	}
}

// openPIDFD opens a process so that Go's poller can wait for its exit; nil if there is no such process.
func openPIDFD(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH || err == unix.EINVAL {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("watch pid %d for its exit: %w", pid, err)
	}
	// The flag tells os.NewFile to use the poller; PIDFD_NONBLOCK would need Linux 5.10.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch pid %d for its exit: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid)), nil
}

func closePIDFD(w *os.File) {
	if w != nil {
		_ = w.Close()
	}
}

// waitReadable waits until a pidfd is readable, which is when its process has exited.
func waitReadable(w *os.File) error {
	raw, err := w.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.Name(), err)
	}
	err = raw.Read(func(fd uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 0)
		return err == nil && n > 0
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.Name(), err)
	}
	return nil
}

// watchFile watches the directory of the pid file, since the file itself is made anew at each start. What prevents it
// is shown with the check's results and tried again: the exit of the process is seen all the same.
func (c *processChecker) watchFile(ctx context.Context, changed func()) {
	for {
		err := c.watchDirectory(ctx, changed)
		if ctx.Err() != nil {
			return
		}
		text := err.Error()
		c.blind.Store(&text)
		if !sleep(ctx, rewatch) {
			return
		}
	}
}

func (c *processChecker) watchDirectory(ctx context.Context, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	dir := filepath.Dir(c.pidFile)
	if err := w.Add(dir); err != nil {
		return err
	}
	c.blind.Store(nil)
	changed() // for what happened before
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-w.Events:
			switch {
			case !ok:
				return fsnotify.ErrClosed
			case ev.Name == dir && ev.Has(fsnotify.Remove|fsnotify.Rename):
				changed()
				return fmt.Errorf("%s was removed", dir)
			case (ev.Name == c.pidFile || ev.Name == c.pidFile+oldSuffix) && ev.Op != fsnotify.Chmod:
				changed()
			}
		case err, ok := <-w.Errors:
			if !ok {
				return fsnotify.ErrClosed
			}
			changed() // events may have been lost
			return err
		}
	}
}
