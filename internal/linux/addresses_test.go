package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func openAddresses(t testing.TB, dir string) *Addresses {
	t.Helper()
	a, err := OpenAddresses(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// want is a Want for the owner "web" on v0; "192.0.2.10/24" asks for the route too.
func want(lifetime time.Duration, list ...string) Want {
	w := Want{Owner: "web", Interface: "v0", Lifetime: lifetime}
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			w.Addresses = append(w.Addresses, Address{IP: p.Addr(), Network: p.Masked()})
			continue
		}
		w.Addresses = append(w.Addresses, Address{IP: netip.MustParseAddr(s)})
	}
	return w
}

func mustSet(t testing.TB, a *Addresses, wants ...Want) {
	t.Helper()
	if failed := a.Set(wants...); len(failed) > 0 {
		t.Fatalf("set %v: %v", wants, failed)
	}
	if err := a.Notice(); err != nil {
		t.Fatal(err)
	}
}

// has reports whether `ip -o addr` shows the address, with its length, on v0.
func (h *host) has(prefix string) bool {
	return strings.Contains(h.run("ip -o addr show dev v0"), " "+prefix+" ")
}

func TestSetTakesAndReleases(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, want(0, "10.9.0.100", "2001:db8::100"))
	out := self.run("ip -o addr show dev v0")
	for _, pattern := range []string{
		`inet 10\.9\.0\.100/32 scope host proto (112|0x70) noprefixroute v0.* valid_lft forever preferred_lft forever`,
		`inet6 2001:db8::100/128 scope global deprecated nodad proto (112|0x70) noprefixroute .* valid_lft forever preferred_lft 0sec`,
	} {
		// Old versions of ip do not show the tag, or the flags in another order.
		loose := strings.ReplaceAll(pattern, " proto (112|0x70)", ".*")
		if !regexp.MustCompile(strings.ReplaceAll(loose, "deprecated nodad", ".*deprecated.*")).MatchString(out) {
			t.Errorf("no %s in:\n%s", pattern, out)
		}
	}
	if !must(a.Present("v0", netip.MustParseAddr("10.9.0.100"))) {
		t.Error("not present")
	}
	mustSet(t, a, want(0, "2001:db8::100"))
	if self.has("10.9.0.100/32") || !self.has("2001:db8::100/128") {
		t.Error("the one was to go, the other to stay")
	}
	for range 2 { // a release is idempotent
		mustSet(t, a, want(0))
		if self.has("2001:db8::100/128") || !self.has("10.9.0.1/24") {
			t.Error("only the virtual address was to go")
		}
	}
	if must(a.Present("v0", netip.MustParseAddr("10.9.0.100"))) {
		t.Error("present after its release")
	}
}

func TestSetTagsAddressesWhereTheKernelKnowsIt(t *testing.T) {
	pair(t)
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, want(0, "10.9.0.100", "2001:db8::100"))
	needTags(t, a)
	tags := map[string]uint8{}
	for _, x := range must(a.kernel.addresses()) {
		tags[x.prefix.Addr().String()] = x.protocol
	}
	if tags["10.9.0.100"] != protocolTag || tags["2001:db8::100"] != protocolTag {
		t.Errorf("tags: %v", tags)
	}
}

// needTags skips the test on kernels before 5.18, which know no IFA_PROTO. Later ones tag ::1 themselves.
func needTags(t *testing.T, a *Addresses) {
	t.Helper()
	for _, x := range must(a.kernel.addresses()) {
		if x.prefix.Addr() == netip.IPv6Loopback() && x.protocol == 0 {
			t.Skip("this kernel has no IFA_PROTO")
		}
	}
}

