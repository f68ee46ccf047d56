package node

import (
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
