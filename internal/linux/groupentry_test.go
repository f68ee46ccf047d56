package linux

import (
	"net/netip"
	"strings"
	"testing"
)

// groupEntries lists the permanent entries of VRRP's groups, as `ip` shows them.
func (h *host) groupEntries(device string) string {
	h.t.Helper()
	var list []string
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(h.run("ip -d " + family + " neigh show dev " + device + " nud permanent")) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return strings.Join(list, "\n")
}

const bothGroups = "224.0.0.18 lladdr 01:00:5e:00:00:12 PERMANENT proto 112\nff02::12 lladdr 33:33:00:00:00:12 PERMANENT proto 112"

func openGroups(t *testing.T, others ...Router) *GroupEntries {
	t.Helper()
	g, err := OpenGroupEntries(func() []Router { return others })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// TestGroupEntries: an entry takes the place of what the kernel made for itself, comes back when the kernel has flushed it, and goes when
// it is not wanted any more, also if a process that is dead has set it; what somebody else set permanently stays as it is. Adverts go out
// before, with and after it.
func TestGroupEntries(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	index := must(interfaceByName("v0")).Index
	both := []GroupEntry{{index, false}, {index, true}}
	set := func(g *GroupEntries, want string, list ...GroupEntry) {
		t.Helper()
		for e, err := range g.Set(list...) {
			t.Errorf("%v: %v", e, err)
		}
		if got := self.groupEntries("v0"); got != want {
			t.Errorf("permanent are\n%s\nwant\n%s", got, want)
		}
	}
	conns := map[bool]*Conn{false: open(t, "v0", false, 7), true: open(t, "v0", true, 7)}
	advertise := func() {
		t.Helper()
		for _, w := range wires {
			send(t, conns[w.v6], advert(0x31, 7), w.self, w.group)
		}
	}

	advertise() // the kernel makes entries of its own
	if got := self.run("ip neigh show nud noarp dev v0"); !strings.Contains(got, "224.0.0.18 ") || !strings.Contains(got, "ff02::12 ") {
		t.Fatalf("the kernel's own are\n%s", got)
	}
	g := openGroups(t)
	set(g, bothGroups, both...)
	set(g, bothGroups, both...)
	advertise()

	self.run("ip link set v0 down", "ip link set v0 up")
	if got := self.groupEntries("v0"); got != "" {
		t.Errorf("the kernel kept\n%s", got)
	}
	set(g, bothGroups, both...)
	set(g, bothGroups[:strings.Index(bothGroups, "\n")], both[0])
	set(g, bothGroups, both...)

	next := openGroups(t) // g is dead
	set(next, bothGroups)
	if err := next.Adopt(); err != nil {
		t.Fatal(err)
	}
	set(next, "")

	const other = "224.0.0.18 lladdr 01:00:5e:00:00:12 PERMANENT proto static"
	self.run("ip neigh replace 224.0.0.18 lladdr 01:00:5e:00:00:12 dev v0 nud permanent proto static")
	set(next, other, both[0])
	set(next, other)
	if err := next.Adopt(); err != nil {
		t.Fatal(err)
	}
	set(next, other)
}

// TestGroupEntriesOfAnother: where another daemon runs a virtual router of the family nothing is taken away, neither from the interface
// nor from a macvlan on it; and there is nothing to do on an interface that is gone.
func TestGroupEntriesOfAnother(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	self.run("ip link add m0 link v0 type macvlan mode private", "ip link set m0 up", "ip link add d0 type veth peer name d1", "ip link set d0 up")
	index := func(name string) int { return must(interfaceByName(name)).Index }
	var all []GroupEntry
	for _, name := range []string{"v0", "m0", "d0"} {
		all = append(all, GroupEntry{index(name), false}, GroupEntry{index(name), true})
	}
	has := func(when string, want map[string]string) {
		t.Helper()
		for name, entries := range want {
			if got := self.groupEntries(name); got != entries {
				t.Errorf("%s: on %s are\n%s\nwant\n%s", when, name, got, entries)
			}
		}
	}
	only4 := bothGroups[:strings.Index(bothGroups, "\n")]
	if failed := openGroups(t).Set(all...); len(failed) > 0 {
		t.Fatal(failed)
	}
	g := openGroups(t, Router{Interface: "v0", VRID: 9}, Router{Interface: "v1", VRID: 9, IPv6: true})
	if err := g.Adopt(); err != nil {
		t.Fatal(err)
	}
	if failed := g.Set(); len(failed) > 0 {
		t.Error(failed)
	}
	has("beside another daemon", map[string]string{"v0": only4, "m0": only4, "d0": ""})

	gone := GroupEntry{index("d0"), false}
	if failed := g.Set(gone); len(failed) > 0 {
		t.Error(failed)
	}
	self.run("ip link delete d0")
	for _, list := range [][]GroupEntry{{gone}, {gone}, nil} {
		if failed := g.Set(list...); len(failed) > 0 {
			t.Errorf("of an interface that is gone: %v", failed)
		}
	}
}

// TestNoRoomForANeighbour: where the table is the likely cause the error names the setting.
func TestNoRoomForANeighbour(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	c := open(t, "v0", true, 7)
	err := c.Send(advert(0x31, 7), netip.MustParseAddr("fe80::99"), groupOf(true).ip) // no address of this host gives the same errno
	if err == nil || !strings.Contains(err.Error(), "net.ipv6.neigh.default.gc_thresh3") {
		t.Error(err)
	}
}