// The kernel ends a lease by itself; renewing keeps it, and repeats the flags.
func TestSetLeaseEndsByItselfUnlessRenewed(t *testing.T) {
	t.Parallel()
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	w := want(2*time.Second, "10.9.0.100", "2001:db8::100")
	began := time.Now()
	for time.Since(began) < 3500*time.Millisecond {
		mustSet(t, a, w)
		for _, ip := range []string{"10.9.0.100/32", "2001:db8::100/128"} {
			if !self.has(ip) {
				t.Fatalf("%s was gone after %v", ip, time.Since(began))
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	if out := self.run("ip -6 -o addr show dev v0 to 2001:db8::100"); !strings.Contains(out, "deprecated") {
		t.Errorf("renewed without its flags: %s", out)
	}
	renewed := time.Now()
	eventually(t, "both leases end", func() bool { return !self.has("10.9.0.100/32") && !self.has("2001:db8::100/128") })
	if took := time.Since(renewed); took < time.Second || took > 4*time.Second {
		t.Errorf("ended %v after the last renewal", took)
	}
	mustSet(t, a, want(0, "10.9.0.100")) // and a lease may become permanent
	mustSet(t, a, want(time.Hour, "10.9.0.100"))
	if out := self.run("ip -4 -o addr show dev v0 to 10.9.0.100"); !strings.Contains(out, "3600sec") && !strings.Contains(out, "3599sec") {
		t.Errorf("a permanent address did not become a lease: %s", out)
	}
	mustSet(t, a, want(0, "10.9.0.100"))
	if out := self.run("ip -4 -o addr show dev v0 to 10.9.0.100"); !strings.Contains(out, "valid_lft forever") {
		t.Errorf("a lease did not become permanent: %s", out)
	}
}

func TestSetRepairsWhatSomebodyRemoved(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	w := want(0, "10.9.0.100/24", "172.30.0.9/24")
	mustSet(t, a, w)
	self.run("ip addr del 10.9.0.100/32 dev v0", "ip route del 172.30.0.0/24")
	mustSet(t, a, w)
	if !self.has("10.9.0.100/32") || !strings.Contains(self.run("ip route"), "172.30.0.0/24 dev v0") {
		t.Error("not repaired")
	}
	self.run("ip addr del 10.9.0.100/32 dev v0")
	mustSet(t, a, want(0))
}

func TestSetLeavesForeignAddressesAlone(t *testing.T) {
	const advice = "something else on this host set it, its network configuration or another daemon: take it out there"
	tests := []struct{ name, foreign, ip, want string }{
		{"in a network", "10.9.0.10/24", "10.9.0.10", "10.9.0.10 is on v0 already and not ours: " + advice},
		{"in the form of ours", "10.9.0.10/32", "10.9.0.10", "10.9.0.10 is on v0 already and not ours: " + advice},
		{"IPv6", "2001:db8::10/64", "2001:db8::10", "2001:db8::10 is on v0 already and not ours: " + advice},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, _ := pair(t)
			self.run("ip addr add " + tt.foreign + " dev v0")
			a := openAddresses(t, t.TempDir())
			seen, err := a.Foreign(want(time.Minute, tt.ip, "10.9.0.100"))
			if err != nil || len(seen) != 1 || !errors.Is(seen[0], ErrForeign) || seen[0].Error() != tt.want {
				t.Errorf("before it is set: %v, %v, want %s", seen, err, tt.want)
			}
			failed := a.Set(want(time.Minute, tt.ip, "10.9.0.100"))
			if len(failed) != 1 || !errors.Is(failed[0], ErrForeign) || failed[0].Error() != tt.want {
				t.Errorf("got %v, want %s", failed, tt.want)
			}
			if !self.has("10.9.0.100/32") {
				t.Error("the other address was not set")
			}
			mustSet(t, a, want(0))
			if out := self.run("ip -o addr show dev v0"); !self.has(tt.foreign) || self.has("10.9.0.100/32") {
				t.Errorf("after the release:\n%s", out)
			}
			if removed := must(a.Sweep(func(Held) bool { return false }, false)); len(removed) > 0 || !self.has(tt.foreign) {
				t.Errorf("swept %v", removed)
			}
		})
	}
}

func TestSetErrorsNameWhatWasDone(t *testing.T) {
	pair(t)
	a := openAddresses(t, t.TempDir())
	w := want(0, "10.9.0.100")
	w.Interface = "nosuch"
	failed := a.Set(w)
	if len(failed) != 1 || !errors.Is(failed[0], unix.ENODEV) || failed[0].Error() != `set 10.9.0.100 on "nosuch": interface "nosuch" does not exist: no such device` {
		t.Errorf("got %v", failed)
	}
	if len(a.held.places) != 0 {
		t.Errorf("holds %v", a.held.all())
	}
	if _, err := a.Present("nosuch", netip.MustParseAddr("10.9.0.100")); !errors.Is(err, unix.ENODEV) {
		t.Errorf("present on a missing interface: %v", err)
	}
	os.WriteFile("/proc/sys/net/ipv6/conf/v0/disable_ipv6", []byte("1"), 0o600)
	failed = a.Set(want(0, "2001:db8::100"))
	if len(failed) != 1 || !strings.HasPrefix(failed[0].Error(), `set 2001:db8::100 on "v0": `) {
		t.Errorf("with IPv6 disabled: %v", failed)
	}
	if len(a.held.places) != 0 {
		t.Errorf("holds %v", a.held.all())
	}
}

func TestSetFollowsAMoveBetweenInterfacesAndOwners(t *testing.T) {
	self, _ := pair(t)
	self.run("ip link add br0 type bridge", "ip link set br0 up")
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, want(0, "10.9.0.100", "10.9.0.101"))

	other := want(0, "10.9.0.100")
	other.Owner = "new"
	mustSet(t, a, other)
	mustSet(t, a, want(0))
	if !self.has("10.9.0.100/32") || self.has("10.9.0.101/32") {
		t.Error("an address that another owner wants too must stay, the rest go")
	}
	other.Interface = "br0"
	mustSet(t, a, other)
	if self.has("10.9.0.100/32") || !must(a.Present("br0", netip.MustParseAddr("10.9.0.100"))) {
		t.Error("the address did not follow its owner to br0")
	}
	self.run("ip link set br0 down", "ip link set br0 name br1")
	mustSet(t, a, Want{Owner: "new", Interface: "br0"})
	if must(a.Present("br1", netip.MustParseAddr("10.9.0.100"))) {
		t.Error("a renamed interface kept the address")
	}
	other.Interface = "br1"
	mustSet(t, a, other)
	self.run("ip link del br1")
	mustSet(t, a, Want{Owner: "new", Interface: "br1"})
	if len(a.held.places) != 0 {
		t.Errorf("holds %v after its interface was deleted", a.held.all())
	}
}

