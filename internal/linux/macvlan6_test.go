package linux

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
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
		if got := device(); got != before || !router6.Settled() {
			t.Errorf("accept_ra %s, forwarding %s: the device has\n%s\nwant\n%s", tt.accepts, tt.forwards, got, before)
		}
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
