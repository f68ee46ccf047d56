package linux

import (
	"os"
	"path/filepath"
	"testing"
)

// What somebody put where the next file is written, or a process that died left there, is neither followed nor in the way.
func TestReplaceFileFollowsNoLink(t *testing.T) {
	for _, durable := range []bool{false, true} {
		dir := t.TempDir()
		path, other := filepath.Join(dir, "file"), filepath.Join(dir, "other")
		must(0, os.WriteFile(other, []byte("another's"), 0o600))
		for _, link := range []func(string, string) error{os.Symlink, os.Link} {
			if err := link(other, path+".new"); err != nil {
				t.Fatal(err)
			}
			if err := ReplaceFile(path, []byte("ours"), 0o640, durable); err != nil {
				t.Fatal(err)
			}
		}
		for file, want := range map[string]string{path: "ours", other: "another's"} {
			if got, err := os.ReadFile(file); err != nil || string(got) != want {
				t.Errorf("durable %t: %s holds %q, %v; want %q", durable, file, got, err, want)
			}
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != 0o640 {
			t.Errorf("durable %t: the file is %v, %v", durable, info.Mode(), err)
		}
	}
}

// TestTheListsFollowNoLink: the runtime directory belongs to the daemon's user, and root cleans up there by hand.
func TestTheListsFollowNoLink(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	must(0, os.WriteFile(other, []byte("another's"), 0o600))
	for _, name := range []string{HeldName, MacvlansName} {
		must(0, os.Symlink(other, filepath.Join(dir, name+".new")))
	}
	a := openAddresses(t, dir)
	must(a.Sweep(func(Held) bool { return false }, false))
	mustSet(t, a, want(0, "10.9.0.100"))
	if !self.has("10.9.0.100/32") {
		t.Error("the address is not there")
	}
	if got := string(must(os.ReadFile(other))); got != "another's" {
		t.Errorf("what the link leads to holds %q", got)
	}
}
