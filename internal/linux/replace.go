package linux

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReplaceFile puts another file in the place of one in a single step: whoever looks finds the old one or the new one, and if it is
// durable, so does who looks after a power cut.
func ReplaceFile(path string, content []byte, mode fs.FileMode, durable bool) (err error) {
	next := path + ".new"
	// What lies there is of a process that died, or a link of whoever may write here: root does, too, and follows none.
	if err := unix.Unlink(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &os.PathError{Op: "unlink", Path: next, Err: err}
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
		return SyncDir(path)
	}
	return nil
}

// SyncDir makes durable what a directory says of a file. A file system that cannot do so for directories does what it can.
func SyncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, unix.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
