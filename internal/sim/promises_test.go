package sim

import (
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// health is what is known of a host from outside, not what its node thinks of itself.
type health uint8

const (
	unknown health = iota // down, stopped, on its way, or not for long enough
	well
	ill
)

// promises watch over the whole cluster: what may not last (two owners, none, an unhealthy one beside a healthy backup), and
// what may not happen at all (a move among hosts that are all unhealthy, one handover after the other). They hold only while
// the link and the hosts are calm; what a scenario does to them it tells here.
type promises struct {
	c    *Cluster
	w    *watch
	ask  func(*Host) health
	calm func() bool // nothing is cut, lost, stopped, or configured in another way than the rest
	// quiet is calm, but that some host may not know where another one is. It rises all the same where it hears nobody.
	quiet  func() bool
	signed bool // what overtakes another advert makes that one old
	groups bool // a host's instances have one fate
	bound  bounds
	// recovery is how long a host that is well may take no part.
	recovery func(*Host) time.Duration
	// rank is a host's priority.
	rank  func(*Host) uint8
	names []string // the instances that are looked after
	// first is one address of each, by name.
	first map[string]netip.Addr

	hosts  map[*Host]*condition
	unrest time.Time    // the last thing that no orderly host does
	moves  time.Time    // the last thing that may move an address from an unhealthy host
	events [2]time.Time // the last thing of any kind, and the one before it
	rested time.Time    // when a host ended what it does by itself for a minute
	since  map[string]*lasting
	told   map[string]bool
	served map[service]time.Time
	lost   map[netip.Addr]time.Time // when a host last let go of it
}

// service is an address that a host has; served is when it first announced it.
type service struct {
	ip   netip.Addr
	host string
}

// condition is a host's health and since when it has it.
type condition struct {
	health health
	since  time.Time
	aways  []away
}

// away is how long a host's process was being exchanged, and until when.
type away struct {
	until time.Time
	d     time.Duration
}

// lasting is what may not last; zero is what is not so.
type lasting struct {
	overlap, gap, idle time.Time
	leaves             bool      // one of those that overlap was leaving
	best               string    // of those that overlap the one that the others have to give way to,
	turned             time.Time // and since when
	prompt             time.Time // when a healthy host must have it that an owner hands it to
}

// promise makes them watch.
func promise(c *Cluster, w *watch, ask func(*Host) health, calm func() bool, recovery func(*Host) time.Duration, rank func(*Host) uint8) *promises {
	p := &promises{c: c, w: w, ask: ask, calm: calm, quiet: calm, recovery: recovery, rank: rank, hosts: map[*Host]*condition{}, since: map[string]*lasting{}, told: map[string]bool{}, served: map[service]time.Time{}, lost: map[netip.Addr]time.Time{}, first: map[string]netip.Addr{}}
	for _, h := range c.hosts {
		p.hosts[h] = &condition{since: c.now}
	}
	p.unrest, p.moves = c.now, c.now
	c.Owners.Changed = p.owned
	w.moved = func(*Host, string) { p.look() }
	observe := c.Observe
	c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		observe(h, ev, actions)
		p.announced(h, actions)
		p.check()
	}
	return p
}

// look after: one address of an instance stands for all of it.
func (p *promises) lookAfter(instances []node.Instance, b bounds) {
	p.names, p.bound = nil, b
	clear(p.first)
	for _, i := range instances {
		p.names = append(p.names, i.Name)
		p.first[i.Name] = i.Addresses[0].IP
		if p.since[i.Name] == nil {
			p.since[i.Name] = &lasting{}
		}
	}
	p.look()
}

// disturbed says that something happened to the link or a host that takes its time to heal.
func (p *promises) disturbed() {
	p.unrest = p.c.now
	p.mayMove()
}

// mayMove says that something happened for which an unhealthy host may lose an address to another one.
func (p *promises) mayMove() {
	p.moves = p.c.now
	p.news()
}

// news says that something happened that may have changed a host's health.
func (p *promises) news() {
	p.w.masters = 0
	if p.events[0] != p.c.now {
		p.events = [2]time.Time{p.c.now, p.events[0]}
	}
	for _, s := range p.since {
		s.prompt = time.Time{}
	}
	p.look()
}

