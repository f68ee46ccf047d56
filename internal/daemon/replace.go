package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/linux"
)

// replaceFile puts another file in the place of one in a single step: whoever looks finds the old one or the new one, and if it is
// durable, so does who looks after a power cut.
func replaceFile(path string, content []byte, mode fs.FileMode, durable bool) (err error) {
	next := path + ".new"
	// What lies there is of a process that died, or a link of whoever may write here: root does, too, and follows none.
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil && durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if durable {
		return syncDir(path)
	}
	return nil
}

// syncDir makes durable what a directory says of a file. A file system that cannot do so for directories does what it can.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// writeJSON replaces a file of the runtime directory.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return replaceFile(path, append(b, '\n'), 0o600, false)
}

// saveJSON replaces a file of the state directory.
func saveJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replaceFile(path, append(b, '\n'), 0o600, true)
}

// readJSON leaves v as it is where there is no file.
func readJSON(path string, v any) error {
	b, err := linux.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
