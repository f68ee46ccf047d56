package linux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// wire is what the two families differ in.
type wire struct {
	name              string
	v6                bool
	self, peer, group netip.Addr
}

var wires = []wire{
	{"IPv4", false, netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("224.0.0.18")},
	{"IPv6", true, netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"), netip.MustParseAddr("ff02::12")},
}

// onWires runs a test body on a pair of hosts for each family.
func onWires(t *testing.T, body func(t *testing.T, w wire, peer *host)) {
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) { onWire(t, w, body) })
	}
}

// onWiresAtOnce is onWires for a test that mostly waits.
func onWiresAtOnce(t *testing.T, body func(t *testing.T, w wire, peer *host)) {
	t.Parallel()
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			onWire(t, w, body)
		})
	}
}

func onWire(t *testing.T, w wire, body func(t *testing.T, w wire, peer *host)) {
	self, peer := pair(t)
	withIPv6(self, peer)
	body(t, w, peer)
}

func open(t *testing.T, ifName string, v6 bool, vrids ...uint8) *Conn {
	t.Helper()
	c, err := Listen(ifName, v6)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Accept(multicast(vrids...)); err != nil {
		t.Fatal(err)
	}
	return c
}

// collect runs the connection and hands on copies of what it delivers.
func collect(t *testing.T, c *Conn) <-chan Packet {
	t.Helper()
	got := make(chan Packet, 100)
	start(t, func(ctx context.Context) error {
		return c.Run(ctx, func(p Packet) {
			p.Payload = bytes.Clone(p.Payload)
			got <- p
		})
	})
	return got
}

func send(t *testing.T, c *Conn, payload []byte, from, to netip.Addr) {
	t.Helper()
	if err := c.Send(payload, from, to); err != nil {
		t.Fatal(err)
	}
}

func TestConnDeliversWhatAPeerSends(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		self := open(t, "v0", w.v6, 7)
		got := collect(t, self)
		peer.do(func() {
			c := open(t, "v1", w.v6, 7)
			for to, accept := range map[netip.Addr]Accept{w.group: {VRID: 7}, w.self: {VRID: 7, Unicast: true, Peers: []netip.Addr{w.peer}, MinTTL: 255}} {
				if err := self.Accept([]Accept{accept}); err != nil {
					t.Fatal(err)
				}
				before := time.Now()
				send(t, c, advert(0x31, 7), w.peer, to)
				p := receive(t, got)
				if p.At.Before(before) || p.At.After(time.Now()) {
					t.Errorf("read at %v, sent at %v", p.At, before)
				}
				p.At = time.Time{}
				want := Packet{Payload: advert(0x31, 7), Source: w.peer, Destination: to, TTL: 255}
				if diff := cmp.Diff(want, p, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("packet (-want +got):\n%s", diff)
				}
			}
		})
	})
}

// TestConnCarriesAdvertsLongerThanTheMTU tells that one with as many addresses as there can be is sent in fragments, and that the filter
// has it as a whole, to the group and to a peer. The lookout, which does not, takes no part of it for a bad advert.
func TestConnCarriesAdvertsLongerThanTheMTU(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		mtu, message := " mtu 576", long(0x31, 7, 255, 255*4+trailer)
		if w.v6 {
			mtu, message = " mtu 1500", long(0x31, 7, 255, 255*16+trailer)
		}
		for n := range message[fixedPart:] {
			message[fixedPart+n] = byte(n)
		}
		(&host{t: t}).run("ip link set v0" + mtu)
		self := open(t, "v0", w.v6, 7)
		got := collect(t, self)
		seen, _ := lookOut(t, w, Accept{VRID: 7})
		peer.do(func() {
			peer.run("ip link set v1" + mtu)
			c := open(t, "v1", w.v6, 7)
			for to, accept := range map[netip.Addr]Accept{w.group: {VRID: 7}, w.self: {VRID: 7, Unicast: true, Peers: []netip.Addr{w.peer}, MinTTL: 255, Signed: true}} {
				if err := self.Accept([]Accept{accept}); err != nil {
					t.Fatal(err)
				}
				send(t, c, message, w.peer, to)
				if p := receive(t, got); !bytes.Equal(p.Payload, message) || p.Source != w.peer || p.Destination != to || p.TTL != 255 {
					t.Errorf("to %s: %d bytes came from %s to %s with TTL %d, want %d", to, len(p.Payload), p.Source, p.Destination, p.TTL, len(message))
				}
			}
			send(t, c, advert(0x31, 9), w.peer, w.group)
		})
		if s := receive(t, seen); s.Payload[1] != 9 {
			t.Errorf("the lookout saw %+v", s)
		}
	})
}

