package node_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestOddPackets feeds what is refused or odd: each sender and reason is told once, and counted every time.
func TestOddPackets(t *testing.T) {
	peer, other, self := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("10.0.0.1")
	advert := vrrp.Advert{Version: vrrp.V3, VRID: 51, Priority: 100, Interval: time.Second, Addresses: ips("192.0.2.10")}
	old := advert
	old.Version = vrrp.V2
	mismatch := advert
	mismatch.Addresses = ips("192.0.2.99")
	unknown := advert
	unknown.VRID = 9
	tests := []struct {
		name     string
		events   []node.Event
		warnings int
		count    func(*node.Status) uint64
	}{
		{"a packet that is no advert", []node.Event{
			node.Refused{Interface: "eth0", VRID: 51, From: peer, Err: vrrp.ErrChecksum},
			node.Refused{Interface: "eth0", VRID: 51, From: peer, Err: vrrp.ErrChecksum},
			node.Refused{Interface: "eth0", VRID: 51, From: other, Err: vrrp.ErrChecksum},
		}, 2, func(s *node.Status) uint64 { return s.Instances[0].Routers[0].Refused["checksum"].Count }},
		{"a packet of no instance", []node.Event{
			node.Refused{Interface: "eth0", VRID: 9, From: peer, Err: vrrp.ErrChecksum},
			node.Refused{Interface: "eth1", VRID: 51, From: peer, Err: vrrp.ErrChecksum},
			node.Refused{Interface: "eth0", VRID: 9, From: peer, Err: vrrp.ErrChecksum},
		}, 0, func(s *node.Status) uint64 { return stray(s, "checksum") }},
		{"an advert of no instance", []node.Event{
			node.Heard{Interface: "eth0", Received: received(unknown, peer)},
			node.Heard{Interface: "eth1", Received: received(advert, peer)},
			node.Heard{Interface: "eth0", Received: received(unknown, peer)},
		}, 0, func(s *node.Status) uint64 { return stray(s, "unknown-vrid") }},
		{"an advert of another version", []node.Event{
			node.Heard{Interface: "eth0", Received: received(old, peer)},
			node.Heard{Interface: "eth0", Received: received(old, peer)},
			node.Heard{Interface: "eth0", Received: received(old, peer)},
		}, 1, func(s *node.Status) uint64 { return s.Instances[0].Routers[0].Refused["version-mismatch"].Count }},
		{"another host with our address", []node.Event{
			node.Heard{Interface: "eth0", Received: received(advert, self)},
			node.Heard{Interface: "eth0", Received: received(advert, self)},
			node.Heard{Interface: "eth0", Received: received(advert, self)},
		}, 1, func(s *node.Status) uint64 { return s.Instances[0].Routers[0].Refused["same-address"].Count }},
		{"other addresses", []node.Event{
			node.Heard{Interface: "eth0", Received: received(mismatch, peer)},
			node.Heard{Interface: "eth0", Received: received(mismatch, peer)},
			node.Heard{Interface: "eth0", Received: received(mismatch, peer)},
		}, 1, func(s *node.Status) uint64 { return s.Instances[0].Routers[0].Notices["stranger"].Count }},
		{"an advert that does not leave", []node.Event{
			node.SendFailed{Instance: "web", Family: vrrp.IPv4, Err: errors.New("operation not permitted")},
			node.SendFailed{Instance: "web", Family: vrrp.IPv4, Err: errors.New("operation not permitted")},
			node.SendFailed{Instance: "web", Family: vrrp.IPv4, Err: errors.New("no buffer space available")},
		}, 2, func(s *node.Status) uint64 { return s.Instances[0].Routers[0].Counters.SendFailures }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			n := running(now)
			warnings := 0
			for _, ev := range append(seen(peer, other), tt.events...) {
				for _, a := range n.Step(now, ev) {
					if w, ok := a.(node.Warned); ok {
						t.Log(w.Why)
						warnings++
					}
				}
			}
			if warnings != tt.warnings {
				t.Errorf("%d warnings, want %d", warnings, tt.warnings)
			}
			if got := tt.count(n.Status(now)); got != 3 {
				t.Errorf("counted %d, want 3", got)
			}
		})
	}
}

// seen tells of the MAC addresses that hosts have.
func seen(ips ...netip.Addr) (evs []node.Event) {
	for _, ip := range ips {
		evs = append(evs, node.Seen{Interface: "eth0", From: ip, MAC: "02:00:00:00:00:09"})
	}
	return evs
}

// stray sums what belongs to no instance on any interface.
func stray(s *node.Status, reason string) (sum uint64) {
	for _, l := range s.Links {
		if c := l.Stray[reason]; c != nil {
			sum += c.Count
		}
	}
	return sum
}

// TestStatusIsACopy changes a status and expects nothing of it in the next one.
func TestStatusIsACopy(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	n := running(now)
	n.Step(now, node.Refused{Interface: "eth0", VRID: 51, From: netip.MustParseAddr("10.0.0.9"), Err: vrrp.ErrChecksum})
	want, s := n.Status(now), n.Status(now)
	s.Instances[0].Terms[0].Value = 1
	s.Instances[0].Addresses[0] = netip.Addr{}
	s.Instances[0].Routers[0].Refused["checksum"].Count = 99
	if diff := cmp.Diff(want, n.Status(now), cmpopts.IgnoreUnexported(node.Count{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the node's status changed with its copy (-want +got):\n%s", diff)
	}
}

// running returns a node with one instance that is backup.
func running(now time.Time) *node.Node {
	n := node.New(node.Config{Name: "a", Instances: []node.Instance{{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("192.0.2.10"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true,
	}}}, now)
	n.Step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}})
	return n
}

// ips lists addresses.
func ips(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range list {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}
