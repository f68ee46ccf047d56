package node

import (
	"net/netip"
	"testing"
	"time"
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
