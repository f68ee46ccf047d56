package mechanisms

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestUnknown tells that a host whose checks have no verdict yet takes no part, and that a check which cannot run is a bad one.
func TestUnknown(t *testing.T) {
	t.Parallel()
	scripts := commandtest.Dir(t)
	// The first run waits for the test.
	commandtest.Script(t, scripts, "slow", `until [ -e "$1/go" ]; do sleep 0.02; done`)
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Scripts: scripts, VIPs: map[string]time.Duration{web4.String(): every},
		Config: instance(`advertise_interval = "200ms"`) + page + `
check "script" "slow" {
  command  = ["SCRIPTS/slow", "LAB/${hostname}"]
  interval = "10s"
  timeout  = "10s"
  rise     = 1
  fall     = 1
}
`,
	})
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	verdict := func(h *pairtest.Server) func() error {
		return func() error { return os.WriteFile(filepath.Join(h.Dir(), "go"), nil, 0o644) }
	}
	t.Run("without a verdict it takes no part", func(t *testing.T) {
		wire := capture(t, c.User, "ip proto 112")
		c.Start(t)
		state(t, lb1, node.Init, `check "slow"`, moveBound)
		pairtest.Until(t, time.Now().Add(1500*time.Millisecond)) // twice a Master_Down_Interval
		c.Only(t, "", time.Millisecond)
		if n := len(seen(t, wire, "vrid 71")); n > 0 {
			t.Errorf("%d adverts before a verdict", n)
		}
		// The worse host knows first: it does not wait for the better one.
		pairtest.Step(t, verdict(lb2))
		c.Only(t, "lb2", moveBound)
		state(t, lb1, node.Init, "", time.Second)
		from := pairtest.Step(t, verdict(lb1))
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("a script that is gone fails", func(t *testing.T) {
		less := instance(`advertise_interval = "200ms"`) + page + strings.ReplaceAll(switched("app", ""), "/usr/bin/test", "SCRIPTS/test")
		commandtest.Script(t, scripts, "test", `true`)
		for _, h := range c.Hosts {
			before := h.Logged(reloaded)
			pairtest.Step(t, func() error { h.Configure(t, less); return nil })
			h.SaysAgain(t, reloaded, before, moveBound)
		}
		c.Settled(t, "lb1")
		pairtest.Step(t, func() error { return os.Remove(filepath.Join(scripts, "test")) })
		lb1.Says(t, `unhealthy: check=app why="[^"]*no such file`, moveBound)
		// It is gone on both hosts: the address rests where it is, and is served.
		labtest.Eventually(t, moveBound, func() (bool, string) { return status(t, lb2).Priority == 1, "lb2 counts as healthy" })
		labtest.Eventually(t, moveBound, func() (bool, string) { return len(c.Owners.Owners(web4)) == 1, "the address has gone" })
	})
}
