package node

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// TestFormerPeersKnowTheFormerSource: while a name that a reload brought leads nowhere the adverts come from where they came from, though the
// name of this host leads to another of its addresses; once all are known they come from there.
func TestFormerPeersKnowTheFormerSource(t *testing.T) {
	now, ip := time.Unix(1000, 0), netip.MustParseAddr
	to := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, MinTTL: vrrp.HopLimit,
		Addresses: []Address{{IP: ip("192.0.2.10")}}, Peers: []Peer{{Name: "lb1"}, {Name: "lb2"}},
	}
	group, peers := to, to
	group.Peers = nil
	peers.Peers = []Peer{{IP: ip("10.0.0.1")}, {IP: ip("10.0.0.2")}}
	for name, from := range map[string]Instance{"the group": group, "peers": peers} {
		n := New(Config{Name: "lb1", Instances: []Instance{from}}, now)
		link := LinkChanged{Link{Name: "eth0", Up: true, Source4: ip("10.0.0.1"), Own: []netip.Addr{ip("10.0.0.1"), ip("10.0.0.9")}}}
		n.Step(now, link)
		comesFrom := func(want string, events ...Event) {
			t.Helper()
			for _, ev := range events {
				n.Step(now, ev)
				n.Step(now, link) // whatever else happens to the interface
			}
			if got := n.Status(now).Instances[0].Routers[0].Source; got != ip(want) {
				t.Errorf("%s: after %+v the adverts come from %s, want %s", name, events, got, want)
			}
		}
		comesFrom("10.0.0.1", Reconfigured{Config{Name: "lb1", Instances: []Instance{to}}})
		comesFrom("10.0.0.1", Resolved{Name: "lb1", Addresses: []netip.Addr{ip("10.0.0.9")}})
		comesFrom("10.0.0.1", Resolved{Name: "lb2", Err: errors.New("no such host")})
		comesFrom("10.0.0.9", Resolved{Name: "lb2", Addresses: []netip.Addr{ip("10.0.0.2")}})
	}
}
