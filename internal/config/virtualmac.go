package config

import (
	"slices"

	"github.com/understudy-ha/understudy/vrrp"
)

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
