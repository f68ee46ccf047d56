package node

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// resolved is what is known of a peer's name.
type resolved struct {
	ips    []netip.Addr // in each family the newest that were found, and can be a host's, be it this one's loopback
	err    error        // why the last look-up may not have found all
	waited time.Time    // when a backup last waited as long again because of it; see becameKnown
}

// unicast says whether the instance speaks with its peers alone.
func (i *Instance) unicast() bool { return len(i.Peers) > 0 }

// sourceOf is the family's configured source; invalid if there is none.
func (i *Instance) sourceOf(f vrrp.Family) netip.Addr {
	for _, ip := range i.Sources {
		if vrrp.FamilyOf(ip) == f {
			return ip
		}
	}
	return netip.Addr{}
}

// unicast is the member's part of a unicast configuration; nil for multicast.
func (m *member) unicast() *vrrp.Unicast {
	if !m.of.cfg.unicast() || m.inGroup() {
		return nil
	}
	u := &vrrp.Unicast{MinTTL: m.of.cfg.MinTTL}
	for _, o := range m.outlets {
		u.Peers = append(u.Peers, o.to)
	}
	return u
}

// aim works out anew where a virtual router's adverts come from and where they go. What did not change is left alone.
func (n *Node) aim(now time.Time, m *member) {
	l := n.links[m.of.cfg.Interface]
	if l != nil {
		// A source that is lost is kept until it is sure that it does not come back; see assessLink.
		if s := n.sourceOn(m, &l.Link); s.IsValid() || !l.Up {
			n.tookSource(m, &l.Link, s)
			m.source = s
			m.machine.Step(now, vrrp.SetSource{Source: s})
		}
	}
	before, waits := m.outlets, n.waits(m)
	m.outlets = nil
	for _, o := range n.destinations(m, l) {
		if k := slices.IndexFunc(before, func(b *outlet) bool { return b.to == o.to }); k >= 0 {
			before[k].name, before[k].former = o.name, false
			o = before[k]
		}
		m.outlets = append(m.outlets, o)
	}
	if waits {
		m.keepFormer(before, l)
	} else {
		m.awaited = nil
	}
	was, is := *m.machine.Config(), m.routerConfig()
	if !m.auth.JudgesAs(&was, &is) {
		m.forgive()
	}
	m.auth.Reconfigure(now, &was, &is)
	n.perform(now, m, m.machine.Step(now, vrrp.Reconfigure{Config: is}))
	n.tellAlone(m, l)
}

// tellAlone tells once of a list without another host in it.
func (n *Node) tellAlone(m *member, l *link) {
	alone := len(m.outlets) == 0
	if alone && (m.alone || l == nil || n.unresolved(m.of) != "") {
		return
	}
	if m.alone = alone; alone {
		n.do(Warned{m.of.cfg.Name, fmt.Sprintf("no other host is known among the peers over %s: the adverts reach nobody", m.family)})
	}
}

// destinations are the group, or the peers without this host.
func (n *Node) destinations(m *member, l *link) []*outlet {
	if !m.of.cfg.unicast() {
		return []*outlet{{to: m.family.Group()}}
	}
	var out []*outlet
	for ip, name := range n.listed(m) {
		if m.isOther(ip, l) && !slices.ContainsFunc(out, func(o *outlet) bool { return o.to == ip }) {
			out = append(out, &outlet{to: ip, name: name})
		}
	}
	return out
}

// listed are the addresses of the peers, this host's own among them but a loopback, each with the name that has it, or none.
func (n *Node) listed(m *member) iter.Seq2[netip.Addr, string] {
	return func(yield func(netip.Addr, string) bool) {
		for _, p := range m.of.cfg.Peers {
			ips := []netip.Addr{p.IP}
			if p.Name != "" {
				ips = nil
				if r := n.names[p.Name]; r != nil {
					ips = r.ips
				}
			}
			for _, ip := range ips {
				if vrrp.FamilyOf(ip) == m.family && !ip.IsLoopback() && !yield(ip, p.Name) {
					return
				}
			}
		}
	}
}

// unresolved is a peer's name of which nothing is known yet; empty: there is none.
func (n *Node) unresolved(i *instance) string {
	for _, p := range i.cfg.Peers {
		if p.Name != "" && n.names[p.Name] == nil {
			return p.Name
		}
	}
	return ""
}

// assessPeers has an instance wait until every name was looked up once: its master may be behind one of them.
func (n *Node) assessPeers(i *instance, s *standing) {
	if name := n.unresolved(i); name != "" && !i.state.takesPart() && s.pending == "" {
		s.pending = fmt.Sprintf("the peer %q is not resolved yet", name)
	}
}

