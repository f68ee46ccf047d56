package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/linux"
)

// nginxStop is the drain of nginx's own planned stop. It must not outlive a reboot: it lives in the runtime directory.
const nginxStop = "nginx-stop"

// drainsFile is the saved set's name in either directory, shadowDrainsFile that of a shadow's.
const (
	drainsFile       = "drains.json"
	shadowDrainsFile = "shadow-drains.json"
)

// maxDrains bounds what is read of a saved set: names are short, and few people drain a host at once.
const maxDrains = 1 << 20

// Drains is the saved set of drains. The daemon and, without one, the commands change it.
type Drains struct {
	StateDir, RuntimeDir string
	// Shadow says that they are a shadow's, which are none of a daemon that comes after it with the same directories.
	Shadow bool
}

// drainSet is the file.
type drainSet struct {
	Drains []string `json:"drains"`
}

// path is the file in which a name is kept.
func (d Drains) path(name string) string {
	switch {
	case d.Shadow:
		return filepath.Join(d.RuntimeDir, shadowDrainsFile)
	case name == nginxStop:
		return filepath.Join(d.RuntimeDir, drainsFile)
	default:
		return filepath.Join(d.StateDir, drainsFile)
	}
}

// Load reads the files. One that cannot be read means drained: its own path stands in the set then, and the error says
// what to do. A name in another file than its own does not count: no undrain would lift it.
func (d Drains) Load() ([]string, error) {
	var names []string
	var errs []error
	for _, path := range slices.Compact([]string{d.path(""), d.path(nginxStop)}) {
		set, err := readDrains(path)
		if err != nil {
			names = append(names, path)
			errs = append(errs, fmt.Errorf("%w; this host counts as drained until the file is repaired or removed and the daemon restarted", err))
		}
		names = append(names, slices.DeleteFunc(set, func(name string) bool { return d.path(name) != path })...)
	}
	slices.Sort(names)
	return slices.Compact(names), errors.Join(errs...)
}

// Set adds or removes a name, atomically and durably. Of several processes and goroutines at once, each is heeded.
func (d Drains) Set(name string, on bool) error {
	path := d.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save drains: %w", err)
	}
	unlock, err := lockDrains(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	names, err := readDrains(path)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	if on {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) > 0 {
		return writeDrains(path, names)
	}
	err = os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = linux.SyncDir(path)
	}
	if err != nil {
		return fmt.Errorf("save drains: %w", err)
	}
	return nil
}

// Bounds of waiting for another process that changes the set; it needs milliseconds.
const (
	drainsLockBound = 2 * time.Second
	drainsLockPoll  = 10 * time.Millisecond
)

// lockDrains keeps others from changing the sets of a directory until unlock is called.
func lockDrains(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("save drains: %w", err)
	}
	for deadline := time.Now().Add(drainsLockBound); ; time.Sleep(drainsLockPoll) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR), time.Now().After(deadline):
			return nil, errors.Join(fmt.Errorf("save drains: lock %s: %w", dir, err), f.Close())
		}
	}
}

func readDrains(path string) ([]string, error) {
	// Root reads it too, in a directory that belongs to the daemon's user: opening what else could lie there must not wait.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read drains: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("read drains: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read drains: %s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDrains+1))
	if err != nil {
		return nil, fmt.Errorf("read drains: %w", err)
	}
	if len(b) > maxDrains {
		return nil, fmt.Errorf("read drains: %s has more than %d bytes", path, maxDrains)
	}
	var set drainSet
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("read drains: %s: %w", path, err)
	}
	return set.Drains, nil
}

// writeDrains replaces the file, which others may read.
func writeDrains(path string, names []string) error {
	b, err := json.Marshal(drainSet{names})
	if err != nil {
		return fmt.Errorf("save drains: %w", err)
	}
	if len(b) >= maxDrains {
		return fmt.Errorf("save drains: %d names are more than %d bytes", len(names), maxDrains)
	}
	if err := linux.ReplaceFile(path, append(b, '\n'), 0o644, true); err != nil {
		return fmt.Errorf("save drains: %w", err)
	}
	return nil
}