// look takes note of what is so now, and since when.
func (p *promises) look() {
	for _, h := range p.c.hosts {
		if now := p.ask(h); p.hosts[h].health != now {
			*p.hosts[h] = condition{now, p.c.now, p.hosts[h].aways}
		}
	}
	for _, name := range p.names {
		owners := p.c.Owners.Now(p.first[name])
		s := p.since[name]
		keep(&s.overlap, len(owners) > 1, p.c.now)
		s.leaves = len(owners) > 1 && (s.leaves || p.anyLeaves(name, owners))
		if best := p.best(owners); s.best != best {
			s.best, s.turned = best, p.c.now
		}
		keep(&s.gap, len(owners) == 0, p.c.now)
		keep(&s.idle, p.isIdle(name, owners), p.c.now)
		p.expect(name, s, owners)
	}
}

// exchanged hears that a host's process goes on for another one.
func (p *promises) exchanged(h *Host) {
	c := p.hosts[h]
	c.aways = append(c.aways, away{p.c.now, h.now().Sub(h.sealedAt)})
}

// missed is how much longer than others an owner needs to hear the best one: its process may have missed an advert with each exchange.
func (p *promises) missed(name, best string, after time.Time) (most time.Duration) {
	for _, owner := range p.c.Owners.Now(p.first[name]) {
		missed := time.Duration(0)
		for _, a := range p.hosts[p.c.Host(owner)].aways {
			if a.until.After(after) && owner != best {
				missed += p.bound.interval
			}
		}
		most = max(most, missed)
	}
	return most
}

// best is the owner of several that the others have to give way to, once they hear an advert that says so.
func (p *promises) best(owners []string) (best string) {
	for k, name := range owners {
		if k == 0 || len(owners) > 1 && p.rank(p.c.Host(name)) >= p.rank(p.c.Host(best)) { // they are in the order of their addresses
			best = name
		}
	}
	return best
}

// expect looks for the plainest of handovers: an owner has just fallen ill, all else has been as it is for long enough, and a
// healthy host takes part. That one is master in no time. (Where an ordinary advert overtakes the offer, the backup learns the
// ordinary interval again, and the move takes the skew that goes with it.)
func (p *promises) expect(name string, s *lasting, owners []string) {
	if s.idle.IsZero() {
		s.prompt = time.Time{}
		return
	}
	if !p.c.Network.InOrder || len(owners) != 1 || !s.idle.Equal(p.c.now) || !s.prompt.IsZero() || p.c.now.Sub(later(p.events[1], p.unrest)) <= p.bound.gap() {
		return
	}
	owner := p.c.Host(owners[0])
	state, since := p.w.state(owner, name)
	settled := p.c.now.Sub(since) > p.bound.gap() || since.Equal(p.c.now)
	if p.hosts[owner].since.Equal(p.c.now) && settled && state != node.Backup && p.c.now.Sub(p.waits(name, time.Time{})) > p.bound.gap() {
		s.prompt = p.c.now.Add(p.bound.prompt())
	}
}

// anyLeaves says whether one of an instance's owners is leaving, perhaps under the VRID that the instance had before a reload.
func (p *promises) anyLeaves(name string, owners []string) bool {
	return slices.ContainsFunc(owners, func(owner string) bool {
		h := p.c.Host(owner)
		return h.node != nil && p.w.host(h).leaves(p.first[name])
	})
}

// overlaps says whether two hosts have an address.
func (p *promises) overlaps() bool {
	return slices.ContainsFunc(p.names, func(name string) bool { return !p.since[name].overlap.IsZero() })
}

// keep remembers since when something is so.
func keep(since *time.Time, is bool, now time.Time) {
	switch {
	case !is:
		*since = time.Time{}
	case since.IsZero():
		*since = now
	}
}

// isIdle says whether only unhealthy hosts have an address while a healthy one waits.
func (p *promises) isIdle(name string, owners []string) bool {
	for _, owner := range owners {
		if p.hosts[p.c.Host(owner)].health != ill {
			return false
		}
	}
	return len(owners) > 0 && !p.waits(name, time.Time{}).IsZero()
}

// waits says since when a healthy backup has been waiting, from an instant on; zero if there is none. Of one that ought to be backup it may be
// an instant that is still to come. What a process that goes on for another one did not hear meanwhile is no silence: it waits for as much longer.
func (p *promises) waits(name string, after time.Time) (since time.Time) {
	for _, h := range p.c.hosts {
		from, isBackup := p.backup(h, name)
		if c := p.hosts[h]; c.health == well && isBackup {
			from = later(after, later(c.since, from))
			for _, a := range c.aways {
				if a.until.After(from) {
					from = from.Add(a.d)
				}
			}
			if since.IsZero() || from.Before(since) {
				since = from
			}
		}
	}
	if since.IsZero() {
		return since
	}
	return later(since, p.joins(name))
}

