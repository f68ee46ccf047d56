package node_test

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestProbeEndsWithItsElapsed: who asks the link before a last resort wakes late, and is told something before its Elapsed. The answer may be
// in the sockets, which were not read yet: only the Elapsed says that it is not.
func TestProbeEndsWithItsElapsed(t *testing.T) {
	now := time.Unix(1000, 0)
	n := node.New(node.Config{Name: "a", Instances: []node.Instance{{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("192.0.2.10"), Interval: time.Second, DeadAdverts: 3,
		Preempt: true, MinTTL: vrrp.HopLimit, Checks: map[string]node.Effect{"nginx": {}},
	}}, Checks: []string{"nginx"}}, now)
	probed := false
	step := func(ev node.Event) {
		for _, a := range n.Step(now, ev) {
			_, probes := a.(node.Probe)
			probed = probed || probes
		}
	}
	state := func() node.State { return n.Status(now).Instances[0].State }
	step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: mac(1), Source4: self4}})
	step(node.CheckChanged{Check: "nginx", Reason: "503"})
	for range 10 {
		if probed {
			break
		}
		now, _ = n.Deadline()
		step(node.Elapsed{})
	}
	if !probed || state() != node.Backup {
		t.Fatalf("it probed %t and is %s", probed, state())
	}
	now = now.Add(time.Second)
	step(node.CheckChanged{Check: "nginx", Reason: "504"})
	if s := state(); s != node.Backup {
		t.Errorf("before its Elapsed it is %s", s)
	}
	step(node.Elapsed{})
	if s := state(); s != node.Master {
		t.Errorf("after its Elapsed it is %s", s)
	}
}
