package stories

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// shared waits until exactly these hosts have an address.
func shared(t *testing.T, c *pairtest.Cluster, vip netip.Addr, want string) {
	t.Helper()
	labtest.Eventually(t, 8*time.Second, func() (bool, string) {
		owners := fmt.Sprint(c.Owners.Owners(vip))
		return owners == want, fmt.Sprintf("owners of %v are %v, want %s", vip, owners, want)
	})
}

var swiftShape = pairtest.Shape{
	Hosts: []string{"lb1", "lb2"},
	VIPs:  map[string]time.Duration{"10.0.0.100": 10 * time.Millisecond, "fd00::100": 20 * time.Millisecond},
	Config: `
instance "web" {
  interface          = "eth0"
  vrid               = 1
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["10.0.0.100", "fd00::100"]
  advertise_interval = "10ms"
}
check "process" "nginx" {
  pid_file = "LAB/${hostname}/nginx/nginx.pid"
}
`,
}

// TestTenMilliseconds tells that at the shortest interval, where the machine's own stalls look like deaths, two hosts have the
// address for 100 ms at most, and a second after every event one has it.
func TestTenMilliseconds(t *testing.T) {
	t.Parallel()
	c := newCluster(t, swiftShape, nil)
	lb1 := c.Get("lb1")
	c.Start(t)
	c.Settled(t, "lb1")
	for _, story := range []struct {
		name string
		do   func() error
		then string
	}{
		{"nginx is killed", func() error { return lb1.Nginx.Kill(t.Context()) }, "lb2"},
		{"nginx is started", func() error { return lb1.Nginx.Start(t.Context()) }, "lb1"},
		{"the daemon is stopped", func() error { return lb1.Daemon.Signal(syscall.SIGTERM) }, "lb2"},
		{"the daemon is started", func() error { lb1.Ended(t); c.Start(t, "lb1"); return nil }, "lb1"},
		{"the cable is pulled", lb1.CarrierDown, "lb2"},
		{"the cable is back", lb1.CarrierUp, "lb1"},
	} {
		t.Run(story.name, func(t *testing.T) { swift(t, c, story.do, story.then) })
	}
	t.Run("the host is cut off", func(t *testing.T) {
		pairtest.Step(t, lb1.Cut)
		for _, vip := range c.VIPs {
			shared(t, c, vip, "[lb1 lb2]")
		}
	})
	t.Run("the host is healed", func(t *testing.T) { swift(t, c, lb1.Heal, "lb1") })
}

// swift does something, and asserts that a second later a host has the addresses, for good.
func swift(t *testing.T, c *pairtest.Cluster, do func() error, then string) {
	t.Helper()
	const converged, twice = time.Second, 100 * time.Millisecond
	from := pairtest.Step(t, do)
	done := time.Now()
	for _, vip := range c.VIPs {
		c.Only(t, then, converged+noise, vip)
	}
	took := time.Since(done)
	now := time.Now()
	slack := c.Slack(from, now)
	if took > converged+slack {
		t.Errorf("converged after %v, want %v", took, converged)
	}
	for _, vip := range c.VIPs {
		c.Overlap(t, vip, from, twice+c.Stood(from, now))
	}
}
