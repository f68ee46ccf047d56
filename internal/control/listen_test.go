package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A cleanup and a daemon are never at work at once: both write the list of held addresses, and both would speak.
func TestCleanupAndDaemonKeepEachOtherOut(t *testing.T) {
	dir := runtimeDir(t)
	cleanup, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, refused := range map[string]func() error{
		"another cleanup":             func() error { _, err := Lock(dir); return err },
		"a daemon that waits in vain": func() error { _, err := lockDir(dir, 2*cleanupPoll, nil); return err },
	} {
		if err := refused(); err == nil || err.Error() != "a cleanup is at work in the runtime directory "+dir+": try again when it has ended" {
			t.Errorf("%s: %v", name, err)
		}
	}
	type listened struct {
		s   *Server
		err error
	}
	daemon, told := make(chan listened, 1), make(chan time.Duration, 10)
	go func() {
		s, err := Listen(dir, "", &fakeDaemon{}, func(most time.Duration) { told <- most })
		daemon <- listened{s, err}
	}()
	select {
	case most := <-told:
		if most != cleanupBound {
			t.Errorf("it says that it waits for %s", most)
		}
	case d := <-daemon:
		t.Fatalf("a daemon runs beside the cleanup without a word (%v)", d.err)
	}
	select {
	case d := <-daemon:
		t.Fatalf("a daemon runs beside the cleanup (%v)", d.err)
	case <-time.After(5 * cleanupPoll):
	}
	if err := cleanup.Close(); err != nil {
		t.Fatal(err)
	}
	d := <-daemon
	if d.err != nil {
		t.Fatal(d.err)
	}
	if len(told) > 0 {
		t.Error("it says more than once that it waits")
	}
	if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), "another daemon runs") {
		t.Errorf("a cleanup beside a daemon: %v", err)
	}
	if _, err := lockDir(dir, time.Hour, func(time.Duration) { t.Error("a second daemon waits") }); err == nil || !strings.Contains(err.Error(), "another daemon runs") {
		t.Errorf("a second daemon: %v", err)
	}
	if err := d.s.Close(); err != nil {
		t.Error(err)
	}
}

// The directory belongs to the daemon's user, and root cleans up there by hand: a link must not lead its pen.
func TestTheLockFollowsNoLink(t *testing.T) {
	dir := runtimeDir(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if lock, err := Lock(dir); err == nil {
		_ = lock.Close()
		t.Error("it takes a link for its file")
	}
	if got, err := os.ReadFile(other); err != nil || string(got) != "another's" {
		t.Errorf("what the link leads to holds %q, %v", got, err)
	}
}
