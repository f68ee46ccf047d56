// Package commandtest helps tests that run real scripts through package command, which refuses those in /tmp.
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
	// A process forked while the file is open for writing would make its execution fail with ETXTBSY.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatalf("write script: %v", err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatalf("write script: %v", err)
	}
	return path
}
