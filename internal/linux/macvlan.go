package linux

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// maxLinkName is IFNAMSIZ without its zero byte.
	maxLinkName = 15
	// sourceBound is how long the kernel may take until a new link-local address can be sent from; sourcePoll is how often
	// it is asked.
	sourceBound = 250 * time.Millisecond
	sourcePoll  = time.Millisecond
	// mtuWithoutIPv6 is one less than IPv6 needs (RFC 8200 section 5): a link with it has no IPv6. Nothing but ARP and adverts
	// of IPv4 leaves through a macvlan, and what comes in is not measured by it.
	mtuWithoutIPv6 = 1279
)

// Macvlan is the device of one virtual router: it has the virtual MAC address on top of an interface. The virtual addresses
// are set on it, and adverts and announcements leave through it; everything else of the host, the answers to clients too,
// goes through the interface itself.
//
// It is there as long as the instance takes part, as backup too, since making one takes time and needs the lock over all
// interfaces. While it has no address it is mute (see dropEgress): a frame from it would take the switch's port away from the
// master; and deaf (see dropIngress): what is for the virtual MAC is the master's.
type Macvlan struct {
	Parent string `json:"parent"`
	VRID   uint8  `json:"vrid"`
	V6     bool   `json:"v6"`
	Owner  string `json:"owner"` // the instance, for whoever reads the alias
}

// family is 4 or 6.
func (m Macvlan) family() int {
	if m.V6 {
		return 6
	}
	return 4
}

// Name is the device's name: us4-71-eth0. Of an interface whose name does not fit there is a hash instead.
func (m Macvlan) Name() string {
	prefix := fmt.Sprintf("us%d-%d-", m.family(), m.VRID)
	if len(prefix)+len(m.Parent) <= maxLinkName {
		return prefix + m.Parent
	}
	h := fnv.New32a()
	h.Write([]byte(m.Parent))
	return fmt.Sprintf("%s%07x", prefix, h.Sum32()>>4)
}

// MAC is the virtual router's MAC address (RFC 9568 section 7.3).
func (m Macvlan) MAC() net.HardwareAddr {
	family := byte(1)
	if m.V6 {
		family = 2
	}
	return net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, family, m.VRID}
}

// Source6 is the device's link-local address: stable on one host, and another one on each, since the MAC address of the
// interface goes into it (RFC 7217 in spirit). One made of the virtual MAC would be the same on all of them, and equal
// priorities could never be told apart.
func (m Macvlan) Source6(parent net.HardwareAddr) netip.Addr {
	h := fnv.New64a()
	h.Write([]byte("understudy"))
	h.Write(parent)
	h.Write([]byte{m.VRID})
	return netip.AddrFrom16([16]byte(append([]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0}, h.Sum(nil)...)))
}

// MacvlanState is a macvlan that is ready for use.
type MacvlanState struct {
	Index int
	// Source6 is the link-local address that IPv6 adverts come from.
	Source6 netip.Addr
	// Made says that it was missing, or not as it should be, and was made.
	Made bool
}

// Macvlans makes and removes macvlans. It may be used by several goroutines.
type Macvlans struct {
	mu     sync.Mutex // guards what follows, and keeps two goroutines from making one device
	kernel *rtnetlink
	book   *macvlanBook
	mark   string               // this daemon's, in the aliases
	heeded map[int]netlink.Link // by index: may still have what a router gave them, see forgetRouters
	direct map[int]bool         // by index: see hearDirectly

	modes modes      // has its own lock
	whole sync.Mutex // held while a device has its name and is not mute and deaf yet
}

func openMacvlans(runtimeDir string) (*Macvlans, error) {
	book, err := openMacvlanBook(runtimeDir)
	if err != nil {
		return nil, err
	}
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	_ = kernel.handle.SetStrictCheck(true) // lists of one interface's routes cost no copy of all; a kernel before 4.20 gives all
	s := &Macvlans{kernel: kernel, book: book, mark: markOf(runtimeDir), heeded: map[int]netlink.Link{}, direct: map[int]bool{}}
	s.modes.count(book)
	return s, nil
}

func (s *Macvlans) close() { s.kernel.close() }

