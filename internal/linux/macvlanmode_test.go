package linux

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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

// TestMacvlansDoNotCopyWhatTheySend: in bridge mode each broadcast of one would go to every other one of the interface before it goes out, and hundreds that
// take over together announce hundreds of addresses. Where there are few they may.
func TestMacvlansDoNotCopyWhatTheySend(t *testing.T) {
	_, peer := pair(t)
	a := openAddresses(t, t.TempDir())
	for vrid := range maxDirect {
		must(a.Macvlans().Ensure(Macvlan{Parent: "v0", VRID: uint8(100 + vrid), Owner: "more"}))
	}
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

// modeOf is a device's mode.
func modeOf(name string) netlink.MacvlanMode {
	return must(netlink.LinkByName(name)).(*netlink.Macvlan).Mode
}

// TestMacvlanOfAnotherMode: a device that an earlier build made stays, with its addresses, and gets the mode of one that is mute if it is.
func TestMacvlanOfAnotherMode(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	third := Macvlan{Parent: "v0", VRID: 73, Owner: "third"}
	must(a.Macvlans().Ensure(third))
	mustSet(t, a, two())
	before := must(netlink.LinkByName("us4-71-v0")).Attrs().Index
	self.run("ip link set us4-71-v0 type macvlan mode bridge", "ip link set us4-72-v0 type macvlan mode private", "ip link set us4-73-v0 type macvlan mode bridge")
	next := openAddresses(t, dir)
	state := must(next.Macvlans().Ensure(router4))
	if got := must(netlink.LinkByName("us4-71-v0")).Attrs().Index; state.Made || got != before || modeOf("us4-71-v0") != netlink.MACVLAN_MODE_BRIDGE {
		t.Errorf("it is device %d in mode %d, made anew %t; it was device %d", got, modeOf("us4-71-v0"), state.Made, before)
	}
	if missing := must(next.Missing("us4-71-v0", ips("10.9.0.100"))); len(missing) > 0 {
		t.Errorf("%v is gone", missing)
	}
	if state := must(next.Macvlans().Ensure(Macvlan{Parent: "v0", VRID: 72, Owner: "other"})); !state.Made {
		t.Error("a device in private mode, which no build made, stays")
	}
	if state := must(next.Macvlans().Ensure(third)); state.Made || modeOf("us4-73-v0") != netlink.MACVLAN_MODE_VEPA {
		t.Errorf("one that is mute has mode %d, made anew %t", modeOf("us4-73-v0"), state.Made)
	}
	setAll(t, next, Want{Owner: "web", Interface: "v0"}) // an inherited one that never spoke here
	if got := modeOf("us4-71-v0"); got != netlink.MACVLAN_MODE_VEPA {
		t.Errorf("one that has become mute has mode %d", got)
	}
}

// TestContainersReachAMaster: a container's macvlan on the same interface, to which the host has a route by one of its own, reaches the address
// while there are few. The wire does not reflect.
func TestContainersReachAMaster(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	setAll(t, a, virtual4())
	container := &host{t: t, ns: must(netns.New()), home: self.ns}
	t.Cleanup(func() { container.ns.Close() })
	must(0, netns.Set(self.ns))
	self.run("ip link add c0 link v0 type macvlan mode bridge", "ip link add shim0 link v0 type macvlan mode bridge", "ip link set shim0 up",
		"ip route add 10.9.0.50/32 dev shim0 src 10.9.0.1")
	self.sysctl("ipv4/conf/shim0/arp_ignore", "1") // else that one answers for the address too, and asks in its name
	self.sysctl("ipv4/conf/shim0/arp_announce", "2")
	must(0, netlink.LinkSetNsFd(must(netlink.LinkByName("c0")), int(container.ns)))
	container.do(func() { container.run("ip addr add 10.9.0.50/24 dev c0", "ip link set c0 up") })
	listener := must(net.Listen("tcp4", "10.9.0.100:0"))
	t.Cleanup(func() { listener.Close() })
	reaches := func() (err error) {
		container.do(func() {
			var c net.Conn
			d := net.Dialer{Timeout: 500 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP("10.9.0.50")}}
			if c, err = d.Dial("tcp4", listener.Addr().String()); err == nil {
				c.Close()
			}
		})
		return err
	}
	if err := reaches(); err != nil {
		t.Error(err)
	}
	container.do(func() {
		if got := container.run("ip neigh show 10.9.0.100"); !strings.Contains(got, router4.MAC().String()) {
			t.Errorf("the container knows %q", got)
		}
	})
	setAll(t, a, Want{Owner: "web", Interface: "v0"})
	if got := modeOf("us4-71-v0"); got != netlink.MACVLAN_MODE_VEPA {
		t.Errorf("a backup's device has mode %d", got)
	}
	for vrid := range maxDirect {
		must(a.Macvlans().Ensure(Macvlan{Parent: "v0", VRID: uint8(100 + vrid), Owner: "web"}))
	}
	setAll(t, a, virtual4())
	if got := modeOf("us4-71-v0"); got != netlink.MACVLAN_MODE_VEPA {
		t.Errorf("with %d on the interface a master's device has mode %d", maxDirect+1, got)
	}
}

// virtual4 is what the instance wants of IPv4.
func virtual4() Want {
	w := virtual()
	w.Addresses = w.Addresses[:1]
	return w
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
