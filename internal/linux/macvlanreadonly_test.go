package linux

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// readOnlySysctls makes /proc/sys read-only for the rest of the test, as it is in a container. What it returns sets a value from outside.
func readOnlySysctls(t *testing.T, h *host) (outside func(path, value string)) {
	t.Helper()
	runtime.LockOSThread() // for good: the thread, and its mount namespace, ends with the test
	mount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("/proc/sys", "/proc/sys", "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	mount(unix.MS_BIND)
	mount(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	return func(path, value string) {
		t.Helper()
		mount(unix.MS_BIND | unix.MS_REMOUNT)
		h.sysctl(path, value)
		mount(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	}
}

// TestMacvlanInAContainer: where /proc/sys cannot be written, netlink gives the device of IPv4 and its parent what they need all the same.
// That of IPv6 works where the settings for new interfaces let it, and tells which they must be where they do not.
func TestMacvlanInAContainer(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	for _, name := range []string{"rp_filter", "arp_filter", "proxy_arp", "arp_notify"} {
		self.sysctl("ipv4/conf/default/"+name, "1")
	}
	self.sysctl("ipv4/conf/default/arp_ignore", "8")
	self.sysctl("ipv6/conf/default/accept_ra", "1")
	outside := readOnlySysctls(t, self)
	if err := writeSysctl("1", "ipv4", "conf", "v0", "arp_ignore"); err == nil {
		t.Fatal("/proc/sys can be written")
	}
	a := openAddresses(t, t.TempDir())
	if _, err := a.Macvlans().Ensure(router4); err != nil || !router4.Settled() {
		t.Errorf("IPv4: %v", err)
	}
	for name, want := range map[string]int{"rp_filter": 0, "arp_filter": 0, "arp_ignore": 1, "arp_notify": 0, "proxy_arp": 0} {
		if got := must(sysctlNumber("ipv4", "conf", "us4-71-v0", name)); got != want {
			t.Errorf("%s of the device is %d, want %d", name, got, want)
		}
	}
	if got := parentConf(t); got != [2]int{1, 2} {
		t.Errorf("arp_ignore and arp_announce of the parent are %v", got)
	}

	ensure := func(what, want string) (state MacvlanState) {
		t.Helper()
		state, err := a.Macvlans().Ensure(router6)
		if got := errorText(err); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
		}
		return state
	}
	const readOnly = "(open /proc/sys/net/ipv6/conf/us6-71-v0/%[1]s: read-only file system): make /proc/sys writable, or put " +
		`"net.ipv6.conf.default.%[1]s = 0" into /etc/sysctl.d/60-understudy.conf and run sysctl --system`
	ensure("new interfaces heed routers", `virtual MAC on "v0": router advertisements would give us6-71-v0 addresses and a route, `+
		"and it cannot be told otherwise "+fmt.Sprintf(readOnly, "accept_ra"))
	outside("ipv6/conf/default/accept_ra", "0")
	outside("ipv6/conf/default/disable_ipv6", "1")
	ensure("new interfaces have no IPv6", `virtual MAC on "v0": IPv6 is off on us6-71-v0, and cannot be switched on `+fmt.Sprintf(readOnly, "disable_ipv6"))
	outside("ipv6/conf/default/disable_ipv6", "0")
	first := ensure("it can be", "")
	for _, spoiled := range []struct{ setting, value string }{{"accept_ra", "2"}, {"disable_ipv6", "1"}} {
		outside("ipv6/conf/us6-71-v0/"+spoiled.setting, spoiled.value)
		if got := ensure("a new device comes for one that cannot be changed", ""); !got.Made || got.Source6 != first.Source6 || !router6.Settled() {
			t.Errorf("got %+v after %+v", got, first)
		}
	}
	setAll(t, a, virtual())
	if got := self.run("ip -o addr"); !strings.Contains(got, "10.9.0.100/32") || !strings.Contains(got, "2001:db8::100/128") {
		t.Errorf("the addresses are not set:\n%s", got)
	}
	setAll(t, a, Want{Owner: "web", Interface: "v0"})
	if got := must(a.Macvlans().Keep(a.holds)); len(got) != 2 || parentConf(t) != [2]int{0, 0} {
		t.Errorf("removed %v, and left arp_ignore and arp_announce %v", got, parentConf(t))
	}
}
