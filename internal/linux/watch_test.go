package linux

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// watched is a running Watcher of v0 and what it reported; every address that ends in 100 or above is virtual.
type watched struct {
	t     *testing.T
	w     *Watcher
	links chan Link
	gone  chan string
	came  chan string
}

func watch(t *testing.T, names ...string) *watched {
	t.Helper()
	w, err := OpenWatcher(names, func(ip netip.Addr) bool { return strings.Contains(ip.String(), "100") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	x := &watched{t: t, w: w, links: make(chan Link, 100), gone: make(chan string, 2000), came: make(chan string, 2000)}
	w.Came = func(ifName string, ip netip.Addr) { x.came <- ifName + " " + ip.String() }
	start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) { x.links <- l }, func(ifName string, ip netip.Addr, expired bool) {
			x.gone <- fmt.Sprintf("%s %s expired=%v", ifName, ip, expired)
		})
	})
	return x
}

// TestWatcherTellsOfSettings: a strict rp_filter takes a virtual MAC's frames from it at once.
func TestWatcherTellsOfSettings(t *testing.T) {
	self, _ := pair(t)
	w := must(OpenWatcher([]string{"v0"}, func(netip.Addr) bool { return false }))
	t.Cleanup(func() { w.Close() })
	settings, links := make(chan struct{}, 100), make(chan Link, 100)
	w.Settings = func() { settings <- struct{}{} }
	start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) { links <- l }, func(string, netip.Addr, bool) {})
	})
	receive(t, links)
	for _, where := range []string{"all", "v0"} {
		for _, value := range []string{"1", "0"} {
			self.sysctl("ipv4/conf/"+where+"/rp_filter", value)
			receive(t, settings)
		}
	}
}

// TestWatcherTellsNoSettingsOfWhatIsMade: the kernel tells the settings of each new interface. Whoever makes a device because of that, and has to
// delete it again, would do so for ever.
func TestWatcherTellsNoSettingsOfWhatIsMade(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.sysctl("ipv6/conf/default/accept_ra", "1")
	outside := readOnlySysctls(t, self)
	a := openAddresses(t, t.TempDir())
	w := must(OpenWatcher([]string{"v0", router6.Name()}, func(netip.Addr) bool { return false }))
	t.Cleanup(func() { w.Close() })
	settings, links := make(chan struct{}, 100), make(chan Link, 100)
	w.Settings = func() { settings <- struct{}{} }
	start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) { links <- l }, func(string, netip.Addr, bool) {})
	})
	x := &watched{t: t, w: w, links: links}
	x.until("the last one is known", func(l Link) bool { return l.Name == router6.Name() })
	for range 5 {
		if _, err := a.Macvlans().Ensure(router6); err == nil {
			t.Fatal("the device can be made")
		}
	}
	outside("ipv4/conf/default/rp_filter", "2")
	outside("ipv4/conf/v0/forwarding", "1")
	self.run("ip link set v0 mtu 1400")
	x.until("the MTU changed", func(l Link) bool { return l.MTU == 1400 }) // what was told before has been heard
	if got := len(settings); got > 0 {
		t.Errorf("settings are told %d times, of which none concerns a device that is there", got)
	}
}

// until takes reports until one holds, and returns it.
func (x *watched) until(what string, holds func(Link) bool) Link {
	x.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		select {
		case l := <-x.links:
			if holds(l) {
				return l
			}
		case <-time.After(time.Until(deadline)):
			x.t.Fatalf("no report that %s", what)
		}
	}
}

func (x *watched) lost(want string) {
	x.t.Helper()
	if got := receive(x.t, x.gone); got != want {
		x.t.Errorf("lost %q, want %q", got, want)
	}
}

