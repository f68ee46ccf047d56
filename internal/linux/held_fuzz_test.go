package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// FuzzHeld reads a held.json that another hand wrote: it is a list, or it is moved aside with a word, and what was read can be
// written and read again.
func FuzzHeld(f *testing.F) {
	boot, err := bootID()
	if err != nil {
		f.Fatal(err)
	}
	for _, list := range []string{"", "[]", "null", `[{"owner":"web","interface":"eth0","index":2,"ip":"192.0.2.10","network":"192.0.2.0/24"}]`, `[{"ip":"192.0.2"}]`} {
		f.Add(fmt.Appendf(nil, `{"boot_id":%q,"addresses":%s}`, boot, list))
	}
	f.Add([]byte(`{"boot_id":"another"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, HeldName)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		file := newHeldFile(dir)
		list, notice, err := file.load()
		if err != nil {
			t.Fatal(err)
		}
		if notice != nil {
			if _, err := os.Stat(path + ".damaged"); err != nil || len(list) > 0 {
				t.Fatalf("a damaged file gives %v, and is not kept aside: %v", list, err)
			}
			return
		}
		l := newLedger(list)
		l.changed = true
		if err := file.save(l); err != nil {
			t.Fatal(err)
		}
		again, notice, err := file.load()
		if notice != nil || err != nil || len(again) != len(l.all()) {
			t.Fatalf("%v was written, and read as %v: %v, %v", l.all(), again, notice, err)
		}
	})
}
