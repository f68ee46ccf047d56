package daemon

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/config"
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
		{
			"a key whose directory is made later", "etc/understudy.hcl",
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "etc", "understudy.hcl"), text(150)) },
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), signed(120, "../var/keys/web.key"))
				time.Sleep(2 * settled) // long enough to be rejected
				write(t, filepath.Join(dir, "var", "keys", "web.key"), keyText)
			},
		},
		{
			"a key that others could read at first", "etc/understudy.hcl",
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), text(150))
				write(t, filepath.Join(dir, "keys", "web.key"), keyText)
				chmod(t, filepath.Join(dir, "keys", "web.key"), 0o644)
			},
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), signed(120, "../keys/web.key"))
				time.Sleep(2 * settled) // long enough to be rejected
				chmod(t, filepath.Join(dir, "keys", "web.key"), 0o600)
			},
		},
		{
			"a key in a directory that others could write at first", "etc/understudy.hcl",
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), text(150))
				write(t, filepath.Join(dir, "keys", "web.key"), keyText)
				chmod(t, filepath.Join(dir, "keys"), 0o777)
			},
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), signed(120, "../keys/web.key"))
				time.Sleep(2 * settled) // long enough to be rejected
				chmod(t, filepath.Join(dir, "keys"), 0o755)
			},
		},
		{
			"what the function file reads, made later", "etc/understudy.hcl",
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "etc", "understudy.hcl"), text(150)) },
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), strings.Replace(text(150), "150", `trimspace(file("../var/lib/priority"))`, 1))
				time.Sleep(2 * settled) // long enough to be rejected
				write(t, filepath.Join(dir, "var", "lib", "priority"), "120\n")
			},
		},
		{
			"a fragment's link that leads nowhere at first", "etc",
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "conf.d", "web.hcl"), text(150))
				write(t, filepath.Join(dir, "etc", "understudy.hcl"), tcpCheck)
				write(t, filepath.Join(dir, "srv", "app", "other"), "")
			},
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "etc", "conf.d", "web.hcl"), text(120))
				link(t, "../../srv/app/x.hcl", filepath.Join(dir, "etc", "conf.d", "x.hcl"))
				time.Sleep(2 * settled) // long enough to be rejected
				write(t, filepath.Join(dir, "srv", "app", "x.hcl"), "# nothing yet\n")
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := commandtest.Dir(t) // for the keys
			tt.before(t, dir)
			r := newReloading(t, filepath.Join(dir, tt.path))
			tt.change(t, dir)
			eventually(t, "the change is followed", func() bool { return r.priority() == 120 && r.loaded.Load().Rejected == "" })
			// And the next one too: what is watched is what is there now.
			path := filepath.Join(dir, tt.path)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				path = filepath.Join(path, "understudy.hcl")
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), "conf.d")); err != nil { // else the priority is there
				write(t, path, text(110))
				eventually(t, "the next change is followed", func() bool { return r.priority() == 110 })
			}
		})
	}
}

const keyText = "0123456789abcdef0123456789abcdef\n"

// signed is text with a key.
func signed(priority int, key string) string {
	return strings.TrimSuffix(text(priority), "}\n") + "  auth {\n    active = 1\n    key \"1\" {\n      file = \"" + key + "\"\n    }\n  }\n}\n"
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
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

// A directory that goes and comes back, and a link somewhere on the way, are followed too.
func TestDirectoriesAndLinksOnTheWayAreFollowed(t *testing.T) {
	releases := func(t *testing.T, dir, to string) {
		write(t, filepath.Join(dir, "releases", "r1", "understudy.hcl"), text(150))
		write(t, filepath.Join(dir, "releases", "r2", "understudy.hcl"), text(120))
		link(t, "r1", filepath.Join(dir, "releases", "current"))
		if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		link(t, to, filepath.Join(dir, "etc", filepath.Base(to)))
	}
	swap := func(t *testing.T, dir string) {
		link(t, "r2", filepath.Join(dir, "releases", "next"))
		rename(t, filepath.Join(dir, "releases", "next"), filepath.Join(dir, "releases", "current"))
	}
	t.Run("a link in the middle, to a file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		releases(t, dir, "../releases/current/understudy.hcl")
		r := newReloading(t, filepath.Join(dir, "etc"))
		swap(t, dir)
		eventually(t, "the new priority counts", func() bool { return r.priority() == 120 })
	})
	t.Run("a link in the middle, to a directory", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		releases(t, dir, "../releases/current")
		r := newReloading(t, filepath.Join(dir, "etc", "current"))
		swap(t, dir)
		eventually(t, "the new priority counts", func() bool { return r.priority() == 120 })
	})
	t.Run("a directory that goes, with the one above, and comes back", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path := filepath.Join(dir, "above", "etc", "understudy.hcl")
		write(t, path, text(150))
		r := newReloading(t, path)
		if err := os.RemoveAll(filepath.Join(dir, "above")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what is missing is rejected", func() bool { return r.loaded.Load().Rejected != "" })
		write(t, path, text(120))
		eventually(t, "the new priority counts", func() bool { return r.priority() == 120 && r.loaded.Load().Rejected == "" })
	})
}

