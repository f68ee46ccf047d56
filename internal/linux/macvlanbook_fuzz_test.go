package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzMacvlanBook reads a macvlans.json that another hand wrote: it is taken or it is as good as none, and what is listed beside what
// was read can be read again.
func FuzzMacvlanBook(f *testing.F) {
	boot, err := bootID()
	if err != nil {
		f.Fatal(err)
	}
	for _, rest := range []string{
		`"devices":[{"parent":"eth0","vrid":71,"v6":false,"owner":"web"}],"parents":[{"name":"eth0","index":2,"arp_ignore":0,"arp_announce":-1}]`,
		`"devices":[{"parent":"eth0","vrid":256}]`,
		`"devices":[{"parent":"../eth0"},{}],"parents":null`,
		`"parents":[{"name":"","index":-1}]`,
	} {
		f.Add(fmt.Appendf(nil, `{"boot_id":%q,%s}`, boot, rest))
	}
	f.Add([]byte(`{"boot_id":"another","devices":[{"parent":"eth0"}]}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, MacvlansName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := openMacvlanBook(dir)
		if err != nil || b.BootID != boot {
			t.Fatalf("%+v, %v", b, err)
		}
		for _, m := range b.Devices {
			if !b.has(m.Name()) || len(m.Name()) > maxLinkName {
				t.Fatalf("%+v is called %q", m, m.Name())
			}
		}
		if err := b.add(router4); err != nil {
			t.Fatal(err)
		}
		if err := b.save(); err != nil {
			t.Fatal(err)
		}
		again, err := openMacvlanBook(dir)
		if err != nil || !again.has(router4.Name()) || !slices.Equal(again.Devices, b.Devices) || !slices.Equal(again.Parents, b.Parents) {
			t.Fatalf("%+v was written, and read as %+v: %v", b, again, err)
		}
	})
}
