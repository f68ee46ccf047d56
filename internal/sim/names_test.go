package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// What is promised of peers by name. A host takes part once each name was looked up, or could not be. Where its name service says so, it
// knows within 30 s where another host is that it does not hear, and until then neither may hear the other: the better one's adverts go
// astray, or are refused as a stranger's. What was found stays where nothing is found any more. A host that never found one of its peers
// asks the link before it takes over from silence, so that it does not rise beside that one.

// naming is how a cluster's peers are found.
type naming struct {
	named   bool
	answers time.Duration // a name service takes so long at most
	local   bool          // a host's own name leads to a loopback address, as Debian has it
	strange bool          // some host does not know where another one is
	astray  bool          // a name service failed, or told what is no longer so
	count   namings
	d       dice // for what name services do
}

// namings are how often name services failed, hosts moved, a host learned of another address, and one asked the link that never found
// another one.
type namings struct{ outages, moves, learned, asked int }

// acquaintance is how a host finds the others.
type acquaintance struct {
	fails []outage                // in which way its name service fails; empty: it does not
	stale map[string][]netip.Addr // what it still says of hosts that moved
	told  map[string][]netip.Addr // where its processes were told last that the names lead
	lost  bool                    // it failed
	met   map[string]time.Time    // when the process of now, a backup by then, first found an address under a name
	meets *node.Node              // whose that is
}

// outage is how a name service fails.
type outage struct {
	families []vrrp.Family // in these alone; nil: in all
	slow     bool          // it answers, but often too late
}

// find sets a name service right.
func (a *acquaintance) find() { a.fails, a.stale = nil, nil }

// drawNames draws whether unicast peers have names, and what goes wrong with these. It came later than the rest, and is drawn apart, so
// that the other clusters are what they were.
func (s *scenario) drawNames(d dice) {
	if len(s.common.Peers) == 0 || !d.chance(0.5) {
		return
	}
	s.o.naming = naming{named: true, answers: pick(d, 0, 20*time.Millisecond, 300*time.Millisecond), local: d.chance(0.5), d: d}
	s.common.Peers = everyHost(s.o.hosts, 0, true)
	breaks := slices.ContainsFunc(s.o.kinds, func(k kind) bool { return k.unrest == hard }) // else its administrators are orderly
	for _, k := range kinds {
		if k.only == named && breaks && d.chance(0.7) {
			s.o.kinds = append(s.o.kinds, k)
		}
	}
}

// nameOf is a host's on a link.
func nameOf(host, link string) string { return host + "." + link }

// introduce gives the hosts their name services, of which some are away at the start, and watches what is found.
func (s *scenario) introduce() {
	n := &s.o.naming
	if !n.named {
		return
	}
	s.c.Resolve = s.resolve
	if n.d.chance(0.2) && slices.ContainsFunc(s.o.kinds, func(k kind) bool { return k.only == named }) {
		s.lose(n.d, s.c.hosts[0])
	}
	observe := s.c.Observe
	s.c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		if r, ok := ev.(node.Resolved); ok {
			s.found(h, r.Name)
		} else if n.strange {
			s.acquaint()
		}
		s.asked(h, actions)
		observe(h, ev, actions)
		s.isDisplaced(h)
	}
}

// resolve is what a host's name service says.
func (s *scenario) resolve(h *Host, text string) Answer {
	x, n := s.plights[h], &s.o.naming
	host, link, _ := strings.Cut(text, ".")
	a := Answer{IPs: x.stale[text], After: n.d.upTo(n.answers)}
	switch {
	case n.local && host == h.Name:
		a.IPs = []netip.Addr{netip.MustParseAddr("127.0.1.1")}
	case a.IPs == nil:
		l := s.rightly(s.c.Host(host), link)
		a.IPs = []netip.Addr{l.Source4, l.Source6}
	}
	if len(x.fails) == 0 {
		return a
	}
	switch how := x.fails[len(x.fails)-1]; {
	case how.slow:
		if a.After = n.d.upTo(2 * lookupTimeout); a.After > lookupTimeout {
			a.Err = "context deadline exceeded"
		}
	case how.families != nil:
		a.Err, a.Fails = fmt.Sprintf("%s: server misbehaving", how.families[0]), how.families
	default:
		a.Err = "server misbehaving"
	}
	return a
}