// Ensure makes the device, or brings one that is there to what it should be. Calling it again costs a few looks.
func (s *Macvlans) Ensure(m Macvlan) (MacvlanState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := m.Obstacle(); err != nil {
		return MacvlanState{}, err
	}
	state, err := s.ensure(m)
	if err != nil {
		return MacvlanState{}, fmt.Errorf("virtual MAC on %q: %w", m.Parent, macvlanErrors.explain(err))
	}
	return state, nil
}

func (s *Macvlans) ensure(m Macvlan) (MacvlanState, error) {
	parent, err := s.kernel.handle.LinkByName(m.Parent)
	if err != nil {
		return MacvlanState{}, fmt.Errorf("look up the interface: %w", err)
	}
	if len(parent.Attrs().HardwareAddr) != 6 || parent.Attrs().Flags&net.FlagLoopback != 0 {
		return MacvlanState{}, errNotEthernet
	}
	if !m.V6 {
		// Before the device can have an address: the parent would answer for it.
		if _, err := s.tame(parent.Attrs()); err != nil {
			return MacvlanState{}, err
		}
	}
	found, err := s.find(m, parent.Attrs().Index)
	if err != nil {
		return MacvlanState{}, err
	}
	state := MacvlanState{Made: found == nil}
	if found == nil {
		if found, err = s.make(m, parent.Attrs()); err != nil {
			return MacvlanState{}, err
		}
	} else {
		_ = s.book.add(m) // what is not listed would stay when it is not needed any more; Keep writes it after all
		s.modes.count(s.book)
	}
	state.Index = found.Attrs().Index
	s.hearDirectly(m, state.Index, parent.Attrs().Index)
	if found.Attrs().Flags&net.FlagUp == 0 {
		state.Made = true
		if err := s.kernel.handle.LinkSetUp(found); err != nil {
			return MacvlanState{}, fmt.Errorf("switch %s on: %w", m.Name(), err)
		}
	}
	if m.V6 {
		state.Source6 = m.Source6(parent.Attrs().HardwareAddr)
		err = s.giveSource(m, state.Index, state.Source6)
	}
	return state, err
}

// find returns the device if it is there as it should be, and removes one of ours that is not.
func (s *Macvlans) find(m Macvlan, parent int) (netlink.Link, error) {
	link, err := s.kernel.handle.LinkByName(m.Name())
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", m.Name(), err)
	}
	at := link.Attrs()
	// One that names no daemon is ours too if it has the name that we need: a release made it that did not know several.
	understudy, others := aliasOwner(at.Alias, s.mark)
	switch {
	case others:
		return nil, fmt.Errorf("another understudy of this host has %s, for the same VRID: one that runs, or died, with another --runtime-dir; "+
			"give one of them another VRID, or run understudy cleanup with that directory", m.Name())
	case !understudy && !s.ours(link):
		return nil, fmt.Errorf("the name %s is taken by an interface that is not ours: rename or remove it", m.Name())
	}
	v, ok := link.(*netlink.Macvlan)
	fits := ok && understudy && at.ParentIndex == parent && slices.Equal(at.HardwareAddr, m.MAC())
	if fits {
		if fits, err = s.hasMode(v); err != nil {
			return nil, err
		}
	}
	if fits {
		if at.Alias == m.alias(s.mark) && m.Settled() {
			return link, nil
		}
		// A sysctl has come over it, its instance has another name now, or its maker knew no marks.
		if m.V6 {
			s.heeded[at.Index] = link
		}
		// Where a sysctl cannot be undone, a new device may do: it has the settings for new interfaces.
		if err := s.settle(m, link); !unwritable(err) {
			return link, err
		}
	}
	// One without a name was never whole: its maker died, or became another program.
	if err := s.kernel.handle.LinkDel(link); err != nil {
		return nil, fmt.Errorf("remove what %s was before: %w", m.Name(), err)
	}
	return nil, nil
}

