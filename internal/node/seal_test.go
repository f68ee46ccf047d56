package node_test

import (
	"encoding/json"
	"fmt"
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
	n.Step(due, node.AddressesSet{Instance: "web", Request: 1})
	if why := n.Unrest(due); why != "" {
		t.Errorf("after its timer: %s", why)
	}
}

// exchange has another process go on.
func (l *listener) exchange(t *testing.T) {
	t.Helper()
	text, err := json.Marshal(l.Seal(l.now))
	if err != nil {
		t.Fatal(err)
	}
	var s node.Sealed
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if l.Node, _, err = node.Restore(&s, l.now); err != nil {
		t.Fatal(err)
	}
}

// TestNewsOverAnExchange: what is to be told of a host, and waits for its MAC address, is told by the process that goes on, and once.
func TestNewsOverAnExchange(t *testing.T) {
	refused := func(l *listener) { l.refuse(vrrp.ErrChecksum, other4) }
	seen := func(l *listener) { l.see(other4, mac(9)) }
	for _, tt := range []struct {
		name    string
		between func(*listener) // of the two packets, once the other process is there
		who     string
	}{
		{"its MAC address is seen", seen, "10.0.0.9 (02:00:00:00:00:09)"},
		{"it is heard again", refused, "10.0.0.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(nil)
			refused(l)
			l.saidOnly(t)
			l.exchange(t)
			tt.between(l)
			l.saidOnly(t, fmt.Sprintf("adverts from %s are refused: %v", tt.who, vrrp.ErrChecksum))
			l.exchange(t)
			refused(l)
			l.saidOnly(t)
		})
	}
}
