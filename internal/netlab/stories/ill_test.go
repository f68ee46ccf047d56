package stories

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// illShape has an instance for both versions of the protocol, with and without preemption.
func illShape() pairtest.Shape {
	s := pairtest.Shape{Hosts: []string{"lb1", "lb2"}, VIPs: map[string]time.Duration{}}
	for n, kind := range []struct{ name, more string }{
		{"v3", `advertise_interval = "200ms"`},
		{"v3keeps", "advertise_interval = \"200ms\"\n  preempt = false"},
		{"v2", "version = 2"},
		{"v2keeps", "version = 2\n  preempt = false"},
	} {
		s.VIPs[fmt.Sprintf("10.0.0.%d", 101+n)] = 20 * time.Millisecond
		s.Config += fmt.Sprintf(`
instance %q {
  interface = "eth0"
  vrid      = %d
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.%d"]
  %s
}
`, kind.name, 1+n, 101+n, kind.more)
	}
	s.Config += policyCheck("app", "")
	return s
}

// The addresses of illShape whose better host takes them back, and those where it does not.
var (
	preempting = []netip.Addr{netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("10.0.0.103")}
	keeping    = []netip.Addr{netip.MustParseAddr("10.0.0.102"), netip.MustParseAddr("10.0.0.104")}
)

// offer is what a host that yields sends: the advert of a handover, whose interval is a centisecond, and the release.
var offer = []netlab.Rule{netlab.DropIn(netlab.VRRPPriority(0)), netlab.DropIn("meta l4proto 112 @th,32,16 1")}

// TestAllUnhealthy tells that the address rests where it is while every host is unhealthy, and goes to the first that recovers,
// whatever its priority and whatever preempt says.
func TestAllUnhealthy(t *testing.T) {
	t.Parallel()
	c := newCluster(t, illShape(), nil)
	c.Start(t, "lb1")
	c.Only(t, "lb1", pairtest.SettleBound)
	c.Start(t, "lb2")
	c.Settled(t, "lb1")
	for _, story := range []struct {
		name   string
		lost   []netlab.Rule // at the host that recovers first
		v3, v2 time.Duration // until it has the address; the check takes 480 ms to pass
	}{
		// An advert of priority 1, which pauses while the master offers (300 ms, v2 1.1 s), and the skew.
		{"the backup recovers", nil, 1200 * time.Millisecond, 3300 * time.Millisecond},
		{"the backup recovers, and hears no offer", offer, 1200 * time.Millisecond, 3300 * time.Millisecond},
		// Three intervals and the skew.
		{"the backup recovers, and hears nothing", append(offer, netlab.DropIn(netlab.VRRPPriority(1))), 1300 * time.Millisecond, 4200 * time.Millisecond},
	} {
		ok := t.Run(story.name, func(t *testing.T) {
			// Both ways: the lower host recovers first, then the higher one.
			rest(t, c, "lb2", "lb1")
			recovers(t, c, "lb2", story.lost, story.v3, story.v2)
			do(t, c, "lb2", "app", true)
			rest(t, c, "", "lb2")
			recovers(t, c, "lb1", story.lost, story.v3, story.v2)
			// The lower host comes back to a healthy master.
			from := do(t, c, "lb2", "app", false)
			c.Settled(t, "lb1")
			c.Rests(t, from, time.Now())
		})
		if !ok {
			t.Fatal("the pair is not where the next story begins")
		}
	}
	t.Run("the better host recovers last", func(t *testing.T) {
		rest(t, c, "lb2", "lb1")
		recovers(t, c, "lb2", nil, 1200*time.Millisecond, 3300*time.Millisecond)
		from := do(t, c, "lb1", "app", false)
		c.Only(t, "lb1", pairtest.SettleBound, preempting...)
		c.Planned(t, from, "lb1", preempting...)
		c.Rests(t, from, time.Now().Add(500*time.Millisecond), keeping...)
		c.Only(t, "lb2", time.Millisecond, keeping...)
	})
}

// rest makes two hosts unhealthy, the backup first, and asserts that the address stays with the master, which goes on offering
// it. An empty backup is unhealthy already.
func rest(t *testing.T, c *pairtest.Cluster, backup, master string) {
	t.Helper()
	from := time.Now()
	ill := func(host string, state node.State) {
		for _, name := range []string{"v3", "v3keeps", "v2", "v2keeps"} {
			c.Get(host).AwaitInstance(t, name, 8*time.Second, func(i node.InstanceStatus) bool { return i.Priority == 1 && i.State == state })
		}
	}
	if backup != "" {
		do(t, c, backup, "app", true)
		ill(backup, node.Backup)
		do(t, c, master, "app", true)
	}
	ill(master, node.Master)
	// Long enough for a last resort to be taken by mistake: 3 s and the skew of priority 1, and the first repeated offer.
	c.Rests(t, from, time.Now().Add(1500*time.Millisecond))
}

// recovers makes the backup healthy, and asserts that it takes the addresses without loss.
func recovers(t *testing.T, c *pairtest.Cluster, host string, lost []netlab.Rule, v3, v2 time.Duration) {
	t.Helper()
	h := c.Get(host)
	pairtest.Step(t, func() error { return h.Firewall(t.Context(), lost...) })
	from := do(t, c, host, "app", false)
	c.Only(t, host, v3+noise, preempting[0], keeping[0])
	c.Only(t, host, time.Until(from.Add(v2+noise)), preempting[1], keeping[1])
	pairtest.Step(t, func() error { return h.Firewall(t.Context()) })
	c.Planned(t, from, host)
}
