package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// report is what the daemon's status says as JSON.
func (s *single) report() (r node.Report) {
	s.t.Helper()
	_, out := s.command("status", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Logf("status: %v: %s", err, out)
	}
	return r
}

// compared waits until a shadow agrees with its host, or differs.
func (s *single) compared(agrees bool, why string) {
	s.t.Helper()
	labtest.Eventually(s.t, hostBound, func() (bool, string) {
		r := s.report()
		if r.Node == nil || len(r.Node.Instances) != 1 || r.Node.Instances[0].Compared == nil {
			return false, "no comparison"
		}
		c := r.Node.Instances[0].Compared
		return c.Agrees == agrees && strings.Contains(c.Why, why), fmt.Sprintf("%+v, want agrees %t: %s", c, agrees, why)
	})
}

// TestShadow tells of a shadow beside a daemon of the same host: it judges it, is steered like one, and changes nothing.
func TestShadow(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	shadow := *s
	shadow.run = "shadow"
	other := s.start()
	s.await(exitOK)
	addresses, err := s.host.Exec(t.Context(), "ip", "-o", "address", "show")
	if err != nil {
		t.Fatal(err)
	}
	watching := shadow.start("--shadow")

	t.Run("it agrees, and says what it would do", func(t *testing.T) {
		shadow.compared(true, "this host advertises priority 150")
		for _, text := range []string{"would become master: instance=web from=backup", "would set an address: instance=web address=" + hostVIP, "would run a hook: hook=tell instance=web state=master",
			"this host's own adverts over IPv4 are what would be sent; the same: version, priority, interval, addresses, source, MAC, destination, TTL, checksum, auth: instance=web"} {
			shadow.logged(watching, text)
		}
		shadow.expect(exitOK, "SHADOW: it sends nothing", "status")
		i := shadow.report().Node.Instances[0]
		if i.Holding || i.Confirmed || i.Routers[0].Own == nil || i.Routers[0].Own.Priority != 150 || len(i.Routers[0].Own.Differs) > 0 {
			t.Errorf("status %+v", i)
		}
	})
	t.Run("a drain only changes what it would do", func(t *testing.T) {
		shadow.expect(exitOK, "drained: this host held no address", "drain")
		shadow.compared(false, "would be leaving with priority 1 (drained by admin), and this host advertises priority 150")
		s.expect(exitOK, "priority   150 = 150 base", "status", "web")
		if _, err := os.Stat(filepath.Join(s.host.Dir(), "state", "drains.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the other daemon would be drained at its next start: %v", err)
		}
		shadow.expect(exitOK, "undrained", "undrain")
		shadow.compared(true, "")
	})
	t.Run("a reload too", func(t *testing.T) {
		s.configure(120)
		shadow.expect(exitOK, "instance web changed", "reload")
		shadow.expect(exitOK, "differs    priority 150, here 120: write priority = 150 for this host", "status")
		s.expect(exitOK, "priority   150 = 150 base", "status", "web")
	})
	t.Run("it ends at once, and nothing has changed", func(t *testing.T) {
		shadow.signal(watching, syscall.SIGTERM)
		if err := shadow.ends(watching); err != nil {
			t.Error(err)
		}
		after, err := s.host.Exec(t.Context(), "ip", "-o", "address", "show")
		if err != nil || withoutLifetimes(after) != withoutLifetimes(addresses) {
			t.Errorf("addresses were\n%s\nand are\n%s\n%v", addresses, after, err)
		}
		if told, err := os.ReadFile(filepath.Join(s.host.Dir(), "told")); err != nil || string(told) != "master\n" {
			t.Errorf("hooks were told %q, %v; want only what the other daemon told", told, err)
		}
		for _, name := range []string{"held.json", "instances.json"} {
			if _, err := os.Stat(filepath.Join(s.host.Dir(), "shadow", name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v, want none: a cleanup has nothing to do", name, err)
			}
		}
	})
	t.Run("it outlives what it judges", func(t *testing.T) {
		watching = shadow.start("--shadow")
		shadow.compared(true, "")
		s.signal(other, syscall.SIGTERM)
		if err := s.ends(other); err != nil {
			t.Error(err)
		}
		shadow.compared(false, "this host gave the addresses up (priority 0)")
		shadow.logged(watching, "differs from this host's own adverts: instance=web")
		s.holds(false)
	})
}

// TestShadowAndWhatFollows tells of a shadow that is tried with the directories of the daemon which is to follow it, as the defaults are:
// its drains are its own, over its restarts too, and that daemon's are not seen by it.
func TestShadowAndWhatFollows(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	ended := func(p *netlab.Proc) {
		t.Helper()
		s.signal(p, syscall.SIGTERM)
		if err := s.ends(p); err != nil {
			t.Error(err)
		}
	}
	shadow := s.start("--shadow")
	s.await(exitOK)
	for _, name := range []string{"admin", "nginx-stop"} {
		s.expect(exitOK, "drained", "drain", "--for", name)
	}
	ended(shadow)
	shadow = s.start("--shadow")
	s.logged(shadow, "started as a shadow")
	s.expect(exitOK, "DRAINED by admin, nginx-stop", "status")
	ended(shadow)

	daemon := s.start()
	s.await(exitOK)
	s.holds(true)
	s.expect(exitOK, "priority   150 = 150 base", "status", "web")
	s.expect(exitNobodyTook, "nobody took over web", "drain", "--for", "upgrade")
	ended(daemon)
	shadow = s.start("--shadow")
	s.logged(shadow, "started as a shadow")
	s.expect(exitOK, "undrained; still drained by nginx-stop", "undrain")
	s.expect(exitOK, "undrained\n", "undrain", "--for", "nginx-stop")
	ended(shadow)
	s.expect(exitOK, "still drained by upgrade", "undrain")
}

// withoutLifetimes leaves out what goes down with each second.
func withoutLifetimes(addresses string) string {
	var kept []string
	for line := range strings.Lines(addresses) {
		fields, _, _ := strings.Cut(line, `\`)
		kept = append(kept, fields)
	}
	return strings.Join(kept, "\n")
}
