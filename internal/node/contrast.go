package node

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// maxOwnTargets bounds the destinations that are remembered of this host's own adverts.
	maxOwnTargets = 255
	// ownTargetKept is how long one counts after the last advert there: to a host that is off the link for a moment nothing leaves.
	ownTargetKept = time.Minute
)

// contrast compares, field by field, what the other daemon of this host sends with what this one would send in its place.
type contrast struct {
	differs []string // each with the setting that keeps what is sent as it is
	same    []string // the names of those that are alike
}

// add takes up one field. remedy says what to do where it differs.
func (c *contrast) add(what string, same bool, theirs, ours any, remedy string) {
	if same {
		c.same = append(c.same, what)
		return
	}
	c.differs = append(c.differs, fmt.Sprintf("%s %v, here %v: %s", what, theirs, ours, remedy))
}

// contrast compares the newest of this host's adverts.
func (n *Node) contrast(m *member) (c contrast) {
	o, cfg := m.own, m.machine.Config()
	if o == nil {
		return c
	}
	c.add("version", o.Version == cfg.Version, o.Version, cfg.Version, fmt.Sprintf("write version = %d", o.Version))
	if o.Priority != vrrp.PriorityRelease {
		c.priority(m)
	}
	if o.steady {
		c.add("interval", o.Interval == cfg.Interval, o.Interval, cfg.Interval, fmt.Sprintf("write advertise_interval = %q", o.Interval))
	}
	c.addresses(o.last.Addresses, cfg.Addresses)
	c.origin(m, n.links[m.of.cfg.Interface])
	if m.of.cfg.unicast() || o.whole() {
		c.targets(n, m)
	}
	c.add(hops(m.family), o.TTL == vrrp.HopLimit, o.TTL, vrrp.HopLimit, "nothing to write, it is always that, and no host refuses it")
	if m.family == vrrp.IPv4 && o.Version == vrrp.V3 && cfg.Version == vrrp.V3 {
		c.checksum(o.last.Form, m.of.cfg.Checksum)
	}
	c.auth(o.last, m.of.cfg.Auth)
	return c
}

// hops is what a family calls its count of routers.
func hops(f vrrp.Family) string {
	if f == vrrp.IPv6 {
		return "hop limit"
	}
	return "TTL"
}

// priority compares what weights, groups and health have made of it.
func (c *contrast) priority(m *member) {
	theirs, ours, s := m.own.Priority, m.of.fate.standing.priority(), m.of.standing
	remedy := fmt.Sprintf("write priority = %d for this host", theirs)
	switch {
	case len(m.of.fate.standing.ill) > 0:
		remedy = fmt.Sprintf("unhealthy (%s)", m.of.fate.standing.illness())
	case theirs == vrrp.PriorityIll:
		remedy = "1 is no priority that can be written, it says unhealthy or drained; 2 is the lowest"
	case len(s.terms) > 1 || m.of.fate.group != "":
		remedy = fmt.Sprintf("it is %s", s.sumOf(m.of.fate))
	}
	c.add("priority", theirs == ours, theirs, ours, remedy)
}

// sumOf says what an effective priority is made of.
func (s *standing) sumOf(f *fate) string {
	var terms []string
	for _, t := range s.terms {
		terms = append(terms, fmt.Sprintf("%+d %s", t.Value, t.What))
	}
	sum := strings.TrimPrefix(strings.Join(terms, " "), "+")
	if f.group != "" && f.standing.healthy != s.healthy {
		return fmt.Sprintf("the lowest of group %s, where this instance alone would have %s", f.group, sum)
	}
	return sum
}

