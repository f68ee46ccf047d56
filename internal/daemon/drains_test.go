package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func newDrains(t *testing.T) Drains {
	dir := t.TempDir()
	return Drains{StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run")}
}

// load wants to be told no error.
func load(t *testing.T, d Drains) []string {
	t.Helper()
	names, err := d.Load()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDrainsAreKeptByName(t *testing.T) {
	d := newDrains(t)
	if names := load(t, d); len(names) > 0 {
		t.Errorf("a host that was never drained is drained by %v", names)
	}
	steps := []struct {
		name string
		on   bool
		want []string
	}{
		{"admin", true, []string{"admin"}},
		{"admin", true, []string{"admin"}},
		{"deploy", true, []string{"admin", "deploy"}},
		{nginxStop, true, []string{"admin", "deploy", nginxStop}},
		{"nobody", false, []string{"admin", "deploy", nginxStop}},
		{"admin", false, []string{"deploy", nginxStop}},
		{nginxStop, false, []string{"deploy"}},
		{"deploy", false, nil},
		{"deploy", false, nil},
	}
	for k, s := range steps {
		if err := d.Set(s.name, s.on); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.want, load(t, d)); diff != "" {
			t.Errorf("step %d, %s %t (-want +got):\n%s", k, s.name, s.on, diff)
		}
	}
	for _, dir := range []string{d.StateDir, d.RuntimeDir} {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("%s holds %v, error %v; want nothing", dir, left, err)
		}
	}
}

func TestOnlyTheDrainOfNginxsStopEndsWithTheBoot(t *testing.T) {
	d := newDrains(t)
	for _, name := range []string{"admin", nginxStop} {
		if err := d.Set(name, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(d.RuntimeDir); err != nil { // what a reboot does
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"admin"}, load(t, d)); diff != "" {
		t.Errorf("after a reboot (-want +got):\n%s", diff)
	}
}

// What no undrain would lift drains nobody: a name in the file of the others, which a shadow of an earlier version left there.
func TestDrainsInAnotherFileThanTheirOwnDoNotCount(t *testing.T) {
	d := newDrains(t)
	for _, dir := range []string{d.StateDir, d.RuntimeDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(writeDrains(filepath.Join(d.RuntimeDir, drainsFile), []string{"admin", nginxStop}), writeDrains(filepath.Join(d.StateDir, drainsFile), []string{"deploy", nginxStop}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"deploy", nginxStop}, load(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"deploy", nginxStop} {
		if err := d.Set(name, false); err != nil {
			t.Fatal(err)
		}
	}
	if names := load(t, d); len(names) > 0 {
		t.Errorf("undrained, and still drained by %v", names)
	}
	one := Drains{StateDir: d.RuntimeDir, RuntimeDir: d.RuntimeDir}
	for _, name := range []string{"admin", nginxStop} {
		if err := one.Set(name, true); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"admin", nginxStop}, load(t, one)); diff != "" {
		t.Errorf("with one directory for both (-want +got):\n%s", diff)
	}
}

func TestDrainsOfAShadowAreItsOwn(t *testing.T) {
	d := newDrains(t)
	shadow := d
	shadow.Shadow = true
	for _, x := range []struct {
		set  Drains
		name string
	}{{shadow, "admin"}, {shadow, nginxStop}, {d, "deploy"}} {
		if err := x.set.Set(x.name, true); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"admin", nginxStop}, load(t, shadow)); diff != "" {
		t.Errorf("a shadow's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"deploy"}, load(t, d)); diff != "" {
		t.Errorf("those of who follows it (-want +got):\n%s", diff)
	}
}

func TestUnreadableDrainsMeanDrained(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(path string) error
	}{
		{"half a file", func(path string) error { return os.WriteFile(path, []byte(`{"drains":["adm`), 0o600) }},
		{"an empty file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"a directory in its place", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"a FIFO that nobody writes to", func(path string) error { return unix.Mkfifo(path, 0o600) }},
		{"a file that is too large", func(path string) error {
			return os.WriteFile(path, []byte(`{"drains":[]}`+strings.Repeat(" ", maxDrains)), 0o600)
		}},
		{"a link to what never ends", func(path string) error { return os.Symlink("/dev/zero", path) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDrains(t)
			if err := os.MkdirAll(d.StateDir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(d.StateDir, drainsFile)
			if err := tt.spoil(path); err != nil {
				t.Fatal(err)
			}
			if err := d.Set(nginxStop, true); err != nil {
				t.Fatalf("the other file is not concerned: %v", err)
			}
			names, err := d.Load()
			if diff := cmp.Diff([]string{path, nginxStop}, names); diff != "" {
				t.Errorf("drained by (-want +got):\n%s", diff)
			}
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "counts as drained until the file is repaired or removed") {
				t.Errorf("the error does not say what to do: %v", err)
			}
			if err := d.Set("admin", true); err == nil {
				t.Error("a file that cannot be read was replaced: whose drains were in it?")
			}
		})
	}
}

func TestDrainsOfManyAtOnceAreAllKept(t *testing.T) {
	d := newDrains(t)
	var all sync.WaitGroup
	var want []string
	for k := range 20 {
		name := fmt.Sprintf("who-%02d", k)
		want = append(want, name)
		all.Go(func() {
			if err := d.Set(name, true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if diff := cmp.Diff(want, load(t, d)); diff != "" {
		t.Errorf("drains (-want +got):\n%s", diff)
	}
}

func TestDrainDoesNotWaitForEverForAnotherProcess(t *testing.T) {
	d := newDrains(t)
	if err := os.MkdirAll(d.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(d.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := d.Set("admin", true); err == nil || !strings.Contains(err.Error(), "save drains: lock "+d.StateDir) {
		t.Errorf("error %v", err)
	}
}

func TestDrainThatCannotBeSavedLeavesNothingHalf(t *testing.T) {
	d := newDrains(t)
	if err := d.Set("admin", true); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.StateDir, drainsFile)
	if err := writeDrains(filepath.Join(d.StateDir, "missing", drainsFile), []string{"x"}); err == nil {
		t.Error("written into a directory that is not there")
	}
	if err := os.Mkdir(path+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path+".d", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeDrains(path+".d", []string{"x"}); err == nil {
		t.Error("written over a directory")
	}
	if err := writeDrains(path, []string{strings.Repeat("x", maxDrains)}); err == nil {
		t.Error("written although it could not be read again")
	}
	left, err := filepath.Glob(filepath.Join(d.StateDir, drainsFile+".*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left %v, error %v; want only the directory", left, err)
	}
	if diff := cmp.Diff([]string{"admin"}, load(t, d)); diff != "" {
		t.Errorf("drains (-want +got):\n%s", diff)
	}
}
