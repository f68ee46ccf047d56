package node_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestLeftover: the status says that an address is still here which an instance gave up, until it is gone or wanted again.
func TestLeftover(t *testing.T) {
	now := time.Unix(1000, 0)
	n, ips := lone(now), addresses("2001:db8::10")
	stays := node.Stays{Instance: "web", IPs: []netip.Addr{ips[0].IP}, Err: errors.New("no buffer space available")}
	want := func(when string, want *node.Leftover) {
		t.Helper()
		got := n.Status(now).Instances[0].Leftover
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(ips[0].IP)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	left := &node.Leftover{Addresses: stays.IPs, Why: "no buffer space available"}
	want("before anything", nil)
	n.Step(now, stays)
	want("it could not be removed", left)
	n.Step(now, node.Stays{Instance: "web"})
	want("it is gone", nil)
	n.Step(now, stays)
	n.Step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source6: addresses("fe80::1")[0].IP}})
	now, _ = n.Deadline()
	n.Step(now, node.Elapsed{})
	want("it is wanted again", nil)
	n.Step(now, stays)
	want("that was told before it was wanted again", nil)
}
