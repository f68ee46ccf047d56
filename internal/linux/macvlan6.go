package linux

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// IPv6 takes the settings of an interface by /proc/sys only.

// obstacle6 looks whether the parent has IPv6: without it, it hears no advert over IPv6, and the device would be master beside another.
func (m Macvlan) obstacle6() error {
	off, err := sysctl("ipv6", "conf", m.Parent, "disable_ipv6")
	if err != nil || !off {
		return nil // one without this setting does not exist, or its kernel has no IPv6: both are told elsewhere
	}
	return fmt.Errorf("virtual MAC on %q: IPv6 is off on it, and the adverts of the other hosts come in there: %w", m.Parent, remedy(confKey6(m.Parent, "disable_ipv6"), 0))
}

// confKey6 is the name of a setting of an interface as sysctl.d wants it: a dot in the interface's name is a slash there.
func confKey6(ifName, setting string) string {
	return "net.ipv6.conf." + strings.ReplaceAll(ifName, ".", "/") + "." + setting
}

// settled6 says whether the device still speaks IPv6, and heeds no router.
func (m Macvlan) settled6() bool {
	off, err := sysctl("ipv6", "conf", m.Name(), "disable_ipv6")
	if err != nil {
		return true // the device is gone, which is noticed otherwise
	}
	heeds, err := heedsRouters(m.Name())
	return !off && !heeds && err == nil
}

// heedsRouters says whether router advertisements would give a device addresses and routes.
func heedsRouters(name string) (bool, error) {
	accepts, err := sysctlNumber("ipv6", "conf", name, "accept_ra")
	if err != nil {
		return false, err
	}
	forwards, err := sysctl("ipv6", "conf", name, "forwarding")
	if err != nil {
		return false, err
	}
	if forwards {
		return accepts == 2, nil
	}
	return accepts != 0, nil
}

// settle6 has the device speak IPv6 and heed no router.
func (m Macvlan) settle6() error {
	name := m.Name()
	if err := deafToRouters(name); err != nil {
		return err
	}
	if off, err := sysctl("ipv6", "conf", name, "disable_ipv6"); err == nil && off {
		if err := writeSysctl("0", "ipv6", "conf", name, "disable_ipv6"); err != nil {
			return fmt.Errorf("IPv6 is off on %s, and cannot be switched on (%w): make /proc/sys writable, or %w",
				name, err, remedy("net.ipv6.conf.default.disable_ipv6", 0))
		}
	}
	return nil
}

// unwritable says whether an error is that of a sysctl which is not this process's to write, as in a container.
func unwritable(err error) bool {
	_, file := errors.AsType[*os.PathError](err)
	return file && (errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS))
}

// deafToRouters keeps the device from heeding router advertisements, which would give the host addresses and a default route
// through it. Where /proc/sys cannot be written it may be so already.
func deafToRouters(name string) error {
	wrong := writeSysctl("0", "ipv6", "conf", name, "accept_ra")
	if errors.Is(wrong, os.ErrNotExist) {
		return fmt.Errorf("this kernel has no IPv6: %w", wrong)
	}
	if wrong == nil {
		return nil
	}
	if heeds, err := heedsRouters(name); err != nil || !heeds {
		return err
	}
	return fmt.Errorf("router advertisements would give %s addresses and a route, and it cannot be told otherwise (%w): make /proc/sys writable, or %w",
		name, wrong, remedy("net.ipv6.conf.default.accept_ra", 0))
}

// forgetRouters takes from the devices that heeded routers what one gave them. One where that fails works all the same: it is tried again with
// the next call, and so are those after it, since a kernel that is late would be late for each.
func (s *Macvlans) forgetRouters() error {
	for index, link := range s.heeded {
		if err := s.kernel.forgetRouters(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
		delete(s.heeded, index)
	}
	return nil
}

// forgetRouters takes from a device the addresses and routes that a router's advertisement gave it: the host's own connections would go
// out from the virtual MAC. Ours are alone in their network, or link-local.
func (r *rtnetlink) forgetRouters(link netlink.Link) error {
	at := link.Attrs()
	list, err := r.addresses()
	if err != nil {
		return err
	}
	for _, a := range list {
		ip := a.prefix.Addr()
		if a.index != at.Index || !ip.Is6() || ip.IsLinkLocalUnicast() || a.host() || a.flags&unix.IFA_F_PERMANENT != 0 {
			continue
		}
		err := r.handle.AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(a.prefix.Bits(), 128)}})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) { // a temporary one goes with that which it was made from
			return fmt.Errorf("take %s from %s, which a router gave it: %w", ip, at.Name, err)
		}
	}
	var gifts []netlink.Route // one can be in it twice
	_, err = untilWhole(func() error {
		return r.handle.RouteListFilteredIter(unix.AF_INET6, &netlink.Route{LinkIndex: at.Index}, netlink.RT_FILTER_OIF, func(x netlink.Route) bool {
			if routersGift(x) {
				gifts = append(gifts, x)
			}
			return true
		})
	})
	if err != nil {
		return fmt.Errorf("list routes of %s: %w", at.Name, err)
	}
	for _, route := range gifts {
		if err := r.handle.RouteDel(&route); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("take the route to %s from %s, which a router gave it: %w", route.Dst, at.Name, err)
		}
	}
	return nil
}

// routersGift tells a route that a router's advertisement gave. The kernel marks the one to a prefix as its own; by itself it makes none
// on the device but the one to what is link-local.
func routersGift(x netlink.Route) bool {
	return x.Protocol == unix.RTPROT_RA || x.Protocol == unix.RTPROT_KERNEL && x.Dst != nil && x.Dst.IP.IsGlobalUnicast()
}