// listens says how much longer than its timer a healthy backup waits at least: one that was master and woke late listens first.
func (p *promises) listens(name string) time.Duration {
	for _, h := range p.c.hosts {
		if _, isBackup := p.backup(h, name); !isBackup || p.hosts[h].health != well {
			continue
		}
		i := p.w.host(h).instances[name]
		if i == nil || !i.stepped || i.since.Before(h.resumed) || i.since.Sub(h.resumed) > p.bound.interval {
			return 0
		}
	}
	return p.bound.listens()
}

// joins says when a healthy host that serves the rest of a group joined it with an instance, or may be about to: one fate has the others wait
// for that host while they hear it on the rest. Zero if there is none.
func (p *promises) joins(name string) (at time.Time) {
	if !p.groups {
		return at
	}
	for _, h := range p.c.hosts {
		rest := func(other string) bool { state, _ := p.w.state(h, other); return other != name && serves(state) }
		if p.hosts[h].health != well || !slices.ContainsFunc(p.names, rest) {
			continue
		}
		if state, _ := p.w.state(h, name); serves(state) || state == node.Backup {
			at = later(at, p.w.joined(h, name))
		} else {
			at = later(at, later(p.hosts[h].since, p.unrest).Add(p.recovery(h)))
		}
	}
	return at
}

// backup says since when an instance of a host is backup, with all of its group: one that waits for its link_delay keeps the others
// from rising in good health. A host that is well ought to be backup once it had the time to recover, whatever its node says.
func (p *promises) backup(h *Host, name string) (since time.Time, is bool) {
	names := []string{name}
	if p.groups {
		names = p.names
	}
	out := false
	for _, each := range names {
		switch state, from := p.w.state(h, each); {
		case serves(state):
			return time.Time{}, false
		case state == node.Backup:
			since = later(since, from)
		default:
			out = true
		}
	}
	if c := p.hosts[h]; out && c.health == well {
		return later(c.since, p.unrest).Add(p.recovery(h)), true
	}
	return since, !out
}

// owned hears that a host got or lost an address.
func (p *promises) owned(ip netip.Addr, host string, owners []string) {
	h := p.c.Host(host)
	if h.node == nil && len(p.c.cuts) == 0 {
		p.unrest, p.moves = p.c.now, p.c.now // a dead process's lease ran out: until now there were two, or its kernel answered probes
	}
	name := ""
	for n, first := range p.first {
		if first == ip {
			name = n
		}
	}
	if name == "" || !slices.Contains(p.names, name) {
		return
	}
	lost := !slices.Contains(owners, host) && p.settled(service{ip, host})
	delete(p.served, service{ip, host})
	p.look()
	if lost && len(owners) > 0 && !p.isServed(ip, owners) && !p.turned(owners) && p.relieves(name, h) {
		p.broken(name, "early", "%s let go of %s before any of %v had announced it", host, ip, owners)
	}
	crossed := p.c.now.Sub(p.lost[ip]) <= maxLinger // with another one's letting go: they handed over to each other
	if !slices.Contains(owners, host) {
		p.lost[ip] = p.c.now
	}
	if lost && len(owners) == 0 && !crossed && p.relieves(name, h) {
		p.broken(name, "move", "%s let go of %s before another host had it", host, ip)
	}
	rested := p.c.now.Sub(p.had(ip)) > p.bound.overlap(true) // else nobody had it, and several may try
	if rested && p.allIll() && p.c.now.Sub(p.restless()) > p.bound.rest() && p.calm() {
		p.c.Fault("%v have %s after a change of %s, although every host is unhealthy and nothing happened for %s", owners, ip, host, p.c.now.Sub(p.restless()))
	}
	p.needless(name, ip, host, owners)
}

// settled says whether a host served an address for so long, and the cluster has been calm for so long, that its letting go is an
// orderly move. Two that hand over to each other within moments may leave nobody: with a virtual MAC neither waits for the other.
func (p *promises) settled(s service) bool {
	long := p.bound.gap() + maxLinger
	began := p.served[s]
	return !began.IsZero() && p.c.now.Sub(began) > maxLinger && p.c.now.Sub(p.unrest) > long
}

// had says since when somebody has the address without a gap, up to the change of now.
func (p *promises) had(ip netip.Addr) time.Time {
	periods := p.c.Owners.history[ip]
	since := p.c.now
	for k := len(periods) - 2; k >= 0 && len(periods[k].Hosts) > 0; k-- {
		since = periods[k].From
	}
	return since
}