// What arrives between the first and the last packet of a queue in order was dropped.
func TestConnFiltersInTheKernel(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		self := open(t, "v0", w.v6, 7)
		got := collect(t, self)
		peer.do(func() {
			c := open(t, "v1", w.v6, 7)
			hops := func(n int) {
				t.Helper()
				if err := errors.Join(setHops(c, n)); err != nil {
					t.Fatal(err)
				}
			}
			hops(254)
			send(t, c, advert(0x31, 7), w.peer, w.group)
			hops(255)
			send(t, c, advert(0x31, 8), w.peer, w.group)
			send(t, c, advert(0x41, 7), w.peer, w.group)
			send(t, c, advert(0x32, 7), w.peer, w.group)
			send(t, c, advert(0x31, 7)[:7], w.peer, w.group)
			last := long(0x31, 7, 0, trailer)
			send(t, c, last, w.peer, w.group)
			if p := receive(t, got); !bytes.Equal(p.Payload, last) {
				t.Errorf("passed the filter: %x", p.Payload)
			}
			if err := self.Accept(multicast(8)); err != nil {
				t.Fatal(err)
			}
			send(t, c, last, w.peer, w.group)
			if w.v6 {
				send(t, c, advert(0x21, 8), w.peer, w.group) // VRRPv2 exists over IPv4 only
			}
			second := advert(byte(otherFirstByte(w.v6)), 8)
			send(t, c, second, w.peer, w.group)
			if p := receive(t, got); !bytes.Equal(p.Payload, second) {
				t.Errorf("passed the new filter: %x", p.Payload)
			}
		})
	})
}

func setHops(c *Conn, n int) error {
	return c.lend(func(pc net.PacketConn) error {
		if c.v6 {
			p := ipv6.NewPacketConn(pc)
			return errors.Join(p.SetHopLimit(n), p.SetMulticastHopLimit(n))
		}
		p := ipv4.NewPacketConn(pc)
		return errors.Join(p.SetTTL(n), p.SetMulticastTTL(n))
	})
}

func TestConnSendsAsTheRFCWants(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		var tap *packet.Conn
		peer.do(func() {
			protocol := 0x0800
			if w.v6 {
				protocol = etherTypeIPv6
			}
			tap = must(packet.Listen(must(net.InterfaceByName("v1")), packet.Raw, protocol, nil))
		})
		defer tap.Close()
		c := open(t, "v0", w.v6, 7)
		for _, to := range []netip.Addr{w.group, w.peer} {
			send(t, c, advert(0x31, 7), w.self, to)
			f := capture(t, tap, w.v6)
			if f.hops != 255 || f.class != 0xc0 || f.source != w.self || f.destination != to {
				t.Errorf("sent hops %d class %#x from %s to %s", f.hops, f.class, f.source, f.destination)
			}
			if !bytes.Equal(f.payload, advert(0x31, 7)) {
				t.Errorf("sent %x", f.payload)
			}
		}
	})
}

// captured is a VRRP packet on the wire.
type captured struct {
	hops, class         byte
	source, destination netip.Addr
	payload             []byte
}

// capture waits for the next VRRP packet.
func capture(t *testing.T, tap *packet.Conn, v6 bool) captured {
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
		ip := b[ethernetHeader:n]
		switch {
		case v6 && ip[6] == protocolVRRP:
			length := int(ip[4])<<8 | int(ip[5])
			return captured{ip[7], ip[0]<<4 | ip[1]>>4, netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[40 : 40+length]}
		case !v6 && ip[9] == protocolVRRP:
			header, length := int(ip[0]&15)*4, int(ip[2])<<8|int(ip[3])
			return captured{ip[8], ip[1], netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[header:length]}
		}
	}
}

