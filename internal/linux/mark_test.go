package linux

import (
	"os"
	"path/filepath"
	"regexp"
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
	if removed := must(second.Sweep(func(h Held) bool { return h.Owner == "" }, Claim{})); len(removed) > 0 {
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
	if _, err := openAddresses(t, t.TempDir()).Sweep(func(Held) bool { return false }, Claim{All: true}); err != nil {
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

// TestTheOtherDaemonsRouteGoes: a route that both want is back with the next look after the one that made it has ended.
func TestTheOtherDaemonsRouteGoes(t *testing.T) {
	self, _ := pair(t)
	there := func() bool { return strings.Contains(self.run("ip route"), "172.30.0.0/24") }
	first, second := openAddresses(t, t.TempDir()), openAddresses(t, t.TempDir())
	other := want(0, "172.30.0.10/24")
	setAll(t, first, want(0, "172.30.0.9/24"))
	setAll(t, second, other)
	setAll(t, first, want(0))
	if there() {
		t.Error("the first one leaves its route")
	}
	if errs := second.reconcileRoutes(); len(errs) > 0 || !there() {
		t.Errorf("the second one has no route: %v", errs)
	}
	setAll(t, second, want(0))
	if there() {
		t.Error("the second one leaves its route")
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
	if _, err := openAddresses(t, elsewhere).Sweep(nothing, Claim{}); err != nil || !there() {
		t.Errorf("another daemon removes it: %v", err)
	}
	if _, err := openAddresses(t, dir).Sweep(nothing, Claim{}); err != nil || there() {
		t.Errorf("the one that has it in its book leaves it: %v", err)
	}
	old(dir)
	if state := must(openAddresses(t, elsewhere).Macvlans().Ensure(router4)); state.Made {
		t.Error("who needs the name makes it anew")
	}
	if got := must(netlink.LinkByName(router4.Name())).Attrs().Alias; got != router4.alias(markOf(elsewhere)) {
		t.Errorf("its alias is %q", got)
	}
	if _, err := openAddresses(t, t.TempDir()).Sweep(nothing, Claim{All: true}); err != nil || there() {
		t.Errorf("it stays although all is to go: %v", err)
	}
}