// make makes the device, mute, deaf and off. It gets its name in the alias last: what has that is all of this.
func (s *Macvlans) make(m Macvlan, parent *netlink.LinkAttrs) (netlink.Link, error) {
	_ = s.book.add(m) // see tame
	s.modes.count(s.book)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = m.Name(), parent.Index, m.MAC()
	if !m.V6 {
		attrs.MTU = min(parent.MTU, mtuWithoutIPv6)
	}
	s.whole.Lock()
	defer s.whole.Unlock()
	if err := s.kernel.handle.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_VEPA}); err != nil {
		return nil, fmt.Errorf("make %s: %w", m.Name(), err)
	}
	link, err := s.kernel.handle.LinkByName(m.Name())
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", m.Name(), err)
	}
	s.modes.note(link.Attrs().Index, nl.MACVLAN_MODE_VEPA)
	err = s.kernel.dropEgress(link.Attrs().Index)
	if err == nil {
		err = s.dropIngressIfNeeded(m, link.Attrs().Index)
	}
	if err == nil {
		err = s.settle(m, link)
	}
	if err != nil {
		return nil, errors.Join(err, s.kernel.handle.LinkDel(link))
	}
	return link, nil
}

// Settled says whether the kernel's settings still let the device answer and receive: of it, of its parent, and of all interfaces.
func (m Macvlan) Settled() bool {
	if m.Obstacle() != nil {
		return false
	}
	if m.V6 {
		return m.settled6() // it answers no ARP
	}
	for name, want := range map[string]int{"rp_filter": 0, "arp_filter": 0, "arp_ignore": 1} {
		if v, err := sysctlNumber("ipv4", "conf", m.Name(), name); err == nil && v != want {
			return false
		}
	}
	return true
}

// settle gives the device its settings. arp_ignore keeps it from answering for the addresses of other interfaces: 1, or 8 for
// none at all.
func (s *Macvlans) settle(m Macvlan, link netlink.Link) error {
	conf := map[uint16]uint32{confRPFilter: 0, confARPFilter: 0, confARPIgnore: 1, confARPNotify: 0, confProxyARP: 0}
	if m.V6 {
		conf[confARPIgnore] = 8
	}
	if err := s.kernel.setConf(link.Attrs().Index, conf, m.V6); err != nil {
		return fmt.Errorf("set up %s: %w", m.Name(), err)
	}
	if m.V6 {
		if err := m.settle6(); err != nil {
			return err
		}
	}
	if err := s.kernel.handle.LinkSetAlias(link, m.alias(s.mark)); err != nil {
		return fmt.Errorf("mark %s: %w", m.Name(), err)
	}
	return nil
}

// giveSource sets the device's link-local address, takes an earlier one away, and waits until it can be sent from.
func (s *Macvlans) giveSource(m Macvlan, index int, source netip.Addr) error {
	for deadline := time.Now().Add(sourceBound); ; time.Sleep(sourcePoll) {
		list, err := s.kernel.addresses()
		if err != nil {
			return err
		}
		there := false
		for _, a := range list {
			switch ip := a.prefix.Addr(); {
			case a.index != index || !ip.IsLinkLocalUnicast() || a.host(): // one that is alone in its network is a virtual one
			case ip != source:
				// The parent has another MAC address now.
				if err := s.kernel.sourceAddr(s.kernel.handle.AddrDel, m, ip); err != nil {
					return err
				}
			case a.flags&unix.IFA_F_TENTATIVE == 0:
				return nil
			default:
				there = true
			}
		}
		if !there {
			if err := s.kernel.sourceAddr(s.kernel.handle.AddrReplace, m, source); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s cannot be sent from, %s after it was set on %s", source, sourceBound, m.Name())
		}
	}
}

// sourceAddr sets or removes a link-local address of the device. Duplicate address detection would ask from the virtual MAC,
// which is not this host's alone.
func (r *rtnetlink) sourceAddr(change func(netlink.Link, *netlink.Addr) error, m Macvlan, ip netip.Addr) error {
	link, err := r.handle.LinkByName(m.Name())
	if err == nil {
		err = change(link, &netlink.Addr{
			IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD, Scope: int(netlink.SCOPE_LINK),
		})
	}
	if errors.Is(err, unix.EACCES) {
		return fmt.Errorf("IPv6 was switched off on %s just now (disable_ipv6): %w", m.Name(), err)
	}
	if err != nil {
		return fmt.Errorf("change %s on %s: %w", ip, m.Name(), err)
	}
	return nil
}

// Keep removes our devices, but not those that keep wants kept, and gives parents without one their settings back. It returns
// the names of what it removed. It asks the kernel only where something in the book has to go. An error may also say that the book could
// not be written, now or before.
func (s *Macvlans) Keep(keep func(name string) bool) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.book.clean(keep) {
		if s.book.dirty {
			return nil, s.book.save()
		}
		return nil, nil
	}
	removed, err := s.keep(keep, false)
	return removed, errors.Join(err, s.book.save())
}

