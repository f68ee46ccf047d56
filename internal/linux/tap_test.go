package linux

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// tapped runs a tap on v0 for a VRID and hands on copies of what it delivers.
func tapped(t *testing.T, vrid uint8) <-chan Tapped {
	t.Helper()
	tap, err := OpenTap("v0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	if err := tap.SetVRIDs([]uint8{vrid}, []uint8{vrid}); err != nil {
		t.Fatal(err)
	}
	got := make(chan Tapped, 100)
	start(t, func(ctx context.Context) error {
		return tap.Run(ctx, func(p Tapped) {
			if p.At.IsZero() {
				t.Error("a message without an instant")
			}
			p.Payload, p.At = bytes.Clone(p.Payload), time.Time{}
			got <- p
		})
	})
	return got
}

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// TestTapHearsBothDirections tells that a tap hears the peer and this very host, says which is which, and of the peer nothing about
// other virtual routers.
func TestTapHearsBothDirections(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		got := tapped(t, 7)
		ours := open(t, "v0", w.v6, 7)
		for _, vrid := range []byte{9, 7} {
			send(t, ours, advert(0x31, vrid), w.self, w.group)
			want := Tapped{Packet: Packet{Payload: advert(0x31, vrid), Source: w.self, Destination: w.group, TTL: 255}, Outgoing: true, MAC: macOf(t, "v0")}
			if diff := cmp.Diff(want, receive(t, got), sameAddr); diff != "" {
				t.Errorf("our own of VRID %d (-want +got):\n%s", vrid, diff)
			}
		}
		peer.do(func() {
			theirs, from := open(t, "v1", w.v6, 7), macOf(t, "v1")
			for _, to := range []netip.Addr{w.group, w.self} {
				send(t, theirs, advert(0x21, 9), w.peer, to) // another's VRID
				send(t, theirs, advert(0x21, 7), w.peer, to)
				want := Tapped{Packet: Packet{Payload: advert(0x21, 7), Source: w.peer, Destination: to, TTL: 255}, MAC: from}
				if diff := cmp.Diff(want, receive(t, got), sameAddr); diff != "" {
					t.Errorf("the peer's (-want +got):\n%s", diff)
				}
			}
		})
	})
}

// macOf is an interface's MAC address.
func macOf(t *testing.T, ifName string) net.HardwareAddr {
	t.Helper()
	ifi, err := net.InterfaceByName(ifName)
	if err != nil {
		t.Fatal(err)
	}
	return ifi.HardwareAddr
}

