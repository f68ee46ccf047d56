package daemon

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
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
	events  <-chan fsnotify.Event
	errors  <-chan error
}

// watchFiles begins to watch. Where the kernel has no watch left, the configuration is reloaded only when asked.
func (d *Daemon) watchFiles() files {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("the configuration's files are not watched: reload by hand (understudy reload), or raise fs.inotify.max_user_instances",
			"error", err)
		return files{}
	}
	return files{watcher: w, events: w.Events, errors: w.Errors}
}

func (f files) close() {
	if f.watcher != nil {
		_ = f.watcher.Close()
	}
}

// follow watches the directories, and no others that are gone from the configuration. It says whether one is new: what
// happened in that before is not known. A directory that is missing is watched once it is there; its parent is, till then.
func (f files) follow(dirs map[string]bool) (fresh bool) {
	if f.watcher == nil {
		return false
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
		if err := f.watcher.Add(dir); err == nil && !watched[dir] {
			fresh = true
		}
	}
	return fresh
}

// directories are those whose changes may concern the configuration: of what was named, of what was read.
func (d *Daemon) directories() map[string]bool {
	dirs := map[string]bool{}
	for _, path := range d.opts.Paths {
		for _, dir := range []string{filepath.Dir(filepath.Clean(path)), filepath.Clean(path), filepath.Join(path, "checks.d"), filepath.Join(path, "conf.d")} {
			dirs[dir] = true
		}
	}
	cfg := d.cfg.Load()
	read := slices.Clone(cfg.SecretFiles)
	for _, s := range cfg.Sources {
		read = append(read, s.Path)
	}
	for _, path := range read {
		dirs[filepath.Dir(path)] = true
		if target, err := filepath.EvalSymlinks(path); err == nil {
			dirs[filepath.Dir(target)] = true
		}
	}
	return dirs
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
	if f.follow(d.directories()) {
		changed()
	}
	for {
		select {
		case r := <-d.reloads:
			done, err := d.reload(ctx, r.why)
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
			f.follow(d.directories())
			if d.cfg.Load().Reload.Watch {
				_, _ = d.reload(ctx, "a file changed") // reload has logged it
			}
		case <-ctx.Done():
			return nil
		}
		if f.follow(d.directories()) {
			changed()
		}
	}
}
