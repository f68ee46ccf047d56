package linux

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// TestMacvlanAdvertsAreFramedAsTheRFCWants tells from which MAC address an advert comes that is sent through a macvlan, and to
// which (RFC 9568 sections 7.2 and 7.3).
func TestMacvlanAdvertsAreFramedAsTheRFCWants(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	tap := must(packet.Listen(must(interfaceByName("v0")), packet.Raw, unix.ETH_P_ALL, nil))
	defer tap.Close()
	var routers []Macvlan
	peer.do(func() {
		a := openAddresses(t, t.TempDir())
		setAll(t, a, onPeer())
		for _, m := range []Macvlan{router4, router6} {
			m.Parent = "v1"
			conn := must(Listen(m.Name(), m.V6))
			defer conn.Close()
			source, group := ips("10.9.0.2")[0], ips("224.0.0.18")[0]
			if m.V6 {
				source, group = must(a.Macvlans().Ensure(m)).Source6, ips("ff02::12")[0]
			}
			if err := conn.Send(advert(0x31, m.VRID), source, group); err != nil {
				t.Fatal(err)
			}
			routers = append(routers, m)
		}
	})
	for _, m := range routers {
		group := net.HardwareAddr{0x01, 0x00, 0x5e, 0x00, 0x00, 0x12}
		if m.V6 {
			group = net.HardwareAddr{0x33, 0x33, 0x00, 0x00, 0x00, 0x12}
		}
		frame := nextFrame(t, tap, func(f []byte) bool { return protocolOf(f) == protocolVRRP })
		if to, from := net.HardwareAddr(frame[:6]), net.HardwareAddr(frame[6:12]); !bytes.Equal(to, group) || !bytes.Equal(from, m.MAC()) {
			t.Errorf("an advert of %s goes from %s to %s, want from %s to %s", m.Name(), from, to, m.MAC(), group)
		}
	}
}

// TestMacvlanOfABackupDiscards tells what becomes of a packet for another host that reaches this one by the virtual MAC address. A
// backup discards it (RFC 9568 section 6.4.2), also where the host forwards: the master does.
func TestMacvlanOfABackupDiscards(t *testing.T) {
	for _, forwards := range []bool{false, true} {
		self, peer := pair(t)
		withIPv6(self, peer)
		if forwards {
			self.sysctl("ipv4/conf/all/forwarding", "1")
			self.sysctl("ipv6/conf/all/forwarding", "1")
		}
		a := openAddresses(t, t.TempDir())
		for _, m := range []Macvlan{router4, router6} {
			must(a.Macvlans().Ensure(m))
		}
		var tap *packet.Conn
		peer.do(func() { tap = must(packet.Listen(must(interfaceByName("v1")), packet.Raw, unix.ETH_P_ALL, nil)) })
		defer tap.Close()
		host := byte(80)
		discards := func(who string, want bool) {
			host++
			for _, s := range strays(host) {
				if wentOn := s.goesOn(t, peer, tap); wentOn == want {
					t.Errorf("a host that forwards (%t) and %s: the packet for %s went on: %t", forwards, who, s.to, wentOn)
				}
			}
		}
		discards("is a backup", true)
		setAll(t, a, virtual())
		discards("is master", !forwards)
		setAll(t, a, Want{Owner: "web", Interface: "v0"})
		discards("is a backup again", true)
	}
}

// stray is a packet to the virtual MAC address, for a host that is not there.
type stray struct {
	to    string
	frame []byte
}

// strays are UDP from 10.9.0.2 to port 9 of 10.9.0.host, and from 2001:db8::2 to that of 2001:db8::host. Whoever was asked for is asked
// for again a second later, so each packet is for another host.
func strays(host byte) []stray {
	return []stray{
		{fmt.Sprintf("10.9.0.%d", host), unhex(fmt.Sprintf("00005e00014702000000000208004500001c0000000040116%03x0a0900020a0900%02x0009000900080000", 0x6be-int(host), host))},
		{fmt.Sprintf("2001:db8::%x", host), unhex("00005e00024702000000000286dd6000000000081140" + "20010db8000000000000000000000002" +
			fmt.Sprintf("20010db80000000000000000000000%02x0009000900080000", host))},
	}
}

// goesOn sends it from the peer, and says whether this host forwards it: it asks who has the address then, before it answers a probe
// that comes after the packet.
func (s *stray) goesOn(t *testing.T, peer *host, tap *packet.Conn) (asked bool) {
	t.Helper()
	const reply = 2
	selfMAC := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	peer.do(func() {
		must(tap.WriteTo(s.frame, &packet.Addr{HardwareAddr: net.HardwareAddr(s.frame[:6])}))
		a := openAnnouncer(t, "v1")
		if err := a.Probe(ips("10.9.0.1")[0], netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	})
	nextFrame(t, tap, func(f []byte) bool {
		if !bytes.Equal(f[6:12], selfMAC) {
			return false
		}
		asked = asked || bytes.Contains(f[ethernetHeader:], ips(s.to)[0].AsSlice())
		return etherTypeOf(f) == etherTypeARP && f[ethernetHeader+7] == reply
	})
	return asked
}

// nextFrame reads frames until one is of a kind.
func nextFrame(t *testing.T, tap *packet.Conn, is func(frame []byte) bool) []byte {
	t.Helper()
	if err := tap.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	for {
		n, _, err := tap.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if n > ethernetHeader+20 && is(b[:n]) {
			return bytes.Clone(b[:n])
		}
	}
}

func etherTypeOf(frame []byte) int { return int(frame[12])<<8 | int(frame[13]) }

// protocolOf is the protocol of the IP packet in a frame; 0 of any other frame.
func protocolOf(frame []byte) byte {
	switch frame[ethernetHeader] >> 4 {
	case 4:
		return frame[ethernetHeader+9]
	case 6:
		return frame[ethernetHeader+6]
	default:
		return 0
	}
}
