package linux

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is what an interface is at one moment.
type Link struct {
	Name   string
	Index  int // 0 while it does not exist
	Exists bool
	Up     bool   // enabled, with a carrier: packets may pass
	Reason string // why it is not up, with what to do
	MAC    string // empty for one without Ethernet address
	MTU    int
	// Source4 and Source6 are where adverts come from: the interface's first own IPv4 address and its first own
	// link-local address that is ready for use. Invalid where there is none. Virtual addresses do not count.
	Source4, Source6 netip.Addr
	// Own are all of the interface's own addresses that packets can be sent from: those that last first, else in the kernel's order.
	Own []netip.Addr
	// Swallowers are the macvlans on it that keep it from hearing a virtual router's master.
	Swallowers []Swallower
}

// equal says whether two looks at an interface saw the same.
func (l Link) equal(other Link) bool {
	own := slices.Equal(l.Own, other.Own)
	l.Own, other.Own = nil, nil
	return own && reflect.DeepEqual(l, other)
}

// link asks the kernel for the interface's state; own lists the addresses of the host.
func (r *rtnetlink) link(name string, own []address, virtual func(netip.Addr) bool) (Link, error) {
	found, err := r.handle.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return Link{Name: name, Reason: fmt.Sprintf("interface %q does not exist", name)}, nil
	}
	if err != nil {
		return Link{}, fmt.Errorf("look up interface %q: %w", name, err)
	}
	at := found.Attrs()
	l := Link{Name: name, Index: at.Index, Exists: true, MAC: at.HardwareAddr.String(), MTU: at.MTU}
	l.Reason = unusable(name, at.RawFlags)
	l.Up = l.Reason == ""
	l.Source4, l.Source6, l.Own = sources(own, at.Index, virtual)
	return l, nil
}

// unusable says why an interface with these flags passes no packets; empty if it does.
func unusable(name string, flags uint32) string {
	switch {
	case flags&unix.IFF_UP == 0:
		return fmt.Sprintf("interface %q is down (ip link set %s up)", name, name)
	case flags&unix.IFF_LOWER_UP == 0:
		return fmt.Sprintf("interface %q has no carrier (cable, switch port, or the link below it)", name)
	case flags&unix.IFF_RUNNING == 0:
		return fmt.Sprintf("interface %q has a carrier but does not run yet (802.1X, or the link below it)", name)
	}
	return ""
}

// fleeting is how little an IPv6 address lasts: what a person set, what a router advertised, what changes for privacy's sake.
func (a address) fleeting() int {
	switch {
	case a.prefix.Addr().Is4(): // SECONDARY is the same bit, and a lease is no other host's to give
		return 0
	case a.flags&unix.IFA_F_TEMPORARY != 0:
		return 2
	case a.flags&unix.IFA_F_PERMANENT == 0:
		return 1
	}
	return 0
}

// sources picks the addresses that adverts come from on the interface with this index.
func sources(own []address, index int, virtual func(netip.Addr) bool) (source4, source6 netip.Addr, all []netip.Addr) {
	own = slices.Clone(own)
	slices.SortStableFunc(own, func(a, b address) int { return cmp.Compare(a.fleeting(), b.fleeting()) })
	for _, a := range own {
		ip := a.prefix.Addr()
		if a.index != index || a.protocol == protocolTag || virtual(ip) {
			continue
		}
		// The kernel refuses to send from an address that duplicate address detection has not passed.
		if a.scope >= unix.RT_SCOPE_HOST || a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			continue
		}
		all = append(all, ip)
		switch {
		case ip.Is4() && !source4.IsValid() && a.flags&unix.IFA_F_SECONDARY == 0:
			source4 = ip
		case ip.IsLinkLocalUnicast() && ip.Is6() && !source6.IsValid():
			source6 = ip
		}
	}
	return source4, source6, all
}