// TestOnTheWay: what refuses a path may be a directory's mode, which shows in the directory above.
func TestOnTheWay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "opt", "checks", "bin", "check")
	write(t, path, "")
	watched := func() (names []string) {
		dirs := map[string]bool{}
		onTheWay(dirs, path)
		for name := range dirs {
			names = append(names, strings.TrimPrefix(name, dir))
		}
		slices.Sort(names)
		return names
	}
	if diff := cmp.Diff([]string{"/opt/checks/bin"}, watched()); diff != "" {
		t.Errorf("nothing is wrong (-want +got):\n%s", diff)
	}
	chmod(t, filepath.Join(dir, "opt", "checks"), 0o777)
	if diff := cmp.Diff([]string{"/opt", "/opt/checks/bin"}, watched()); diff != "" {
		t.Errorf("others may write to a directory (-want +got):\n%s", diff)
	}
	chmod(t, filepath.Join(dir, "opt", "checks"), 0o700)
	chmod(t, filepath.Dir(dir), 0o755)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	if err := unix.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	got := watched()
	if err := unix.Setfsuid(os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/opt"}, got); diff != "" {
		t.Errorf("a directory may not be searched (-want +got):\n%s", diff)
	}
}

// What a reload that changes nothing read from other files is watched from then on.
func TestFilesThatChangeNothingAreFollowed(t *testing.T) {
	t.Run("a new fragment that holds nothing yet", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, filepath.Join(dir, "etc", "conf.d", "check.hcl"), tcpCheck)
		write(t, filepath.Join(dir, "etc", "understudy.hcl"), text(150))
		r := newReloading(t, filepath.Join(dir, "etc"))
		write(t, filepath.Join(dir, "srv", "x.hcl"), "# nothing yet\n")
		link(t, "../../srv/x.hcl", filepath.Join(dir, "etc", "conf.d", "x.hcl"))
		if got, err := r.ask(t); err != nil || got.Changed {
			t.Fatalf("the empty fragment: %+v, %v", got, err)
		}
		time.Sleep(2 * settled) // what changed until now is read
		write(t, filepath.Join(dir, "srv", "x.hcl"), "log {\n  level = \"warn\"\n}\n")
		eventually(t, "the fragment's change is followed", func() bool { return r.cfg.Load().Log.Level == "warn" })
	})
	t.Run("another file of the same content", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path := filepath.Join(dir, "etc", "understudy.hcl")
		from := func(name string) string {
			return strings.Replace(text(150), "150", `trimspace(file("../`+name+`"))`, 1)
		}
		write(t, filepath.Join(dir, "a", "priority"), "150\n")
		write(t, filepath.Join(dir, "b", "priority"), "150\n")
		write(t, path, from("a/priority"))
		r := newReloading(t, path)
		write(t, path, from("b/priority"))
		if got, err := r.ask(t); err != nil || got.Changed {
			t.Fatalf("the other file: %+v, %v", got, err)
		}
		time.Sleep(2 * settled) // what changed until now is read
		write(t, filepath.Join(dir, "b", "priority"), "120\n")
		eventually(t, "the other file's change is followed", func() bool { return r.priority() == 120 })
	})
}

// A watch that the kernel refuses is said once, and shown.
func TestWhatIsNotWatchedIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "understudy.hcl")
	write(t, path, text(150))
	log := &logs{}
	d := newDaemon(&config.Config{}, Options{Paths: []string{path}, Log: hclog.New(&hclog.LoggerOptions{Output: log, DisableTime: true})})
	close(d.ended)
	f := d.watchFiles()
	defer f.close()
	works := f.add
	f.add = func(string) error { return syscall.ENOSPC }
	want := "watch " + filepath.Dir(path) + ": no space left on device"
	for range 2 {
		d.follow(f)
		if got := d.Report().Config.Unwatched; got != want {
			t.Errorf("unwatched %q, want %q", got, want)
		}
	}
	if n := strings.Count(log.String(), "max_user_watches"); n != 1 {
		t.Errorf("said %d times", n)
	}
	f.add = works
	if d.follow(f); d.Report().Config.Unwatched != "" {
		t.Error("it is watched again, and shown as if not")
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
	if fresh, err := f.follow(map[string]bool{"/": true}); fresh || err != nil {
		t.Errorf("a directory is watched by nobody: %v, %v", fresh, err)
	}
	f.close()
	select {
	case <-f.events:
		t.Error("an event of nobody")
	default:
	}
}