// Keep is where a name leads: to the addresses that were found, and in a family of which none was, to those of before. A name service
// that fails for one family must not take a peer away that is alive, and "there is none" is what it says of a zone that is half loaded.
func Keep(before, found []netip.Addr) []netip.Addr {
	ips := slices.Clone(found)
	for _, ip := range before {
		if !slices.ContainsFunc(found, func(other netip.Addr) bool { return vrrp.FamilyOf(other) == vrrp.FamilyOf(ip) }) {
			ips = append(ips, ip)
		}
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return ips
}

// resolved takes what was found about a peer's name. Addresses that cannot be found any more stay, each family's by themselves.
func (n *Node) resolved(now time.Time, ev Resolved) {
	r := n.names[ev.Name]
	first := r == nil
	if first {
		r = &resolved{}
		n.names[ev.Name] = r
	}
	before, _ := n.hosts(r.ips)
	found, err := n.hosts(ev.Addresses)
	r.ips, r.err = Keep(before, found), cmp.Or(ev.Err, err)
	waited := r.waited
	for _, i := range n.instances {
		if !i.cfg.names(ev.Name) {
			continue
		}
		for _, m := range i.members {
			n.aim(now, m)
			n.tellFormer(m, ev.Name)
		}
		if first && n.unresolved(i) == "" {
			i.doubtPeers()
		}
		if n.isAnother(i, before, r.ips) && n.becameKnown(now, i.fate, r.waited) {
			waited = now
		}
		n.settle(now, i.fate)
		n.plan(i.fate)
	}
	r.waited = waited
}

// isAnother says whether a name leads to an address that it did not lead to before, and that is another host's: this one's own is nobody
// to whom it may have been deaf.
func (n *Node) isAnother(i *instance, before, ips []netip.Addr) bool {
	l := n.links[i.cfg.Interface]
	return slices.ContainsFunc(ips, func(ip netip.Addr) bool {
		return !ip.IsLoopback() && !slices.Contains(before, ip) && !slices.ContainsFunc(i.members, func(m *member) bool { return !m.isOther(ip, l) })
	})
}

// hosts are those of a name's addresses that can be a host's. Debian gives a host's own name a loopback address: that is no
// mistake, and no other host; see listed and problem.
func (n *Node) hosts(found []netip.Addr) (ips []netip.Addr, err error) {
	for _, ip := range found {
		switch {
		case len(n.index.address[ip]) > 0:
			err = fmt.Errorf("%s is a virtual address; a peer is a host", ip)
		case !ip.IsUnspecified() && !ip.IsMulticast():
			ips = append(ips, ip)
		}
	}
	return ips, err
}

// doubtPeers makes an instance wary that knows none of its peers: it hears nothing of one that serves the addresses.
func (i *instance) doubtPeers() {
	if i.alone() && !i.state.takesPart() {
		i.wary.on, i.wary.peerless = true, true
	}
}

// names says whether a name is one of the instance's peers.
func (i *Instance) names(name string) bool {
	return slices.ContainsFunc(i.Peers, func(p Peer) bool { return p.Name == name })
}

// peerStatus lists the other hosts of a unicast instance, and the names that lead to none.
func (n *Node) peerStatus(m *member) []PeerStatus {
	if !m.of.cfg.unicast() {
		return nil
	}
	var out []PeerStatus
	for _, o := range m.outlets {
		if !o.to.IsMulticast() {
			out = append(out, PeerStatus{Name: o.name, Address: o.to, Heard: o.heard, Priority: o.priority, SendError: o.why, Former: o.former})
		}
	}
	for _, p := range m.of.cfg.Peers {
		if problem := n.problem(m, p); problem != "" {
			out = append(out, PeerStatus{Name: p.Name, Problem: problem})
		}
	}
	return out
}

// problem says why a peer's name has no address of a virtual router's family; empty if it has one, or is this host's. One that is known to
// have none is like an address of the other family in peers, if the instance has that one too.
func (n *Node) problem(m *member, p Peer) string {
	r, l := n.names[p.Name], n.links[m.of.cfg.Interface]
	switch {
	case p.Name == "":
		return ""
	case r == nil:
		return "not resolved yet"
	case slices.ContainsFunc(r.ips, func(ip netip.Addr) bool {
		return vrrp.FamilyOf(ip) == m.family || ip.IsLoopback() || !m.isOther(ip, l)
	}):
		return ""
	case r.err != nil:
		return r.err.Error()
	case len(r.ips) > 0 && len(m.of.members) > 1:
		return ""
	default:
		return fmt.Sprintf("it has no %s address", m.family)
	}
}
