package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAFIFOHoldsNoCleanup: the daemon's user may write in the runtime directory, and must not be able to stop root's cleanup.
func TestAFIFOHoldsNoCleanup(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, instancesFile)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { _, err := loadInstances(dir); read <- err }()
	select {
	case err := <-read:
		if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Errorf("error %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for somebody who writes there")
		if w, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			_ = w.Close()
		}
	}
}
