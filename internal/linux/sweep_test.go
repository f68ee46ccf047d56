package linux

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var compareAddresses = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestSweepRemovesWhatADeadProcessLeft(t *testing.T) {
	self, _ := pair(t)
	before := self.run("ip -o addr") + self.run("ip route")
	dir := t.TempDir()
	dead := openAddresses(t, dir)
	mustSet(t, dead, want(0, "172.30.0.9/24", "2001:db8::100"))
	dead.Close()

	a := openAddresses(t, dir)
	removed, err := a.Sweep(func(Held) bool { return false }, false)
	if err != nil {
		t.Fatal(err)
	}
	index := must(a.index("v0"))
	want := []Held{
		{Owner: "web", Interface: "v0", Index: index, IP: netip.MustParseAddr("172.30.0.9"), Network: netip.MustParsePrefix("172.30.0.0/24")},
		{Owner: "web", Interface: "v0", Index: index, IP: netip.MustParseAddr("2001:db8::100")},
	}
	if diff := cmp.Diff(want, removed, compareAddresses); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, self.run("ip -o addr")+self.run("ip route")); diff != "" {
		t.Errorf("the host before and after (-before +after):\n%s", diff)
	}
	if again := must(openAddresses(t, dir).Sweep(func(Held) bool { return false }, false)); len(again) != 0 {
		t.Errorf("a second sweep removed %v", again)
	}
}

func TestSweepSparesWhatIsAdopted(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	mustSet(t, openAddresses(t, dir), want(0, "172.30.0.9/24", "10.9.0.100"))
	a := openAddresses(t, dir)
	removed := must(a.Sweep(func(h Held) bool { return h.IP.String() == "172.30.0.9" }, false))
	if len(removed) != 1 || removed[0].IP.String() != "10.9.0.100" {
		t.Errorf("removed %v", removed)
	}
	if !self.has("172.30.0.9/32") || !strings.Contains(self.run("ip route"), "172.30.0.0/24") {
		t.Error("what was kept is gone")
	}
	mustSet(t, a, want(time.Minute, "172.30.0.9/24"))
	mustSet(t, a, want(0))
	if self.has("172.30.0.9/32") || strings.Contains(self.run("ip route"), "172.30.0.0/24") {
		t.Error("what was adopted was not released")
	}
}

// held.json may be lost (a runtime directory is often removed with its service): the kernel's tag remains.
func TestSweepFindsTaggedAddressesWithoutTheFile(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	mustSet(t, openAddresses(t, dir), want(0, "172.30.0.9/24"))
	if err := os.Remove(filepath.Join(dir, HeldName)); err != nil {
		t.Fatal(err)
	}
	a := openAddresses(t, dir)
	needTags(t, a)
	removed := must(a.Sweep(func(Held) bool { return false }, false))
	want := []Held{{Interface: "v0", Index: must(a.index("v0")), IP: netip.MustParseAddr("172.30.0.9")}}
	if diff := cmp.Diff(want, removed, compareAddresses); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if self.has("172.30.0.9/32") || strings.Contains(self.run("ip route"), "172.30.0.0/24") {
		t.Error("something is left")
	}
}

// The file is written before the address is added, so a process may die between the two.
func TestSweepForgetsAnAddressThatWasNeverSet(t *testing.T) {
	pair(t)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	a.held.put(Held{Owner: "web", Interface: "v0", Index: must(a.index("v0")), IP: netip.MustParseAddr("10.9.0.100")})
	a.save()
	b := openAddresses(t, dir)
	if len(b.held.all()) != 1 {
		t.Fatalf("loaded %v", b.held.all())
	}
	if removed := must(b.Sweep(func(Held) bool { return false }, false)); len(removed) != 0 || len(b.held.all()) != 0 {
		t.Errorf("removed %v, holds %v", removed, b.held.all())
	}
}

func TestHeldFile(t *testing.T) {
	boot := must(bootID())
	const list = `"addresses":[{"owner":"web","interface":"v0","index":2,"ip":"10.9.0.100"}]}`
	tests := []struct {
		name, content string
		want          int
		notice        string
	}{
		{"of this boot", `{"boot_id":"` + boot + `",` + list, 1, ""},
		{"of another boot", `{"boot_id":"00000000-0000-0000-0000-000000000000",` + list, 0, ""},
		{"cut off", `{"boot_id":"`, 0, "was damaged"},
		{"empty", ``, 0, "was damaged"},
		{"with an impossible address", `{"addresses":[{"ip":"10.9"}]}`, 0, "was damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newHeldFile(t.TempDir())
			if err := os.WriteFile(f.path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, notice, err := f.load()
			if err != nil || len(got) != tt.want {
				t.Errorf("loaded %v, %v; want %d records", got, err, tt.want)
			}
			if (notice != nil) != (tt.notice != "") || notice != nil && !strings.Contains(notice.Error(), tt.notice) {
				t.Errorf("notice %v, want %q", notice, tt.notice)
			}
			if _, err := os.Stat(f.path + ".damaged"); (err == nil) != (tt.notice != "") {
				t.Errorf("moved aside: %v", err)
			}
		})
	}
}

func TestHeldFileIsPrivateAndWrittenOnlyOnChange(t *testing.T) {
	f := newHeldFile(t.TempDir())
	list := []Held{{Owner: "web", Interface: "v0", Index: 2, IP: netip.MustParseAddr("10.9.0.100")}}
	l := newLedger(nil)
	l.put(list[0])
	if err := f.save(l); err != nil {
		t.Fatal(err)
	}
	info := must(os.Stat(f.path))
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	l.put(list[0])
	if err := f.save(l); err != nil || !os.SameFile(info, must(os.Stat(f.path))) {
		t.Errorf("written again without a change (%v)", err)
	}
	got, notice, err := newHeldFile(filepath.Dir(f.path)).load()
	if diff := cmp.Diff(list, got, compareAddresses); diff != "" || notice != nil || err != nil {
		t.Errorf("loaded %v, %v (-want +got):\n%s", notice, err, diff)
	}
}
