package linux

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink/nl"
)

// cutoffOf is the setting of a macvlan's interface.
func cutoffOf(t *testing.T, a *Addresses, name string) int32 {
	t.Helper()
	return must(a.kernel.cutoff(must(a.index(name))))
}

// TestMacvlanHearsDirectly tells which interfaces queue what goes to a group: those with many devices, and those without any of ours. The
// test's own device stands for another program's, and sees the setting, which is the interface's.
func TestMacvlanHearsDirectly(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	self.run("ip link add link v0 name other type macvlan mode bridge")
	other := must(a.index("other"))
	if must(0, a.kernel.setCutoff(other, neverQueued)); cutoffOf(t, a, "other") != neverQueued {
		t.Skip("this kernel does not know it")
	}
	must(0, a.kernel.setCutoff(other, kernelsCutoff))
	want := func(when string, cutoff int32) {
		t.Helper()
		if got := cutoffOf(t, a, "other"); got != cutoff {
			t.Errorf("%s the cutoff is %d, want %d", when, got, cutoff)
		}
	}
	ensure := func(a *Addresses, vrid int) {
		t.Helper()
		must(a.Macvlans().Ensure(Macvlan{Parent: "v0", VRID: uint8(vrid), Owner: "web"}))
	}
	for vrid := range maxDirect - 1 { // the other one counts
		ensure(a, vrid+1)
	}
	want("with as many as are looked at directly", neverQueued)
	ensure(a, maxDirect)
	want("with one more", kernelsCutoff)
	must(a.Macvlans().Keep(func(name string) bool { return name == "us4-1-v0" }))
	want("with one that is left", neverQueued)

	must(0, a.kernel.setCutoff(other, kernelsCutoff)) // as an earlier build left it
	next := openAddresses(t, dir)
	ensure(next, 1)
	want("with a device of an earlier build", neverQueued)
	ensure(next, 2)
	must(next.Macvlans().Keep(func(string) bool { return false }))
	want("without any of ours", kernelsCutoff)

	for _, value := range []int32{7, neverQueued} {
		must(0, a.kernel.setCutoff(other, value))
		for vrid := range maxDirect + 1 {
			ensure(next, vrid+1)
			want(fmt.Sprintf("with %d, where something else has set it,", vrid+1), value)
		}
		must(next.Macvlans().Keep(func(string) bool { return false }))
		want("without any of ours, where something else has set it,", value)
	}
}

// TestUnknownAttributeOfAMacvlan tells that a kernel takes no notice of an attribute that it does not know, as one before 6.4 of the cutoff.
func TestUnknownAttributeOfAMacvlan(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	self.run("ip link add link v0 name other type macvlan mode bridge")
	const unknown = 200
	if err := a.kernel.setMacvlan(must(a.index("other")), unknown, nl.Uint32Attr(1)); err != nil {
		t.Errorf("an attribute that the kernel does not know: %v", err)
	}
	if err := a.kernel.setMacvlan(must(a.index("other")), attributeCutoff, nl.Uint8Attr(1)); err == nil {
		t.Error("one that it knows is too short, and it says nothing")
	}
}