// announced takes note of who spoke for what it has.
func (p *promises) announced(h *Host, actions []node.Action) {
	for _, a := range actions {
		if a, ok := a.(node.Announce); ok {
			for _, ip := range a.IPs {
				if s := (service{ip, h.Name}); h.Has(ip) && p.served[s].IsZero() {
					p.served[s] = p.c.now
				}
			}
		}
	}
}

// isServed says whether one of the hosts announced the address since it has it.
func (p *promises) isServed(ip netip.Addr, hosts []string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool { return !p.served[service{ip, h}].IsZero() })
}

// relieves says whether another host has taken part for long enough to take over from one that goes in order. An unhealthy one
// must have heard the first of its two tries, which one whose process is exchanged just then does not; a healthy one either, which one that is
// exchanged twice may not. Where hosts sign, an offer that
// the priority 0 after it overtakes is refused as older, and the move takes the skew of an ordinary interval.
func (p *promises) relieves(name string, from *Host) bool {
	if p.signed && !p.c.Network.InOrder {
		return false
	}
	for _, h := range p.c.hosts {
		long := p.c.now.Sub(later(p.joined(h, name), p.hosts[h].since))
		listened := min(long, p.c.now.Sub(h.resumed))
		if c := p.hosts[h]; h != from && (c.health == well && long > p.bound.gap() && !p.mayMissTries(h) || c.health == ill && listened > p.bound.rest()) {
			return true
		}
	}
	return false
}

// joined says since when an instance of a host takes part, with all of its group.
func (p *promises) joined(h *Host, name string) (since time.Time) {
	since = p.w.joined(h, name)
	for _, other := range p.names {
		if p.groups {
			since = later(since, p.w.joined(h, other))
		}
	}
	return since
}

// allIll says whether every host that takes part is unhealthy, and there is one.
func (p *promises) allIll() bool {
	some := false
	for _, h := range p.c.hosts {
		switch p.hosts[h].health {
		case well:
			return false
		case ill:
			some = true
		case unknown:
			if h.node != nil {
				return false
			}
		}
	}
	return some
}

// restless is the last instant at which something happened that may move an address among unhealthy hosts: they fell ill, or
// their owner went away.
func (p *promises) restless() time.Time {
	t := p.moves
	for _, c := range p.hosts {
		if c.health == ill && c.since.After(t) {
			t = c.since
		}
	}
	return t
}

// check holds what may not last. It is cheap when there is nothing.
func (p *promises) check() {
	now := p.c.now
	for _, name := range p.names {
		s := p.since[name]
		if began := later(s.overlap, later(s.turned, p.unrest)); !s.overlap.IsZero() && now.Sub(began) > p.bound.overlap(s.leaves)+p.missed(name, s.best, began) {
			p.broken(name, "overlap", "%v all have %s for %s although they hear each other", p.c.Owners.Now(p.first[name]), p.first[name], now.Sub(s.overlap))
		}
		if !s.idle.IsZero() {
			if began := later(s.idle, p.unrest); now.Sub(later(began, p.waits(name, began))) > p.bound.idle()+p.listens(name) {
				p.broken(name, "idle", "%v has %s and is unhealthy, a healthy host looks on for %s", p.c.Owners.Now(p.first[name]), p.first[name], now.Sub(s.idle))
			}
		}
		if !s.prompt.IsZero() && now.After(s.prompt) {
			p.broken(name, "prompt", "%v has %s and fell ill %s ago; a healthy host would take it in a moment", p.c.Owners.Now(p.first[name]), p.first[name], now.Sub(s.idle))
		}
		if !s.gap.IsZero() {
			if waits := p.waits(name, later(s.gap, p.unrest)); !waits.IsZero() && now.Sub(waits) > p.bound.gap() {
				p.broken(name, "gap", "nobody has %s for %s although a healthy host is there", p.first[name], now.Sub(s.gap))
			}
		}
	}
	// Each host may rise once for what happened, be pushed aside, and rise again for what comes of that.
	if limit := 3 * len(p.c.hosts) * len(p.names); p.w.masters > limit {
		p.broken("", "livelock", "somebody became master %d times although nothing happened since", p.w.masters)
	}
}

// broken reports a promise that is not kept, once, if the cluster is calm.
func (p *promises) broken(name, what, format string, args ...any) {
	calm := p.calm
	if what == "gap" {
		calm = p.quiet
	}
	if p.told[name+what] || !calm() {
		return
	}
	p.told[name+what] = true
	p.c.Fault(format, args...)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
