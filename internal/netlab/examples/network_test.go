package examples

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestGroup pulls the inner cable of the master.
func TestGroup(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.inside = "10.0.0.%d/24"
	n.vips = map[string]time.Duration{"192.0.2.10": every, "2001:db8::10": every, "10.0.0.1": every}
	l := newLab(t, n)
	l.serves(t)
	l.starts(t, "group/understudy.hcl")
	l.Settled(t, "lb1")
	lb1, lb2 := l.machines["lb1"], l.machines["lb2"]
	lb1.tells(t, `GROUP edge is MASTER`, 0)

	from := pairtest.Step(t, lb1.Inside.CarrierDown)
	l.Only(t, "lb2", 10*time.Second)
	for _, vip := range l.VIPs {
		l.Moved(t, vip, from, "lb2")
	}
	lb1.tells(t, `GROUP edge is FAULT \(priority 0\): .*eth1`, 0)
	lb2.tells(t, `GROUP edge is MASTER`, 0)
	pairtest.Step(t, lb1.Inside.CarrierUp)
	l.stays(t, "lb2")
}

// TestUnicast has a network that carries no multicast.
func TestUnicast(t *testing.T) {
	t.Parallel()
	n := network{
		hosts: []string{"lb1", "lb2"}, own: []string{"192.0.2.%d/24", "10.0.0.%d/24"},
		vips: map[string]time.Duration{"192.0.2.10": every},
	}
	l := newLab(t, n)
	l.serves(t)
	for _, h := range l.Hosts {
		pairtest.Step(t, func() error { return h.Firewall(t.Context(), netlab.DropIn("ip daddr 224.0.0.0/4")) })
	}
	l.starts(t, "unicast/understudy.hcl")
	l.Settled(t, "lb1")
	from := pairtest.Step(t, func() error { l.machines["lb1"].Stop(t); return nil })
	l.Only(t, "lb2", 5*time.Second)
	l.Planned(t, from, "lb2")
	l.machines["lb1"].Start(t)
	l.Settled(t, "lb2")
	from = pairtest.Step(t, func() error { l.machines["lb2"].killNginx(t); return nil })
	l.Only(t, "lb1", 10*time.Second)
	l.Moved(t, l.VIPs[0], from, "lb1")
}
