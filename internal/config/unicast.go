package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// unicast takes what says with whom an instance speaks, and from where.
func (l *loader) unicast(in *instance, raw *rawInstance) {
	l.peers(in, raw.Peers)
	l.sources(in, raw.Source)
	b := in.block
	l.within(b, "min_ttl", raw.MinTTL, 1, vrrp.HopLimit, "")
	if b.usable("min_ttl") && !b.has("peers") {
		l.found.errorf(b.place("min_ttl"), "remove the line: multicast adverts pass no router",
			"min_ttl is %d, but instance %q has no peers", raw.MinTTL, in.Name)
	}
}

// peers parses the hosts of a unicast instance: their addresses, of the instance's families, or names. The list may be one and
// the same on all hosts, so that a host's own address is no mistake in it.
func (l *loader) peers(in *instance, texts []string) {
	b := in.block
	if !b.usable("peers") {
		return
	}
	if len(texts) == 0 {
		l.found.errorf(b.place("peers"), "write the hosts' addresses, or remove the line for multicast", "peers is empty")
	}
	for i, text := range texts {
		at := b.element("peers", i)
		p, why := parsePeer(text)
		switch {
		case why != "":
			l.found.errorf(at, why, "peers holds %q", cut(text))
			p = node.Peer{}
		case slices.Contains(in.Peers, p):
			l.found.errorf(at, "remove one of the two", "peers holds %s twice", text)
		case p.Name == "" && b.usable("addresses") && !slices.Contains(in.Families(), vrrp.FamilyOf(p.IP)):
			l.found.errorf(at, "its addresses are of the other family", "peers holds %s, but instance %q has no %s", p.IP, in.Name, vrrp.FamilyOf(p.IP))
		}
		in.Peers = append(in.Peers, p)
	}
	if len(in.Peers) > 0 && !slices.Contains(in.Peers, node.Peer{}) && b.usable("addresses") {
		l.judgePeerFamilies(in)
	}
}

// judgePeerFamilies wants a peer of each family; a name may have addresses of both.
func (l *loader) judgePeerFamilies(in *instance) {
	for _, f := range in.Families() {
		if !slices.ContainsFunc(in.Peers, func(p node.Peer) bool { return p.Name != "" || vrrp.FamilyOf(p.IP) == f }) {
			l.found.errorf(in.block.place("peers"), fmt.Sprintf("write the hosts' %s addresses too", f),
				"peers holds no %s address, but instance %q has one", f, in.Name)
		}
	}
}

