package linux

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// received counts the frames that came in through an interface.
func received(t *testing.T, name string) uint64 {
	t.Helper()
	return must(netlink.LinkByName(name)).Attrs().Statistics.RxPackets
}

// two is what two instances with a virtual MAC want.
func two() Want {
	return Want{Owner: "web", Interface: "v0", Addresses: []Address{
		{IP: netip.MustParseAddr("10.9.0.100"), Device: router4},
		{IP: netip.MustParseAddr("10.9.0.101"), Device: Macvlan{Parent: "v0", VRID: 72, Owner: "other"}},
	}}
}

// TestMacvlansDoNotCopyWhatTheySend: each broadcast of one would go to every other one of the interface before it goes out, and hundreds that
// take over together announce hundreds of addresses.
func TestMacvlansDoNotCopyWhatTheySend(t *testing.T) {
	_, peer := pair(t)
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, two())
	seen := watchPeer(t, peer, "10.9.0.100")
	before := received(t, "us4-72-v0")
	announcer := openAnnouncer(t, "us4-71-v0")
	for _, failed := range announcer.Announce(ips("10.9.0.100")) {
		t.Error(failed)
	}
	if got := receive(t, seen); got.MAC.String() != router4.MAC().String() {
		t.Errorf("the peer has seen %+v", got)
	}
	if got := received(t, "us4-72-v0") - before; got > 0 {
		t.Errorf("the other device got %d frames of it", got)
	}
}

// TestMacvlanOfAnotherMode: a device that an earlier build made stays, with its addresses.
func TestMacvlanOfAnotherMode(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	mustSet(t, a, two())
	before := must(netlink.LinkByName("us4-71-v0")).Attrs().Index
	self.run("ip link set us4-71-v0 type macvlan mode bridge", "ip link set us4-72-v0 type macvlan mode private")
	next := openAddresses(t, dir)
	state := must(next.Macvlans().Ensure(router4))
	link := must(netlink.LinkByName("us4-71-v0")).(*netlink.Macvlan)
	if state.Made || link.Attrs().Index != before || link.Mode != netlink.MACVLAN_MODE_VEPA {
		t.Errorf("it is device %d in mode %d, made anew %t; it was device %d", link.Attrs().Index, link.Mode, state.Made, before)
	}
	if missing := must(next.Missing("us4-71-v0", ips("10.9.0.100"))); len(missing) > 0 {
		t.Errorf("%v is gone", missing)
	}
	if state := must(next.Macvlans().Ensure(Macvlan{Parent: "v0", VRID: 72, Owner: "other"})); !state.Made {
		t.Error("a device in private mode, which no build made, stays")
	}
}

// TestMacvlansAreReached: the host itself reaches its virtual addresses, also from one to the other, and so does another host.
func TestMacvlansAreReached(t *testing.T) {
	_, peer := pair(t)
	mustSet(t, openAddresses(t, t.TempDir()), two())
	listener := must(net.Listen("tcp4", ":0"))
	t.Cleanup(func() { listener.Close() })
	port := listener.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.LocalAddr().(*net.TCPAddr).IP.String())
			c.Close()
		}
	}()
	reaches := func(who, from string) {
		for _, to := range []string{"10.9.0.100", "10.9.0.101"} {
			d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			c, err := d.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr(to), uint16(port)).String())
			if err != nil {
				t.Errorf("%s from %s: %v", who, from, err)
				continue
			}
			if got := string(must(io.ReadAll(c))); got != to {
				t.Errorf("%s from %s to %s is answered by %q", who, from, to, got)
			}
			c.Close()
		}
	}
	for _, from := range []string{"10.9.0.1", "10.9.0.100", "10.9.0.101"} {
		reaches("the host", from)
	}
	peer.do(func() { reaches("the peer", "10.9.0.2") })
}

// TestMacvlanOfABackupLetsContainersOut: what a macvlan of a container on a backup sends to the virtual MAC is the master's, on another host.
func TestMacvlanOfABackupLetsContainersOut(t *testing.T) {
	self, peer := pair(t)
	a := openAddresses(t, t.TempDir())
	must(a.Macvlans().Ensure(router4))
	peer.do(func() { mustSet(t, openAddresses(t, t.TempDir()), onPeer4()) })
	self.run("ip link add link v0 name inside address 02:00:00:00:00:77 type macvlan mode bridge", "ip link set inside up",
		"ip neigh add 10.9.0.100 lladdr "+router4.MAC().String()+" dev inside", "ip route add 10.9.0.100/32 dev inside src 10.9.0.1")
	before := uint64(0)
	peer.do(func() { before = received(t, "us4-71-v1") })
	conn := must(net.Dial("udp4", "10.9.0.100:9"))
	defer conn.Close()
	must(conn.Write([]byte("x")))
	eventually(t, "the master gets it", func() (got bool) {
		peer.do(func() { got = received(t, "us4-71-v1") > before })
		return got
	})
}

// onPeer4 is what the other host's instance wants.
func onPeer4() Want {
	return Want{Owner: "web", Interface: "v1", Addresses: []Address{
		{IP: netip.MustParseAddr("10.9.0.100"), Device: Macvlan{Parent: "v1", VRID: 71, Owner: "web"}},
	}}
}