// addresses compares the lists, in whose order no host sees a meaning but for the first one of IPv6 (RFC 9568 section 5.2.9).
func (c *contrast) addresses(theirs, ours []netip.Addr) {
	more, fewer := without(theirs, ours), without(ours, theirs)
	var remedies []string
	if len(more) > 0 {
		remedies = append(remedies, fmt.Sprintf("write %v into addresses", more))
	}
	if len(fewer) > 0 {
		remedies = append(remedies, fmt.Sprintf("move %v into unadvertised if it is to be set all the same (keepalived: virtual_ipaddress_excluded), else remove it", fewer))
	}
	if len(remedies) == 0 {
		remedies = []string{"write them into addresses in that order"}
	}
	c.add("addresses", slices.Equal(theirs, ours), theirs, ours, strings.Join(remedies, ", and "))
}

// without lists what is in one list and not in the other.
func without(list, other []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(list), func(ip netip.Addr) bool { return slices.Contains(other, ip) })
}

// origin compares the addresses that the frames come from. What is not known here is left out.
func (c *contrast) origin(m *member, l *link) {
	o, virtual := m.own, m.of.cfg.VirtualMAC
	if l == nil || !m.source.IsValid() {
		return
	}
	remedy := fmt.Sprintf("write source = %q", o.From)
	switch {
	case virtual && m.family == vrrp.IPv6:
		remedy = `with mac = "virtual" each host has one of its own, made of its interface's MAC address; between equal priorities the higher one wins`
	case !l.owns(o.From):
		remedy = fmt.Sprintf("it is none of the interface's own (keepalived's use_vmac has its own), and cannot be written; between equal priorities the higher %s wins", m.family)
	}
	c.add("source", o.From == m.source, o.From, m.source, remedy)
	if o.MAC == "" || l.MAC == "" {
		return
	}
	ours, shared := l.MAC, m.of.routerMAC(m.family)
	if virtual {
		ours = shared
	}
	remedy = "it is neither the interface's nor the virtual router's, and cannot be written; clients and switches learn the other one from the announcements"
	switch {
	case o.MAC == shared:
		remedy = `write mac = "virtual" (keepalived: use_vmac)`
	case virtual:
		remedy = `remove mac = "virtual", unless keepalived has use_vmac with vmac_xmit_base: then clients see no difference`
	}
	c.add("MAC", o.MAC == ours, o.MAC, ours, remedy)
}

// targets compares where the adverts go.
func (c *contrast) targets(n *Node, m *member) {
	theirs, cfg := m.own.targets(), m.of.cfg
	group := slices.ContainsFunc(theirs, netip.Addr.IsMulticast)
	switch {
	case !cfg.unicast():
		c.add("destination", group, theirs, m.family.Group(), "write peers with these addresses and this host's own (keepalived: unicast_peer)")
		return
	case group:
		c.add("destination", false, m.family.Group(), "the peers alone", "remove peers")
		return
	case !m.own.whole() || slices.ContainsFunc(cfg.Peers, func(p Peer) bool { return n.problem(m, p) != "" }):
		return // not all are known yet, there or here
	}
	var ours []netip.Addr
	for _, o := range m.outlets {
		ours = append(ours, o.to)
	}
	slices.SortFunc(ours, netip.Addr.Compare)
	more, fewer := without(theirs, ours), without(ours, theirs)
	remedy := fmt.Sprintf("nothing leaves for %v: remove it from peers if keepalived's unicast_peer lacks it, and leave it if that host is off the link", fewer)
	if len(more) > 0 {
		remedy = fmt.Sprintf("write %v into peers", more)
	}
	c.add("destination", len(more)+len(fewer) == 0, theirs, ours, remedy)
}

// checksum compares the two forms that VRRPv3 has over IPv4.
func (c *contrast) checksum(theirs, ours vrrp.ChecksumForm) {
	remedy := `remove checksum = "rfc9568"`
	if theirs == vrrp.ChecksumMessage {
		remedy = `write checksum = "rfc9568"`
	}
	c.add("checksum", theirs == ours, theirs, ours, remedy)
}

