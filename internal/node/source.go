package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Peers know a host by the address that its adverts come from, and refuse another one. Which addresses an interface has, and in what order,
// is for everybody on an IPv6 link to change: a router advertisement gives all hosts one more, and the kernel lists that first. So where
// the configuration does not say it, the address by which the peers know this host stays the source as long as the interface has it, and is
// it again when it comes back. What a booting host has first need not be that address: one that adverts left from is, or came to.

// sitePrefix is what addresses of one link have in common, in bits, as far as SLAAC makes them.
const sitePrefix = 64

// sourceOn is the address of an interface that the member's adverts come from; invalid if there is none.
func (n *Node) sourceOn(m *member, l *Link) netip.Addr {
	if s, ok := m.virtualSource(l); ok {
		return s
	}
	if s := m.of.cfg.sourceOf(m.family); s.IsValid() {
		if l.owns(s) {
			return s
		}
		return netip.Addr{}
	}
	switch {
	case !m.of.cfg.unicast():
		return l.source(m.family)
	case l.owns(m.source) && n.waits(m):
		return m.source // the former peers know this host by it
	}
	if s := n.ownPeer(m, l); s.IsValid() {
		return s
	}
	if n.missesOwnPeer(m) {
		return netip.Addr{}
	}
	fit := n.fitting(m, l)
	for _, s := range []netip.Addr{m.known, m.source} {
		if m.known.IsValid() && slices.Contains(fit, s) {
			return s
		}
	}
	return n.nearest(m, fit)
}

// ownPeer is the address of this interface that is among the peers: the one of before, if there are several.
func (n *Node) ownPeer(m *member, l *Link) (own netip.Addr) {
	for ip := range n.listed(m) {
		if l.owns(ip) && (ip == m.known || !own.IsValid()) {
			own = ip
		}
	}
	return own
}

// missesOwnPeer says that the peers know this host by an address that it has lost: from another one both hosts would be master.
func (n *Node) missesOwnPeer(m *member) bool {
	for ip := range n.listed(m) {
		if m.listed && ip == m.known {
			return true
		}
	}
	return false
}

// fitting are the interface's own addresses that reach the peers, best first: a link-local one is of no use to a peer that is further away.
func (n *Node) fitting(m *member, l *Link) (fit []netip.Addr) {
	afar := false
	for ip := range n.listed(m) {
		afar = !ip.IsLinkLocalUnicast()
		break
	}
	first := l.source(m.family)
	for _, ip := range append([]netip.Addr{first}, l.Own...) {
		reaches := ip.IsLinkLocalUnicast() != afar || m.family == vrrp.IPv4 && !afar
		if ip.IsValid() && vrrp.FamilyOf(ip) == m.family && reaches && !slices.Contains(fit, ip) {
			fit = append(fit, ip)
		}
	}
	if len(fit) == 0 && first.IsValid() {
		fit = []netip.Addr{first}
	}
	return fit
}

// nearest is the one on the link of a peer, else the first. Of IPv4 it is the first: no router adds others.
func (n *Node) nearest(m *member, fit []netip.Addr) (best netip.Addr) {
	most := -1
	for _, ip := range fit {
		bits := 0
		for peer := range n.listed(m) {
			if m.family == vrrp.IPv6 {
				bits = max(bits, common(ip, peer))
			}
		}
		if bits > most {
			best, most = ip, bits
		}
	}
	return best
}

// common is how many of the first bits two IPv6 addresses share, up to a link's.
func common(a, b netip.Addr) int {
	for bits := sitePrefix; bits > 0; bits-- {
		if p, err := a.Prefix(bits); err == nil && p.Contains(b) {
			return bits
		}
	}
	return 0
}

// chooses says whether nothing but the peers and the interface say where the adverts come from.
func (m *member) chooses(l *Link) bool {
	_, virtual := m.virtualSource(l)
	return m.of.cfg.unicast() && !m.of.cfg.sourceOf(m.family).IsValid() && !virtual
}

// tookSource takes note of the address that the adverts come from now. One that stands in for another, of which nobody can tell whether
// the peers know it, is told of.
func (n *Node) tookSource(m *member, l *Link, s netip.Addr) {
	listed := false
	for ip := range n.listed(m) {
		listed = listed || ip == s
	}
	switch given := !m.chooses(l); {
	case !s.IsValid():
	case listed, m.listed, given && m.of.cfg.unicast(), m.known.IsValid() && (given || l.owns(m.known)):
		m.known, m.listed = s, listed
	case m.known.IsValid() && s != m.source && !n.cfg.Shadow:
		n.do(Warned{m.of.cfg.Name, fmt.Sprintf("interface %q no longer has %s: the adverts come from %s now, which hosts that have the former among their peers refuse; "+
			"if they do, give it back, or write source", l.Name, m.known, s)})
	}
}

// cameTo takes note of where a peer's advert came to, if this host has sent none: that peer knows it by this address. Later it counts for
// nothing: a signature does not cover it.
func (n *Node) cameTo(now time.Time, m *member, to netip.Addr) {
	l := n.links[m.of.cfg.Interface]
	if to = to.Unmap().WithZone(""); m.known.IsValid() || l == nil || !m.chooses(&l.Link) || !slices.Contains(n.fitting(m, &l.Link), to) {
		return
	}
	if m.known = to; m.source != to {
		n.aim(now, m)
	}
}

// lacksSource says that the interface has no address that adverts could come from.
func (n *Node) lacksSource(m *member, ifName string) string {
	if s := m.of.cfg.sourceOf(m.family); s.IsValid() {
		return fmt.Sprintf("interface %q does not have %s, from which the adverts are to come (source)", ifName, s)
	}
	if m.of.cfg.unicast() && n.missesOwnPeer(m) {
		remedy := "write this host's new one into peers on all hosts"
		if slices.ContainsFunc(m.of.cfg.Peers, func(p Peer) bool { return p.Name != "" }) {
			remedy = "have the name of this host among the peers lead to its new one on all hosts (DNS, /etc/hosts)"
		}
		return fmt.Sprintf("interface %q no longer has %s, by which the peers know this host: they would refuse adverts from another address; "+
			"give it back, or %s", ifName, m.known, remedy)
	}
	kind := "IPv4"
	if m.family == vrrp.IPv6 {
		kind = "IPv6 link-local"
	}
	return fmt.Sprintf("interface %q has no %s address of its own to send adverts from", ifName, kind)
}
