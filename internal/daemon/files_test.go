package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFilesAreFollowed(t *testing.T) {
	// Each test begins with priority 150 and a path, and changes the files so that it becomes 120.
	tests := []struct {
		name   string
		path   string
		before func(t *testing.T, dir string)
		change func(t *testing.T, dir string)
	}{
		{
			"written in place", "understudy.hcl",
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "understudy.hcl"), text(150)) },
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "understudy.hcl"), text(120)) },
		},
		{
			"renamed into place by an editor", "understudy.hcl",
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "understudy.hcl"), text(150)) },
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "understudy.hcl~"), text(120))
				rename(t, filepath.Join(dir, "understudy.hcl~"), filepath.Join(dir, "understudy.hcl"))
			},
		},
		{
			"a ConfigMap's swap of a link", ".",
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "..v1", "understudy.hcl"), text(150))
				link(t, "..v1", filepath.Join(dir, "..data"))
				link(t, "..data/understudy.hcl", filepath.Join(dir, "understudy.hcl"))
			},
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "..v2", "understudy.hcl"), text(120))
				link(t, "..v2", filepath.Join(dir, "..data_tmp"))
				rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
			},
		},
		{
			"another directory in its place", "etc",
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "etc", "understudy.hcl"), text(150)) },
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "new", "understudy.hcl"), text(120))
				rename(t, filepath.Join(dir, "etc"), filepath.Join(dir, "old"))
				rename(t, filepath.Join(dir, "new"), filepath.Join(dir, "etc"))
			},
		},
		{
			"a fragment in a directory that was not there", "etc",
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), tcpCheck)
				write(t, filepath.Join(dir, "etc", "conf.d", "web.hcl"), text(150))
			},
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "conf.d", "web.hcl"), text(120))
				write(t, filepath.Join(dir, "etc", "checks.d", "more.hcl"), strings.ReplaceAll(tcpCheck, "listener", "more"))
			},
		},
		{
			"broken, then mended", "understudy.hcl",
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "understudy.hcl"), text(150)) },
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "understudy.hcl"), badText)
				time.Sleep(2 * settled) // long enough to be read, or not: both are well
				write(t, filepath.Join(dir, "understudy.hcl"), text(120))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tt.before(t, dir)
			r := newReloading(t, filepath.Join(dir, tt.path))
			tt.change(t, dir)
			eventually(t, "the change is followed", func() bool { return r.priority() == 120 && r.loaded.Load().Rejected == "" })
			// And the next one too: what is watched is what is there now.
			path := filepath.Join(dir, tt.path)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				path = filepath.Join(path, "understudy.hcl")
			}
			if tt.name != "a fragment in a directory that was not there" {
				write(t, path, text(110))
				eventually(t, "the next change is followed", func() bool { return r.priority() == 110 })
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestWatchCanBeTurnedOffAndOnAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150, noWatch))
	r := newReloading(t, path)
	write(t, path, text(120, noWatch))
	time.Sleep(restless) // nothing may happen in this time
	if r.priority() != 150 {
		t.Fatal("reloaded, although watch is false")
	}
	write(t, path, text(120))
	if _, err := r.ask(t); err != nil {
		t.Fatal(err)
	}
	write(t, path, text(110))
	eventually(t, "the change is followed once watch is true", func() bool { return r.priority() == 110 })
}

// A file that is written all the time is read all the same.
func TestRestlessFileIsReadInTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150))
	r := newReloading(t, path)
	write(t, path, text(120))
	deadline := time.Now().Add(bound)
	for r.priority() != 120 {
		if time.Now().After(deadline) {
			t.Fatal("never read")
		}
		write(t, filepath.Join(filepath.Dir(path), "noise"), "x")
		time.Sleep(settled / 10)
	}
}

// Where the kernel has no watch left, the daemon reloads when it is asked.
func TestWithoutWatchesReloadWorks(t *testing.T) {
	var f files
	if f.follow(map[string]bool{"/": true}) {
		t.Error("a directory is watched by nobody")
	}
	f.close()
	select {
	case <-f.events:
		t.Error("an event of nobody")
	default:
	}
}
