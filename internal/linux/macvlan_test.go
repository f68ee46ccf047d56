package linux

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

var (
	router4 = Macvlan{Parent: "v0", VRID: 71, Owner: "web"}
	router6 = Macvlan{Parent: "v0", VRID: 71, V6: true, Owner: "web"}
)

func TestMacvlanNames(t *testing.T) {
	for _, tt := range []struct {
		m         Macvlan
		name, mac string
	}{
		{Macvlan{Parent: "eth0", VRID: 71}, "us4-71-eth0", "00:00:5e:00:01:47"},
		{Macvlan{Parent: "eth0", VRID: 255, V6: true}, "us6-255-eth0", "00:00:5e:00:02:ff"},
		{Macvlan{Parent: "enp0s31f6", VRID: 1}, "us4-1-enp0s31f6", "00:00:5e:00:01:01"},
		{Macvlan{Parent: "enp0s31f6", VRID: 71}, "us4-71-327d2ae", "00:00:5e:00:01:47"},
		{Macvlan{Parent: "enp0s31f7", VRID: 71}, "us4-71-317d295", "00:00:5e:00:01:47"},
	} {
		if name, mac := tt.m.Name(), tt.m.MAC().String(); name != tt.name || mac != tt.mac || len(name) > maxLinkName {
			t.Errorf("%+v: got %s %s, want %s %s", tt.m, name, mac, tt.name, tt.mac)
		}
	}
}

// TestMacvlanSource tells that the link-local address is one host's own, and stays the same.
func TestMacvlanSource(t *testing.T) {
	a, b := []byte{2, 0, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}
	source := router6.Source6(a)
	if !source.IsLinkLocalUnicast() || source != router6.Source6(a) {
		t.Errorf("got %v", source)
	}
	if source == router6.Source6(b) || source == (Macvlan{VRID: 72}).Source6(a) {
		t.Errorf("%v is not one virtual router's on one host", source)
	}
}

// virtual is what an instance with a virtual MAC wants.
func virtual() Want {
	return Want{Owner: "web", Interface: "v0", Lifetime: 60 * time.Second, Addresses: []Address{
		{IP: netip.MustParseAddr("10.9.0.100"), Device: router4},
		{IP: netip.MustParseAddr("2001:db8::100"), Device: router6},
	}}
}

func setAll(t *testing.T, a *Addresses, w Want) {
	t.Helper()
	for _, failed := range a.Set(w) {
		t.Error(failed)
	}
}

// parentConf reads what the parent was made to heed.
func parentConf(t *testing.T) [2]int {
	t.Helper()
	return [2]int{must(sysctlNumber("ipv4", "conf", "v0", "arp_ignore")), must(sysctlNumber("ipv4", "conf", "v0", "arp_announce"))}
}

