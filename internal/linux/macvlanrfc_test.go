package linux

import (
	"bytes"
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

// TestMacvlanOfABackupDiscards tells what becomes of a packet for a virtual address that reaches a backup by the virtual MAC
// address: nothing (RFC 9568 section 6.4.2). A host that forwards forwards it too, which shows that the packet is one.
func TestMacvlanOfABackupDiscards(t *testing.T) {
	// UDP from 10.9.0.2 to port 9 of 10.9.0.100, and from 2001:db8::2 to that of 2001:db8::100.
	strays := map[bool][]byte{
		false: unhex("00005e00014702000000000208004500001c000000004011665a" + "0a0900020a090064" + "0009000900080000"),
		true: unhex("00005e00024702000000000286dd6000000000081140" + "20010db8000000000000000000000002" + "20010db8000000000000000000000100" +
			"0009000900080000"),
	}
	selfMAC := net.HardwareAddr{2, 0, 0, 0, 0, 1}
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
		for v6, stray := range strays {
			asks := "10.9.0.100"
			if v6 {
				asks = "2001:db8::100"
			}
			peer.do(func() {
				must(tap.WriteTo(stray, &packet.Addr{HardwareAddr: net.HardwareAddr(stray[:6])}))
				a := openAnnouncer(t, "v1")
				if err := a.Probe(ips("10.9.0.1")[0], netip.Addr{}); err != nil {
					t.Fatal(err)
				}
			})
			// A host that forwards it asks who has the address, before it answers the probe.
			nextFrame(t, tap, func(f []byte) bool {
				if !bytes.Equal(f[6:12], selfMAC) {
					return false
				}
				asked := bytes.Contains(f[ethernetHeader:], ips(asks)[0].AsSlice())
				if asked && !forwards {
					t.Errorf("the packet for %s went on", asks)
				}
				const reply = 2
				return forwards && asked || !forwards && etherTypeOf(f) == etherTypeARP && f[ethernetHeader+7] == reply
			})
		}
	}
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
