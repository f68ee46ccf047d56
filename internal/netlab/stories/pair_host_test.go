package stories

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

func daemonStopped(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	before := len(told(t, c, "lb1"))
	from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGTERM) })
	lb1.Ended(t)
	c.Only(t, "lb2", time.Second)
	c.Planned(t, from, "lb2")
	for _, vip := range c.VIPs {
		c.Reaches(t, vip, "lb2", 2*time.Second)
	}
	// Not after the skew of 610 ms: the handover makes the successor's timer run for milliseconds.
	if took := c.Owners.History().Gets("lb2", slow4, from).Sub(from); took > 250*time.Millisecond+noise/2 {
		t.Errorf("lb2 had %v %v after the signal", slow4, took)
	}
	tells(t, c, "lb1", before, "INSTANCE v4 STOP 150")
	held, err := os.ReadFile(filepath.Join(c.Scripts, "tell.lb1.stop"))
	if err != nil || len(held) == 0 {
		t.Fatalf("the stop hook on lb1 saw %q, %v", held, err)
	}
	if strings.Contains(string(held), " "+slow4.String()+"/") {
		t.Errorf("%v was still on lb1 when the stop hook ran\n%s", slow4, held)
	}
	from = pairtest.Step(t, func() error { c.Start(t, "lb1"); return nil })
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
}

func daemonKilled(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	from := pairtest.Step(t, lb1.Daemon.Kill)
	c.Only(t, "lb2", 10*time.Second)
	for _, vip := range c.VIPs {
		c.Moved(t, vip, from, "lb2")
	}
	const down = 3*time.Second + 610*time.Millisecond
	// At the default interval the lease is over before anybody else comes; the kernel takes up to 3 s.
	c.Overlap(t, slow4, from, 0)
	c.Overlap(t, old4, from, 0)
	c.Overlap(t, fast6, from, 3*time.Second+noise)
	c.Overlap(t, both4, from, 3*time.Second+noise)
	c.Outage(t, slow4, from, down-1400*time.Millisecond+noise, "lb2")
	c.Outage(t, old4, from, down-1400*time.Millisecond+noise, "lb2")
	// Here the other host comes first, 724 ms after the last advert, and is announced.
	c.Outage(t, fast6, from, 300*time.Millisecond+noise, "lb2")
	if took := c.Owners.History().Gets("lb2", slow4, from).Sub(from); took > down+noise {
		t.Errorf("lb2 had %v %v after lb1's last sign, want %v", slow4, took, down)
	}
	from = pairtest.Step(t, func() error { c.Start(t, "lb1"); return nil })
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
}

func daemonRestarted(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	if err := lb1.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	swept := lb1.Logged("removed an address that an earlier daemon left behind")
	from := pairtest.Step(t, func() error { c.Start(t, "lb1"); return nil })
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		now := lb1.Logged("removed an address that an earlier daemon left behind") - swept
		return now == len(c.VIPs), fmt.Sprintf("lb1 removed %d of %d addresses of the dead daemon", now, len(c.VIPs))
	})
	for _, vip := range c.VIPs {
		// The lease alone would last until 0.95 s after the death at least. The record comes a little later than the log.
		labtest.Eventually(t, time.Second, func() (bool, string) {
			took := c.Owners.History().Loses("lb1", vip, from).Sub(from)
			return took <= 1200*time.Millisecond, fmt.Sprintf("%v was on lb1 for %v after the restart", vip, took)
		})
	}
	c.Settled(t, "lb1")
	c.Overlap(t, slow4, from, pairtest.Lingers)
}

func hostCutOff(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	from := pairtest.Step(t, lb1.Cut)
	for _, vip := range c.VIPs {
		labtest.Eventually(t, 8*time.Second, func() (bool, string) {
			owners := c.Owners.Owners(vip)
			return fmt.Sprint(owners) == "[lb1 lb2]", fmt.Sprintf("owners of %v are %v", vip, owners)
		})
	}
	const down = 3*time.Second + 610*time.Millisecond
	c.Outage(t, slow4, from, down+noise, "lb2")
	c.Outage(t, fast6, from, down/5+noise, "lb2")
	c.Outage(t, both6, from, down/5+noise, "lb2")
	c.Outage(t, old4, from, down+noise, "lb2")

	from = pairtest.Step(t, lb1.Heal)
	c.Settled(t, "lb1")
	for _, vip := range c.VIPs {
		interval := 200 * time.Millisecond
		if vip == slow4 || vip == old4 {
			interval = time.Second
		}
		c.Overlap(t, vip, from, interval+pairtest.Lingers)
		c.Reaches(t, vip, "lb1", 2*time.Second)
	}
	for _, vip := range []netip.Addr{slow4, fast6, both6, old4} {
		saw := c.Clients[vip].Between(time.Now(), time.Now().Add(300*time.Millisecond))
		if saw.Servers()["lb1"] == 0 || saw.Servers()["lb2"] > 0 || len(saw.Failed()) > 0 {
			t.Errorf("%v after the heal: %v", vip, saw)
		}
	}
}

func carrierLost(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	from := pairtest.Step(t, lb1.CarrierDown)
	c.Only(t, "lb2", 8*time.Second)
	for _, vip := range c.VIPs {
		c.Moved(t, vip, from, "lb2")
		c.Overlap(t, vip, from, 0)
		if took := c.Owners.History().Loses("lb1", vip, from).Sub(from); took > noise {
			t.Errorf("%v was on lb1 for %v after its carrier was lost", vip, took)
		}
	}
	lb1.AwaitInstance(t, "both", time.Second, func(i node.InstanceStatus) bool {
		return i.State == node.Fault && strings.Contains(i.Why, "carrier")
	})
	c.Outage(t, slow4, from, 3610*time.Millisecond+noise, "lb2")
	c.Outage(t, fast6, from, 722*time.Millisecond+noise, "lb2")
	from = pairtest.Step(t, lb1.CarrierUp)
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
}

func deletedByHand(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	// The announcements of the election end 5 s after it: what is heard from then on is for the deletion.
	lb1.AwaitInstance(t, "v4", 10*time.Second, func(i node.InstanceStatus) bool { return time.Since(i.Since) > 5500*time.Millisecond })
	heard, err := c.User.Start("tcpdump", "-lnn", "-i", "eth0", "arp or icmp6")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heard.Kill() }()
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return strings.Contains(heard.Output(), "listening on"), "tcpdump says " + heard.Output()
	})
	from := pairtest.Step(t, func() error {
		if err := lb1.RemoveAddress(netip.PrefixFrom(slow4, 32)); err != nil {
			return err
		}
		return lb1.RemoveAddress(netip.PrefixFrom(fast6, 128))
	})
	labtest.Eventually(t, time.Second, func() (bool, string) {
		text := heard.Output()
		arp := strings.Contains(text, "Request who-has 10.0.0.100") && strings.Contains(text, "Reply 10.0.0.100 is-at "+lb1.MAC().String())
		return arp && strings.Contains(text, "tgt is fd00::100"), "announced again on the wire: " + text
	})
	for _, vip := range []netip.Addr{slow4, fast6} {
		c.Only(t, "lb1", time.Second, vip)
		if gap := c.Owners.History().Gap(vip, from, time.Now()); gap == 0 || gap > 100*time.Millisecond {
			t.Errorf("%v was gone for %v", vip, gap)
		}
		c.Outage(t, vip, from, noise, "lb1")
		lb1.Says(t, "something else deleted "+vip.String(), time.Second)
	}
}
