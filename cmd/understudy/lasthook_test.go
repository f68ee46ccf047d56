package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// The configuration of a host that has a second instance, with hooks of its own, and the one without it. TELL stands for what a
// script says.
const (
	withOther = `
instance "other" {
  interface          = "eth0"
  vrid               = 72
  priority           = 150
  addresses          = ["192.0.2.20"]
  advertise_interval = "100ms"
}
notify "script" "both" {
  on        = ["master", "stop"]
  instances = ["web", "other"]
  command   = ["/bin/sh", "-c", "TELL", "both"]
}
notify "script" "own" {
  on        = ["stop"]
  instances = ["other"]
  command   = ["/bin/sh", "-c", "TELL", "own"]
}
`
	withoutOther = `
notify "script" "both" {
  on        = ["master", "stop"]
  instances = ["web"]
  command   = ["/bin/sh", "-c", "TELL", "both"]
}
`
)

// saying has the scripts of a configuration add a line to a file: who runs it, by which hook, for whom.
func saying(config, file string) string {
	return strings.ReplaceAll(config, "TELL", `echo $(id -un) $0 $2 $3 >>`+file)
}

// bothMasters waits until a file says that both instances are master, and removes it.
func bothMasters(t *testing.T, file string) {
	t.Helper()
	labtest.Eventually(t, hostBound, func() (bool, string) {
		text, _ := os.ReadFile(file)
		return strings.Count(string(text), "root both") == 2, fmt.Sprintf("told\n%s", text)
	})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

// hears waits until a file says so much and no more.
func hears(t *testing.T, file string, want ...string) {
	t.Helper()
	labtest.Eventually(t, hostBound, func() (bool, string) {
		text, _ := os.ReadFile(file)
		return strings.TrimSpace(string(text)) == strings.Join(want, "\n"), fmt.Sprintf("told\n%s\nwant\n%s", text, strings.Join(want, "\n"))
	})
}

// TestTheLastHookOfARemovedInstance: the files name neither the instance nor its hook any more when it has handed over.
func TestTheLastHookOfARemovedInstance(t *testing.T) {
	t.Parallel()
	t.Run("run by the daemon", func(t *testing.T) {
		t.Parallel()
		s := newSingle(t, 150)
		told := filepath.Join(s.host.Dir(), "last")
		basic, err := os.ReadFile(s.conf)
		if err != nil {
			t.Fatal(err)
		}
		s.write(string(basic) + saying(withOther, told))
		s.start()
		bothMasters(t, told)
		s.write(string(basic) + saying(withoutOther, told))
		s.expect(exitOK, "", "reload")
		hears(t, told, "root both other STOP", "root own other STOP")
	})
	t.Run("run by the helper", func(t *testing.T) {
		t.Parallel()
		labtest.Require(t, "setpriv")
		u := newUnprivileged(t, "")
		told := filepath.Join(u.dir, "last")
		u.configure(saying(withOther, told))
		u.listen()
		p := u.start()
		bothMasters(t, told)
		u.configure(saying(withoutOther, told))
		if out, err := u.host.Exec(t.Context(), u.program, "reload", "--runtime-dir", filepath.Join(u.dir, "own", "run")); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		hears(t, told, "root both other STOP", "root own other STOP")
		if log := p.Output(); strings.Contains(log, "hook failed") || strings.Contains(log, "the helper does not know the configuration") {
			t.Error("the log complains")
		}
		u.ends(p)
	})
}