// TestTapHearsAMacvlan tells that what leaves by a macvlan on the interface, as keepalived's with use_vmac does, is this host's own,
// and from which MAC address.
func TestTapHearsAMacvlan(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.run("ip link add vmac link v0 type macvlan mode private", "ip link set vmac address 00:00:5e:00:01:07 up", "ip address add 10.9.0.77/32 dev vmac")
	got := tapped(t, 7)
	source, group := netip.MustParseAddr("10.9.0.77"), wires[0].group
	send(t, open(t, "vmac", false, 7), advert(0x31, 7), source, group)
	want := Tapped{Packet: Packet{Payload: advert(0x31, 7), Source: source, Destination: group, TTL: 255}, Outgoing: true, MAC: net.HardwareAddr{0, 0, 0x5e, 0, 1, 7}}
	if diff := cmp.Diff(want, receive(t, got), sameAddr); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTapNeedsNothing tells that a tap hears a group that nobody on the host has joined, without joining it itself, on an
// interface without an address.
func TestTapNeedsNothing(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.run("ip addr flush dev v0")
	groups := self.run("ip maddr show dev v0")
	got := tapped(t, 7)
	after := self.run("ip maddr show dev v0")
	for line := range strings.Lines(after) {
		if !strings.Contains(groups, line) && !strings.Contains(line, "link ") {
			t.Errorf("the tap joined %q", strings.TrimSpace(line))
		}
	}
	for _, w := range wires {
		peer.do(func() {
			send(t, open(t, "v1", w.v6, 7), advert(0x31, 7), w.peer, w.group)
		})
		if p := receive(t, got); p.Outgoing || p.Source != w.peer {
			t.Errorf("heard %+v", p)
		}
	}
}

// TestTapAndVLANs tells that the adverts of a VLAN on the interface are not taken for those of the interface, and that those with a
// priority alone are: they have the tag of VLAN 0. Of what comes in the kernel takes the tag off before it shows it, and notes it
// beside; in what this host sends it stands where it was.
func TestTapAndVLANs(t *testing.T) {
	_, peer := pair(t)
	got := tapped(t, 7)
	frame := func(version byte, head ...byte) []byte {
		f := append([]byte{0x01, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 2}, head...)
		f = append(f, 0x45, 0, 0, 28, 0, 0, 0, 0, 255, protocolVRRP, 0, 0, 10, 9, 0, 2, 224, 0, 0, 18)
		return append(f, advert(version, 7)...)
	}
	sends := func(ifName string, frames ...[]byte) {
		a, err := OpenAnnouncer(ifName)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		for _, f := range frames {
			if err := a.send(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	vlans := [][]byte{
		frame(0x21, 0x81, 0, 0, 10, 8, 0), frame(0x21, 0x81, 0, 0xef, 0xff, 8, 0), frame(0x21, 0x88, 0xa8, 0, 1, 8, 0),
		frame(0x21, 0x81, 0, 0, 0, 0x81, 0, 0, 10, 8, 0), // a VLAN in VLAN 0
	}
	for name, head := range map[string][]byte{
		"no tag": {8, 0}, "priority 0": {0x81, 0, 0, 0, 8, 0}, "priority 5, may be dropped": {0x81, 0, 0xb0, 0, 8, 0}, "of a provider": {0x88, 0xa8, 0x60, 0, 8, 0},
	} {
		peer.do(func() { sends("v1", append(vlans, frame(0x31, head...))...) })
		if p := receive(t, got); p.Payload[0] != 0x31 || p.Outgoing {
			t.Errorf("%s: heard %+v", name, p)
		}
		sends("v0", append(vlans, frame(0x31, head...))...)
		if p := receive(t, got); p.Payload[0] != 0x31 || !p.Outgoing || p.Source != wires[0].peer {
			t.Errorf("%s: of its own heard %+v", name, p)
		}
	}
}

// TestTapFilter tells it of each tag and header, without a kernel: what that notes beside the packet is said here.
func TestTapFilter(t *testing.T) {
	ipv4, ipv6, vlan, provider := []byte{8, 0}, []byte{0x86, 0xdd}, []byte{0x81, 0}, []byte{0x88, 0xa8}
	v4 := from4(255, "10.9.0.2")
	v6 := func(next byte, message ...byte) []byte {
		b := append([]byte{0x60, 0, 0, 0, 0, byte(len(message)), next, 255}, make([]byte, 32)...)
		return append(b, message...)
	}
	later := append(header4(255, protocolVRRP), make([]byte, 40)...)
	later[7], later[ipv6HeaderSize] = 5, protocolVRRP
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name   string
		beside int    // the tag beside the packet; -1: none
		link   []byte // behind the MAC addresses
		packet []byte
		want   bool
	}{
		{"IPv4", -1, ipv4, v4, true},
		{"IPv6", -1, ipv6, v6(protocolVRRP, advert(0x31, 7)...), true},
		{"ARP", -1, []byte{8, 6}, v4, false},
		{"another protocol", -1, ipv4, header4(255, 89, advert(0x31, 7)...), false},
		{"another next header", -1, ipv6, v6(58, advert(0x31, 7)...), false},
		{"a first fragment of IPv6", -1, ipv6, v6(nextFragment, append([]byte{protocolVRRP, 0, 0, 1, 0, 0, 0, 1}, advert(0x31, 7)...)...), true},
		{"another one", -1, ipv6, v6(nextFragment, append([]byte{protocolVRRP, 0, 0, 9, 0, 0, 0, 1}, advert(0x31, 7)...)...), false},
		{"one of IPv4", -1, ipv4, later, false},
		{"a tag beside, of VLAN 0", 0, ipv4, v4, true},
		{"with a priority", 0xb000, ipv6, v6(protocolVRRP, advert(0x31, 7)...), true},
		{"of VLAN 1", 1, ipv4, v4, false},
		{"of VLAN 4095", 0xffff, ipv4, v4, false},
		{"a tag of VLAN 0", -1, join(vlan, []byte{0, 0}, ipv4), v4, true},
		{"a provider's, with a priority", -1, join(provider, []byte{0x60, 0}, ipv6), v6(protocolVRRP, advert(0x31, 7)...), true},
		{"of VLAN 256", -1, join(vlan, []byte{1, 0}, ipv4), v4, false},
		{"a provider's of VLAN 1", -1, join(provider, []byte{0, 1}, ipv4), v4, false},
		{"of VLAN 0 before ARP", -1, join(vlan, []byte{0, 0, 8, 6}), v4, false},
		{"before one of VLAN 10", -1, join(vlan, []byte{0, 0}, vlan, []byte{0, 10}, ipv4), v4, false},
		{"beside, before one of VLAN 10", 0, join(vlan, []byte{0, 10}, ipv4), v4, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := join(make([]byte, 12), tt.link, tt.packet)
			if got := passes(t, tapFilterAs(tt.beside, uint32(binary.BigEndian.Uint16(tt.link)), len(frame)-len(tt.packet)), frame); got != tt.want {
				t.Errorf("passed: %t, want %t", got, tt.want)
			}
		})
	}
	f := join(make([]byte, 12), vlan, []byte{0, 0}, ipv4, v4)
	if passes(t, tapFilterAs(-1, unix.ETH_P_8021Q, 14), f) {
		t.Error("passed where the packet begins with the tag")
	}
}

// tapFilterAs is the filter for a whole frame whose packet begins there, with what the kernel notes beside it in it.
func tapFilterAs(tag int, proto uint32, begin int) (p program) {
	present := uint32(1)
	if tag < 0 {
		present, tag = 0, 0
	}
	beside := map[bpf.Extension]uint32{
		bpf.ExtVLANTagPresent: present, bpf.ExtVLANTag: uint32(tag), bpf.ExtType: unix.PACKET_MULTICAST, bpf.ExtProto: proto,
	}
	for _, in := range tapFilter() {
		switch x := in.(type) {
		case bpf.LoadExtension:
			in = bpf.LoadConstant{Dst: bpf.RegA, Val: beside[x.Num]}
		case bpf.LoadAbsolute:
			if x.Off >= linkHeader {
				x.Off -= linkHeader
			} else {
				x.Off += uint32(begin)
			}
			in = x
		}
		p.add(in)
	}
	return p
}

// TestTapFragments tells that of a message in fragments the first is shown as such, and no other.
func TestTapFragments(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.run("ip link set v0 mtu 1280")
	peer.do(func() { peer.run("ip link set v1 mtu 1280") })
	got := tapped(t, 7)
	long := append(advert(0x31, 7), make([]byte, 2000)...)
	for _, w := range wires {
		peer.do(func() {
			c := open(t, "v1", w.v6, 7)
			send(t, c, long, w.peer, w.group)
			send(t, c, advert(0x31, 7), w.peer, w.group)
		})
		if p := receive(t, got); !p.Fragment || p.Payload[1] != 7 || p.Source != w.peer {
			t.Errorf("%s: first %+v, want a fragment", w.name, p)
		}
		if p := receive(t, got); p.Fragment || len(p.Payload) != len(advert(0x31, 7)) {
			t.Errorf("%s: then %+v, want the whole message", w.name, p)
		}
	}
}

func TestTapPending(t *testing.T) {
	_, peer := pair(t)
	tap, err := OpenTap("v0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tap.Close() })
	if err := tap.SetVRIDs([]uint8{7}, nil); err != nil {
		t.Fatal(err)
	}
	waits := func() bool { return must(tap.Pending()) }
	if waits() {
		t.Error("a message is pending before one was sent")
	}
	peer.do(func() { send(t, open(t, "v1", false, 7), advert(0x31, 7), wires[0].peer, wires[0].group) })
	eventually(t, "the message is pending", waits)
	delivered := make(chan Tapped, 1)
	start(t, func(ctx context.Context) error { return tap.Run(ctx, func(p Tapped) { delivered <- p }) })
	receive(t, delivered)
	eventually(t, "nothing is pending", func() bool { return !waits() })
}

// TestParseTapped tells what is left out without a kernel to look at it before.
func TestParseTapped(t *testing.T) {
	v6 := func(next byte, length int, rest int) []byte {
		b := append([]byte{0x60, 0, 0, 0, 0, 0, next, 255}, make([]byte, 32+rest)...)
		binary.BigEndian.PutUint16(b[4:], uint16(length))
		return b
	}
	link := &unix.SockaddrLinklayer{}
	tests := []struct {
		name string
		b    []byte
		from unix.Sockaddr
	}{
		{"nothing", nil, link},
		{"not from a packet socket", v6(112, 8, 8), &unix.SockaddrInet6{}},
		{"a header cut short", v6(112, 8, 8)[:39], link},
		{"less than its length says", v6(112, 9, 8), link},
		{"a fragment header that is not there", v6(44, 7, 7), link},
		{"IPv4 with less than its length says", append([]byte{0x45, 0, 0, 40}, make([]byte, 20)...), link},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p, ok := parseTapped(tt.b, tt.from); ok {
				t.Errorf("taken for %+v", p)
			}
		})
	}
}

// FuzzParseTapped feeds it whatever a link can carry.
func FuzzParseTapped(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 28, 0, 0, 0x20, 0, 255, 112, 0, 0, 10, 9, 0, 2, 224, 0, 0, 18, 0x31, 7, 1, 1, 0, 100, 0, 0})
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 8, 112, 255}, make([]byte, 40)...))
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 8, 44, 255}, make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parseTapped(b, &unix.SockaddrLinklayer{Pkttype: unix.PACKET_OUTGOING})
		if ok && (!p.Source.IsValid() || !p.Destination.IsValid() || len(p.Payload) > len(b) || !p.Outgoing) {
			t.Errorf("%x is taken for %+v", b, p)
		}
	})
}
