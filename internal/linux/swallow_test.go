package linux

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A macvlan that keeps its interface from hearing a virtual router is reported as long as it does, whether it was there first, or came later.
func TestWatcherSeesWhatSwallowsARoutersFrames(t *testing.T) {
	t.Parallel()
	self, _ := pair(t)
	add := func(name, mac, mode string) {
		self.run("ip link add "+name+" link v0 address "+mac+" type macvlan mode "+mode, "ip link set "+name+" up")
	}
	swallower := func(name, mac string) []Swallower { return []Swallower{{name, mac}} }
	add("vrrp.71", "00:00:5e:00:01:47", "private")
	x := watch(t, "v0")
	until := func(what string, want ...Swallower) {
		t.Helper()
		x.until(what, func(l Link) bool { return slices.Equal(l.Swallowers, want) })
	}
	until("it was there first", swallower("vrrp.71", "00:00:5e:00:01:47")...)
	self.run("ip link set vrrp.71 down")
	until("one that is off swallows nothing")
	self.run("ip link set vrrp.71 up")
	until("it is on again", swallower("vrrp.71", "00:00:5e:00:01:47")...)
	self.run("ip link del vrrp.71")
	until("it went")
	add("six", "00:00:5e:00:02:47", "private")
	until("IPv6's came", swallower("six", "00:00:5e:00:02:47")...)
	self.run("ip link set six address 02:00:00:00:00:99")
	until("it is no router's any more")

	// None of these swallows anything.
	add("bridged", "00:00:5e:00:01:48", "bridge")
	add("vepa", "00:00:5e:00:01:49", "vepa")
	add("own", "02:00:00:00:00:98", "private")
	self.run("ip link set v0 mtu 1400")
	if l := x.until("the MTU changed", func(l Link) bool { return l.MTU == 1400 }); len(l.Swallowers) > 0 {
		t.Errorf("it is told of %v", l.Swallowers)
	}
	// The list after lost events is as good as theirs.
	add("seven", "00:00:5e:00:01:07", "private")
	until("another came", swallower("seven", "00:00:5e:00:01:07")...)
	list, whole, err := x.w.kernel.swallowers()
	if err != nil || !whole || len(list) != 1 {
		t.Errorf("the kernel lists %v, whole %t; %v", list, whole, err)
	}
}

func FuzzParseSwallower(f *testing.F) {
	f.Add(make([]byte, unix.SizeofIfInfomsg))
	f.Add(append(make([]byte, unix.SizeofIfInfomsg), 8, 0, 18, 0, 8, 0, 2, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseSwallower(b); ok && len(s.MAC) != len("00:00:5e:00:01:47") {
			t.Errorf("accepted %+v", s)
		}
	})
}
