package linux

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
)

// MacvlansName is the file in the runtime directory that lists the macvlans, and the settings of their parents before.
const MacvlansName = "macvlans.json"

// What a parent's settings must be at least, so that it neither answers for the addresses on its macvlans (arp_ignore) nor
// asks in their name (arp_announce): each would give clients the parent's MAC address for them. Seen on Linux 6.18: with
// arp_announce 0 and 1 the parent asks for a client that it has lost with the virtual address as the sender, since that is
// the source of the answer which waits.
const (
	parentARPIgnore   = 1
	parentARPAnnounce = 2
)

// macvlanBook is what a daemon has made or changed, or was about to. It is written before the kernel is touched, so that the
// next one can undo it.
type macvlanBook struct {
	BootID  string          `json:"boot_id"`
	Devices []Macvlan       `json:"devices"`
	Parents []macvlanParent `json:"parents"`
	Direct  []int           `json:"direct,omitempty"` // indices of the parents that were told to queue nothing, see hearDirectly
	path    string
	saved   []byte // what the file has, as far as this process knows
	dirty   bool   // it could not be written
}

// macvlanParent is an interface with the settings that it had before.
type macvlanParent struct {
	Name        string `json:"name"`
	Index       int    `json:"index"`
	ARPIgnore   int    `json:"arp_ignore"`
	ARPAnnounce int    `json:"arp_announce"`
}

// openMacvlanBook reads the book. One that is damaged, or from before a reboot, is a new one: our devices have their alias.
func openMacvlanBook(runtimeDir string) (*macvlanBook, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(runtimeDir, MacvlansName)
	raw, err := ReadRegular(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load the list of macvlans: %w", err)
	}
	var b macvlanBook
	if json.Unmarshal(raw, &b) != nil || b.BootID != boot {
		b, raw = macvlanBook{BootID: boot}, nil
	}
	b.saved = raw
	b.path = path
	return &b, nil
}

// save replaces the file in one step, if it has something else.
func (b *macvlanBook) save() error {
	err := b.write()
	b.dirty = err != nil
	return err
}

func (b *macvlanBook) write() error {
	raw, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("write the list of macvlans: %w", err)
	}
	raw = append(raw, '\n')
	if bytes.Equal(raw, b.saved) {
		return nil
	}
	if err := ReplaceFile(b.path, raw, 0o600, false); err != nil {
		return fmt.Errorf("write the list of macvlans: %w", err)
	}
	b.saved = raw
	return nil
}

// clean says whether nothing listed is to go: every device is wanted, and every parent carries one.
func (b *macvlanBook) clean(keep func(name string) bool) bool {
	unwanted := func(m Macvlan) bool { return !keep(m.Name()) }
	idle := func(p macvlanParent) bool { return !b.carries(p.Name) }
	return !slices.ContainsFunc(b.Devices, unwanted) && !slices.ContainsFunc(b.Parents, idle)
}

// carries says whether a device of IPv4 is listed on a parent.
func (b *macvlanBook) carries(parent string) bool {
	return slices.ContainsFunc(b.Devices, func(m Macvlan) bool { return m.Parent == parent && !m.V6 })
}

// add lists a device.
func (b *macvlanBook) add(m Macvlan) error {
	if !slices.Contains(b.Devices, m) {
		b.Devices = slices.DeleteFunc(b.Devices, func(x Macvlan) bool { return x.Name() == m.Name() })
		b.Devices = append(b.Devices, m)
	}
	return b.save() // also where it could not be written before
}

// on counts the devices that are listed on an interface.
func (b *macvlanBook) on(parent string) (count int) {
	for _, m := range b.Devices {
		if m.Parent == parent {
			count++
		}
	}
	return count
}

// has says whether a device of that name is listed.
func (b *macvlanBook) has(name string) bool {
	return slices.ContainsFunc(b.Devices, func(m Macvlan) bool { return m.Name() == name })
}

