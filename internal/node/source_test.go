package node

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// A group falls for its fastest instance when their interface has lost its address. What the others would have waited for longer is
// no source any more either: status would show it, and another program that goes on here would not.
func TestSourceIsGoneWithTheGroup(t *testing.T) {
	now := time.Unix(0, 0)
	slow := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3,
		Addresses: []Address{{IP: netip.MustParseAddr("192.0.2.10")}},
	}
	fast := slow
	fast.Name, fast.VRID, fast.Interval = "inside", 72, 20*time.Millisecond
	fast.Addresses = []Address{{IP: netip.MustParseAddr("192.0.2.11")}}
	n := New(Config{Instances: []Instance{slow, fast}, Groups: []Group{{Name: "edge", Instances: []string{"web", "inside"}}}}, now)
	link := Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}
	n.Step(now, LinkChanged{Link: link})
	link.Source4 = netip.Addr{}
	n.Step(now.Add(time.Second), LinkChanged{Link: link})
	fallen := now.Add(1100 * time.Millisecond)
	n.Step(fallen, Elapsed{})
	for _, i := range n.Status(fallen).Instances {
		if s := i.Routers[0].Source; i.State != Fault || s != (netip.Addr{}) {
			t.Errorf("%s is in %s and sends from %v", i.Name, i.State, s)
		}
	}
}

// The process that goes on for a host that lost its own address among the peers wants nothing by itself: their names were asked for when
// the loss was seen, and are again when it looks at the interface. Found by the simulator (seed 97309856).
func TestRestoreLooksUpNothing(t *testing.T) {
	now := time.Unix(0, 0)
	n := New(Config{Instances: []Instance{{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3,
		Addresses: []Address{{IP: netip.MustParseAddr("192.0.2.10")}}, Peers: []Peer{{Name: "lb1"}, {Name: "lb2"}},
	}}}, now)
	link := Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}
	n.Step(now, LinkChanged{Link: link})
	n.Step(now, Resolved{Name: "lb1", Addresses: []netip.Addr{link.Source4}})
	n.Step(now, Resolved{Name: "lb2", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}})
	link.Source4 = netip.MustParseAddr("10.0.0.7")
	isLookUp := func(a Action) bool { _, ok := a.(LookUp); return ok }
	if !slices.ContainsFunc(n.Step(now.Add(time.Second), LinkChanged{Link: link}), isLookUp) {
		t.Fatal("its own address is lost, and nobody is asked")
	}
	n.Step(now.Add(1500*time.Millisecond), Elapsed{})
	sealed := n.Seal(now.Add(10 * time.Second))
	if _, actions, err := Restore(&sealed, now.Add(10*time.Second)); err != nil || slices.ContainsFunc(actions, isLookUp) {
		t.Errorf("it goes on with %v, error %v", actions, err)
	}
}
