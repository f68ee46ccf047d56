package linux

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What is here asks the kernel once, for a process that is no daemon. It needs no rights, and changes nothing.

// Look says what interfaces are, in order. virtual tells which addresses are virtual ones, and so no interface's own.
func Look(interfaces []string, virtual func(netip.Addr) bool) ([]Link, error) {
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	defer kernel.close()
	w := &Watcher{kernel: kernel, virtual: virtual}
	w.names.Store(&interfaces)
	links, _, err := w.look()
	return links, err
}

// Foreign lists those of the wants' addresses that are there and that are not set by the daemon with a runtime directory, as
// Addresses.Foreign does.
func Foreign(runtimeDir string, wants ...Want) ([]AddressError, error) {
	held, _, unreadable := newHeldFile(runtimeDir).read() // of a damaged one the daemon tells, which goes by the kernel's tag then, too
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	defer kernel.close()
	a := &Addresses{kernel: kernel, held: newLedger(held)}
	list, err := a.Foreign(wants...)
	if err == nil && len(list) > 0 && unreadable != nil {
		return nil, fmt.Errorf("look which addresses are the daemon's: %w", unreadable) // they may be
	}
	return list, err
}

// Obstacles says of macvlans, in their order, what would keep them from working, or from being made on what this host is now, in the
// words of Macvlans.Ensure. It is nil where nothing would that can be known before; a device of that name may be there already.
func Obstacles(list []Macvlan) ([]error, error) {
	if len(list) == 0 {
		return nil, nil
	}
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	defer kernel.close()
	var links []netlink.Link
	if _, err = untilWhole(func() (err error) { links, err = kernel.handle.LinkList(); return err }); err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	errs := make([]error, len(list))
	for n, m := range list {
		if errs[n] = m.Obstacle(); errs[n] != nil {
			continue
		}
		if err := m.refusal(links); err != nil {
			errs[n] = fmt.Errorf("virtual MAC on %q: %w", m.Parent, macvlanErrors.explain(err))
		}
	}
	return errs, nil
}

// refusal is why the kernel would not make the device, or not switch it on, among the links of the host.
func (m Macvlan) refusal(links []netlink.Link) error {
	find := func(is func(*netlink.LinkAttrs) bool) netlink.Link {
		if at := slices.IndexFunc(links, func(l netlink.Link) bool { return is(l.Attrs()) }); at >= 0 {
			return links[at]
		}
		return nil
	}
	parent := find(func(l *netlink.LinkAttrs) bool { return l.Name == m.Parent })
	if parent == nil || find(func(l *netlink.LinkAttrs) bool { return l.Name == m.Name() }) != nil {
		return nil
	}
	at := parent.Attrs()
	if len(at.HardwareAddr) != 6 || at.Flags&net.FlagLoopback != 0 {
		return errNotEthernet
	}
	// Of all that an interface can be a port of, only a VRF leaves it what comes in.
	master := find(func(l *netlink.LinkAttrs) bool { return at.MasterIndex != 0 && l.Index == at.MasterIndex })
	if master != nil && master.Type() != "vrf" {
		return fmt.Errorf("make %s: %w", m.Name(), unix.EBUSY)
	}
	taken := bytes.Equal(at.HardwareAddr, m.MAC())
	for _, l := range links {
		kind, o := l.Type(), l.Attrs()
		taken = taken || (kind == "macvlan" || kind == "macvtap") && o.ParentIndex == at.Index && o.Flags&net.FlagUp != 0 && bytes.Equal(o.HardwareAddr, m.MAC())
	}
	if taken {
		return fmt.Errorf("switch %s on: %w", m.Name(), unix.EADDRINUSE)
	}
	return nil
}
