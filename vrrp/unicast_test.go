package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// TestRefuseByOrigin: a unicast router listens to its peers alone, a multicast one to the group alone; who speaks the other way,
// from elsewhere or over more routers than allowed is refused, whatever its advert says.
func TestRefuseByOrigin(t *testing.T) {
	own6, peer6, stranger6 := netip.MustParseAddr("fd00::11"), netip.MustParseAddr("fd00::12"), netip.MustParseAddr("fd00::66")
	stranger4 := netip.MustParseAddr("192.0.2.66")
	multicast4, multicast6, unicast4, routed4, unicast6 := config4(V3, false), config6(false), config4(V3, false), config4(V2, false), config6(false)
	unicast4.Unicast = &Unicast{Peers: []netip.Addr{peer4}, MinTTL: HopLimit}
	routed4.Unicast = &Unicast{Peers: []netip.Addr{peer4}, MinTTL: 250}
	unicast6.Unicast = &Unicast{Peers: []netip.Addr{peer6}, MinTTL: HopLimit}
	nobody := config4(V3, false)
	nobody.Unicast = &Unicast{MinTTL: 1}
	tests := []struct {
		name     string
		cfg      Config
		from, to netip.Addr
		hops     int
		want     *Refusal
	}{
		{"a peer", unicast4, peer4, source4, 255, nil},
		{"a peer, as an IPv6 socket shows it", unicast4, netip.AddrFrom16(peer4.As16()), source4, 255, nil},
		{"an IPv6 peer", unicast6, peer6, own6, 255, nil},
		{"a link-local peer with the socket's zone", unicast6, peer6.WithZone("eth0"), own6, 255, nil},
		{"a peer that forwards nothing and sends 64", unicast6, peer6, own6, 64, ErrMinTTL},
		{"a peer behind a router", unicast4, peer4, source4, 254, ErrMinTTL},
		{"a peer behind as many routers as allowed", routed4, peer4, source4, 250, nil},
		{"a peer behind one more", routed4, peer4, source4, 249, ErrMinTTL},
		{"a stranger", unicast4, stranger4, source4, 255, ErrNotPeer},
		{"an IPv6 stranger", unicast6, stranger6, own6, 255, ErrNotPeer},
		{"a stranger with a short TTL", unicast4, stranger4, source4, 1, ErrNotPeer},
		{"anybody while no peer is known", nobody, peer4, source4, 255, ErrNotPeer},
		{"a peer that multicasts", unicast4, peer4, GroupIPv4, 255, ErrMulticast},
		{"an IPv6 peer that multicasts", unicast6, peer6, GroupIPv6, 255, ErrMulticast},
		{"a peer that broadcasts", unicast4, peer4, netip.MustParseAddr("255.255.255.255"), 255, ErrMulticast},
		{"ourselves", unicast4, source4, source4, 255, ErrOwnAdvert},
		{"ourselves, multicast", unicast4, source4, GroupIPv4, 255, ErrOwnAdvert},
		{"unicast to a multicast router", multicast4, peer4, source4, 255, ErrUnicast},
		{"IPv6 unicast to a multicast router", multicast6, peer6, own6, 255, ErrUnicast},
		{"another group", multicast4, peer4, netip.MustParseAddr("224.0.0.5"), 255, ErrUnicast},
		{"multicast to a multicast router", multicast4, peer4, GroupIPv4, 255, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			own := map[Family]netip.Addr{IPv4: source4, IPv6: own6}[tt.cfg.Family]
			for _, priority := range []uint8{0, 1, 50, 254, 255} {
				r := Received{
					Advert: Advert{Version: tt.cfg.Version, VRID: 10, Priority: priority, Interval: time.Second, Addresses: tt.cfg.Addresses},
					From:   tt.from, To: tt.to, HopLimit: tt.hops,
				}
				if err := tt.cfg.Refuse(r, own, 100, nil); tt.want == nil && err != nil || tt.want != nil && err != error(tt.want) {
					t.Errorf("priority %d: error %v, want %v", priority, err, tt.want)
				}
			}
		})
	}
}