func TestWatcherReportsTheStateFirst(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	x := watch(t, "v0", "nosuch")
	want := []Link{
		{Name: "v0", Index: must(interfaceByName("v0")).Index, Exists: true, Up: true, MAC: "02:00:00:00:00:01", MTU: 1500,
			Source4: netip.MustParseAddr("10.9.0.1"), Source6: netip.MustParseAddr("fe80::1"), Own: ips("10.9.0.1", "2001:db8::1", "fe80::1")},
		{Name: "nosuch", Reason: `interface "nosuch" does not exist`},
	}
	if diff := cmp.Diff(want, []Link{receive(t, x.links), receive(t, x.links)}, compareAddresses); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
}

func TestWatcherSeesEachKindOfChange(t *testing.T) {
	t.Parallel()
	self, peer := pair(t)
	withIPv6(self, peer)
	x := watch(t, "v0")
	x.until("it is up", func(l Link) bool { return l.Up })

	self.run("ip link set v0 mtu 1400")
	x.until("the MTU changed", func(l Link) bool { return l.MTU == 1400 })
	self.run("ip link set v0 address 02:00:00:00:00:07")
	x.until("the MAC changed", func(l Link) bool { return l.MAC == "02:00:00:00:00:07" })

	self.run("ip addr del 10.9.0.1/24 dev v0")
	x.until("the IPv4 source went", func(l Link) bool { return !l.Source4.IsValid() })
	self.run("ip addr add 10.9.0.5/24 dev v0")
	x.until("another IPv4 source came", func(l Link) bool { return l.Source4.String() == "10.9.0.5" })
	self.run("ip -6 addr del fe80::1/64 dev v0")
	x.until("the IPv6 source went", func(l Link) bool { return !l.Source6.IsValid() })
	// Tentative first: the report comes when duplicate address detection has ended.
	self.run("ip addr add fe80::5/64 dev v0")
	x.until("another IPv6 source came", func(l Link) bool { return l.Source6.String() == "fe80::5" })

	peer.do(func() { peer.run("ip link set v1 down") })
	l := x.until("the carrier went", func(l Link) bool { return !l.Up })
	if want := `interface "v0" has no carrier (cable, switch port, or the link below it)`; l.Reason != want {
		t.Errorf("reason %q, want %q", l.Reason, want)
	}
	peer.do(func() { peer.run("ip link set v1 up") })
	x.until("the carrier came back", func(l Link) bool { return l.Up })
	self.run("ip link set v0 down")
	l = x.until("it was set down", func(l Link) bool { return !l.Up && !strings.Contains(l.Reason, "carrier") })
	if want := `interface "v0" is down (ip link set v0 up)`; l.Reason != want {
		t.Errorf("reason %q, want %q", l.Reason, want)
	}
}

func TestWatcherFollowsANameThroughRenamingAndDeletion(t *testing.T) {
	self, _ := pair(t)
	x := watch(t, "lan0")
	missing := func(l Link) bool { return !l.Exists && l.Index == 0 }
	x.until("it is missing", missing)
	self.run("ip link add lan0 type bridge")
	first := x.until("it was made", func(l Link) bool { return l.Exists })
	self.run("ip link set lan0 name lan1")
	x.until("it was renamed", missing)
	self.run("ip link set lan1 name lan0")
	x.until("it was renamed back", func(l Link) bool { return l.Index == first.Index })
	self.run("ip link del lan0")
	x.until("it was deleted", missing)
	self.run("ip link add lan0 type bridge")
	if again := x.until("it was made again", func(l Link) bool { return l.Exists }); again.Index == first.Index {
		t.Errorf("it has index %d again", again.Index)
	}
	x.w.SetInterfaces([]string{"lan0", "v0"})
	x.until("v0 is watched too", func(l Link) bool { return l.Name == "v0" && l.Up })
}

// TestWatcherReportsForeignVirtualAddresses: each that something else sets, once, and none of ours, however often it is renewed.
func TestWatcherReportsForeignVirtualAddresses(t *testing.T) {
	t.Parallel()
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	needTags(t, a)
	x := watch(t, "v0")
	x.until("it is up", func(l Link) bool { return l.Up })
	for range 2 {
		mustSet(t, a, want(time.Minute, "10.9.0.100"))
	}
	self.run("ip addr add 10.9.0.9/32 dev v0", "ip addr add 10.9.100.1/32 dev v0", "ip addr change 10.9.100.1/32 dev v0 valid_lft 100 preferred_lft 100",
		"ip addr del 10.9.100.1/32 dev v0", "ip addr add 10.9.100.1/24 dev v0")
	for range 2 {
		if got := receive(t, x.came); got != "v0 10.9.100.1" {
			t.Errorf("%q came", got)
		}
	}
	mustSet(t, a, want(0))
}