// Guard gives the parents of IPv4 devices the settings again that something else changed, and returns their names. From devices of IPv6
// that heeded routers, before Ensure undid that, it takes what one gave them.
func (s *Macvlans) Guard() (names []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	looked := map[string]bool{}
	errs := []error{s.forgetRouters()}
	for _, m := range s.book.Devices {
		if m.V6 || looked[m.Parent] {
			continue
		}
		looked[m.Parent] = true
		parent, err := s.kernel.handle.LinkByName(m.Parent)
		if err != nil {
			continue // its own watch tells of that
		}
		changed, err := s.tame(parent.Attrs())
		if changed {
			names = append(names, m.Parent)
		}
		errs = append(errs, err)
	}
	return names, errors.Join(errs...)
}

// tame gives a parent the settings that it needs, and says whether it had others.
func (s *Macvlans) tame(parent *netlink.LinkAttrs) (changed bool, err error) {
	was, err := parentSettings(parent)
	if err != nil {
		return false, err
	}
	conf := map[uint16]uint32{}
	for _, k := range []struct {
		id         uint16
		name       string
		had, least int
	}{{confARPIgnore, "arp_ignore", was.ARPIgnore, parentARPIgnore}, {confARPAnnounce, "arp_announce", was.ARPAnnounce, parentARPAnnounce}} {
		everywhere, err := sysctlNumber("ipv4", "conf", "all", k.name)
		if err != nil {
			return false, err
		}
		if max(everywhere, k.had) < k.least {
			conf[k.id] = uint32(k.least)
		}
	}
	if len(conf) == 0 {
		return false, nil
	}
	if !slices.ContainsFunc(s.book.Parents, func(p macvlanParent) bool { return p.Name == was.Name && p.Index == was.Index }) {
		s.book.Parents = slices.DeleteFunc(s.book.Parents, func(p macvlanParent) bool { return p.Name == was.Name })
		s.book.Parents = append(s.book.Parents, was)
		// A full disk is no reason to leave a service without its address. A daemon that dies meanwhile leaves its devices, which the next
		// one knows by their mark, and a parent with our settings. Keep writes it after all.
		_ = s.book.save()
	}
	if err := s.kernel.setConf(was.Index, conf, false); err != nil {
		return false, fmt.Errorf("set arp_ignore and arp_announce of %q: %w", was.Name, err)
	}
	return true, nil
}

// release gives parents that carry no IPv4 device any more their settings back, unless somebody changed them meanwhile. Those that
// another daemon needs as well wait for the end of its devices, and this daemon's next look.
func (s *Macvlans) release(shared map[int]bool) (errs []error) {
	carries := func(p macvlanParent) bool {
		return shared[p.Index] || s.book.carries(p.Name)
	}
	s.book.Parents = slices.DeleteFunc(s.book.Parents, func(p macvlanParent) bool {
		if carries(p) {
			return false
		}
		if err := s.restore(p); err != nil {
			errs = append(errs, fmt.Errorf("give %q its settings back: %w", p.Name, err))
			return false
		}
		return true
	})
	return errs
}

func (s *Macvlans) restore(p macvlanParent) error {
	link, err := s.kernel.handle.LinkByIndex(p.Index)
	if err != nil || link.Attrs().Name != p.Name {
		return nil // gone, and its settings with it
	}
	now, err := parentSettings(link.Attrs())
	if err != nil {
		return err
	}
	conf := map[uint16]uint32{}
	if now.ARPIgnore == parentARPIgnore {
		conf[confARPIgnore] = uint32(p.ARPIgnore)
	}
	if now.ARPAnnounce == parentARPAnnounce {
		conf[confARPAnnounce] = uint32(p.ARPAnnounce)
	}
	return s.kernel.setConf(p.Index, conf, false)
}

// parentSettings reads the settings of an interface.
func parentSettings(parent *netlink.LinkAttrs) (p macvlanParent, err error) {
	p = macvlanParent{Name: parent.Name, Index: parent.Index}
	if p.ARPIgnore, err = sysctlNumber("ipv4", "conf", p.Name, "arp_ignore"); err != nil {
		return p, err
	}
	p.ARPAnnounce, err = sysctlNumber("ipv4", "conf", p.Name, "arp_announce")
	return p, err
}