func TestConnDoesNotHearItself(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		got := collect(t, open(t, "v0", w.v6, 7))
		c := open(t, "v0", w.v6, 7)
		send(t, c, advert(0x31, 7), w.self, w.group)
		peer.do(func() {
			send(t, open(t, "v1", w.v6), advert(0x31, 7), w.peer, w.group)
		})
		if p := receive(t, got); p.Source != w.peer {
			t.Errorf("heard %s", p.Source)
		}
	})
}

func TestConnPendingIsTrueUntilDelivered(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		c := open(t, "v0", w.v6, 7)
		pending := func() bool { return must(c.Pending()) }
		if pending() {
			t.Error("pending before anything was sent")
		}
		peer.do(func() { send(t, open(t, "v1", w.v6), advert(0x31, 7), w.peer, w.group) })
		eventually(t, "the packet waits in the socket", pending)
		delivering, release := make(chan struct{}), make(chan struct{})
		start(t, func(ctx context.Context) error {
			return c.Run(ctx, func(Packet) {
				close(delivering)
				<-release
			})
		})
		receive(t, delivering)
		if !pending() {
			t.Error("not pending while the packet is being delivered")
		}
		close(release)
		eventually(t, "everything is delivered", func() bool { return !pending() })
	})
}

// Under a flood the socket is never empty for long, but it is found empty now and then.
func TestConnPassesAMarkUnderAFlood(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		c := open(t, "v0", w.v6, 7)
		delivered := 0
		stop := start(t, func(ctx context.Context) error { return c.Run(ctx, func(Packet) { delivered++ }) })
		peer.do(func() {
			sender := open(t, "v1", w.v6)
			for range 5 {
				mark := c.Mark()
				for range 100 {
					send(t, sender, advert(0x31, 7), w.peer, w.group)
				}
				eventually(t, "the socket is found empty", func() bool { return must(c.Passed(mark)) })
			}
		})
		eventually(t, "everything is delivered", func() bool { return !must(c.Pending()) })
		stop()
		if delivered != 500 {
			t.Errorf("delivered %d packets, want 500", delivered)
		}
	})
}

// Where whoever takes the packets is slower than the flood, the socket is never empty: what it held is counted.
func TestConnPassesAMarkAlthoughItIsNeverEmpty(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		c := open(t, "v0", w.v6, 7)
		if want := uint64(2*receiveBuffer/leastCharge) + 1; c.holds != want { // the kernel takes twice what it is asked for
			t.Errorf("a socket is taken to hold %d packets, want %d: more than fit into its enlarged buffer", c.holds, want)
		}
		var sender *Conn
		peer.do(func() { sender = open(t, "v1", w.v6) })
		one := func() { send(t, sender, advert(0x31, 7), w.peer, w.group) }
		const waiting = 20
		for range waiting {
			one()
		}
		mark, delivered, passed := c.Mark(), uint64(0), make(chan uint64, 1)
		most := uint64(2 * waiting) // no such packet is charged for with more than twice of the least
		start(t, func(ctx context.Context) error {
			return c.Run(ctx, func(Packet) {
				one() // before the next one is taken
				if delivered++; must(c.Passed(mark)) {
					select {
					case passed <- delivered:
					default:
					}
				}
			})
		})
		if n := receive(t, passed); n < waiting || n > most || c.emptied.Load() > 0 {
			t.Errorf("the mark is passed with packet %d of a socket that was empty %d times; want %d, which waited, to %d, for which it was charged, and never", n, c.emptied.Load(), waiting, most)
		}
	})
}

func TestConnRunsAgainAfterItsContextEnded(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		c := open(t, "v0", w.v6, 7)
		stop := start(t, func(ctx context.Context) error { return c.Run(ctx, func(Packet) {}) })
		stop()
		got := collect(t, c)
		peer.do(func() { send(t, open(t, "v1", w.v6), advert(0x31, 7), w.peer, w.group) })
		receive(t, got)
	})
}

func TestConnClosedUnderRunReturnsAnError(t *testing.T) {
	needRoot(t)
	newHost(t)
	c := must(Listen("lo", false))
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), func(Packet) {}) }()
	c.Close()
	if err := receive(t, done); err == nil || !strings.Contains(err.Error(), "use of closed file") {
		t.Errorf("got %v, want that it is closed", err)
	}
}