// A look at the interface, for another reason, may find an address whose event is not read yet.
func TestWatcherReportsWhatALookFinds(t *testing.T) {
	t.Parallel()
	self, _ := pair(t)
	w := must(OpenWatcher([]string{"v0"}, func(ip netip.Addr) bool { return strings.Contains(ip.String(), "100") }))
	t.Cleanup(func() { w.Close() })
	came := make(chan string, 100)
	w.Came = func(ifName string, ip netip.Addr) { came <- ifName + " " + ip.String() }
	hold, held := make(chan struct{}), make(chan struct{})
	start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) {
			if l.MTU == 1400 {
				held <- struct{}{}
				<-hold
			}
		}, func(string, netip.Addr, bool) {})
	})
	self.run("ip link set v0 mtu 1400")
	receive(t, held)
	self.run("ip link set v0 mtu 1300", "ip addr add 10.9.100.1/32 dev v0", "ip addr add 10.9.0.9/32 dev v0", "ip addr add 10.9.100.2/32 dev v0")
	close(hold)
	for _, want := range []string{"v0 10.9.100.1", "v0 10.9.100.2"} {
		if got := receive(t, came); got != want {
			t.Errorf("%q came, want %q", got, want)
		}
	}
	if len(came) > 0 {
		t.Errorf("%q came twice", <-came)
	}
}

func TestWatcherReportsLostVirtualAddresses(t *testing.T) {
	t.Parallel()
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	x := watch(t, "v0")
	x.until("it is up", func(l Link) bool { return l.Up })
	mustSet(t, a, want(0, "10.9.0.100", "2001:db8::100"))
	self.run("ip addr del 10.9.0.100/32 dev v0")
	x.lost("v0 10.9.0.100 expired=false")
	self.run("ip addr del 2001:db8::100/128 dev v0")
	x.lost("v0 2001:db8::100 expired=false")
	mustSet(t, a, want(time.Second, "10.9.0.100"))
	x.lost("v0 10.9.0.100 expired=true")
	mustSet(t, a, want(time.Second, "2001:db8::100"))
	x.lost("v0 2001:db8::100 expired=true")

	// Addresses elsewhere are not reported; nor does a virtual one change the link.
	self.run("ip addr add 10.9.8.100/32 dev lo", "ip addr del 10.9.8.100/32 dev lo")
	mustSet(t, a, want(0, "10.9.0.100"))
	mustSet(t, a, want(0))
	x.lost("v0 10.9.0.100 expired=false")
	if len(x.links) > 0 {
		t.Errorf("the link was reported again: %+v", <-x.links)
	}

	// Addresses of the host are the link's, and their loss is no loss.
	self.run("ip addr add 10.9.0.9/24 dev v0")
	x.until("another address came", func(l Link) bool { return fmt.Sprint(l.Own) == "[10.9.0.1 10.9.0.9]" })
	self.run("ip addr del 10.9.0.9/24 dev v0")
	x.until("it went", func(l Link) bool { return fmt.Sprint(l.Own) == "[10.9.0.1]" })
	if len(x.gone) > 0 {
		t.Errorf("lost %s", <-x.gone)
	}
}

