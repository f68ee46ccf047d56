package command_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/internal/command/commandtest"
)

// TestMayRead: what another user may read is what the kernel lets it, by owner, group and the directories on the way; and this process goes
// on as itself.
func TestMayRead(t *testing.T) {
	needRoot(t)
	const uid, gid = 1, 1 // daemon's
	dir := commandtest.Dir(t)
	tests := []struct {
		name         string
		mode, way    os.FileMode
		uid, gid     int
		may, missing bool
	}{
		{"everybody's", 0o644, 0o755, 0, 0, true, false},
		{"root's", 0o600, 0o755, 0, 0, false, false},
		{"its own", 0o600, 0o755, uid, 0, true, false},
		{"its group's", 0o640, 0o755, 0, gid, true, false},
		{"another group's", 0o640, 0o755, 0, 0, false, false},
		{"in a directory that is closed", 0o644, 0o700, 0, 0, false, false},
		{"one that is missing", 0, 0o755, 0, 0, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			way := filepath.Join(dir, tt.name)
			path := filepath.Join(way, "file")
			if err := os.Mkdir(way, 0o755); err != nil {
				t.Fatal(err)
			}
			if !tt.missing {
				err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, tt.uid, tt.gid), os.Chmod(path, tt.mode))
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(way, tt.way); err != nil {
				t.Fatal(err)
			}
			err := command.MayRead(path, "daemon")
			if (err == nil) != tt.may || !tt.may && errors.Is(err, fs.ErrPermission) == tt.missing {
				t.Errorf("MayRead: %v, want it to be nil: %t", err, tt.may)
			}
			if err := command.MayRead(path, ""); err != nil {
				t.Errorf("as this user, who need not be asked about: %v", err)
			}
			if _, err := os.ReadFile(path); (err != nil) != tt.missing {
				t.Errorf("this process itself: %v", err)
			}
		})
	}
	if err := command.MayRead(dir, "nosuchuser"); err == nil || err.Error() != `user "nosuchuser" does not exist on this host` {
		t.Errorf("a user that does not exist: %v", err)
	}
}
