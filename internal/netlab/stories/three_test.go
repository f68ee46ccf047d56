package stories

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

var (
	trio4 = netip.MustParseAddr("10.0.0.100")
	trio6 = netip.MustParseAddr("fd00::100")
)

var trioShape = pairtest.Shape{
	Hosts: []string{"lb1", "lb2", "lb3"},
	VIPs:  map[string]time.Duration{trio4.String(): 10 * time.Millisecond, trio6.String(): 20 * time.Millisecond},
	Config: `
instance "web" {
  interface          = "eth0"
  vrid               = 1
  priority           = { lb1 = 150, lb2 = 120, lb3 = 119 }[hostname]
  addresses          = ["10.0.0.100", "fd00::100"]
  advertise_interval = "200ms"
}
check "process" "nginx" {
  pid_file = "LAB/${hostname}/nginx/nginx.pid"
}
check "http" "page" {
  url      = "http://127.0.0.1/healthz"
  interval = "400ms"
}
`,
}

// TestThreeHosts tells that the best of the rest takes over, whose rival is one step below it.
func TestThreeHosts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, trioShape, nil)
	c.Start(t)
	c.Settled(t, "lb1")
	lb1, lb2, lb3 := c.Get("lb1"), c.Get("lb2"), c.Get("lb3")

	t.Run("the master is stopped", func(t *testing.T) {
		from := time.Now()
		lb1.Stop(t)
		c.Only(t, "lb2", 2*time.Second)
		ends(t, c, from, "lb2", pairtest.Lingers)
		for _, vip := range c.VIPs {
			c.Unharmed(t, vip, from, time.Now().Add(150*time.Millisecond), 0)
		}
	})
	t.Run("nginx of the next is killed", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return lb2.Nginx.Kill(t.Context()) })
		c.Only(t, "lb3", 2*time.Second)
		ends(t, c, from, "lb3", pairtest.Lingers)
		c.Outage(t, trio4, from, noise, "lb3")
		c.Outage(t, trio6, from, noise, "lb3")
	})
	t.Run("the better ones come back", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return lb2.Nginx.Start(t.Context()) })
		c.Only(t, "lb2", pairtest.SettleBound)
		ends(t, c, from, "lb2", pairtest.Lingers)
		from = pairtest.Step(t, func() error { c.Start(t, "lb1"); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("the master dies", func(t *testing.T) {
		from := pairtest.Step(t, lb1.Daemon.Kill)
		c.Only(t, "lb2", 5*time.Second)
		// The lease of two seconds outlasts the election at this interval.
		ends(t, c, from, "lb2", 2500*time.Millisecond+noise)
		c.Outage(t, trio4, from, 600*time.Millisecond+107*time.Millisecond+noise, "lb2")
		if got := c.Owners.History().Gets("lb3", trio4, from); got.Before(time.Now()) && c.Owners.History().Gets("lb2", trio4, from).Before(got.Add(-100*time.Millisecond)) {
			t.Errorf("lb3 took %v although lb2 had it for long", trio4)
		}
		c.Start(t, "lb1")
		c.Settled(t, "lb1")
	})
	t.Run("the master is cut off and healed", func(t *testing.T) { trioCut(t, c, lb1) })
	t.Run("the master's daemon is frozen and thawed", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGSTOP) })
		c.Only(t, "lb2", 5*time.Second)
		ends(t, c, from, "lb2", 2500*time.Millisecond+noise)
		c.Outage(t, trio4, from, 707*time.Millisecond+noise, "lb2")
		from = pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGCONT) })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
		lb1.Says(t, "woke late", time.Second)
	})
	t.Run("all backups are stopped", func(t *testing.T) {
		from := time.Now()
		lb2.Stop(t)
		lb3.Stop(t)
		c.Rests(t, from, time.Now().Add(500*time.Millisecond))
		c.Start(t, "lb2", "lb3")
		c.Settled(t, "lb1")
	})
}

// trioCut cuts the master off and heals it.
func trioCut(t *testing.T, c *pairtest.Cluster, lb1 *pairtest.Server) {
	t.Helper()
	from := pairtest.Step(t, lb1.Cut)
	shared(t, c, trio4, "[lb1 lb2]")
	shared(t, c, trio6, "[lb1 lb2]")
	c.Outage(t, trio4, from, 707*time.Millisecond+noise, "lb2")
	from = pairtest.Step(t, lb1.Heal)
	c.Settled(t, "lb1")
	c.Overlap(t, trio4, from, 200*time.Millisecond+pairtest.Lingers)
	c.Overlap(t, trio6, from, 200*time.Millisecond+pairtest.Lingers)
	c.Reaches(t, trio4, "lb1", 2*time.Second)
	c.Reaches(t, trio6, "lb1", 2*time.Second)
}

// ends asserts who has the addresses in the end, and for how long two hosts had them. Two backups may rise at once; the lower
// one steps down.
func ends(t *testing.T, c *pairtest.Cluster, from time.Time, to string, overlap time.Duration) {
	t.Helper()
	for _, vip := range c.VIPs {
		if owners := c.Owners.Owners(vip); len(owners) != 1 || owners[0] != to {
			t.Errorf("%v is on %v, want %s", vip, owners, to)
		}
		c.Overlap(t, vip, from, overlap)
	}
}