// The kernel drops events when nobody reads them for too long, and says only that it did.
func TestWatcherMakesGoodForLostEvents(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	w := must(OpenWatcher([]string{"v0"}, func(ip netip.Addr) bool { return strings.Contains(ip.String(), "100") }))
	t.Cleanup(func() { w.Close() })
	links, gone := make(chan Link, 100), make(chan string, 100)
	hold, held := make(chan struct{}), make(chan struct{})
	start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) {
			links <- l
			if l.MTU == 1400 {
				close(held)
				<-hold
			}
		}, func(_ string, ip netip.Addr, _ bool) { gone <- ip.String() })
	})
	receive(t, links)
	mustSet(t, a, want(0, "10.9.0.100"))
	self.run("ip link set v0 mtu 1400")
	receive(t, held)
	// Nobody reads now. A smaller buffer is full sooner.
	if err := shrink(w.events); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		mustSet(t, a, want(0, append(manyAddresses(), "10.9.0.100")...))
		mustSet(t, a, want(0, "10.9.0.100"))
	}
	self.run("ip addr del 10.9.0.100/32 dev v0", "ip link set v0 mtu 1300")
	close(hold)
	for l := receive(t, links); l.MTU != 1300; l = receive(t, links) {
	}
	for ip := receive(t, gone); ip != "10.9.0.100"; ip = receive(t, gone) {
	}
}

// What replaces an interface under its name between two looks has none of its addresses. The kernel tells of their end by the old index.
func TestWatcherTellsOfTheAddressesOfAReplacedInterface(t *testing.T) {
	for name, replace := range map[string][]string{
		"deleted": {"ip link del v0", "ip link add v0 type bridge", "ip link set v0 up"},
		"renamed": {"ip link set v0 name old0", "ip link add v0 type bridge", "ip link set v0 up"},
		"swapped": {"ip link set v0 name tmp0", "ip link set b0 name v0", "ip link set tmp0 name b0"},
	} {
		t.Run(name, func(t *testing.T) {
			self, _ := pair(t)
			self.run("ip link add b0 type bridge")
			a := openAddresses(t, t.TempDir())
			w := must(OpenWatcher([]string{"v0", "b0"}, func(ip netip.Addr) bool { return strings.Contains(ip.String(), "100") }))
			t.Cleanup(func() { w.Close() })
			links, gone := make(chan Link, 100), make(chan string, 100)
			hold, held := make(chan struct{}), make(chan struct{})
			start(t, func(ctx context.Context) error {
				return w.Run(ctx, func(l Link) {
					links <- l
					if l.Name == "v0" && l.MTU == 1400 {
						close(held)
						<-hold
					}
				}, func(ifName string, ip netip.Addr, _ bool) { gone <- ifName + " " + ip.String() })
			})
			first := receive(t, links)
			receive(t, links)
			mustSet(t, a, want(0, "10.9.0.100", "2001:db8::100"))
			self.run("ip link set v0 mtu 1400")
			receive(t, held)
			self.run(replace...)
			close(hold)
			for l := receive(t, links); l.Name != "v0" || !l.Exists || l.Index == first.Index; l = receive(t, links) {
			}
			for _, want := range []string{"v0 10.9.0.100", "v0 2001:db8::100"} {
				if got := receive(t, gone); got != want {
					t.Errorf("lost %s, want %s", got, want)
				}
			}
			mustSet(t, a, want(0, "10.9.0.100"))
			self.run("ip addr del 10.9.0.100/32 dev v0") // all before it is told by now
			got := receive(t, gone)
			for strings.HasPrefix(got, "b0") { // what has the addresses after the swap, and must let go
				got = receive(t, gone)
			}
			if got != "v0 10.9.0.100" {
				t.Errorf("lost %s once more", got)
			}
		})
	}
}

func shrink(f *os.File) error {
	return control(must(f.SyscallConn()), func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
	})
}

