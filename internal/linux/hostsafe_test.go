package linux

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
)

// advertiseRouter lets the peer offer a prefix and a default route, as a router on the link would.
func advertiseRouter(t *testing.T, self, peer *host) {
	t.Helper()
	self.sysctl("ipv6/conf/v0/accept_dad", "0")
	self.sysctl("ipv6/conf/v0/accept_ra", "1")
	peer.do(func() {
		a, err := OpenAnnouncer("v1")
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		frame, err := ndFrame(&ndp.RouterAdvertisement{
			RouterLifetime: 1800 * time.Second,
			Options: []ndp.Option{&ndp.PrefixInformation{
				PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true,
				ValidLifetime: time.Hour, PreferredLifetime: time.Hour,
				Prefix: netip.MustParseAddr("2001:db8:a::"),
			}},
		}, a.mac, netip.MustParseAddr("fe80::2"), allNodes)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.send(frame); err != nil {
			t.Fatal(err)
		}
	})
	eventually(t, "the host has learned its address and routes", func() bool {
		routes := self.run("ip -6 route")
		return strings.Contains(routes, "default via fe80::2") && strings.Contains(routes, "2001:db8:a::/64") &&
			strings.Contains(self.run("ip -6 addr show dev v0"), "2001:db8:a:")
	})
}

// seconds that run down while a test runs.
var runningDown = regexp.MustCompile(`(valid_lft|preferred_lft|expires) \d+sec`)

// snapshot is everything that the host has by itself.
func snapshot(self *host) string {
	all := self.run("ip -o addr") + self.run("ip -4 route show table all") + self.run("ip -6 route show table all")
	return runningDown.ReplaceAllString(all, "$1 N")
}

func TestFiftyMovesLeaveTheHostAsItWas(t *testing.T) {
	for _, promote := range []string{"0", "1"} {
		t.Run("promote_secondaries "+promote, func(t *testing.T) {
			self, peer := pair(t)
			withIPv6(self, peer)
			self.sysctl("ipv4/conf/all/promote_secondaries", promote)
			self.sysctl("ipv4/conf/v0/promote_secondaries", promote)
			self.run("ip addr add 10.9.0.3/24 dev v0", "ip route add default via 10.9.0.2", "ip route add 198.51.100.0/24 via 10.9.0.2")
			advertiseRouter(t, self, peer)
			before := snapshot(self)
			a := openAddresses(t, t.TempDir())
			for i := range 50 {
				lifetime := time.Duration(i%2) * time.Minute
				mustSet(t, a, want(lifetime, "10.9.0.100/24", "10.9.0.101", "172.30.0.9/24", "2001:db8::100/64", "2001:db8:a::100/64", "fe80::100"))
				if i == 25 {
					checkSources(t, self)
				}
				mustSet(t, a, want(0))
			}
			if diff := cmp.Diff(before, snapshot(self)); diff != "" {
				t.Errorf("the host before and after (-before +after):\n%s", diff)
			}
		})
	}
}

// The host's own addresses go and come back, as a DHCP client or a restart of the network does it: from then on the
// virtual ones are the older ones on the interface.
func TestVirtualAddressesAreNeverASource(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	for _, lifetime := range []time.Duration{0, time.Minute} {
		mustSet(t, a, want(lifetime, "10.9.0.100", "172.30.0.9/24", "2001:db8::100", "fe80::100"))
		self.run("ip addr del 10.9.0.1/24 dev v0", "ip -6 addr del 2001:db8::1/64 dev v0", "ip -6 addr del fe80::1/64 dev v0",
			"ip addr add 10.9.0.1/24 dev v0", "ip addr add 2001:db8::1/64 dev v0 nodad", "ip addr add fe80::1/64 dev v0 nodad",
			"ip route replace default via 10.9.0.2", "ip -6 route replace default via fe80::2 dev v0", "ip route replace 172.31.0.0/24 dev v0 scope link")
		checkSources(t, self)
		mustSet(t, a, want(0))
	}
}

// checkSources asks the kernel which source it would choose for destinations of every kind.
func checkSources(t *testing.T, self *host) {
	t.Helper()
	virtual := ips("10.9.0.100", "10.9.0.101", "172.30.0.9", "2001:db8::100", "2001:db8:a::100", "fe80::100")
	for _, to := range []string{
		"10.9.0.2", "10.9.0.77", "172.30.0.77", "172.31.0.77", "192.0.2.1", "224.0.0.18 oif v0", "255.255.255.255 oif v0",
		"2001:db8::2", "2001:db8::77", "2001:db8:77::1", "fe80::2 oif v0", "ff02::12 oif v0",
	} {
		if strings.HasPrefix(to, "172.31.") && !strings.Contains(self.run("ip route"), "172.31.0.0/24") {
			continue
		}
		out := self.run("ip route get " + to)
		source := regexp.MustCompile(`\bsrc (\S+)`).FindStringSubmatch(out)
		if source == nil {
			t.Errorf("to %s: no source in %q", to, out)
			continue
		}
		for _, v := range virtual {
			if source[1] == v.String() {
				t.Errorf("to %s the kernel chose %s: %s", to, v, out)
			}
		}
	}
}