// rightly is a host's link as it is when nothing is wrong with it.
func (s *scenario) rightly(h *Host, link string) *node.Link {
	links := s.plights[h].links
	return &links[slices.IndexFunc(links, func(l node.Link) bool { return l.Name == link })]
}

// rename is a name service that fails, or a host that moves to another address; it may start anew meanwhile.
func (s *scenario) rename(d dice, h *Host) {
	if d.chance(0.5) {
		s.move(d, h)
	} else {
		s.lose(d, h)
	}
	if d.chance(0.4) {
		s.crash(d, h)
	}
}

// lose has the name service of a host, or of all, fail for a while.
func (s *scenario) lose(d dice, h *Host) {
	how, all := pick(d, outage{}, outage{}, outage{families: []vrrp.Family{vrrp.IPv4}}, outage{families: []vrrp.Family{vrrp.IPv6}}, outage{slow: true}), d.chance(0.5)
	s.o.naming.astray = true
	s.o.naming.count.outages++
	for _, each := range s.c.hosts {
		if x := s.plights[each]; all || each == h {
			s.c.Note("** the name service of %s fails: %+v", each.Name, how)
			x.fails, x.lost = append(x.fails, how), true
			s.then(s.some(d), hard, func() {
				s.c.Note("** the name service of %s fails no longer", each.Name)
				x.fails = x.fails[1:]
			})
		}
	}
}

// move gives a host other addresses on a link. Each name service tells the old ones for a while.
func (s *scenario) move(d dice, h *Host) {
	n := &s.o.naming
	l := anyLink(d, h)
	right := s.rightly(h, l.Name)
	text, old := nameOf(h.Name, l.Name), []netip.Addr{right.Source4, right.Source6}
	n.astray, n.count.moves = true, n.count.moves+1
	for _, other := range s.c.hosts {
		if x := s.plights[other]; x.stale[text] == nil {
			if x.stale == nil {
				x.stale = map[string][]netip.Addr{}
			}
			x.stale[text] = old
			s.then(s.some(d), hard, func() { delete(x.stale, text) })
		}
	}
	which := d.IntN(3)
	if to := right.Source4.As4(); which != 0 {
		to[2] = byte(n.count.moves)
		right.Source4 = netip.AddrFrom4(to)
	}
	if to := right.Source6.As16(); which != 1 {
		to[14] = byte(n.count.moves)
		right.Source6 = netip.AddrFrom16(to)
	}
	if l.Source4.IsValid() && l.Source6.IsValid() { // else it has none just now
		l.Source4, l.Source6 = right.Source4, right.Source6
		s.setLink(h, l)
	}
	s.deafen(s.earliness()) // nobody has heard of its clock under these
	s.acquaint()
}

// byName says whether an instance's peers have names.
func byName(i *node.Instance) bool { return len(i.Peers) > 0 && i.Peers[0].Name != "" }

// finds says whether an address is a peer's as far as the host's process knows, if its peers have names.
func finds(h *Host, i *node.Instance, from netip.Addr) bool {
	if !byName(i) {
		return true
	}
	return slices.ContainsFunc(i.Peers, func(p node.Peer) bool {
		ips, _ := h.Leads(p.Name)
		return slices.Contains(ips, from)
	})
}

