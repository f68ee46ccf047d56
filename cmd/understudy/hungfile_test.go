package main

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// hold keeps everybody who opens a file waiting until the test ends, as a file server does that is gone.
func hold(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		t.Skipf("this kernel cannot hold who opens a file: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) }) // and lets them go
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM, unix.AT_FDCWD, path); err != nil {
		t.Skipf("this kernel cannot hold who opens a file: %v", err)
	}
}

// TestStopWhileAFileHangs: the service manager kills what takes its whole time to stop, and the cleanup after it has less.
func TestStopWhileAFileHangs(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	daemon := s.start()
	s.await(exitOK)
	hold(t, s.conf)
	s.signal(daemon, syscall.SIGHUP)
	s.signal(daemon, syscall.SIGTERM)
	if err := s.ends(daemon); err != nil {
		t.Errorf("it ends with %v", err)
	}
	s.holds(false)
	s.logged(daemon, "has not come back")
}
