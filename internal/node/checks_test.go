package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// A result that was on its way when a reload removed its check is forgotten: the check begins anew when it comes back.
func TestResultOfARemovedCheck(t *testing.T) {
	now := time.Unix(0, 0)
	without := Instance{Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: 3, Interval: time.Second, DeadAdverts: 3}
	with := without
	with.Checks = map[string]Effect{"disk": {}}
	n := New(Config{Instances: []Instance{with}}, now)
	n.Step(now, Reconfigured{Config{Instances: []Instance{without}}})
	n.Step(now, CheckChanged{Check: "disk", Reason: "no space"})
	n.Step(now, Reconfigured{Config{Instances: []Instance{with}}})
	if v := n.checks["disk"]; v != nil {
		t.Errorf("the check begins with %+v", *v)
	}
	n.Step(now, CheckChanged{Check: "disk", Reason: "no space"})
	if n.checks["disk"] == nil {
		t.Error("a result of a check that is configured is forgotten")
	}
}

// A check that goes on while no instance heeds it speaks only when its verdict changes: the node has to know it when one does again.
func TestVerdictOfACheckThatNobodyHeeds(t *testing.T) {
	now := time.Unix(0, 0)
	heeding := func(checks ...string) Config {
		web := Instance{Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: 3, Interval: time.Second, DeadAdverts: 3, Checks: map[string]Effect{},
			Addresses: []Address{{IP: netip.MustParseAddr("192.0.2.10")}}}
		for _, c := range checks {
			web.Checks[c] = Effect{}
		}
		return Config{Instances: []Instance{web}, Checks: []string{"disk", "nginx"}}
	}
	n := New(heeding("nginx"), now)
	n.Step(now, LinkChanged{Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("192.0.2.11")}})
	n.Step(now, CheckChanged{Check: "nginx", Healthy: true})
	n.Step(now, CheckChanged{Check: "disk", Reason: "no space"})
	n.Step(now, Reconfigured{heeding("nginx", "disk")})
	if got := n.Status(now).Instances[0]; got.Priority != 1 {
		t.Errorf("priority %d with a check that was unhealthy before the instance heeded it", got.Priority)
	}
	n.Step(now, Reconfigured{heeding("nginx")})
	n.Step(now, CheckChanged{Check: "disk", Healthy: true})
	n.Step(now, Reconfigured{heeding("nginx", "disk")})
	n.Step(now, LinkChanged{Link{Name: "eth0", Reason: "no carrier"}})
	n.Step(now, LinkChanged{Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("192.0.2.11")}})
	if got := n.Status(now).Instances[0]; got.Priority != 150 || got.State != Backup {
		t.Errorf("%s at priority %d, want a healthy backup: %s", got.State, got.Priority, got.Why)
	}
}

// What was known when an instance was removed, of its checks and of its peers' names, is forgotten once it has let go: both begin anew

// when they come back.

func TestRemovedInstanceLeavesNothing(t *testing.T) {
	now, ip := time.Unix(1000, 0), netip.MustParseAddr
	web := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, MinTTL: vrrp.HopLimit,
		Addresses: []Address{{IP: ip("192.0.2.10")}}, Peers: []Peer{{Name: "lb1"}, {Name: "lb2"}}, Checks: map[string]Effect{"disk": {}},
	}
	n := New(Config{Instances: []Instance{web}}, now)
	run := func(d time.Duration) {
		for end := now.Add(d); ; {
			at, ok := n.Deadline()
			if !ok || at.After(end) {
				now = end
				return
			}
			now = at
			n.Step(now, Elapsed{})
		}
	}
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
