// Package commandtest helps tests that run real scripts through package command, which refuses those in /tmp, and programs as other
// users.
package commandtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Dir makes a directory that only the user who runs the test can write, on its whole way, and that every user can
// enter if root runs the test. It is removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	parent := "/run"
	if os.Geteuid() != 0 {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatalf("a directory for scripts: %v", err)
		}
		parent = home
	}
	dir, err := os.MkdirTemp(parent, "understudy-test-")
	if err != nil {
		t.Fatalf("a directory for scripts: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the directory for scripts: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatalf("a directory for scripts: %v", err)
	}
	return dir
}

// Script writes an executable /bin/sh script into dir and returns its path.
func Script(t testing.TB, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	write(t, path, []byte("#!/bin/sh\n"+body))
	return path
}

// Self copies the program of the test into dir, where any user may run it, and returns the copy's path.
func Self(t testing.TB, dir, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("copy this program: %v", err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatalf("copy this program: %v", err)
	}
	path := filepath.Join(dir, name)
	write(t, path, text)
	return path
}

// write makes a file that can be executed.
func write(t testing.TB, path string, text []byte) {
	t.Helper()
	// A process forked while the file is open for writing would make its execution fail with ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatalf("write program: %v", err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatalf("write program: %v", err)
	}
}
