package linux

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// FuzzWitness shows a witness whatever a link carries: of what its sockets let through it overlooks no claim to an address of ours but
// its own, and it takes nothing else for one.
func FuzzWitness(f *testing.F) {
	ip4, ip6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	f.Add(must(arpFrame(arp.OperationRequest, testMAC, ip4, ip4, testMAC)))
	f.Add(must(probe(testMAC, ip4, netip.Addr{})))
	f.Add(must(announcements(testMAC, ip6, true))[0])
	f.Add(must(ndFrame(&ndp.NeighborAdvertisement{TargetAddress: ip6}, testMAC, ip6, allNodes)))
	f.Add(must(probe(testMAC, ip6, netip.MustParseAddr("fe80::1"))))
	f.Fuzz(func(t *testing.T, frame []byte) {
		arpPasses, ndPasses := passes(t, arpFilter, frame), passes(t, advertisementFilter, frame)
		if _, ok := parseAdvertisement(frame); ok && !ndPasses {
			t.Errorf("the filter drops the advertisement %x", frame)
		}
		checkWitness(t, frame, arpClaims, arpPasses)
		checkWitness(t, frame, ndClaims, ndPasses)
	})
}

// checkWitness asks three witnesses: one whose address it may be, one that claims it, and one that has another address.
func checkWitness(t *testing.T, frame []byte, c claims, passed bool) {
	t.Helper()
	other := net.HardwareAddr{2, 0, 0, 0, 0, 0x99}
	asked := func(mac net.HardwareAddr, ip netip.Addr) (Announcement, bool) {
		w := &Witness{mac: mac}
		w.SetAddresses([]netip.Addr{ip})
		return w.claim(frame, c)
	}
	a, claimed := c.parse(frame)
	if !claimed {
		if len(frame) >= c.at+c.size {
			about, _ := netip.AddrFromSlice(frame[c.at : c.at+c.size])
			if got, ok := asked(other, about); ok {
				t.Errorf("%x claims nothing, and is taken for %+v", frame, got)
			}
		}
		return
	}
	got, ok := asked(other, a.Address)
	if passed && !bytes.Equal(a.MAC, other) && !ok || ok && (got.Address != a.Address || !bytes.Equal(got.MAC, a.MAC)) {
		t.Errorf("%x claims %v for %s, and is taken for %+v, %t", frame, a.Address, a.MAC, got, ok)
	}
	if got, ok := asked(a.MAC, a.Address); ok {
		t.Errorf("%x is our own, and is taken for %+v", frame, got)
	}
	if got, ok := asked(other, a.Address.Next()); ok {
		t.Errorf("%x is about %v, and is taken for %+v", frame, a.Address, got)
	}
}