// hostName is what a host may be called in a peers list (RFC 1123 section 2.1, and the underscore of inner networks). What ends
// in a number is an address with a mistake in it.
var (
	hostName     = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.|$))+$`)
	endsInNumber = regexp.MustCompile(`(^|\.)[0-9]+\.?$`)
)

// maxHostName is the longest name (RFC 1035 section 2.3.4, written).
const maxHostName = 253

// parsePeer parses an address or a name.
func parsePeer(text string) (node.Peer, string) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return node.Peer{IP: ip}, notUnicast(ip)
	}
	if len(text) > maxHostName || !hostName.MatchString(text) || endsInNumber.MatchString(text) {
		return node.Peer{}, "allowed: an IPv4 or IPv6 address, such as 10.0.0.11, or a host's name"
	}
	return node.Peer{Name: strings.ToLower(text)}, ""
}

// sources parses the addresses that adverts come from: one, or one of each family.
func (l *loader) sources(in *instance, texts []string) {
	b := in.block
	if !b.usable("source") {
		return
	}
	verb := "holds"
	if len(texts) == 1 {
		verb = "is"
	}
	for i, text := range texts {
		at := b.element("source", i)
		ip, err := netip.ParseAddr(text)
		why := "allowed: an IPv4 or IPv6 address, such as 10.0.0.11"
		if err == nil {
			why = notUnicast(ip)
		}
		if why != "" {
			l.found.errorf(at, why, "source %s %q", verb, cut(text))
			in.Sources = append(in.Sources, netip.Addr{})
			continue
		}
		family := vrrp.FamilyOf(ip)
		switch {
		case slices.ContainsFunc(in.Sources, func(s netip.Addr) bool { return s.IsValid() && vrrp.FamilyOf(s) == family }):
			l.found.errorf(at, "allowed: one of each family", "source holds a second %s address, %s", family, ip)
		case len(in.Addresses) > 0 && !slices.Contains(in.Families(), family):
			l.found.errorf(at, "its addresses are of the other family", "source %s %s, but instance %q has no %s", verb, ip, in.Name, family)
		case family == vrrp.IPv6 && !b.has("peers") && !ip.IsLinkLocalUnicast():
			l.found.errorf(at, "multicast adverts over IPv6 come from a link-local address (RFC 9568 section 5.1.2.1)", "source %s %s", verb, ip)
		}
		in.Sources = append(in.Sources, ip)
	}
	l.judgeOnlySelf(in)
}

// judgeOnlySelf refuses peers that are nobody but this host.
func (l *loader) judgeOnlySelf(in *instance) {
	if slices.ContainsFunc(in.Peers, func(p node.Peer) bool { return p.Name != "" }) {
		return
	}
	for _, s := range in.Sources {
		self := s.IsValid() && slices.Contains(in.Peers, node.Peer{IP: s})
		if self && !slices.ContainsFunc(in.Peers, func(p node.Peer) bool { return p.IP != s && vrrp.FamilyOf(p.IP) == vrrp.FamilyOf(s) }) {
			l.found.errorf(in.block.place("peers"), "write the other hosts' addresses too", "peers holds no %s address but this host's own, %s", vrrp.FamilyOf(s), s)
		}
	}
}

// judgeHosts refuses virtual addresses where a host's own is meant: they are on whichever host is master.
func (l *loader) judgeHosts(instances []instance) {
	virtual := map[netip.Addr]string{}
	for _, in := range instances {
		for _, a := range slices.Concat(in.Addresses, in.Unadvertised) {
			if a.IP.IsValid() {
				virtual[a.IP] = in.Name
			}
		}
	}
	judge := func(at hcl.Range, key string, ip netip.Addr) {
		if owner, ok := virtual[ip]; ok {
			l.found.errorf(at, "write the host's own address", "%s holds %s, which is a virtual address of instance %q", key, ip, owner)
		}
	}
	for _, in := range instances {
		for i, p := range in.Peers {
			judge(in.block.element("peers", i), "peers", p.IP)
		}
		for i, s := range in.Sources {
			judge(in.block.element("source", i), "source", s)
		}
	}
}

// adviseTTL says what a lower min_ttl gives up.
func adviseTTL(found *findings, in *instance) {
	proven := in.Auth != nil && in.Auth.Mode == vrrp.Enforce
	if in.block.usable("min_ttl") && in.MinTTL < vrrp.HopLimit && !proven {
		found.notef(in.block.place("min_ttl"), "an auth block would tell them apart", "whoever is up to %d routers away can send adverts to %q in a peer's name", vrrp.HopLimit-int(in.MinTTL), in.Name)
	}
}

// howHeard says how an instance's adverts go, for a comparison of hosts.
func howHeard(in *instance) string {
	if in.block.has("peers") {
		return "written"
	}
	return "left out"
}

// unheard finds the sources of a host that another one does not have among its peers.
func unheard(speaker, listener *view, from, to *instance) findings {
	var found findings
	if len(to.Peers) == 0 || slices.ContainsFunc(to.Peers, func(p node.Peer) bool { return p.Name != "" }) {
		return nil
	}
	for i, s := range from.Sources {
		if !slices.Contains(to.Peers, node.Peer{IP: s}) {
			found.errorf(from.block.element("source", i), "write the same peers on all hosts, with every host's source among them",
				"source of %q on %s is %s, which is not in its peers on %s", from.Name, speaker.config.Node, s, listener.config.Node)
		}
	}
	return found
}