// TestMacvlanComesAndGoes tells of all that a virtual MAC changes on a host, and that nothing of it stays.
func TestMacvlanComesAndGoes(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	all := func() string {
		return self.run("ip -br link") + self.run("ip -o addr") + self.run("ip route show table all")
	}
	before := all()
	dir := t.TempDir()
	a := openAddresses(t, dir)
	for range 2 {
		made := 0
		for _, m := range []Macvlan{router4, router6} {
			state, err := a.Macvlans().Ensure(m)
			if err != nil {
				t.Fatal(err)
			}
			if state.Made {
				made++
			}
			link := must(netlink.LinkByName(m.Name()))
			if link.Attrs().HardwareAddr.String() != m.MAC().String() || link.Attrs().Alias != "understudy: virtual router 71 of web"+markOf(dir) {
				t.Errorf("%s: %s, %q", m.Name(), link.Attrs().HardwareAddr, link.Attrs().Alias)
			}
			if m.V6 && !strings.Contains(self.run("ip -o addr show dev "+m.Name()), state.Source6.String()+"/64 scope link") {
				t.Errorf("%s has no %s", m.Name(), state.Source6)
			}
		}
		if made != 0 && made != 2 {
			t.Errorf("%d devices were made", made)
		}
	}
	if got := parentConf(t); got != [2]int{1, 2} {
		t.Errorf("arp_ignore and arp_announce of the parent are %v", got)
	}
	self.sysctl("ipv4/conf/v0/arp_ignore", "0")
	if got := must(a.Macvlans().Guard()); len(got) != 1 || got[0] != "v0" || parentConf(t) != [2]int{1, 2} {
		t.Errorf("set again on %v: %v", got, parentConf(t))
	}
	if got := must(a.Macvlans().Guard()); len(got) != 0 {
		t.Errorf("set again on %v", got)
	}
	setAll(t, a, virtual())
	for _, line := range []string{"us4-71-v0    inet 10.9.0.100/32 scope host dynamic noprefixroute", "us6-71-v0    inet6 2001:db8::100/128 scope global nodad deprecated dynamic noprefixroute"} {
		if got := self.run("ip -o addr"); !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	if got := must(a.Macvlans().Keep(a.holds)); len(got) > 0 {
		t.Errorf("removed %v although they have addresses", got)
	}
	setAll(t, a, Want{Owner: "web", Interface: "v0"})
	if got := must(a.Macvlans().Keep(a.holds)); len(got) != 2 {
		t.Errorf("removed %v", got)
	}
	eventually(t, "nothing is left of it:\n"+before, func() bool { return all() == before }) // the kernel removes routes by and by
	if got := parentConf(t); got != [2]int{0, 0} {
		t.Errorf("arp_ignore and arp_announce of the parent are %v", got)
	}
}

// TestMacvlanOfADeadDaemon tells that the next one undoes what is left, also settings that it does not know from the kernel.
func TestMacvlanOfADeadDaemon(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.sysctl("ipv4/conf/v0/arp_announce", "1")
	dir := t.TempDir()
	dead := must(OpenAddresses(dir))
	setAll(t, dead, virtual())
	dead.kernel.close() // without a word

	a := openAddresses(t, dir)
	kept, err := a.Sweep(func(Held) bool { return true }, false)
	if err != nil || len(kept) != 0 || !strings.Contains(self.run("ip -o link"), "us4-71-v0") {
		t.Errorf("what is kept was removed: %v, %v", kept, err)
	}
	setAll(t, a, virtual())
	removed, err := a.Sweep(func(Held) bool { return false }, false)
	if err != nil || len(removed) != 2 || removed[0].Base() != "v0" {
		t.Errorf("removed %+v, %v", removed, err)
	}
	if got := self.run("ip -o link"); strings.Contains(got, "us4") || strings.Contains(got, "us6") {
		t.Errorf("left:\n%s", got)
	}
	if got := parentConf(t); got != [2]int{0, 1} {
		t.Errorf("arp_ignore and arp_announce of the parent are %v", got)
	}
}

// TestMacvlanWithoutABook tells that the alias is enough to know a device; what its parent had before, it does not tell. An administrator may
// have set just what is there now.
func TestMacvlanWithoutABook(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	must(must(OpenAddresses(dir)).Macvlans().Ensure(router4))
	if err := os.Remove(filepath.Join(dir, MacvlansName)); err != nil {
		t.Fatal(err)
	}
	self.run("ip link add link v0 name mine type macvlan mode bridge")
	if _, err := openAddresses(t, dir).Sweep(func(Held) bool { return false }, false); err != nil {
		t.Fatal(err)
	}
	if got := self.run("ip -o link"); strings.Contains(got, "us4") || !strings.Contains(got, "mine") {
		t.Errorf("left:\n%s", got)
	}
	if got := parentConf(t); got != [2]int{1, 2} {
		t.Errorf("arp_ignore and arp_announce of the parent are %v, although nobody knows what they were", got)
	}
}

// TestMacvlanIsMadeAgain tells of a device that something else removed, switched off or took the address from.
func TestMacvlanIsMadeAgain(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	setAll(t, a, virtual())
	self.run("ip link del us4-71-v0", "ip link del us6-71-v0")
	if got, err := a.Missing("us4-71-v0", ips("10.9.0.100")); err == nil {
		t.Errorf("missing are %v", got)
	}
	setAll(t, a, virtual())
	if got := self.run("ip -o addr"); !strings.Contains(got, "10.9.0.100/32") || !strings.Contains(got, "2001:db8::100/128") {
		t.Errorf("the addresses are not back:\n%s", got)
	}
	self.run("ip link set us6-71-v0 down")
	state, err := a.Macvlans().Ensure(router6)
	if err != nil || !state.Made {
		t.Errorf("got %+v, %v", state, err)
	}
	self.run("ip addr del " + state.Source6.String() + "/64 dev us6-71-v0")
	if again := must(a.Macvlans().Ensure(router6)); again.Source6 != state.Source6 {
		t.Errorf("got %+v, want %+v", again, state)
	}
	self.run("ip link set v0 address 02:00:00:00:00:09")
	other := must(a.Macvlans().Ensure(router6))
	if got := self.run("ip -o addr show dev us6-71-v0"); other.Source6 == state.Source6 || strings.Contains(got, state.Source6.String()) {
		t.Errorf("the parent's MAC changed, and the device has\n%s", got)
	}
}

// TestMacvlanThatCannotBe compares what an administrator reads.
func TestMacvlanThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(h *host)
		m     Macvlan
		want  string
	}{
		{"strict reverse path filter", func(h *host) { h.sysctl("ipv4/conf/all/rp_filter", "1") }, router4,
			`virtual MAC on "v0": net.ipv4.conf.all.rp_filter = 1 (strict) drops what comes in for a virtual MAC, since the way back is another: ` +
				`put "net.ipv4.conf.all.rp_filter = 2" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
		{"it does not matter to IPv6", func(h *host) { h.sysctl("ipv4/conf/all/rp_filter", "1") }, router6, ""},
		{"loose reverse path filter", func(h *host) { h.sysctl("ipv4/conf/all/rp_filter", "2") }, router4, ""},
		{"ARP filter", func(h *host) { h.sysctl("ipv4/conf/all/arp_filter", "1") }, router4,
			`virtual MAC on "v0": net.ipv4.conf.all.arp_filter = 1 keeps a virtual MAC from answering ARP, since the way back is another: ` +
				`put "net.ipv4.conf.all.arp_filter = 0" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`},
		{"a name that is taken", func(h *host) { h.run("ip link add us4-71-v0 type bridge") }, router4,
			`virtual MAC on "v0": the name us4-71-v0 is taken by an interface that is not ours: rename or remove it`},
		{"a MAC that is taken", func(h *host) {
			h.run("ip link add link v0 name vrrp.71 address 00:00:5e:00:01:47 type macvlan mode private", "ip link set vrrp.71 up")
		}, router4, `virtual MAC on "v0": switch us4-71-v0 on: address already in use ` +
			`(another macvlan on it has this MAC address: does keepalived or FRR run here with the same VRID?)`},
		{"a port of a bridge", func(h *host) { h.run("ip link add br0 type bridge", "ip link set v0 master br0") }, router4,
			`virtual MAC on "v0": make us4-71-v0: device or resource busy (the interface is a port of a bridge or a bond: name the bridge or the bond instead)`},
		{"no interface", func(*host) {}, Macvlan{Parent: "v9", VRID: 71}, `virtual MAC on "v9": look up the interface: Link not found`},
		{"no Ethernet", func(*host) {}, Macvlan{Parent: "lo", VRID: 71}, `virtual MAC on "lo": has no Ethernet address, and ARP and ND announcements need one`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, peer := pair(t)
			withIPv6(self, peer)
			tt.spoil(self)
			_, err := openAddresses(t, t.TempDir()).Macvlans().Ensure(tt.m)
			if got := errorText(err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestMacvlanIsDeafToRouters tells that a router's advertisement gives the host no address and no route on the device.
func TestMacvlanIsDeafToRouters(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.sysctl("ipv6/conf/default/accept_ra", "1")
	self.run("ip link add link v0 name heeds address 02:00:00:00:00:77 type macvlan mode bridge", "ip link set heeds up")
	a := openAddresses(t, t.TempDir())
	setAll(t, a, virtual())
	routerSpeaks(t, peer)
	eventually(t, "another device heeds it", func() bool { return strings.Contains(self.run("ip -6 route show dev heeds"), "2001:db8:9::/64") })
	if got := self.run("ip -6 route show dev us6-71-v0") + self.run("ip -o addr show dev us6-71-v0"); strings.Contains(got, "2001:db8:9:") || strings.Contains(got, "default") {
		t.Errorf("the device has\n%s", got)
	}
	if _, err := os.Stat("/proc/sys/net/ipv6/conf/us4-71-v0"); err == nil {
		t.Error("the device for IPv4 has IPv6")
	}
}