// found takes note that a host's process is told of a name. Where that leads elsewhere than before, others are heard from now on, or it is
// heard by them; what they signed before is early.
func (s *scenario) found(h *Host, text string) {
	x := s.plights[h]
	ips, _ := h.Leads(text)
	before, known := x.told[text]
	if x.told == nil {
		x.told = map[string][]netip.Addr{}
	}
	x.told[text] = ips
	s.meet(h, text, ips)
	if known && !slices.Equal(before, ips) {
		s.o.naming.count.learned++
		s.p.disturbed()
	}
	if s.keys.signed && len(ips) > 0 {
		x.sure = s.c.now
		s.deafen(s.earliness())
	}
	s.acquaint()
}

// meet takes note of a name that leads to somebody for the first time.
func (s *scenario) meet(h *Host, text string, ips []netip.Addr) {
	x := s.plights[h]
	if x.meets != h.node {
		x.meets, x.met = h.node, nil
	}
	if x.met == nil {
		x.met = map[string]time.Time{}
	}
	if _, known := x.met[text]; len(ips) > 0 && !known && !strings.HasPrefix(text, nameOf(h.Name, "")) {
		x.met[text] = s.c.now
	}
}

// acquaint takes note of whether some host does not know where another one is. From when all do they are one cluster.
func (s *scenario) acquaint() {
	n := &s.o.naming
	was := n.strange
	if n.strange = s.stranger(false) != nil; was && !n.strange {
		s.p.disturbed()
	}
}

// stranger is a host that takes part and does not know where another one is that does, has addresses, or is away, nor under which address it is
// known itself, if its name says so; nil: there is none.
func (s *scenario) stranger(away bool) *Host {
	if !s.o.naming.named {
		return nil
	}
	for _, h := range s.c.hosts {
		if h.node != nil && !s.informed(h) && len(h.kernel.list()) > 0 {
			return h // it has what a dead process left, and listens to nobody yet
		}
		for _, other := range s.c.hosts {
			itself := h == other
			there := away || s.informed(other) || len(other.kernel.list()) > 0 // what a dead process left, until the next one is informed
			if s.informed(h) && (itself && !s.o.naming.local || !itself && there) && !s.knows(h, other) {
				return h
			}
		}
	}
	return nil
}

// informed says whether a host's process has looked up every name, so that it may take part, or is a cleanup.
func (s *scenario) informed(h *Host) bool { return h.node != nil && (h.cleaning || !h.Unresolved()) }

// knows says whether a host knows where another one is, in each family of its instances.
func (s *scenario) knows(h, other *Host) bool {
	for k := range h.cfg.Instances {
		i := &h.cfg.Instances[k]
		ips, _ := h.Leads(nameOf(other.Name, i.Interface))
		l := s.rightly(other, i.Interface)
		for _, f := range i.Families() {
			if right := map[vrrp.Family]netip.Addr{vrrp.IPv4: l.Source4, vrrp.IPv6: l.Source6}[f]; !slices.Contains(ips, right) {
				return false
			}
		}
	}
	return true
}

// alone says whether an instance has nobody to send an advert to: no peer's name leads to another host.
func alone(h *Host, i *node.Instance) bool {
	if !byName(i) {
		return false
	}
	own := h.LinkOn(i.Interface)
	other := func(ip netip.Addr) bool {
		return !ip.IsLoopback() && ip != own.Source4 && ip != own.Source6 && slices.Contains(i.Families(), vrrp.FamilyOf(ip))
	}
	return !slices.ContainsFunc(i.Peers, func(p node.Peer) bool {
		ips, _ := h.Leads(p.Name)
		return slices.ContainsFunc(ips, other)
	})
}

// asks is how long a host may wait for its look-ups, then ask the link because it knows nobody, and where somebody answers wait for that
// one's advert.
func (s *scenario) asks(h *Host) time.Duration {
	if s.plights[h].lost {
		return lookupTimeout + waryPause + s.widest
	}
	return s.o.naming.answers
}

// learns is how long a host may need to know where the others are: a look-up that fails is on its way, and the next one waits.
func (s *scenario) learns() time.Duration {
	if s.o.naming.astray {
		return 2*lookupTimeout + maxLookupGap
	}
	return 0
}

