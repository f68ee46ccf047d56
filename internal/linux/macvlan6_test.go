package linux

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routerSpeaks has the peer say once that it is a router, and which prefix is on the link: 2001:db8:9::/64.
func routerSpeaks(t *testing.T, peer *host) {
	t.Helper()
	peer.do(func() {
		link, source, err := ndp.Listen(must(interfaceByName("v1")), ndp.LinkLocal)
		if err != nil {
			t.Fatal(err)
		}
		defer link.Close()
		ra := &ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: time.Minute, Options: []ndp.Option{
			&ndp.PrefixInformation{
				PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true, Prefix: netip.MustParseAddr("2001:db8:9::"),
				ValidLifetime: time.Hour, PreferredLifetime: time.Hour,
			},
		}}
		if err := link.WriteTo(ra, nil, allNodes); err != nil {
			t.Fatalf("from %v: %v", source, err)
		}
	})
}

// TestMacvlanIsMadeDeafAgain: something has a master's device heed routers, and one gives it an address and two routes. It is noticed, and
// all of that goes; what is ours stays.
func TestMacvlanIsMadeDeafAgain(t *testing.T) {
	for _, tt := range []struct{ accepts, forwards string }{{"1", "0"}, {"2", "0"}, {"2", "1"}} {
		self, peer := pair(t)
		withIPv6(self, peer)
		a := openAddresses(t, t.TempDir())
		setAll(t, a, virtual())
		state := must(a.Macvlans().Ensure(router6))
		device := func() string {
			return self.run("ip -6 route show dev us6-71-v0") + self.run("ip -6 -br addr show dev us6-71-v0")
		}
		before := device()
		self.sysctl("ipv6/conf/us6-71-v0/forwarding", tt.forwards)
		if !router6.Settled() {
			t.Error("it is not settled from the beginning")
		}
		self.sysctl("ipv6/conf/us6-71-v0/accept_ra", tt.accepts)
		routerSpeaks(t, peer)
		eventually(t, "a router gave it all that one can give", func() bool {
			got := device()
			return strings.Contains(got, "default via fe80::2") && strings.Count(got, "2001:db8:9:") == 2
		})
		if router6.Settled() {
			t.Errorf("accept_ra %s, forwarding %s: nobody would notice", tt.accepts, tt.forwards)
		}
		if again, err := a.Macvlans().Ensure(router6); err != nil || again != state {
			t.Errorf("got %+v, %v, want %+v", again, err, state)
		}
		if _, err := a.Macvlans().Guard(); err != nil {
			t.Error(err)
		}
		if got := device(); got != before || !router6.Settled() {
			t.Errorf("accept_ra %s, forwarding %s: the device has\n%s\nwant\n%s", tt.accepts, tt.forwards, got, before)
		}
	}
}

// TestMacvlanIsNotRemadeInVain: something has a master's device heed routers, and the kernel gives no list when that is undone. The device
// stays, with its address, and what a router gave goes as soon as there is a list again. It stays too where its settings fail for any other
// reason than that a sysctl cannot be written.
func TestMacvlanIsNotRemadeInVain(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	setAll(t, a, virtual())
	state := must(a.Macvlans().Ensure(router6))
	if len(a.macvlans.heeded) > 0 {
		t.Error("a new device is looked at for what a router gave it")
	}
	device := func() string {
		return self.run("ip -6 route show dev us6-71-v0") + self.run("ip -6 -br addr show dev us6-71-v0")
	}
	before := device()
	self.sysctl("ipv6/conf/us6-71-v0/accept_ra", "2")
	routerSpeaks(t, peer)
	eventually(t, "a router gave it something", func() bool { return strings.Count(device(), "2001:db8:9:") == 2 })

	kernel := a.macvlans.kernel
	kernel.dump = func(func(address)) error { return unix.EAGAIN } // it took longer than netlinkTimeout
	const wrong = "list addresses: resource temporarily unavailable"
	if _, err := a.Macvlans().Ensure(router6); errorText(err) != `virtual MAC on "v0": `+wrong || !router6.Settled() {
		t.Errorf("got %v, settled %t", err, router6.Settled())
	}
	for range 2 {
		if _, err := a.Macvlans().Guard(); errorText(err) != wrong {
			t.Errorf("got %v", err)
		}
	}
	kernel.dump = kernel.dumpAddresses
	if again, err := a.Macvlans().Ensure(router6); err != nil || again != state || !strings.Contains(device(), "2001:db8::100/128") {
		t.Errorf("got %+v, %v, want %+v, with\n%s", again, err, state, device())
	}
	if _, err := a.Macvlans().Guard(); err != nil || device() != before || len(a.macvlans.heeded) > 0 {
		t.Errorf("got %v, and the device has\n%s\nwant\n%s", err, device(), before)
	}

	unspeakable := router6
	unspeakable.Owner = strings.Repeat("web", 100)
	if _, err := a.Macvlans().Ensure(unspeakable); !errors.Is(err, unix.ERANGE) || device() != before {
		t.Errorf("its alias is too long: got %v, and the device has\n%s\nwant\n%s", err, device(), before)
	}
}

