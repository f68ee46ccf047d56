package stories

import (
	"net/netip"
	"syscall"
	"testing"
	"time"
)

var (
	trio4 = netip.MustParseAddr("10.0.0.100")
	trio6 = netip.MustParseAddr("fd00::100")
)

var trioShape = shape{
	hosts: []string{"lb1", "lb2", "lb3"},
	nginx: "client_header_timeout 2s;",
	vips:  map[string]time.Duration{trio4.String(): 10 * time.Millisecond, trio6.String(): 20 * time.Millisecond},
	config: `
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
	c := newCluster(t, trioShape)
	c.start(t)
	c.settled(t, "lb1")
	lb1, lb2, lb3 := c.host("lb1"), c.host("lb2"), c.host("lb3")

	t.Run("the master is stopped", func(t *testing.T) {
		from := time.Now()
		lb1.stop(t)
		c.only(t, "lb2", 2*time.Second)
		c.ends(t, from, "lb2", lingers)
		for _, vip := range c.vips {
			c.unharmed(t, vip, from, time.Now().Add(after))
		}
	})
	t.Run("nginx of the next is killed", func(t *testing.T) {
		from := begin(t, func() error { return lb2.nginx.Kill(t.Context()) })
		c.only(t, "lb3", 2*time.Second)
		c.ends(t, from, "lb3", lingers)
		c.outage(t, trio4, from, noise, "lb3")
		c.outage(t, trio6, from, noise, "lb3")
	})
	t.Run("the better ones come back", func(t *testing.T) {
		from := begin(t, func() error { return lb2.nginx.Start(t.Context()) })
		c.only(t, "lb2", settleBound)
		c.ends(t, from, "lb2", lingers)
		from = begin(t, func() error { c.start(t, "lb1"); return nil })
		c.settled(t, "lb1")
		c.planned(t, from, "lb1")
	})
	t.Run("the master dies", func(t *testing.T) {
		from := begin(t, lb1.daemon.Kill)
		c.only(t, "lb2", 5*time.Second)
		// The lease of two seconds outlasts the election at this interval.
		c.ends(t, from, "lb2", 2500*time.Millisecond+noise)
		c.outage(t, trio4, from, 600*time.Millisecond+107*time.Millisecond+noise, "lb2")
		if got := gets(c.owners.History(), "lb3", trio4, from); got.Before(time.Now()) && gets(c.owners.History(), "lb2", trio4, from).Before(got.Add(-100*time.Millisecond)) {
			t.Errorf("lb3 took %v although lb2 had it for long", trio4)
		}
		c.start(t, "lb1")
		c.settled(t, "lb1")
	})
	t.Run("the master is cut off and healed", func(t *testing.T) {
		from := begin(t, lb1.Cut)
		c.shared(t, trio4, "[lb1 lb2]")
		c.shared(t, trio6, "[lb1 lb2]")
		c.outage(t, trio4, from, 707*time.Millisecond+noise, "lb2")
		from = begin(t, lb1.Heal)
		c.settled(t, "lb1")
		c.overlap(t, trio4, from, 200*time.Millisecond+lingers)
		c.overlap(t, trio6, from, 200*time.Millisecond+lingers)
		c.reaches(t, trio4, "lb1")
		c.reaches(t, trio6, "lb1")
	})
	t.Run("the master's daemon is frozen and thawed", func(t *testing.T) {
		from := begin(t, func() error { return lb1.daemon.Signal(syscall.SIGSTOP) })
		c.only(t, "lb2", 5*time.Second)
		c.ends(t, from, "lb2", 2500*time.Millisecond+noise)
		c.outage(t, trio4, from, 707*time.Millisecond+noise, "lb2")
		from = begin(t, func() error { return lb1.daemon.Signal(syscall.SIGCONT) })
		c.settled(t, "lb1")
		c.planned(t, from, "lb1")
		lb1.says(t, "woke late", time.Second)
	})
	t.Run("all backups are stopped", func(t *testing.T) {
		from := time.Now()
		lb2.stop(t)
		lb3.stop(t)
		c.rests(t, from, time.Since(from)+500*time.Millisecond)
		c.start(t, "lb2", "lb3")
		c.settled(t, "lb1")
	})
}

// ends asserts who has the addresses in the end, and for how long two hosts had them. Two backups may rise at once; the lower
// one steps down.
func (c *cluster) ends(t *testing.T, from time.Time, to string, overlap time.Duration) {
	t.Helper()
	for _, vip := range c.vips {
		if owners := c.owners.Owners(vip); len(owners) != 1 || owners[0] != to {
			t.Errorf("%v is on %v, want %s", vip, owners, to)
		}
		c.overlap(t, vip, from, overlap+c.slack(from, time.Now()))
	}
}
