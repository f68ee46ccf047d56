package mechanisms

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// rejecting is a firewall that answers what it does not let out.
const rejecting = `nft add table inet rejecting && nft 'add chain inet rejecting out { type filter hook output priority 0; }' &&
nft add rule inet rejecting out meta l4proto 112 reject`

// TestMute tells of a master whose own firewall keeps its adverts in.
func TestMute(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`advertise_interval = "200ms"`)+page)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	shell := func(script string) func() error {
		return func() error {
			_, err := lb1.Exec(t.Context(), "sh", "-c", script)
			return err
		}
	}
	drop := func() error { return lb1.Firewall(t.Context(), netlab.DropOut(netlab.VRRPv4)) }
	pass := func() error { return lb1.Firewall(t.Context()) }
	for _, story := range []struct {
		name       string
		hurt, mend func() error
	}{
		{"they are dropped", drop, pass},
		{"they are rejected", shell(rejecting), shell("nft delete table inet rejecting")},
	} {
		t.Run(story.name, func(t *testing.T) {
			before := lb1.Logged("did not leave")
			wire := capture(t, c.User, "ip proto 112 and host 10.0.0.11")
			from := pairtest.Step(t, story.hurt)
			state(t, lb1, node.Fault, "operation not permitted", moveBound)
			if i := status(t, lb1); !strings.Contains(i.Why, "10.0.0.12 is master") {
				t.Errorf("lb1 is in fault because %q", i.Why)
			}
			c.Only(t, "lb2", moveBound)
			lb1.SaysAgain(t, "did not leave.*operation not permitted", before, time.Second)
			c.Outage(t, web4, from, noise, "lb2")
			// lb2 rises after its Master_Down_Interval; lb1 hears it, and by then nothing has left for three intervals.
			c.Overlap(t, web4, from, 800*time.Millisecond+pairtest.Lingers)
			lb1.Does(t, 4, "status", "web")
			pairtest.Until(t, time.Now().Add(time.Second))
			from = pairtest.Step(t, story.mend)
			labtest.Eventually(t, settleBound, func() (bool, string) {
				return between(seen(t, wire, "10.0.0.11 >"), from, time.Now()) > 0, "nothing is tried"
			})
			// Every 5 s it tries an advert of priority 0, which moves nobody; one that goes out ends the fault.
			tried := at(t, wire, "10.0.0.11 >", from)
			if took := tried.Sub(from); took > 5*time.Second+noise {
				t.Errorf("it tried again after %v", took)
			}
			if first := at(t, wire, "prio 0", from); !first.Equal(tried) {
				t.Errorf("its first advert is not of priority 0:\n%s", wire.Output())
			}
			c.Settled(t, "lb1")
			c.Planned(t, from, "lb1")
		})
	}
	t.Run("nobody else is there", func(t *testing.T) {
		lb2.Stop(t)
		from := pairtest.Step(t, drop)
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool {
			return i.State == node.Master && strings.Contains(i.Routers[0].SendError, "operation not permitted") && i.Routers[0].Counters.SendFailures > 0
		})
		c.Rests(t, from, time.Now().Add(1500*time.Millisecond))
		if out := lb1.Does(t, 4, "status"); !strings.Contains(out, "operation not permitted") {
			t.Errorf("status says nothing of the adverts that do not leave:\n%s", out)
		}
		pairtest.Step(t, pass)
		await(t, lb1, time.Second+noise, func(i node.InstanceStatus) bool { return i.Routers[0].SendError == "" })
		c.Rests(t, from, time.Now().Add(300*time.Millisecond))
	})
}

// TestRepair tells of addresses that something else deletes.
func TestRepair(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	remove := func(vip netip.Addr) func() error {
		return func() error { return lb1.RemoveAddress(netip.PrefixFrom(vip, vip.BitLen())) }
	}
	repaired := func(t *testing.T, vip netip.Addr, from time.Time) {
		t.Helper()
		back(t, c, vip, from)
		if gap := c.Owners.History().Gap(vip, from, time.Now()); gap > 50*time.Millisecond+c.Slack(from, time.Now()) {
			t.Errorf("%v was gone for %v", vip, gap)
		}
		c.Outage(t, vip, from, 50*time.Millisecond, "lb1")
	}

	t.Run("one by hand", func(t *testing.T) {
		announced := capture(t, c.User, "arp")
		from := pairtest.Step(t, remove(web4))
		repaired(t, web4, from)
		labtest.Eventually(t, time.Second, func() (bool, string) {
			return between(seen(t, announced, "Reply 10.0.0.100 is-at "+lb1.MAC().String()), from, time.Now()) > 0, "not announced again"
		})
		lb1.Says(t, "something else deleted 10.0.0.100", time.Second)
	})
	t.Run("both at once", func(t *testing.T) {
		from := pairtest.Step(t, func() error {
			if err := remove(web4)(); err != nil {
				return err
			}
			return remove(web6)()
		})
		repaired(t, web4, from)
		repaired(t, web6, from)
	})
	t.Run("again and again", func(t *testing.T) {
		// Whoever deletes them will not stop: another host may have more luck. The three deletions above are more than 10 s ago then.
		pairtest.Until(t, time.Now().Add(10*time.Second))
		from := time.Now()
		for range 4 {
			back(t, c, web4, pairtest.Step(t, remove(web4)))
			pairtest.Until(t, time.Now().Add(100*time.Millisecond)) // what goes within 50 ms goes at once, as a flush does
		}
		if i := status(t, lb1); i.State != node.Master || i.Priority != 150 {
			t.Errorf("after 4 deletions lb1 is %s, priority %d: %s", i.State, i.Priority, i.Why)
		}
		pairtest.Step(t, remove(web4))
		c.Only(t, "lb2", moveBound)
		c.Outage(t, web6, from, noise, "lb2")
		await(t, lb1, time.Second, func(i node.InstanceStatus) bool {
			return i.Priority == 1 && strings.Contains(fmt.Sprint(i.Unhealthy), "keep being deleted")
		})
	})
	t.Run("again and again, and nobody else is there", func(t *testing.T) {
		lb2.Stop(t)
		c.Only(t, "lb1", settleBound)
		from := time.Now()
		for range 5 {
			deleted := pairtest.Step(t, remove(web4))
			took := back(t, c, web4, deleted)
			if took > time.Second+noise {
				t.Errorf("%v was set again after %v", web4, took)
			}
		}
		// Once a second; at the repeated offers, after 1 and 2 s, the addresses are looked at too.
		if took := time.Since(from); took < 2500*time.Millisecond {
			t.Errorf("5 deletions were repaired within %v", took)
		}
	})
}

