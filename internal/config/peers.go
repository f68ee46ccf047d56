package config

import (
	"net/netip"
	"slices"

	"github.com/understudy-ha/understudy/vrrp"
)

// later judges what this version refuses in an instance block.
func (l *loader) later(in *instance, raw *rawInstance) {
	b := in.block
	if b.has("peers") {
		l.judgePeers(in, raw.Peers)
		l.refuseLater("peers", b.place("peers"))
	}
	if b.has("source") {
		l.judgeSource(in, raw.Source)
		l.refuseLater("source", b.place("source"))
	}
}

// judgePeers wants unicast addresses of the instance's families.
func (l *loader) judgePeers(in *instance, texts []string) {
	b := in.block
	if !b.usable("peers") {
		return
	}
	var seen []netip.Addr
	for i, text := range texts {
		at := b.element("peers", i)
		ip, why := parseHost(text)
		switch {
		case why != "":
			l.found.errorf(at, why, "peers holds %q", cut(text))
			continue
		case slices.Contains(seen, ip):
			l.found.errorf(at, "remove one of the two", "peers holds %s twice", ip)
		case b.usable("addresses") && !slices.Contains(in.Families(), vrrp.FamilyOf(ip)):
			l.found.errorf(at, "its addresses are of the other family", "peers holds %s, but instance %q has no %s", ip, in.Name, vrrp.FamilyOf(ip))
		}
		seen = append(seen, ip)
	}
}

func (l *loader) judgeSource(in *instance, text string) {
	b := in.block
	if !b.usable("source") {
		return
	}
	ip, why := parseHost(text)
	switch {
	case why != "":
		l.found.errorf(b.place("source"), why, "source is %q", cut(text))
	case len(in.Addresses) > 0 && !slices.Contains(in.Families(), vrrp.FamilyOf(ip)):
		l.found.errorf(b.place("source"), "its addresses are of the other family", "source is %s, but instance %q has no %s", ip, in.Name, vrrp.FamilyOf(ip))
	}
}

// parseHost parses the address of a host, without a prefix.
func parseHost(text string) (netip.Addr, string) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, "allowed: an IPv4 or IPv6 address, such as 10.0.0.11"
	}
	return ip, notUnicast(ip)
}
