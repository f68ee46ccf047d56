package linux

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// TestMacvlansOfTwoHosts tells that hosts with one virtual MAC hear each other: the kernel must not take the other's frames for
// its own device's.
func TestMacvlansOfTwoHosts(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	mine := openAddresses(t, t.TempDir())
	for _, m := range []Macvlan{router4, router6} {
		must(mine.Macvlans().Ensure(m))
	}
	var theirs *Addresses
	other := map[bool]MacvlanState{}
	senders := map[bool]*Conn{}
	peer.do(func() {
		theirs = openAddresses(t, t.TempDir())
		for _, m := range []Macvlan{router4, router6} {
			m.Parent = "v1"
			other[m.V6] = must(theirs.Macvlans().Ensure(m))
			senders[m.V6] = must(Listen(m.Name(), m.V6))
		}
		setAll(t, theirs, onPeer())
	})
	if self6 := must(mine.Macvlans().Ensure(router6)).Source6; self6 == other[true].Source6 {
		t.Fatalf("both hosts have %v", self6)
	}
	witness := must(OpenWitness("v0"))
	t.Cleanup(func() { witness.Close() })
	vips := ips("10.9.0.100", "2001:db8::100")
	witness.SetAddresses(vips)
	seen := make(chan Announcement, 16)
	start(t, func(ctx context.Context) error { return witness.Run(ctx, func(a Announcement) { seen <- a }) })

	// Subtests would leave the namespace.
	adverts := func() {
		for v6, source := range map[bool]netip.Addr{false: netip.MustParseAddr("10.9.0.2"), true: other[true].Source6} {
			conn := must(Listen("v0", v6))
			t.Cleanup(func() { conn.Close() })
			if err := conn.Accept([]Accept{{VRID: 71}}); err != nil {
				t.Fatal(err)
			}
			heard := make(chan Packet, 1)
			start(t, func(ctx context.Context) error {
				return conn.Run(ctx, func(p Packet) { p.Payload = bytes.Clone(p.Payload); heard <- p })
			})
			group := netip.MustParseAddr("224.0.0.18")
			if v6 {
				group = netip.MustParseAddr("ff02::12")
			}
			if err := senders[v6].Send(advert(0x31, 71), source, group); err != nil {
				t.Fatal(err)
			}
			if p := receive(t, heard); p.Source != source {
				t.Errorf("heard %v, want %v", p.Source, source)
			}
		}
	}
	announcements := func() {
		peer.do(func() {
			for k, m := range []Macvlan{{Parent: "v1", VRID: 71}, {Parent: "v1", VRID: 71, V6: true}} {
				a := must(OpenAnnouncer(m.Name()))
				defer a.Close()
				for _, failed := range a.Announce(vips[k : k+1]) {
					t.Error(failed)
				}
			}
		})
		// Two forms for IPv4, one for IPv6.
		for range 3 {
			if a := receive(t, seen); a.MAC.String() != router4.MAC().String() && a.MAC.String() != router6.MAC().String() {
				t.Errorf("saw %v", a)
			}
		}
	}
	answersToProbes := func() {
		asker := must(OpenAnnouncer("v0"))
		defer asker.Close()
		for k, m := range []Macvlan{router4, router6} {
			if err := asker.Probe(vips[k], netip.MustParseAddr("fe80::1")); err != nil {
				t.Fatal(err)
			}
			if a := receive(t, seen); a.Address != vips[k] || a.MAC.String() != m.MAC().String() {
				t.Errorf("%v answers for %v", a.MAC, a.Address)
			}
		}
	}
	adverts()
	announcements()
	answersToProbes()
}

// onPeer is what the peer's instance wants.
func onPeer() Want {
	w := virtual()
	w.Interface = "v1"
	for k := range w.Addresses {
		w.Addresses[k].Device.Parent = "v1"
	}
	return w
}

// countVirtual returns what counts the frames from a virtual MAC that come in at v0 until a while has passed.
func countVirtual(t *testing.T) func(within time.Duration) int {
	t.Helper()
	listener := must(packet.Listen(must(interfaceByName("v0")), packet.Raw, unix.ETH_P_ALL, nil))
	t.Cleanup(func() { listener.Close() })
	return func(within time.Duration) (n int) {
		buffer := make([]byte, 2000)
		if err := listener.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		for {
			size, _, err := listener.ReadFrom(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(buffer[6:10], []byte{0x00, 0x00, 0x5e, 0x00}) && size > 12 {
				n++
			}
		}
	}
}

// TestMacvlanOfABackupIsMute tells that nothing is sent from a virtual MAC without an address: neither what IPv6 says when
// groups are joined and left, nor an advert.
func TestMacvlanOfABackupIsMute(t *testing.T) {
	t.Parallel()
	self, peer := pair(t)
	withIPv6(self, peer)
	count := countVirtual(t)
	const reports = 2 * time.Second // MLDv2 repeats a report within a second (RFC 3810 section 9.11)
	var a *Addresses
	peer.do(func() {
		a = openAddresses(t, t.TempDir())
		for _, m := range []Macvlan{router4, router6} {
			m.Parent = "v1"
			must(a.Macvlans().Ensure(m))
		}
	})
	if n := count(reports); n > 0 {
		t.Errorf("%d frames since the devices were made", n)
	}
	peer.do(func() {
		setAll(t, a, onPeer())
		conn := must(Listen("us4-71-v1", false))
		defer conn.Close()
		if err := conn.Send(advert(0x31, 71), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("224.0.0.18")); err != nil {
			t.Error(err)
		}
	})
	if n := count(reports); n < 2 {
		t.Errorf("%d frames of a master", n)
	}
	peer.do(func() { setAll(t, a, Want{Owner: "web", Interface: "v1"}) })
	if n := count(reports); n > 0 {
		t.Errorf("%d frames since the addresses were released", n)
	}
}

// TestMacvlanOfADeadMasterGoesUnheard: a master was killed, its leases ended, and another host has the addresses and the switches' ports. Its
// device is not mute when the next daemon removes it, and in a network that speaks MLDv1 the kernel says so in the name of the virtual MAC.
func TestMacvlanOfADeadMasterGoesUnheard(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	count := countVirtual(t)
	const reports = 500 * time.Millisecond
	dir := t.TempDir()
	peer.do(func() {
		peer.sysctl("ipv6/conf/default/force_mld_version", "1")
		peer.sysctl("ipv6/conf/default/mldv1_unsolicited_report_interval", "1") // ms
		dead := must(OpenAddresses(dir))
		setAll(t, dead, onPeer())
		dead.kernel.close() // without a word
		peer.run("ip addr del 10.9.0.100/32 dev us4-71-v1", "ip addr del 2001:db8::100/128 dev us6-71-v1")
	})
	if n := count(reports); n == 0 {
		t.Error("the master's device is mute")
	}
	peer.do(func() {
		if _, err := openAddresses(t, dir).Sweep(func(Held) bool { return false }, false); err != nil {
			t.Error(err)
		}
		if got := peer.run("ip -o link"); strings.Contains(got, "us6-71-v1") {
			t.Errorf("left:\n%s", got)
		}
	})
	if n := count(reports); n > 0 {
		t.Errorf("%d frames since the device was removed", n)
	}
}
