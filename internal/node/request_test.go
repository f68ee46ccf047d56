package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestWordOfAnEarlierRequest: what was asked for before says nothing of what is asked for now.
func TestWordOfAnEarlierRequest(t *testing.T) {
	now := time.Unix(1000, 0)
	n := lone(now)
	n.Step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source6: addresses("fe80::1")[0].IP}})
	due, _ := n.Deadline()
	asked := requestOf(t, n.Step(due, node.Elapsed{}))
	again := requestOf(t, n.Step(due, node.AddressLost{Interface: "eth0", IP: n.Status(due).Instances[0].Addresses[0], Expired: true}))
	if again == asked {
		t.Fatalf("both requests are number %d", asked)
	}
	for _, request := range []uint64{asked, again} {
		announces := slices.ContainsFunc(n.Step(due, node.AddressesSet{Instance: "web", Request: request}), func(a node.Action) bool {
			_, ok := a.(node.Announce)
			return ok
		})
		if announces != (request == again) || n.Status(due).Instances[0].Confirmed != announces {
			t.Errorf("request %d of %d and %d is done: it announces %t, and has its addresses %t", request, asked, again, announces, n.Status(due).Instances[0].Confirmed)
		}
	}
}

// requestOf is the number of what is asked for.
func requestOf(t *testing.T, actions []node.Action) uint64 {
	t.Helper()
	for _, a := range actions {
		if set, ok := a.(node.SetAddresses); ok && len(set.Addresses) > 0 {
			return set.Request
		}
	}
	t.Fatalf("nothing is asked for: %v", actions)
	return 0
}
