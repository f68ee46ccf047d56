package linux

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestConnHearsItsPeers: of a unicast router's VRID only adverts of its peers leave the kernel.
func TestConnHearsItsPeers(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		stranger := netip.MustParseAddr(map[bool]string{false: "10.9.0.66", true: "fe80::66"}[w.v6])
		peer.do(func() {
			if w.v6 {
				peer.run("ip addr add fe80::66/64 dev v1 nodad")
			} else {
				peer.run("ip addr add 10.9.0.66/24 dev v1")
			}
		})
		self := open(t, "v0", w.v6)
		if err := self.Accept([]Accept{{VRID: 7, Unicast: true, Peers: []netip.Addr{w.peer}, MinTTL: 255}}); err != nil {
			t.Fatal(err)
		}
		got := collect(t, self)
		last := long(0x31, 7, 0, trailer)
		peer.do(func() {
			c := open(t, "v1", w.v6)
			send(t, c, advert(0x31, 7), w.peer, w.group)
			for range 100 {
				send(t, c, advert(0x31, 7), stranger, w.self)
			}
			send(t, c, last, w.peer, w.self)
		})
		if p := receive(t, got); p.Source != w.peer || p.Destination != w.self || !bytes.Equal(p.Payload, last) {
			t.Errorf("heard %x of %s to %s", p.Payload, p.Source, p.Destination)
		}
	})
}

// TestConnSendsToGlobalPeers over IPv6, from a global address.
func TestConnSendsToGlobalPeers(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	own, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	var got <-chan Packet
	peer.do(func() {
		c := open(t, "v1", true)
		if err := c.Accept([]Accept{{VRID: 7, Unicast: true, Peers: []netip.Addr{own}, MinTTL: 255}}); err != nil {
			t.Fatal(err)
		}
		got = collect(t, c)
	})
	send(t, open(t, "v0", true), advert(0x31, 7), own, other)
	if p := receive(t, got); p.Source != own || p.Destination != other || p.TTL != 255 {
		t.Errorf("heard %+v", p)
	}
}

// TestConnJoinsTheGroupWhileItIsNeeded: a host of unicast routers alone is no member of VRRP's group, and hears nothing of it
// where another program is one.
func TestConnJoinsTheGroupWhileItIsNeeded(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		self := open(t, "v0", w.v6)
		group, file := "120000E0", "/proc/thread-self/net/igmp"
		if w.v6 {
			group, file = "ff020000000000000000000000000012", "/proc/thread-self/net/igmp6"
		}
		member := func() bool { return strings.Contains(string(must(os.ReadFile(file))), group) }
		alone := []Accept{{VRID: 7, Unicast: true, Peers: []netip.Addr{w.peer}, MinTTL: 255}}
		for _, step := range []struct {
			accepts []Accept
			want    bool
		}{{nil, false}, {alone, false}, {append(slices.Clone(alone), Accept{VRID: 8}), true}, {multicast(7), true}, {alone, false}} {
			if err := self.Accept(step.accepts); err != nil {
				t.Fatal(err)
			}
			if member() != step.want {
				t.Errorf("with %+v it is a member of the group: %t", step.accepts, member())
			}
		}
		open(t, "v0", w.v6, 9) // another program's
		got := collect(t, self)
		peer.do(func() {
			c := open(t, "v1", w.v6)
			send(t, c, advert(0x31, 7), w.peer, w.group)
			send(t, c, advert(0x31, 7), w.peer, w.self)
		})
		if p := receive(t, got); p.Destination != w.self {
			t.Errorf("heard what was sent to %s", p.Destination)
		}
	})
}
