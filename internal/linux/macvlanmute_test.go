package linux

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// silenced says whether a device is mute, and whether it is deaf.
func silenced(name string) (mute, deaf bool) {
	link := must(netlink.LinkByName(name))
	for _, q := range must(netlink.QdiscList(link)) {
		mute = mute || q.Type() == qdiscThatLosesAll
	}
	return mute, len(must(netlink.FilterList(link, netlink.MakeHandle(0xffff, 0)))) > 0
}

// TestMacvlanThatIsMadeAgainSpeaks: something deletes the device of a master. The one who watches it and the one who sets the address
// again come at once, and the second finds the device half made by the first, who then makes it mute: that must not be the end of it.
func TestMacvlanThatIsMadeAgainSpeaks(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	want := virtual()
	want.Addresses = want.Addresses[:1]
	name := router4.Name()
	setAll(t, a, want)
	self.run("ip link del " + name)

	a.macvlans.whole.Lock() // as far as make is when the device can be found
	self.run(fmt.Sprintf("ip link add link v0 name %s address %s type macvlan mode bridge", name, router4.MAC()))
	index := must(netlink.LinkByName(name)).Attrs().Index
	done := make(chan []AddressError, 1)
	go func() { done <- a.Set(want) }()
	eventually(t, "the address is there again", func() bool { return strings.Contains(self.run("ip -o addr show dev "+name), "10.9.0.100/32") })
	select {
	case <-done:
		t.Fatal("the device was not waited for")
	case <-time.After(50 * time.Millisecond):
	}
	for _, silence := range []func(int) error{a.macvlans.kernel.dropEgress, a.macvlans.kernel.dropIngress} {
		if err := silence(index); err != nil {
			t.Fatal(err)
		}
	}
	a.macvlans.whole.Unlock()
	if failed := receive(t, done); len(failed) > 0 {
		t.Error(failed)
	}
	if mute, deaf := silenced(name); mute || deaf {
		t.Errorf("the master's device is mute: %t, deaf: %t", mute, deaf)
	}
	setAll(t, a, Want{Owner: "web", Interface: "v0"})
	if mute, deaf := silenced(name); !mute || !deaf {
		t.Errorf("the backup's device is mute: %t, deaf: %t", mute, deaf)
	}
}

// TestMacvlanWhoseMakerDied tells of a device that was left half made: the next one makes it anew.
func TestMacvlanWhoseMakerDied(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	if err := a.macvlans.book.add(router4); err != nil {
		t.Fatal(err)
	}
	self.run(fmt.Sprintf("ip link add link v0 name %s address %s type macvlan mode bridge", router4.Name(), router4.MAC()))
	if state, err := a.Macvlans().Ensure(router4); err != nil || !state.Made {
		t.Errorf("got %+v, %v", state, err)
	}
	if mute, deaf := silenced(router4.Name()); !mute || !deaf {
		t.Errorf("a backup's device is mute: %t, deaf: %t", mute, deaf)
	}
	renamed := router4
	renamed.Owner = "www"
	if state, err := a.Macvlans().Ensure(renamed); err != nil || state.Made {
		t.Errorf("its instance has another name: got %+v, %v", state, err)
	}
}

// TestWhatABackupLeavesInTheKernel: a program that goes on where another was takes its devices as they are, and can undo only what it
// knows of. Whoever changes this raises daemon.sealedFormat: then a program of before refuses to go on.
func TestWhatABackupLeavesInTheKernel(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	var got []string
	for _, m := range []Macvlan{router4, router6} {
		must(a.Macvlans().Ensure(m))
		link := must(netlink.LinkByName(m.Name()))
		link.Attrs().Alias = strings.Replace(link.Attrs().Alias, markOf(dir), " (daemon MARK)", 1)
		got = append(got, fmt.Sprintf("%s: %s %s, mode %v, mtu %d, %q", m.Name(), link.Type(), link.Attrs().HardwareAddr, link.(*netlink.Macvlan).Mode, link.Attrs().MTU, link.Attrs().Alias))
		var more []string
		for _, q := range must(netlink.QdiscList(link)) {
			more = append(more, fmt.Sprintf("  qdisc %s on %x", q.Type(), q.Attrs().Parent))
		}
		for _, f := range must(netlink.FilterList(link, netlink.MakeHandle(0xffff, 0))) {
			more = append(more, fmt.Sprintf("  filter %s %d for %x", f.Type(), f.Attrs().Priority, f.Attrs().Protocol))
		}
		slices.Sort(more)
		got = append(got, more...)
	}
	want := strings.TrimSpace(`
us4-71-v0: macvlan 00:00:5e:00:01:47, mode 2, mtu 1279, "understudy: virtual router 71 of web (daemon MARK)"
  filter bpf 1 for 3
  qdisc blackhole on ffffffff
  qdisc ingress on fffffff1
us6-71-v0: macvlan 00:00:5e:00:02:47, mode 2, mtu 1500, "understudy: virtual router 71 of web (daemon MARK)"
  filter bpf 1 for 3
  qdisc blackhole on ffffffff
  qdisc ingress on fffffff1`)
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("what is left has changed: raise daemon.sealedFormat. Got\n%s\nwant\n%s", s, want)
	}
}