// auth compares what proves the adverts.
func (c *contrast) auth(theirs vrrp.Received, ours *vrrp.Auth) {
	has, would := theirs.Means(), ours.Means()
	known := ours.Knows(theirs)
	unknown := theirs.Sealed != nil && has.Key == 0
	same := has == would && !unknown && (has == vrrp.Means{} || known)
	is, here := inWords(has), inWords(would)
	remedy := ""
	switch {
	case unknown:
		is, remedy = "a trailer of an unknown kind", "keepalived's is understood from 2.4.2 on"
	case has == would && has.Password:
		here, remedy = "another password", "compare it with keepalived's auth_pass, of which the first 8 bytes count"
	case has == would:
		here, remedy = "another key of that number", "compare the key files (keepalived signs otherwise before 2.4.2)"
	case has.Password:
		remedy = "write auth { password = .. } with keepalived's auth_pass, and version = 2"
	case has.Key == 0 && would.Password:
		remedy = "remove the auth block"
	case has.Key == 0:
		remedy = `write mode = "receive-only" until every host has the keys, or remove the auth block`
	case known && would.Key != 0:
		remedy = fmt.Sprintf("write active = %d", has.Key)
	case known:
		remedy = `write mode = "permissive", or "enforce" where every host signs`
	default:
		remedy = fmt.Sprintf("write auth with the key %d of there (keepalived: auth_hmac)", has.Key)
	}
	c.add("auth", same, is, here, remedy)
}

// inWords says what proves adverts.
func inWords(m vrrp.Means) string {
	switch {
	case m.Password:
		return "VRRPv2's password"
	case m.Key != 0:
		return fmt.Sprintf("signed with key %d", m.Key)
	default:
		return "none"
	}
}

// hear takes note of one advert of the other daemon.
func (o *OwnAdverts) hear(now time.Time, ev OwnAdvert) {
	a := ev.Advert
	// A handover has one advert with another interval.
	steady := a.Priority != vrrp.PriorityRelease && (!vrrp.IsOffer(a) || o.Count > 0 && vrrp.IsOffer(o.last.Advert))
	if steady || o.Interval == 0 {
		o.Interval, o.steady = a.Interval, steady
	}
	o.From, o.MAC, o.TTL, o.Priority, o.Version, o.last = ev.From, ev.MAC, ev.HopLimit, a.Priority, a.Version, ev.Received
	o.Heard, o.Count = now, o.Count+1
	maps.DeleteFunc(o.to, func(_ netip.Addr, at time.Time) bool { return now.Sub(at) > ownTargetKept })
	_, again := o.to[ev.To]
	o.again = o.again || again
	if again || len(o.to) < maxOwnTargets {
		o.to[ev.To] = now
	}
}

// whole says whether every destination was seen: one of them was seen twice, or it is the group.
func (o *OwnAdverts) whole() bool {
	return o.again || slices.ContainsFunc(o.targets(), netip.Addr.IsMulticast)
}

// targets are the destinations of late, in order.
func (o *OwnAdverts) targets() []netip.Addr {
	return slices.SortedFunc(maps.Keys(o.to), netip.Addr.Compare)
}

// tellContrast tells the log how this host's adverts differ from what would be sent, whenever that changes; and once, as soon as
// all is known, what is the same.
func (n *Node) tellContrast(i *instance) {
	for _, m := range i.members {
		o := m.own
		if o == nil || !o.whole() || !o.steady {
			continue
		}
		c := n.contrast(m)
		words := strings.Join(c.differs, "; ")
		if o.told && words == o.differs {
			continue
		}
		what := fmt.Sprintf("this host's own adverts over %s are what would be sent", m.family)
		if words != "" {
			what = fmt.Sprintf("this host's own adverts over %s are not what would be sent: %s", m.family, words)
		}
		if !o.told {
			what += "; the same: " + strings.Join(c.same, ", ")
		}
		o.told, o.differs = true, words
		if words != "" {
			n.do(Warned{i.cfg.Name, what})
		} else {
			n.do(Noted{i.cfg.Name, what})
		}
	}
}
