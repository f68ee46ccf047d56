package node_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// lone is a node with one instance.
func lone(now time.Time) *node.Node {
	return node.New(node.Config{Name: "a", Instances: []node.Instance{{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("2001:db8::10"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true,
	}}}, now)
}

// TestStatusAtOnce: what a node is reckoned from its configuration before the first event; found by the simulator (seed 301769).
func TestStatusAtOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	i := lone(now).Status(now).Instances[0]
	if diff := cmp.Diff([]node.Term{{What: "base", Value: 150}}, i.Terms); diff != "" || i.Own != 150 {
		t.Errorf("own priority %d, terms (-want +got):\n%s", i.Own, diff)
	}
}

// TestOverdueUnrest: a node is not sealed while a timer is overdue: the restored one would be reckoned at a later instant than
// the sealed one was; found by the simulator (seeds 306430 and 313691).
func TestOverdueUnrest(t *testing.T) {
	now := time.Unix(1000, 0)
	n := lone(now)
	n.Step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true}})
	n.Step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source6: addresses("fe80::1")[0].IP}})
	due, ok := n.Deadline()
	if !ok {
		t.Fatal("a backup waits for nothing")
	}
	if why := n.Unrest(due.Add(-1)); why != "" {
		t.Errorf("before its timer: %s", why)
	}
	if n.Unrest(due) == "" {
		t.Error("its timer is due, and it is called calm")
	}
	n.Step(due, node.Elapsed{})
	n.Step(due, node.AddressesSet{Instance: "web"})
	if why := n.Unrest(due); why != "" {
		t.Errorf("after its timer: %s", why)
	}
}
