package linux

import (
	"os"
	"path/filepath"
	"testing"
)

// everyDevice keeps all.
func everyDevice(string) bool { return true }

// TestKeepAsksOnlyWhereSomethingGoes: the daemon looks every second, and an idle one neither lists the host's interfaces nor writes its list.
func TestKeepAsksOnlyWhereSomethingGoes(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	setAll(t, a, virtual())
	const mark = "not written over"
	path := filepath.Join(dir, MacvlansName)
	if err := os.WriteFile(path, []byte(mark), 0o600); err != nil {
		t.Fatal(err)
	}
	kernel := a.macvlans.kernel
	a.macvlans.kernel = nil // who asks it panics
	if got, err := a.Macvlans().Keep(everyDevice); len(got) > 0 || err != nil {
		t.Errorf("removed %v, %v", got, err)
	}
	a.macvlans.kernel = kernel
	if raw := string(must(os.ReadFile(path))); raw != mark {
		t.Errorf("it wrote %q", raw)
	}

	self.run("ip link del us6-71-v0") // one that is wanted stays listed: it is made again
	must(a.Macvlans().Keep(everyDevice))
	if !a.macvlans.book.has("us6-71-v0") {
		t.Error("a device that is wanted, and was deleted, is not listed any more")
	}
	if got := must(a.Macvlans().Keep(func(name string) bool { return name == router6.Name() })); len(got) != 1 || got[0] != router4.Name() {
		t.Errorf("removed %v, want %s", got, router4.Name())
	}
	if again := must(openMacvlanBook(dir)); again.has(router4.Name()) || len(again.Parents) > 0 {
		t.Errorf("still listed: %+v", again)
	}
	if got := parentConf(t); got != [2]int{0, 0} {
		t.Errorf("arp_ignore and arp_announce of the parent are %v", got)
	}
}

// TestMacvlanThatWasNotListed: a device of ours that is found is listed from then on, and removed when it is not needed any more.
func TestMacvlanThatWasNotListed(t *testing.T) {
	pair(t)
	dir := t.TempDir()
	must(openAddresses(t, dir).Macvlans().Ensure(router4))
	path := filepath.Join(dir, MacvlansName)
	must(0, os.Remove(path))
	a := openAddresses(t, dir)
	must(0, os.Mkdir(path, 0o700)) // it cannot be written either
	if state := must(a.Macvlans().Ensure(router4)); state.Made {
		t.Error("it is made anew")
	}
	if _, err := a.Macvlans().Keep(everyDevice); err == nil {
		t.Error("what could not be written is not tried again")
	}
	must(0, os.Remove(path))
	must(a.Macvlans().Keep(everyDevice))
	if !must(openMacvlanBook(dir)).has(router4.Name()) {
		t.Error("it is not listed after all")
	}
	if got := must(a.Macvlans().Keep(func(string) bool { return false })); len(got) != 1 {
		t.Errorf("removed %v", got)
	}
}

// TestMacvlanBookIsWrittenAfterAll: what could not be written is tried again, also where it is the same.
func TestMacvlanBookIsWrittenAfterAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	b := &macvlanBook{BootID: must(bootID()), path: filepath.Join(dir, MacvlansName)}
	if err := b.add(router4); err == nil {
		t.Fatal("it was written where there is no directory")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.add(router4); err != nil || !must(openMacvlanBook(dir)).has(router4.Name()) {
		t.Errorf("it is not written: %v", err)
	}
}
