package daemon

import (
	"net/netip"
	"slices"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// needs is what the instances of an interface need of it.
type needs struct {
	vrids map[vrrp.Family][]uint8
	ips   []netip.Addr
}

// add takes up one virtual router.
func (n *needs) add(f vrrp.Family, vrid uint8) {
	if !slices.Contains(n.vrids[f], vrid) {
		n.vrids[f] = append(n.vrids[f], vrid)
	}
}

// needsOf collects what an interface is needed for: by the instances that are configured, and by those that no longer are
// but still hand over.
func (d *Daemon) needsOf(ifName string) needs {
	n := needs{vrids: map[vrrp.Family][]uint8{}}
	for _, i := range d.cfg.Load().Instances {
		if i.Interface != ifName {
			continue
		}
		for _, f := range i.Families() {
			n.add(f, i.VRID)
		}
		for _, a := range slices.Concat(i.Addresses, i.Unadvertised) {
			n.ips = append(n.ips, a.IP)
		}
	}
	for _, i := range d.snapshot.Load().Instances {
		if i.Interface != ifName {
			continue
		}
		for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
			if slices.ContainsFunc(i.Routers, func(r node.RouterStatus) bool { return r.Family == f.String() }) {
				n.add(f, i.VRID)
			}
		}
		n.ips = append(n.ips, i.Addresses...)
	}
	slices.SortFunc(n.ips, netip.Addr.Compare)
	n.ips = slices.Compact(n.ips)
	return n
}

// wanted lists the interfaces that needsOf has something for, each once.
func (d *Daemon) wanted() []string {
	var names []string
	for _, i := range d.cfg.Load().Instances {
		names = append(names, i.Interface)
	}
	for _, i := range d.snapshot.Load().Instances {
		names = append(names, i.Interface)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
