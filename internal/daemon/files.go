package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Bounds of watching the configuration.
const (
	// settled is how long the files must rest before they are read: an editor writes in several steps.
	settled = 200 * time.Millisecond
	// restless is how long a file that keeps changing may put that off.
	restless = 2 * time.Second
)

// files watches the directories of the configuration. Directories, since an editor's rename, or a ConfigMap's swap of a
// link, puts another file in the place of the one that was watched. The zero value watches nothing.
type files struct {
	watcher *fsnotify.Watcher
	add     func(dir string) error // the watcher's
	events  <-chan fsnotify.Event
	errors  <-chan error
}

// watchFiles begins to watch. Where the kernel has no watch left, the configuration is reloaded only when asked.
func (d *Daemon) watchFiles() files {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("the configuration's files are not watched: reload by hand (understudy reload), or raise fs.inotify.max_user_instances",
			"error", err)
		d.unwatched.Store(new(err.Error()))
		return files{}
	}
	return files{watcher: w, add: w.Add, events: w.Events, errors: w.Errors}
}

func (f files) close() {
	if f.watcher != nil {
		_ = f.watcher.Close()
	}
}

// follow watches the directories, and no others that are gone from the configuration. It says whether one is new: what
// happened in that before is not known. The error says which could not be watched; one that has just gone is none.
func (f files) follow(dirs map[string]bool) (fresh bool, err error) {
	if f.watcher == nil {
		return false, nil
	}
	watched := map[string]bool{}
	for _, dir := range f.watcher.WatchList() {
		watched[dir] = true
		if !dirs[dir] {
			_ = f.watcher.Remove(dir) // gone meanwhile
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		// Also those that are watched: another directory may be in the old one's place.
		switch wrong := f.add(dir); {
		case wrong == nil:
			fresh = fresh || !watched[dir]
		case errors.Is(wrong, fs.ErrNotExist):
			fresh = true // where it was to be found is another place now
		default:
			err = cmp.Or(err, fmt.Errorf("watch %s: %w", dir, wrong))
		}
	}
	return fresh, err
}

// follow brings the watching to the configuration of now. What cannot be watched is said once, and shown by status.
func (d *Daemon) follow(f files) (fresh bool) {
	fresh, err := f.follow(d.directories())
	if f.watcher == nil {
		return false
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != *d.unwatched.Load() && err != nil {
		d.log.Warn("not all of the configuration's files are watched: reload by hand (understudy reload), or raise fs.inotify.max_user_watches", "error", err)
	}
	d.unwatched.Store(&text)
	return fresh
}

// directories are those whose changes may concern the configuration: of what was named, of what the running one was read from, and
// of what the newest files refer to, which may be rejected only because something is missing there.
func (d *Daemon) directories() map[string]bool {
	dirs := map[string]bool{}
	for _, path := range d.opts.Paths {
		for _, p := range []string{path, filepath.Join(path, "checks.d"), filepath.Join(path, "conf.d")} {
			onTheWay(dirs, p)
		}
	}
	for _, path := range slices.Concat(d.cfg.Load().Files, d.looked) {
		onTheWay(dirs, path)
	}
	return dirs
}

// stamps tells what the configuration is read from apart from what lies there at another instant: its files, and the directories, where
// one may be added.
func (d *Daemon) stamps() map[string]string {
	stamps := map[string]string{}
	stamp := func(path string) bool {
		is, err := os.Stat(path)
		if err != nil {
			return false
		}
		inode := uint64(0)
		if sys, ok := is.Sys().(*syscall.Stat_t); ok {
			inode = sys.Ino
		}
		stamps[path] = fmt.Sprint(inode, is.Size(), is.ModTime().UnixNano())
		return is.IsDir()
	}
	for _, path := range d.opts.Paths {
		for _, dir := range []string{path, filepath.Join(path, "checks.d"), filepath.Join(path, "conf.d")} {
			if !stamp(dir) {
				continue
			}
			entries, _ := os.ReadDir(dir) // what cannot be read says so when it is loaded
			for _, e := range entries {
				stamp(filepath.Join(dir, e.Name()))
			}
		}
	}
	for _, path := range d.cfg.Load().Files {
		stamp(path)
	}
	return stamps
}

// maxLinks is how many links the kernel follows on the way to a file.
const maxLinks = 40

// onTheWay adds the directories in which a change can put something else at a path: that of each link on the way to it, the
// one that it is in, itself if it is one, and while it is missing the last one that is there, or the one above a directory that may
// not be searched. One that others may write to is added too: for that a path may be refused, until its mode is another.
func onTheWay(dirs map[string]bool, path string) {
	path, err := filepath.Abs(path)
	if err != nil {
		return
	}
	at, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0 && links <= maxLinks; {
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		switch {
		case err == nil && info.Mode()&os.ModeSymlink != 0:
			dirs[at] = true
			links++
			target, err := os.Readlink(next)
			if err != nil {
				return // it has just gone: its directory is watched
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		case err == nil && info.IsDir():
			if len(rest) == 0 || writableByOthers(info.Mode()) {
				dirs[at] = true
			}
			at = next
		case errors.Is(err, fs.ErrPermission):
			dirs[filepath.Dir(at)] = true
			return
		default: // a file, or nothing
			dirs[at] = true
			return
		}
	}
	dirs[at] = true
}

// writableByOthers leaves out what is a directory for everybody, such as /tmp.
func writableByOthers(mode fs.FileMode) bool {
	return mode&0o022 != 0 && mode&fs.ModeSticky == 0
}

// relevant leaves out what changes no content; but a configuration may be rejected only because others may read a key.
func (d *Daemon) relevant(ev fsnotify.Event) bool {
	return ev.Op&^fsnotify.Chmod != 0 || d.loaded.Load().Rejected != ""
}

// runReload reloads when asked, and when something changes in a watched directory.
func (d *Daemon) runReload(ctx context.Context) error {
	f := d.watchFiles()
	defer f.close()
	timer := time.NewTimer(settled)
	defer timer.Stop()
	var latest time.Time // when a change is heeded at the latest; zero: none is pending
	// What changes while a directory is not watched yet is seen by reading once more afterwards.
	changed := func() {
		now := time.Now()
		if latest.IsZero() {
			latest = now.Add(restless)
		}
		timer.Reset(min(settled, latest.Sub(now)))
	}
	timer.Stop()
	if d.follow(f) {
		changed()
	}
	for {
		select {
		case r := <-d.reloads:
			done, err := d.reload(ctx, askedFor)
			r.answer <- reloadAnswer{done, err}
		case answer := <-d.reexecs:
			answer <- d.reexec(ctx)
		case ev := <-f.events:
			if d.relevant(ev) {
				changed()
			}
			continue
		case err := <-f.errors:
			d.log.Warn("watch the configuration's files", "error", err)
			changed() // events may be lost
			continue
		case <-timer.C:
			latest = time.Time{}
			if d.follow(f) {
				changed()
			}
			if d.cfg.Load().Reload.Watch {
				_, _ = d.reload(ctx, fileChanged) // reload has logged it
			}
		case <-ctx.Done():
			return nil
		}
		if d.follow(f) {
			changed()
		}
	}
}