func TestConnSendErrors(t *testing.T) {
	self, peer := pair(t, "nft")
	withIPv6(self, peer)
	four, six := open(t, "v0", false), open(t, "v0", true)
	other := netip.MustParseAddr("10.9.0.77")
	check := func(name string, err error, errno error, text string) {
		t.Helper()
		if errno != nil && !errors.Is(err, errno) || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %v and %q", name, err, errno, text)
		}
	}
	check("a source that the host does not have", four.Send(advert(0x31, 7), other, wires[0].group), nil, `on "v0" from 10.9.0.77`)
	check("an IPv6 source that the host does not have", six.Send(advert(0x31, 7), netip.MustParseAddr("fe80::77"), wires[1].group), unix.EINVAL, "no usable address of this host")
	check("no source", four.Send(advert(0x31, 7), netip.Addr{}, wires[0].group), nil, "wrong address family")
	check("a source of the other family", six.Send(advert(0x31, 7), other, wires[1].group), nil, "wrong address family")
	self.run("nft add table inet t", "nft add chain inet t out { type filter hook output priority 0 ; }", "nft add rule inet t out meta l4proto 112 drop")
	check("a firewall", four.Send(advert(0x31, 7), wires[0].self, wires[0].group), unix.EPERM, "a firewall on this host drops it")
	check("a firewall for IPv6", six.Send(advert(0x31, 7), wires[1].self, wires[1].group), unix.EPERM, "a firewall on this host drops it")
	self.run("nft flush ruleset", "ip link set v0 down")
	check("an interface that is down", four.Send(advert(0x31, 7), wires[0].self, wires[0].group), nil, `send VRRP on "v0"`)
	_, err := Listen("nosuch", false)
	check("a missing interface", err, unix.ENODEV, `open VRRP socket on "nosuch": interface "nosuch" does not exist`)
}

func TestParse4(t *testing.T) {
	whole := header4(255, 112, advert(0x31, 7)...)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(whole)
		b[at] = to
		return b
	}
	tests := []struct {
		name   string
		packet []byte
		want   []byte // nil: refused
	}{
		{"whole", whole, advert(0x31, 7)},
		{"padded behind its total length", append(bytes.Clone(whole), 0, 0), advert(0x31, 7)},
		{"empty", nil, nil},
		{"a cut header", whole[:19], nil},
		{"a cut payload", whole[:27], nil},
		{"version 6", change(0, 0x65), nil},
		{"a header shorter than 20 bytes", change(0, 0x44), nil},
		{"a header longer than the packet", change(0, 0x4f), nil},
		{"a total length shorter than the header", change(3, 19), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, ok := parse4(tt.packet)
			if ok != (tt.want != nil) || !bytes.Equal(p.Payload, tt.want) {
				t.Errorf("got %x, %v; want %x", p.Payload, ok, tt.want)
			}
		})
	}
}

func FuzzParse4(f *testing.F) {
	f.Add(header4(255, 112, advert(0x31, 7)...))
	f.Add([]byte{0x4f, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parse4(b); ok && len(p.Payload) > len(b)-20 {
			t.Errorf("%d bytes of payload from a packet of %d", len(p.Payload), len(b))
		}
	})
}

// FuzzParse6: control messages come from the kernel, but what is in them does not.
func FuzzParse6(f *testing.F) {
	hops := binary.NativeEndian.AppendUint32(nil, 255)
	f.Add(advert(0x31, 7), hops, netip.MustParseAddr("ff02::12").AsSlice())
	f.Add([]byte{}, []byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, b, hops, destination []byte) {
		oob := append(controlMessage(unix.IPV6_HOPLIMIT, hops), controlMessage(unix.IPV6_PKTINFO, append(destination, 0, 0, 0, 0))...)
		for _, oob := range [][]byte{oob, hops, oob[:len(oob)/2]} {
			p, ok := parse6(b, oob, &syscall.SockaddrInet6{})
			if ok && (p.TTL < 0 || !p.Destination.Is6() || !bytes.Equal(p.Payload, b)) {
				t.Errorf("%x with %x is read as %+v", b, oob, p)
			}
		}
	})
}

// controlMessage is one of IPv6's, with its header and padding.
func controlMessage(kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IPV6, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}