// sweep is Keep for what a dead process left, also where its book was lost; all: whichever daemon's it is. A book that cannot be written is
// no error: a daemon starts without it.
func (s *Macvlans) sweep(keep func(name string) bool, all bool) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keep(keep, all)
}

func (s *Macvlans) keep(keep func(name string) bool, all bool) (removed []string, err error) {
	var links []netlink.Link
	whole, err := untilWhole(func() (err error) { links, err = s.kernel.handle.LinkList(); return err })
	if err == nil && !whole {
		err = nl.ErrDumpInterrupted // what is missing in it may be there
	}
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	stays, shared, inUse, remain := map[string]bool{}, map[int]bool{}, map[int]bool{}, map[int]int{}
	var doomed []netlink.Link
	for _, link := range links {
		understudy, _ := aliasOwner(link.Attrs().Alias, s.mark)
		switch name := link.Attrs().Name; {
		case !s.ours(link) && !(all && understudy):
			if understudy {
				shared[link.Attrs().ParentIndex], inUse[link.Attrs().ParentIndex] = true, true
			}
		case keep(name):
			stays[name], inUse[link.Attrs().ParentIndex], remain[link.Attrs().ParentIndex] = true, true, link.Attrs().Index
		default:
			// A dead master's is not mute: what the kernel says for it when it goes would send the switches here.
			_ = s.kernel.dropEgress(link.Attrs().Index)
			s.modes.forget(link.Attrs().Index)
			doomed = append(doomed, link)
		}
	}
	s.queueAgain(doomed, links, inUse, remain)
	together := len(doomed) > 1 && s.kernel.deleteTogether(doomed, links) == nil
	for _, link := range doomed {
		name := link.Attrs().Name
		if !together {
			if err := s.kernel.handle.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				errs = append(errs, fmt.Errorf("remove %s: %w", name, netlinkErrors.explain(err)))
				stays[name] = true
				continue
			}
		}
		removed = append(removed, name)
	}
	s.book.Devices = slices.DeleteFunc(s.book.Devices, func(m Macvlan) bool { return !stays[m.Name()] })
	s.modes.count(s.book)
	errs = append(errs, s.release(shared)...)
	_ = s.book.save()
	return removed, errors.Join(errs...)
}

// macvlanErrors are those of making one.
var macvlanErrors = explanations{
	{unix.EBUSY, "the interface is a port of a bridge or a bond: name the bridge or the bond instead"},
	{unix.EADDRINUSE, "another macvlan on it has this MAC address: does keepalived or FRR run here with the same VRID?"},
	{unix.EOPNOTSUPP, "this kernel has no macvlan (CONFIG_MACVLAN), or the interface cannot carry one"},
	{unix.EPERM, "CAP_NET_ADMIN is needed"},
	{unix.EINVAL, "this kind of interface carries no macvlan"},
}

// remedy is an error that says how to change a kernel setting that is not this program's to change.
func remedy(key string, value int) error {
	return errors.New(SysctlRemedy(fmt.Sprintf("%s = %d", key, value)))
}

// Obstacle looks for settings of the parent, or for all interfaces, that keep a virtual MAC from working.
func (m Macvlan) Obstacle() error {
	if m.V6 {
		return m.obstacle6()
	}
	for _, o := range []struct {
		name string
		bad  func(int) bool
		want int
		what string
	}{
		{"rp_filter", func(v int) bool { return v == 1 }, 2, "(strict) drops what comes in for a virtual MAC, since the way back is another"},
		{"arp_filter", func(v int) bool { return v != 0 }, 0, "keeps a virtual MAC from answering ARP, since the way back is another"},
		{"arp_ignore", func(v int) bool { return v > 1 }, 1, "keeps a virtual MAC from answering ARP"},
	} {
		v, err := sysctlNumber("ipv4", "conf", "all", o.name)
		if key := "net.ipv4.conf.all." + o.name; err == nil && o.bad(v) {
			err = fmt.Errorf("%s = %d %s: %w", key, v, o.what, remedy(key, o.want))
		}
		if err != nil {
			return fmt.Errorf("virtual MAC on %q: %w", m.Parent, err)
		}
	}
	return nil
}
