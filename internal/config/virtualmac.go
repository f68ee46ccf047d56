package config

import (
	"slices"

	"github.com/understudy-ha/understudy/vrrp"
)

// judgeVirtualMAC refuses what a virtual MAC cannot go with: its adverts must reach every switch, and those over IPv6 come from
// a link-local address of its own.
func (l *loader) judgeVirtualMAC(in *instance) {
	b := in.block
	if !in.VirtualMAC {
		return
	}
	if b.has("peers") {
		l.found.errorf(b.place("mac"), "remove one of the two: only multicast adverts tell the switches where the virtual MAC is", "mac is \"virtual\", and instance %q has peers", in.Name)
	}
	for _, ip := range in.Sources {
		if vrrp.FamilyOf(ip) == vrrp.IPv6 {
			l.found.errorf(b.place("source"), "remove it: with a virtual MAC adverts over IPv6 come from a link-local address of its own", "source is %s, and mac is \"virtual\"", ip)
		}
	}
}

// judgeVirtualMACs refuses an unadvertised address that would have the virtual MAC of another instance: there is one for each
// family, and two instances may share a VRID, one with each.
func (l *loader) judgeVirtualMACs(instances []instance) {
	for _, in := range instances {
		if !in.VirtualMAC || !in.block.usable("unadvertised") {
			continue
		}
		for i, a := range in.Unadvertised {
			f := vrrp.FamilyOf(a.IP)
			if slices.Contains(in.Families(), f) {
				continue
			}
			for _, other := range instances {
				if other.VirtualMAC && other.Interface == in.Interface && other.VRID == in.VRID && slices.Contains(other.Families(), f) {
					l.found.errorf(in.block.element("unadvertised", i), "use another vrid",
						"unadvertised holds %s, whose virtual MAC would be that of instance %q: both have vrid %d on %s", a.IP, other.Name, in.VRID, in.Interface)
				}
			}
		}
	}
}