func TestUnusable(t *testing.T) {
	const all = unix.IFF_UP | unix.IFF_LOWER_UP | unix.IFF_RUNNING
	tests := []struct {
		name  string
		flags uint32
		want  string
	}{
		{"usable", all, ""},
		{"down", 0, `interface "eth0" is down (ip link set eth0 up)`},
		{"down with a carrier", unix.IFF_LOWER_UP, `interface "eth0" is down (ip link set eth0 up)`},
		{"no carrier", unix.IFF_UP, `interface "eth0" has no carrier (cable, switch port, or the link below it)`},
		{"dormant", unix.IFF_UP | unix.IFF_LOWER_UP, `interface "eth0" has a carrier but does not run yet (802.1X, or the link below it)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := unusable("eth0", tt.flags); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSources(t *testing.T) {
	at := func(prefix string, flags uint32, scope, protocol uint8) address {
		return address{index: 2, prefix: netip.MustParsePrefix(prefix), flags: flags, scope: scope, protocol: protocol}
	}
	other := at("10.9.0.9/24", 0, 0, 0)
	other.index = 3
	tests := []struct {
		name  string
		own   []address
		want4 string
		want6 string
		all   string
	}{
		{"none", nil, "invalid IP", "invalid IP", "[]"},
		{"the first of each", []address{at("10.9.0.2/24", 0, 0, 0), at("10.9.0.1/16", 0, 0, 0), at("fe80::2/64", 0, 253, 0), at("fe80::1/64", 0, 253, 0)}, "10.9.0.2", "fe80::2", "[10.9.0.2 10.9.0.1 fe80::2 fe80::1]"},
		{"another interface's", []address{other}, "invalid IP", "invalid IP", "[]"},
		{"secondary", []address{at("10.9.0.1/24", unix.IFA_F_SECONDARY, 0, 0)}, "invalid IP", "invalid IP", "[10.9.0.1]"},
		{"of scope host", []address{at("10.9.0.1/32", 0, unix.RT_SCOPE_HOST, 0)}, "invalid IP", "invalid IP", "[]"},
		{"tagged as ours", []address{at("10.9.0.1/32", 0, 0, protocolTag), at("fe80::1/128", 0, 253, protocolTag)}, "invalid IP", "invalid IP", "[]"},
		{"virtual", []address{at("10.9.0.100/24", 0, 0, 0), at("fe80::100/64", 0, 253, 0)}, "invalid IP", "invalid IP", "[]"},
		{"tentative or duplicate", []address{at("fe80::1/64", unix.IFA_F_TENTATIVE, 253, 0), at("fe80::2/64", unix.IFA_F_DADFAILED, 253, 0)}, "invalid IP", "invalid IP", "[]"},
		{"that a router advertised", []address{
			at("2001:db8:bad::3/64", unix.IFA_F_TEMPORARY, 0, 0), at("2001:db8:bad::2/64", 0, 0, 0), at("2001:db8::1/64", unix.IFA_F_PERMANENT, 0, 0), at("fe80::2/64", unix.IFA_F_PERMANENT, 253, 0),
			at("10.9.0.2/24", 0, 0, 0), at("10.9.0.1/16", unix.IFA_F_PERMANENT, 0, 0),
		}, "10.9.0.2", "fe80::2", "[2001:db8::1 fe80::2 10.9.0.2 10.9.0.1 2001:db8:bad::2 2001:db8:bad::3]"},
		{"global IPv6", []address{at("2001:db8::1/64", 0, 0, 0)}, "invalid IP", "invalid IP", "[2001:db8::1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s4, s6, all := sources(tt.own, 2, func(ip netip.Addr) bool { return strings.HasSuffix(ip.String(), "100") })
			if s4.String() != tt.want4 || s6.String() != tt.want6 {
				t.Errorf("got %s and %s, want %s and %s", s4, s6, tt.want4, tt.want6)
			}
			if fmt.Sprint(all) != tt.all {
				t.Errorf("all of them are %s, want %s", all, tt.all)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add([]byte{2, 32, 0, 0, 2, 0, 0, 0, 8, 0, 2, 0, 10, 9, 0, 1})
	f.Add([]byte{10, 255, 0, 0, 2, 0, 0, 0, 5, 0, 8, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := parseAddress(b); ok && !a.prefix.IsValid() {
			t.Errorf("accepted %v", a)
		}
		var w Watcher
		w.names.Store(&[]string{"v0"})
		w.concerns(b)
		w.address(syscall.NetlinkMessage{Data: b})
	})
}
