package linux

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// HeldName is the file in the runtime directory that lists the addresses that this daemon may have set.
const HeldName = "held.json"

// Held is one address that a daemon of this host has set, or was about to.
type Held struct {
	Owner     string       `json:"owner"` // the instance; empty for an address that only the kernel's tag shows to be ours
	Interface string       `json:"interface"`
	Index     int          `json:"index"` // of the interface, when it was set
	IP        netip.Addr   `json:"ip"`
	Network   netip.Prefix `json:"network,omitzero"` // the connected route that goes with it; invalid: none
	// Parent is the interface under a macvlan, and ParentIndex its index; zero for an address that is on the interface itself.
	Parent      string `json:"parent,omitzero"`
	ParentIndex int    `json:"parent_index,omitzero"`
}

// Base is the interface that the address belongs to: the one that it is on, or the one under that.
func (h Held) Base() string { return cmp.Or(h.Parent, h.Interface) }

// place is where an address is.
type place struct {
	index int
	ip    netip.Addr
}

func (h Held) at() place { return place{h.Index, h.IP} }

// route is the connected route that goes with the address.
func (h Held) route() connected { return connected{cmp.Or(h.ParentIndex, h.Index), h.Network.Masked()} }

// heldFile is held.json. It is written before an address is added, so that a daemon that dies between the two leaves
// no address that nobody knows.
type heldFile struct {
	path string
}

func newHeldFile(dir string) *heldFile { return &heldFile{path: filepath.Join(dir, HeldName)} }

// heldContent is what the file holds. What was written before a reboot says nothing about the addresses of today.
type heldContent struct {
	BootID    string `json:"boot_id"`
	Addresses []Held `json:"addresses"`
}

// load reads the file. A file that is damaged is moved aside, and the notice says so beside an empty list: it can only
// come from a crash of the host, after which the kernel holds nothing of ours, or from another hand.
func (f *heldFile) load() (list []Held, notice, err error) {
	list, damage, err := f.read()
	if damage != nil {
		aside := f.path + ".damaged"
		if err := os.Rename(f.path, aside); err != nil {
			return nil, nil, err
		}
		return nil, fmt.Errorf("%s was damaged (%w) and is now %s: look for addresses that an earlier daemon left", f.path, damage, aside), nil
	}
	return list, nil, err
}

// read reads the file and leaves it as it is.
func (f *heldFile) read() (list []Held, damage, err error) {
	b, err := ReadRegular(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var content heldContent
	if err := json.Unmarshal(b, &content); err != nil {
		return nil, err, nil
	}
	boot, err := bootID()
	if err != nil {
		return nil, nil, err
	}
	if content.BootID != boot {
		return nil, nil, nil
	}
	return content.Addresses, nil, nil
}

// save writes the list, if it changed since it was loaded or saved. The new file takes the old one's place in one step;
// nothing is forced to the disk, since the list matters only as long as this kernel runs.
func (f *heldFile) save(l *ledger) error {
	if !l.changed {
		return nil
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	if err := ReplaceFile(f.path, l.encode(boot), 0o600, false); err != nil {
		return err
	}
	l.changed = false
	return nil
}

// bootID names this run of the kernel, which is one for the life of a process.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})
