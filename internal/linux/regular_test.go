package linux

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAFIFOHoldsNobody: whoever may write in the runtime directory must not be able to stop root's cleanup.
func TestAFIFOHoldsNobody(t *testing.T) {
	for name, open := range map[string]func(dir string) error{
		HeldName:     func(dir string) error { _, _, err := newHeldFile(dir).read(); return err },
		MacvlansName: func(dir string) error { _, err := openMacvlanBook(dir); return err },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() { read <- open(dir) }()
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
		})
	}
	if _, err := ReadRegular(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
}
