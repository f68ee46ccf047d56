package linux

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

func TestMarkIsThatOfTheRuntimeDirectory(t *testing.T) {
	dir := t.TempDir()
	run, other, link := filepath.Join(dir, "run"), filepath.Join(dir, "other"), filepath.Join(dir, "link")
	for _, d := range []string{run, other} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("run", link); err != nil {
		t.Fatal(err)
	}
	mark := markOf(run)
	for path, want := range map[string]bool{run: true, link: true, run + "/../run/": true, other: false} {
		if got := markOf(path) == mark; got != want {
			t.Errorf("%s has the mark of %s: %t, want %t", path, run, got, want)
		}
	}
	t.Chdir(dir)
	if markOf("run") != mark {
		t.Error("a relative path has another mark")
	}
	if metricOf("run") != metricOf(run) || metricOf(run) == metricOf(other) || min(metricOf(run), metricOf(other)) < firstMetric {
		t.Errorf("the metrics are %d and %d", metricOf(run), metricOf(other))
	}
	if len(mark) != len(markedBy)+len("01234567)") {
		t.Errorf("mark %q", mark)
	}
}

func TestAliasOwner(t *testing.T) {
	mine, other := markOf("/run/understudy"), markOf("/run/other")
	m := Macvlan{Parent: "eth0", VRID: 71, Owner: "web"}
	for _, tt := range []struct {
		name, alias        string
		understudy, others bool
	}{
		{"ours", m.alias(mine), true, false},
		{"another daemon's", m.alias(other), true, true},
		{"of a release without marks", m.alias(""), true, false},
		{"none", "", false, false},
		{"somebody else's", "uplink (daemon 01234567)", false, false},
	} {
		if understudy, others := aliasOwner(tt.alias, mine); understudy != tt.understudy || others != tt.others {
			t.Errorf("%s: understudy %t, others %t", tt.name, understudy, others)
		}
	}
}

// lifetime is how long an address lives, which changes by itself.
var lifetime = regexp.MustCompile(`valid_lft.*`)

// everything is all that daemons change on a host.
func everything(h *host) string {
	return h.run("ip -o link") + lifetime.ReplaceAllString(h.run("ip -o addr"), "") + h.run("ip route") + h.run("ip -6 route")
}

// TestASecondDaemonLeavesTheFirstAlone: it has another runtime directory, and its start, its work and its end are nothing to the
// devices, routes and addresses of the first.
func TestASecondDaemonLeavesTheFirstAlone(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	routed := want(0, "172.30.0.9/24")
	routed.Owner = "routed"
	first := openAddresses(t, t.TempDir())
	setAll(t, first, virtual())
	setAll(t, first, routed)
	settle := func() { // the kernel makes some routes by and by
		t.Helper()
		last := everything(self)
		eventually(t, "nothing changes", func() bool { now := everything(self); same := now == last; last = now; return same })
	}
	settle()
	before := everything(self)

	second := openAddresses(t, t.TempDir())
	if removed := must(second.Sweep(func(h Held) bool { return h.Owner == "" }, false)); len(removed) > 0 {
		t.Errorf("its start removed %v", removed)
	}
	if diff := cmp.Diff(before, everything(self)); diff != "" {
		t.Errorf("its start (-before +after):\n%s", diff)
	}
	if _, err := second.Macvlans().Ensure(router4); err == nil || !strings.Contains(err.Error(), "another understudy of this host has us4-71-v0, for the same VRID") {
		t.Errorf("the first one's device: %v", err)
	}
	own := want(0, "172.31.0.9/24")
	own.Owner, own.Addresses[0].Device = "own", Macvlan{Parent: "v0", VRID: 72, Owner: "own"}
	setAll(t, second, own)
	if !strings.Contains(everything(self), "us4-72-v0") || !strings.Contains(everything(self), "172.31.0.0/24") {
		t.Fatalf("it has nothing of its own:\n%s", everything(self))
	}
	setAll(t, second, Want{Owner: "own", Interface: "v0"})
	if removed := must(second.Macvlans().Keep(second.holds)); len(removed) != 1 || removed[0] != "us4-72-v0" {
		t.Errorf("removed %v", removed)
	}
	if got := parentConf(t); got != [2]int{1, 2} {
		t.Errorf("the parent of the first one's devices has arp_ignore and arp_announce %v", got)
	}
	eventually(t, "all is as before", func() bool { return everything(self) == before })

	// What is to be rid of every understudy takes both.
	if _, err := openAddresses(t, t.TempDir()).Sweep(func(Held) bool { return false }, true); err != nil {
		t.Fatal(err)
	}
	if got := everything(self); strings.Contains(got, "us4") || strings.Contains(got, "us6") || strings.Contains(got, "172.30.0") {
		t.Errorf("left:\n%s", got)
	}
}