// TestRoutesOfOneDevice tells that the kernel itself picks an interface's routes from a table that may be that of a whole internet.
func TestRoutesOfOneDevice(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	index := must(a.Macvlans().Ensure(router6)).Index
	n := 0
	err := a.macvlans.kernel.handle.RouteListFilteredIter(unix.AF_INET6, &netlink.Route{LinkIndex: index}, 0, func(x netlink.Route) bool {
		if n++; x.LinkIndex != index {
			t.Errorf("got %v, which is not the device's", x)
		}
		return true
	})
	if err != nil || n == 0 {
		t.Errorf("%d routes, %v", n, err)
	}
}

// TestMacvlanThatIsRefusedIPv6 tells of a device whose IPv6 something switches off, and of an interface whose IPv6 is off: such a host
// hears no other one over IPv6.
func TestMacvlanThatIsRefusedIPv6(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	setAll(t, a, virtual())
	state := must(a.Macvlans().Ensure(router6))
	self.sysctl("ipv6/conf/us6-71-v0/disable_ipv6", "1")
	if got := self.run("ip -o addr show dev us6-71-v0"); got != "" || router6.Settled() {
		t.Errorf("settled, with\n%s", got)
	}
	if again, err := a.Macvlans().Ensure(router6); err != nil || again != state || !router6.Settled() {
		t.Errorf("got %+v, %v, want %+v", again, err, state)
	}
	setAll(t, a, virtual())
	if got := self.run("ip -o addr show dev us6-71-v0"); !strings.Contains(got, "2001:db8::100/128") {
		t.Errorf("the address is not back:\n%s", got)
	}
	self.sysctl("ipv6/conf/v0/disable_ipv6", "1")
	_, err := a.Macvlans().Ensure(router6)
	want := `virtual MAC on "v0": IPv6 is off on it, and the adverts of the other hosts come in there: ` +
		`put "net.ipv6.conf.v0.disable_ipv6 = 0" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`
	if got := errorText(err); got != want || router6.Settled() {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	self.sysctl("ipv6/conf/v0/disable_ipv6", "0")
	if _, err := a.Macvlans().Ensure(router6); err != nil || !router6.Settled() {
		t.Errorf("got %v", err)
	}
	if got, want := confKey6("eth0.100", "disable_ipv6"), "net.ipv6.conf.eth0/100.disable_ipv6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestMacvlanMakesNoAddressItself: a link-local address that the kernel makes of the virtual MAC would be the same on all hosts of the
// virtual router. It makes one whenever a device comes up, also long after it was made.
func TestMacvlanMakesNoAddressItself(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.run("ip link add link v0 name makes address 02:00:00:00:00:77 type macvlan mode bridge")
	a := openAddresses(t, t.TempDir())
	setAll(t, a, virtual())
	up := func(name string) string {
		return self.run("ip link set "+name+" down", "ip link set "+name+" up", "ip -6 -o addr show dev "+name)
	}
	eventually(t, "another device has one", func() bool { return strings.Contains(up("makes"), "fe80::ff:fe00:77/64") })
	if got := up(router6.Name()); strings.Contains(got, "fe80:") {
		t.Errorf("the device has\n%s", got)
	}
}