// back waits until an address that was deleted is on lb1 again, and returns when after an instant that was. The record of both
// comes a little later than the deed.
func back(t *testing.T, c *pairtest.Cluster, vip netip.Addr, from time.Time) time.Duration {
	t.Helper()
	var took time.Duration
	labtest.Eventually(t, 2*time.Second, func() (bool, string) {
		history := c.Owners.History()
		took = history.Gets("lb1", vip, history.Loses("lb1", vip, from)).Sub(from)
		return took < time.Hour, fmt.Sprintf("%v is not back on lb1:\n%v", vip, history)
	})
	return took
}

// witnessed is what a host says that lets go for another one of which it sees no more than announcements.
func witnessed(other *pairtest.Server) string {
	return `to=backup why=.*` + other.MAC().String() + ` answers for (10\.0\.0\.100|fd00::100)`
}

// TestUnhealthyAndDeaf tells of unhealthy hosts that hear no adverts: before one takes the address as a last resort it asks for it by
// ARP and neighbour discovery, and while the master answers it leaves the address alone; and a master lets go for a host that it sees
// announce the address.
func TestUnhealthyAndDeaf(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, `advertise_interval = "200ms"`)+page+switched("app", ""), web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	ill := func(h *pairtest.Server, s node.State) {
		t.Helper()
		pairtest.Step(t, func() error { return sick(h, "app", true) })
		await(t, h, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 1 && i.State == s })
	}
	deafen := func(h *pairtest.Server) func() error {
		return func() error {
			return h.Firewall(t.Context(), netlab.DropIn(netlab.VRRPv4), netlab.DropIn(netlab.VRRPv6))
		}
	}
	mend := func() {
		t.Helper()
		for _, h := range c.Hosts {
			pairtest.Step(t, func() error { return errors.Join(h.Firewall(t.Context()), sick(h, "app", false)) })
		}
		c.Settled(t, "lb1")
	}
	// lets asserts that lb1 has let go for what it saw, and leaves the address alone.
	lets := func(said int) {
		t.Helper()
		lb1.SaysAgain(t, witnessed(lb2), said, time.Second)
		from := time.Now()
		c.Rests(t, from, from.Add(1200*time.Millisecond)) // a last resort waits for 800 ms, and asks
	}
	t.Run("the backup", func(t *testing.T) {
		ill(lb2, node.Backup)
		asked := capture(t, lb2.Host, "arp or icmp6")
		from := pairtest.Step(t, deafen(lb2))
		c.Rests(t, from, time.Now().Add(4*time.Second)) // five times a Master_Down_Interval
		if n := between(seen(t, asked, "who-has 10.0.0.100"), from, time.Now()); n == 0 {
			t.Error("lb2 did not ask for the address")
		}
		mend()
	})
	t.Run("the master, which falls ill", func(t *testing.T) {
		said := lb1.Logged(witnessed(lb2))
		pairtest.Step(t, deafen(lb1))
		from := pairtest.Step(t, func() error { return sick(lb1, "app", true) })
		c.Only(t, "lb2", moveBound)
		c.Planned(t, from, "lb2")
		lets(said)
		mend()
	})
	t.Run("the master, when the other host recovers", func(t *testing.T) {
		ill(lb2, node.Backup)
		ill(lb1, node.Master)
		said := lb1.Logged(witnessed(lb2))
		pairtest.Step(t, deafen(lb1))
		from := pairtest.Step(t, func() error { return sick(lb2, "app", false) })
		c.Only(t, "lb2", moveBound)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, from, "lb2")
			// It believes after 100 ms, and lingers.
			c.Overlap(t, vip, from, 100*time.Millisecond+pairtest.Lingers)
			c.Unharmed(t, vip, from, time.Now(), 0)
		}
		lets(said)
		mend()
	})
	t.Run("the backup, and the master dies", func(t *testing.T) {
		ill(lb2, node.Backup)
		pairtest.Step(t, deafen(lb2))
		// With nobody there somebody has it, were it the unhealthy one.
		died := pairtest.Step(t, lb1.Daemon.Kill)
		c.Only(t, "lb2", settleBound)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, died, "lb2")
			c.Overlap(t, vip, died, 0)
		}
	})
}