// TestAnInterfaceThatTwoDaemonsNeed has its settings back when both are done with it.
func TestAnInterfaceThatTwoDaemonsNeed(t *testing.T) {
	pair(t)
	first, second := openAddresses(t, t.TempDir()), openAddresses(t, t.TempDir())
	none := func(string) bool { return false }
	was := parentConf(t)
	must(first.Macvlans().Ensure(router4))
	must(second.Macvlans().Ensure(Macvlan{Parent: "v0", VRID: 72, Owner: "own"}))
	must(first.Macvlans().Keep(none))
	if got := parentConf(t); got != [2]int{1, 2} {
		t.Errorf("arp_ignore and arp_announce are %v while the second one has a device", got)
	}
	must(second.Macvlans().Keep(none))
	must(first.Macvlans().Keep(none))
	if got := parentConf(t); got != was {
		t.Errorf("arp_ignore and arp_announce are %v, and were %v before", got, was)
	}
}

// TestTwoDaemonsInOneNetwork: each has its own route to it, which neither the start of the other nor its end touches.
func TestTwoDaemonsInOneNetwork(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	routes := func() []string {
		return strings.Split(strings.TrimSpace(self.run("ip -4 route show proto 112")+self.run("ip -6 route show proto 112")), "\n")
	}
	dir := t.TempDir()
	first, second := openAddresses(t, dir), openAddresses(t, t.TempDir())
	setAll(t, first, want(0, "172.30.0.9/24", "2001:db8:9::9/64"))
	of1 := routes()
	if removed := must(second.Sweep(func(h Held) bool { return h.Owner == "" }, false)); len(removed) > 0 {
		t.Errorf("the second one's start removes %v", removed)
	}
	if diff := cmp.Diff(of1, routes()); diff != "" {
		t.Errorf("the second one's start (-before +after):\n%s", diff)
	}
	setAll(t, second, want(0, "172.30.0.10/24", "2001:db8:9::10/64"))
	of2 := slices.DeleteFunc(routes(), func(r string) bool { return slices.Contains(of1, r) })
	if len(of1) != 2 || len(of2) != 2 {
		t.Fatalf("the routes are %q and %q", of1, of2)
	}
	setAll(t, first, want(0))
	if diff := cmp.Diff(of2, routes()); diff != "" {
		t.Errorf("the first one releases its addresses (-want +got):\n%s", diff)
	}
	setAll(t, first, want(0, "172.30.0.9/24", "2001:db8:9::9/64"))
	if _, err := openAddresses(t, dir).Sweep(func(h Held) bool { return h.Owner == "" }, false); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(of2, routes()); diff != "" {
		t.Errorf("the first one died, and is started again (-want +got):\n%s", diff)
	}
	setAll(t, second, want(0))
	if left := routes(); left[0] != "" {
		t.Errorf("left: %q", left)
	}
}

// TestRouteOfAReleaseWithoutMetrics: it gives way to one of now.
func TestRouteOfAReleaseWithoutMetrics(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	wanted := want(0, "172.30.0.9/24", "2001:db8:9::9/64")
	setAll(t, a, wanted)
	routes := func() string { return self.run("ip -4 route show proto 112") + self.run("ip -6 route show proto 112") }
	now := routes()
	self.run("ip route add 172.30.0.0/24 dev v0 scope link proto 112", "ip -6 route add 2001:db8:9::/64 dev v0 proto 112")
	setAll(t, a, wanted)
	if diff := cmp.Diff(now, routes()); diff != "" {
		t.Errorf("the routes (-want +got):\n%s", diff)
	}
}

// TestMacvlanOfAReleaseWithoutMarks: it is nobody's but by the book and by the name.
func TestMacvlanOfAReleaseWithoutMarks(t *testing.T) {
	self, _ := pair(t)
	old := func(dir string) {
		t.Helper()
		must(must(OpenAddresses(dir)).Macvlans().Ensure(router4))
		link := must(netlink.LinkByName(router4.Name()))
		if err := netlink.LinkSetAlias(link, router4.alias("")); err != nil {
			t.Fatal(err)
		}
	}
	there := func() bool { return strings.Contains(self.run("ip -o link"), router4.Name()) }
	nothing := func(Held) bool { return false }

	dir, elsewhere := t.TempDir(), t.TempDir()
	old(dir)
	if _, err := openAddresses(t, elsewhere).Sweep(nothing, false); err != nil || !there() {
		t.Errorf("another daemon removes it: %v", err)
	}
	if _, err := openAddresses(t, dir).Sweep(nothing, false); err != nil || there() {
		t.Errorf("the one that has it in its book leaves it: %v", err)
	}
	old(dir)
	if state := must(openAddresses(t, elsewhere).Macvlans().Ensure(router4)); state.Made {
		t.Error("who needs the name makes it anew")
	}
	if got := must(netlink.LinkByName(router4.Name())).Attrs().Alias; got != router4.alias(markOf(elsewhere)) {
		t.Errorf("its alias is %q", got)
	}
	if _, err := openAddresses(t, t.TempDir()).Sweep(nothing, true); err != nil || there() {
		t.Errorf("it stays although all is to go: %v", err)
	}
}
