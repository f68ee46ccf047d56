package linux

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fill has the list of macvlans in a runtime directory not be written any more, as on a full disk; empty undoes it.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	next := filepath.Join(dir, MacvlansName+".new")
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(next) }
}

// TestSweepOnAFullDisk: a daemon must start there, whether or not it has a virtual MAC.
func TestSweepOnAFullDisk(t *testing.T) {
	pair(t)
	dir := t.TempDir()
	fill(t, dir)
	a := openAddresses(t, dir)
	if _, err := a.Sweep(func(Held) bool { return false }, false); err != nil {
		t.Errorf("a list that cannot be written keeps a daemon from starting: %v", err)
	}
	if _, err := a.Macvlans().Keep(everyDevice); err == nil || !strings.Contains(err.Error(), "write the list of macvlans") {
		t.Errorf("it says %v of the list", err)
	}
}

// TestMacvlanOnAFullDisk: a service must have its address there, and what could not be noted is when there is room again.
func TestMacvlanOnAFullDisk(t *testing.T) {
	pair(t)
	dir := t.TempDir()
	empty := fill(t, dir)
	a := openAddresses(t, dir)
	setAll(t, a, virtual())
	if there, err := a.Present(router4.Name(), netip.MustParseAddr("10.9.0.100")); err != nil || !there {
		t.Errorf("a list that cannot be written keeps the address away (%v)", err)
	}
	if removed, err := a.Macvlans().Keep(everyDevice); err == nil || !strings.Contains(err.Error(), "write the list of macvlans") || len(removed) > 0 {
		t.Errorf("removed %v, %v", removed, err)
	}
	empty()
	must(a.Macvlans().Keep(everyDevice))
	if again := must(openMacvlanBook(dir)); !again.has(router4.Name()) || len(again.Parents) != 1 {
		t.Errorf("listed when there is room again: %+v", again)
	}
}
