package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestMACsAreRolled gives the hosts of a cluster a virtual MAC, or their interface's own again, one host at a time while it is a
// backup, and moves the address between. Lookouts see an advert late, or not at all. Nobody holds the address at no time: no host lets
// go for what it saw of another one's former MAC.
func TestMACsAreRolled(t *testing.T) {
	for seed := range uint64(300) {
		d := newDice(seed, 0)
		cfg := Config{Seed: seed, Kernel: time.Millisecond, KernelMore: 40 * time.Millisecond, Lookout: 250 * time.Millisecond, Trace: true,
			Network: Network{MinDelay: 50 * time.Microsecond, MaxDelay: time.Millisecond}}
		for k := range 2 + d.IntN(2) {
			cfg.Hosts = append(cfg.Hosts, node.Config{Name: fmt.Sprintf("h%d", k), Instances: []node.Instance{{
				Name: "web", Interface: Interface, VRID: 51, Priority: uint8(200 - 20*k), Version: vrrp.V3, Addresses: []node.Address{{IP: vip}},
				Interval: time.Second, DeadAdverts: 3, Preempt: true, VirtualMAC: d.chance(0.7), Announce: node.Announcing{Refresh: time.Minute},
			}}})
		}
		c := New(cfg)
		for _, h := range c.Hosts() {
			h.Start()
		}
		c.Run(5 * time.Second)
		from := c.Now()
		for range 8 {
			roll(c, d)
			c.Run(d.upTo(4 * time.Second))
			moveAway(c, d)
			c.Run(time.Second + d.upTo(4*time.Second))
		}
		if gap, _ := c.Owners.Sum(vip, from, c.Now()); gap > 0 || len(c.Faults()) > 0 {
			t.Fatalf("seed %d: nobody had the address for %s, faults %v\n%s\n%s", seed, gap, c.Faults(), c.Owners.Describe(vip, from, c.Now()), tail(c.Trace()))
		}
	}
}

// TestRandomMACs holds that the random runs roll MACs, and have hosts that see late whose an advert is.
func TestRandomMACs(t *testing.T) {
	for _, k := range []species{single, groups} {
		rolled, late := 0, 0
		for s := *seed; s < *seed+400 && (rolled == 0 || late == 0); s++ {
			run := play(s, k, false, nil)
			rolled += run.rolled
			if run.o.lookout > 0 && run.common.VirtualMAC {
				late++
			}
		}
		if rolled == 0 || late == 0 {
			t.Errorf("%s: in 400 seeds MACs were rolled %d times, and %d saw them late, want some of each", k, rolled, late)
		}
	}
}

// roll gives one of the backups another MAC.
func roll(c *Cluster, d dice) {
	for _, k := range d.Perm(len(c.Hosts())) {
		if h := c.Hosts()[k]; h.State("web") == node.Backup && !h.Has(vip) {
			next := h.Config()
			web := next.Instances[0]
			web.VirtualMAC = !web.VirtualMAC
			next.Instances = []node.Instance{web}
			h.Reconfigure(next)
			return
		}
	}
}

// moveAway drains the master, or lifts what drains there are.
func moveAway(c *Cluster, d dice) {
	lift := d.chance(0.5)
	for _, h := range c.Hosts() {
		if lift {
			h.Feed(node.Drain{Who: "admin"})
		} else if h.State("web") == node.Master {
			h.Feed(node.Drain{Who: "admin", On: true})
		}
	}
}
