package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// What was known when an instance was removed, of its checks and of its peers' names, is forgotten once it has let go: both begin anew
// when they come back.
func TestRemovedInstanceLeavesNothing(t *testing.T) {
	now, ip := time.Unix(1000, 0), netip.MustParseAddr
	web := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, MinTTL: vrrp.HopLimit,
		Addresses: []Address{{IP: ip("192.0.2.10")}}, Peers: []Peer{{Name: "lb1"}, {Name: "lb2"}}, Checks: map[string]Effect{"disk": {}},
	}
	n := New(Config{Instances: []Instance{web}}, now)
	run := func(d time.Duration) { Pass(n, &now, d, func() { n.Step(now, Elapsed{}) }) }
	for _, ev := range []Event{
		LinkChanged{Link{Name: "eth0", Up: true, Source4: ip("10.0.0.1")}},
		Resolved{Name: "lb1", Addresses: []netip.Addr{ip("10.0.0.1")}},
		Resolved{Name: "lb2", Addresses: []netip.Addr{ip("10.0.0.2")}},
		CheckChanged{Check: "disk", Healthy: true},
	} {
		n.Step(now, ev)
	}
	run(time.Minute)
	if s := n.Status(now).Instances[0].State; s != Master {
		t.Fatalf("it is %s", s)
	}
	n.Step(now, Reconfigured{})
	run(time.Minute)
	if len(n.instances)+len(n.byMember)+len(n.checks)+len(n.names) > 0 {
		t.Errorf("left are %d instances, %d virtual routers, %d checks, %d names", len(n.instances), len(n.byMember), len(n.checks), len(n.names))
	}
	n.Step(now, Reconfigured{Config{Instances: []Instance{web}}})
	if s := n.Status(now).Instances[0]; s.State != Init || s.Why != `the peer "lb1" is not resolved yet` {
		t.Errorf("it begins as %s: %s", s.State, s.Why)
	}
}