func TestRouteComesAndGoesWithItsAddresses(t *testing.T) {
	tests := []struct {
		name, before string
		list         []string
		want         string // the network of our route
	}{
		{"the host has no such network", "", []string{"172.30.0.9/24"}, "172.30.0.0/24"},
		{"two addresses want it", "", []string{"172.30.0.9/24", "172.30.0.10/24"}, "172.30.0.0/24"},
		{"IPv6", "", []string{"2001:db8:9::9/64"}, "2001:db8:9::/64"},
		{"the host has the network", "", []string{"10.9.0.100/24"}, ""},
		{"the host has the network on another interface", "ip route add 172.30.0.0/24 dev lo", []string{"172.30.0.9/24"}, ""},
		{"the host has a larger one on the interface", "ip addr add 172.30.0.1/16 dev v0", []string{"172.30.0.9/24"}, ""},
		{"the host reaches a larger one through a router", "ip route add 172.30.0.0/16 via 10.9.0.2", []string{"172.30.0.9/24"}, "172.30.0.0/24"},
		{"the host has a default route", "ip route add default via 10.9.0.2", []string{"172.30.0.9/24"}, "172.30.0.0/24"},
		{"no network is written", "", []string{"172.30.0.9"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, _ := pair(t)
			if tt.before != "" {
				self.run(tt.before)
			}
			state := func() string { return self.run("ip -4 route show") + self.run("ip -6 route show") }
			before := state()
			a := openAddresses(t, t.TempDir())
			for range 2 {
				mustSet(t, a, want(0, tt.list...))
			}
			ours := regexp.MustCompile(`(?m)^(\S+) dev v0 proto (?:112|vrrp) .*$`).FindAllStringSubmatch(state(), -1)
			switch {
			case tt.want == "" && len(ours) > 0, tt.want != "" && (len(ours) != 1 || ours[0][1] != tt.want):
				t.Errorf("our routes: %q, want %q", ours, tt.want)
			}
			if len(tt.list) > 1 {
				mustSet(t, a, want(0, tt.list[0]))
				if !strings.Contains(state(), tt.want) {
					t.Error("the route went with the first of two addresses")
				}
			}
			mustSet(t, a, want(0))
			if diff := cmp.Diff(before, state()); diff != "" {
				t.Errorf("routes before and after (-before +after):\n%s", diff)
			}
		})
	}
}

func TestRouteGivesWayToTheHostsOwn(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	w := want(0, "172.30.0.9/24")
	mustSet(t, a, w)
	self.run("ip addr add 172.30.0.1/24 dev v0")
	mustSet(t, a, w)
	if out := self.run("ip route show 172.30.0.0/24"); strings.Contains(out, "112") || !strings.Contains(out, "src 172.30.0.1") {
		t.Errorf("routes: %s", out)
	}
}

// A client on the other host reaches what listens on the virtual address, and its neighbour table learns it.
func TestSetAddressServesClients(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, want(time.Minute, "10.9.0.100", "2001:db8::100"))
	for _, ip := range []string{"10.9.0.100", "2001:db8::100"} {
		l := must(net.Listen("tcp", net.JoinHostPort(ip, "0")))
		defer l.Close()
		peer.do(func() {
			c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
}

// Two hundred addresses, as one takeover sets them.
func TestSetManyAddressesQuickly(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	w := want(2*time.Second, manyAddresses()...)
	began := time.Now()
	mustSet(t, a, w)
	took := time.Since(began)
	t.Logf("200 addresses set in %v", took)
	if took > 500*time.Millisecond {
		t.Errorf("200 addresses took %v", took)
	}
	if n := strings.Count(self.run("ip -o addr show dev v0"), "noprefixroute"); n != 200 {
		t.Errorf("%d addresses are there", n)
	}
	mustSet(t, a, want(0))
}

func manyAddresses() []string {
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf("10.9.1.%d", i+1), fmt.Sprintf("2001:db8::1:%x", i+1))
	}
	return list
}

func TestNoticeTellsOfAFileThatCannotBeWritten(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	if err := os.Mkdir(filepath.Join(dir, HeldName+".new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if failed := a.Set(want(0, "10.9.0.100")); len(failed) > 0 || !self.has("10.9.0.100/32") {
		t.Errorf("a file that cannot be written kept the address away: %v", failed)
	}
	if err := a.Notice(); err == nil || !strings.Contains(err.Error(), "note the held addresses") {
		t.Errorf("notice: %v", err)
	}
	os.Remove(filepath.Join(dir, HeldName+".new"))
	mustSet(t, a, want(0, "10.9.0.100"))
}
