package node

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// TestWaryAsksWhenItCanHear: no answer on a link that fell away, or whose switch port is deaf at first, proves nothing; the question is
// asked again once the link is there.
func TestWaryAsksWhenItCanHear(t *testing.T) {
	now := time.Unix(1000, 0)
	web := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, LinkDelay: time.Second,
		Addresses: []Address{{IP: netip.MustParseAddr("192.0.2.10")}},
	}
	n := New(Config{Instances: []Instance{web}}, now)
	var asked []time.Duration
	began := now
	step := func(ev Event) {
		if slices.ContainsFunc(n.Step(now, ev), func(a Action) bool { _, ok := a.(Probe); return ok }) {
			asked = append(asked, now.Sub(began))
		}
	}
	run := func(d time.Duration) { Pass(n, &now, d, func() { step(Elapsed{}) }) }
	up := LinkChanged{Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}}
	down := LinkChanged{Link{Name: "eth0", Reason: "no carrier"}}
	step(up)
	run(2 * time.Second)
	began, asked = now, nil
	web.VRID = 72
	step(Reconfigured{Config{Instances: []Instance{web}}})
	run(50 * time.Millisecond)
	step(down)
	run(450 * time.Millisecond)
	step(up)
	run(10 * time.Second)
	if want := []time.Duration{0, 1500 * time.Millisecond}; !slices.Equal(asked, want) {
		t.Errorf("asked after %v, want %v", asked, want)
	}
	if s := n.Status(now).Instances[0].State; s != Master {
		t.Errorf("it is %s", s)
	}
}