// asked checks that a host which never found one of its peers does not take from silence what that one serves. It asks the link first.
func (s *scenario) asked(h *Host, actions []node.Action) {
	for _, a := range actions {
		if _, asks := a.(node.Probe); asks && slices.ContainsFunc(h.cfg.Instances, func(i node.Instance) bool { return s.hides(h, i) }) {
			s.o.naming.count.asked++
		}
		c, ok := a.(node.Changed)
		if !ok || c.From != node.Backup || c.To != node.Master || !fromSilence(c.Why) {
			continue
		}
		s.hasty(h, c)
		i := h.cfg.Instances[slices.IndexFunc(h.cfg.Instances, func(i node.Instance) bool { return i.Name == c.Instance })]
		for _, other := range s.c.hosts {
			if s.hidden(h, other, i) && s.serves(other, i) {
				s.c.Fault("%s takes over %s from silence, which %s serves: it never found that one, and did not ask the link", h.Name, c.Instance, other.Name)
			}
		}
	}
}

// hasty checks that a backup which heard nobody waits as long again once it has found a peer: until then it may have been deaf to it.
func (s *scenario) hasty(h *Host, c node.Changed) {
	i := h.cfg.Instances[slices.IndexFunc(h.cfg.Instances, func(i node.Instance) bool { return i.Name == c.Instance })]
	_, since := s.w.state(h, c.Instance)
	for _, p := range i.Peers {
		met := s.plights[h].met[p.Name]
		least := time.Duration(i.DeadAdverts) * i.Interval * 99 / 100 // the clocks drift
		if met.After(since) && heardNobody(c.Why) && s.c.now.Sub(met) < least && s.quiet() && !s.o.grouped() {
			s.c.Fault("%s takes over %s from silence %s after it found %s", h.Name, c.Instance, s.c.now.Sub(met), p.Name)
		}
	}
}

// heardNobody says whether a host became master because it heard nobody in any family, not even an offer.
func heardNobody(why string) bool {
	return strings.Contains(why, "nobody advertised") && !strings.Contains(why, "is silent") && !strings.Contains(why, "offers its addresses")
}

// fromSilence says whether a host became master because it heard nobody, and not also another that it pushed aside.
func fromSilence(why string) bool {
	return (strings.Contains(why, "nobody advertised") || strings.Contains(why, "is silent")) && !strings.Contains(why, "advertises")
}

// hidden says whether a host has never found another one as the peer of an instance, nor of any other of its group: there it may hear
// that one, and push it aside.
func (s *scenario) hidden(h, other *Host, i node.Instance) bool {
	instances := []node.Instance{i}
	if s.o.grouped() {
		instances = h.cfg.Instances
	}
	return h != other && !slices.ContainsFunc(instances, func(i node.Instance) bool {
		ips, _ := h.Leads(nameOf(other.Name, i.Interface))
		return slices.ContainsFunc(ips, func(ip netip.Addr) bool { return slices.Contains(i.Families(), vrrp.FamilyOf(ip)) })
	})
}

// hides says whether there is a host that one has never found as the peer of an instance.
func (s *scenario) hides(h *Host, i node.Instance) bool {
	return slices.ContainsFunc(s.c.hosts, func(other *Host) bool { return s.hidden(h, other, i) })
}

// serves says whether a host has had an instance's address all the time that an answer to a question takes, on a link that was calm.
func (s *scenario) serves(h *Host, i node.Instance) bool {
	takes := probeTime + 2*s.o.network.MaxDelay + s.w.slack
	ip := i.Addresses[0].IP
	since := s.c.now
	for _, p := range slices.Backward(s.c.Owners.history[ip]) {
		if !slices.Contains(p.Hosts, h.Name) {
			break
		}
		since = p.From
	}
	return s.c.now.Sub(since) > takes && s.c.now.Sub(s.p.unrest) > takes && s.quiet()
}

// probeTime is how long who asks the link waits for an answer.
const probeTime = 100 * time.Millisecond
