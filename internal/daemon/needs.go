package daemon

import (
	"net/netip"
	"slices"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// needs is what the instances of an interface need of it.
type needs struct {
	accepts map[vrrp.Family][]linux.Accept
	ips     []netip.Addr
}

// add takes up one virtual router.
func (n *needs) add(f vrrp.Family, a linux.Accept) {
	if !slices.ContainsFunc(n.accepts[f], func(b linux.Accept) bool { return b.VRID == a.VRID }) {
		n.accepts[f] = append(n.accepts[f], a)
	}
}

// needsOf collects what an interface is needed for: by the instances that are configured, and by those that no longer are
// but still hand over.
func (d *Daemon) needsOf(ifName string) needs {
	n := needs{accepts: map[vrrp.Family][]linux.Accept{}}
	for _, i := range d.cfg.Load().Instances {
		if i.Interface != ifName {
			continue
		}
		for _, f := range i.Families() {
			n.add(f, d.accept(&i, f))
		}
		for _, a := range slices.Concat(i.Addresses, i.Unadvertised) {
			n.ips = append(n.ips, a.IP)
		}
	}
	for _, i := range d.snapshot.Load().Instances {
		if i.Interface != ifName {
			continue
		}
		for _, r := range i.Routers {
			f := vrrp.IPv4
			if r.Family == vrrp.IPv6.String() {
				f = vrrp.IPv6
			}
			n.add(f, leaving(i.VRID, r))
		}
		n.ips = append(n.ips, i.Addresses...)
	}
	slices.SortFunc(n.ips, netip.Addr.Compare)
	n.ips = slices.Compact(n.ips)
	return n
}

// accept is whose adverts an instance wants in a family.
func (d *Daemon) accept(i *node.Instance, f vrrp.Family) linux.Accept {
	a := linux.Accept{
		VRID: i.VRID, Version: uint8(i.Version), Unicast: len(i.Peers) > 0, MinTTL: i.MinTTL,
		Signed: i.Auth != nil && i.Auth.Mode == vrrp.Enforce && i.Auth.Password.Empty(),
	}
	for _, p := range i.Peers {
		ips := []netip.Addr{p.IP}
		if p.Name != "" {
			ips = d.found(p.Name)
		}
		for _, ip := range ips {
			if vrrp.FamilyOf(ip) == f {
				a.Peers = append(a.Peers, ip)
			}
		}
	}
	return a
}

// leaving is what a virtual router wants to hear that is no longer configured: the node knows over how many routers.
func leaving(vrid uint8, r node.RouterStatus) linux.Accept {
	a := linux.Accept{VRID: vrid, Unicast: len(r.Peers) > 0}
	for _, p := range r.Peers {
		if p.Address.IsValid() {
			a.Peers = append(a.Peers, p.Address)
		}
	}
	return a
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
