package daemon

import (
	"context"
	"net/netip"
	"slices"
	"time"

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

// accept is whose adverts an instance wants in a family. Where a name may not be known yet, or any more, the node knows best with whom
// it still speaks: what it wants to hear now is let through too.
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
	if !slices.ContainsFunc(i.Peers, func(p node.Peer) bool { return p.Name != "" }) {
		return a
	}
	if r := d.router(i, f); r != nil && !r.Unicast {
		a.Unicast, a.Peers = false, nil
	} else if r != nil {
		a.Peers = append(a.Peers, addressesOf(r.Peers)...)
		slices.SortFunc(a.Peers, netip.Addr.Compare)
		a.Peers = slices.Compact(a.Peers)
	}
	return a
}

// router is what is known of an instance's virtual router of a family; nil: it is none yet.
func (d *Daemon) router(i *node.Instance, f vrrp.Family) *node.RouterStatus {
	for _, s := range d.snapshot.Load().Instances {
		if s.Interface != i.Interface || s.VRID != i.VRID {
			continue
		}
		for k := range s.Routers {
			if s.Routers[k].Family == f.String() {
				return &s.Routers[k]
			}
		}
	}
	return nil
}

// leaving is what a virtual router wants to hear that is no longer configured: the node knows over how many routers.
func leaving(vrid uint8, r node.RouterStatus) linux.Accept {
	return linux.Accept{VRID: vrid, Unicast: r.Unicast, Peers: addressesOf(r.Peers)}
}

// addressesOf lists the addresses of the peers that have one.
func addressesOf(peers []node.PeerStatus) (ips []netip.Addr) {
	for _, p := range peers {
		if p.Address.IsValid() {
			ips = append(ips, p.Address)
		}
	}
	return ips
}

// socketsBound is how long a change waits for the sockets. They need milliseconds, unless many macvlans are to be made.
const socketsBound = 5 * time.Second

// openUp has the sockets follow the configuration and the names, and waits until they do: what the node is told only then, it is not
// deaf to. After socketsBound they follow later; it returns an error only if the daemon ends before.
func (d *Daemon) openUp(ctx context.Context) error {
	bound, followed := time.NewTimer(socketsBound), make(chan struct{})
	defer bound.Stop()
	changes := d.changes
	for {
		select {
		case changes <- followed:
			changes = nil
		case <-followed:
			return nil
		case <-bound.C:
			d.log.Warn("the sockets do not follow the configuration yet; it applies all the same", "after", socketsBound)
			return nil
		case <-d.ended:
			return errStopping
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
