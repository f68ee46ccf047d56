package node

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// newcomerMargin is by how much another master's advert may be late, beyond an interval.
const newcomerMargin = 100 * time.Millisecond

// earlyRelease is by how much the second priority 0 of a master that goes may come before the wait for the first one is over.
const earlyRelease = 10 * time.Millisecond

// newcomer is what an instance knows that is to join a running master: one that a reload added to a group, or put into another.
// Under its VRID another host may be master, and a better one than the group; to claim the addresses beside it would push the
// whole group aside, and the addresses of the others would be nobody's until somebody has missed them. So it listens for an
// interval first. Where it hears a better master, one fate demands that the group hands over to that host; where nobody takes the
// rest, the rest serves on, and the newcomer waits for as long as the better one is heard. The newcomers of a group that have another
// master beside them join together, or not yet.
type newcomer struct {
	until   map[*member]time.Time    // each listens until then at first; none: it does not
	masters map[*member]*otherMaster // whom each hears
	known   bool                     // it has listened, or took part until a moment ago
	offered bool                     // the group has handed over, or tried to
}

// otherMaster is another host that is master under a newcomer's VRID.
type otherMaster struct {
	who      netip.Addr
	priority uint8
	interval time.Duration
	better   bool      // than the group, or as unhealthy
	until    time.Time // then it is taken for gone
	left     time.Time // when its first priority 0 came, without an advert since; zero: none did
}

// assessNewcomer keeps an instance out of a running master while it listens, or waits.
func (n *Node) assessNewcomer(now time.Time, i *instance, s *standing) {
	c := &i.newcomer
	switch {
	case i.state != Init || i.fate.state != Master && i.fate.state != Leaving:
	case s.cannot != "" || s.pending != "":
		c.until, c.masters, c.known = nil, nil, false // it cannot hear yet
	case !c.known:
		if i.listensUntil().IsZero() {
			for _, m := range i.members {
				c.listen(m, now.Add(m.first()))
			}
		}
		s.pending = i.waitsFor()
		i.why = s.pending
	case i.wouldSplit():
		s.pending = "another host is master, and perhaps a better one of the rest that is to join"
		i.why = s.pending
	}
}

// listen has a virtual router listen until then.
func (c *newcomer) listen(m *member, until time.Time) {
	if c.until == nil {
		c.until = map[*member]time.Time{}
	}
	c.until[m] = until
}

// first is how long a virtual router listens at first.
func (m *member) first() time.Duration { return m.of.cfg.Interval + newcomerMargin }

// waitsFor says for what a newcomer waits that has not listened.
func (i *instance) waitsFor() string {
	for _, m := range i.members {
		switch o := i.newcomer.masters[m]; {
		case o == nil || !o.better:
		case o.priority == vrrp.PriorityRelease:
			return fmt.Sprintf("%s offers its addresses: waiting until it is master again, or gone", o.who)
		case o.priority == vrrp.PriorityIll:
			return fmt.Sprintf("%s is master (priority %d), as unhealthy as this group: waiting while it is", o.who, o.priority)
		default:
			return fmt.Sprintf("%s is master (priority %d), and better than this group: waiting while it is", o.who, o.priority)
		}
	}
	return "listening whether another host is master, before it joins a running one"
}

// wouldSplit says whether a newcomer has another master beside it that is no better than the group, while another newcomer of the group still
// listens, or waits for one that is. To push the one aside alone would leave to nobody what that host has besides, and gives up with it.
func (i *instance) wouldSplit() bool {
	return len(i.newcomer.masters) > 0 && slices.ContainsFunc(i.fate.instances, func(other *instance) bool {
		return other.state == Init && !other.newcomer.known
	})
}

// listensUntil is when the last virtual router has listened: under each another host may be a better master. Zero: none listens.
func (i *instance) listensUntil() (last time.Time) {
	for _, m := range i.members {
		if until := i.newcomer.until[m]; until.After(last) {
			last = until
		}
		if o := i.newcomer.masters[m]; o != nil && o.better && o.until.After(last) {
			last = o.until
		}
	}
	return last
}

// tickNewcomer ends the listening, and forgets who is gone.
func (i *instance) tickNewcomer(now time.Time) {
	c := &i.newcomer
	ends := due(now, i.listensUntil())
	maps.DeleteFunc(c.masters, func(_ *member, o *otherMaster) bool { return due(now, o.until) })
	if ends {
		c.until, c.known = nil, true
	}
}

// newcomerHears is an advert for an instance that takes no part yet. An early one may be an old one: it is a reason to listen on, and
// none to hand over.
func (n *Node) newcomerHears(now time.Time, m *member, ev Heard, early bool) {
	i, f := m.of, m.of.fate
	p := vrrp.Peer{Address: ev.From, Priority: ev.Advert.Priority, Interval: ev.Advert.Interval, Heard: now}
	c := &i.newcomer
	if early {
		p.Interval = max(p.Interval, i.cfg.Interval) // an offer's is short, and may be an old one
	}
	if i.state != Init || i.listensUntil().IsZero() && !c.known {
		return
	}
	if p.Priority == vrrp.PriorityRelease {
		if !early {
			c.released(now, m, p)
		}
		n.plan(f)
		return
	}
	better := m.defersTo(p, f.advertises())
	if early && !better {
		return
	}
	c.hears(m, p, better)
	leaves := vrrp.IsOffer(ev.Advert) && i.cfg.Interval > ev.Advert.Interval // it advertises what it leaves behind
	if better && p.Priority != vrrp.PriorityIll && f.state == Master && !f.doubtful(now) && !c.offered && !early && !leaves {
		c.offered = true
		n.handOver(now, f, i.better(p), false)
	}
	n.settle(now, f)
	n.plan(f)
}

// hears takes note of another master. A lesser one beside a better one tells nothing. Where the better one fell a third one may be better still,
// and about to push it aside.
func (c *newcomer) hears(m *member, p vrrp.Peer, better bool) {
	was := c.masters[m]
	if was != nil && was.better && !better && was.who != p.Address {
		return
	}
	c.beside(m, &otherMaster{who: p.Address, priority: p.Priority, interval: p.Interval, better: better, until: m.of.missed(p)})
	switch {
	case better:
		c.known = false // who has listened may have to wait still before it joins
	case was != nil && was.better:
		c.listen(m, p.Heard.Add(m.first()))
	}
}

// beside is the other master that a virtual router has heard.
func (c *newcomer) beside(m *member, o *otherMaster) {
	if c.masters == nil {
		c.masters = map[*member]*otherMaster{}
	}
	c.masters[m] = o
}

// released is a priority 0 of another master. Who is healthy waits no longer than a backup; who is not waits, as a backup does, for
// one that comes when nobody took the first offer (see vrrp's releasedAgain). Until then that master is silent, also on a faster link.
func (c *newcomer) released(now time.Time, m *member, p vrrp.Peer) {
	ill := m.of.fate.standing.priority() == vrrp.PriorityIll
	offered := now.Add(m.of.fate.leaveWait() + newcomerMargin)
	switch o := c.masters[m]; {
	case o != nil && o.who != p.Address:
	case !ill:
		if o != nil {
			p.Interval = o.interval // an offer's, which its other backups have learned
		}
		c.ends(m, now.Add(m.skew(p.Interval)+newcomerMargin)) // a better backup comes before that
	case o == nil && c.known: // it repeats what ended the wait
	case o == nil: // what it is else is not known
		c.hears(m, p, true)
		c.masters[m].left, c.masters[m].until = now, offered
		c.ends(m, offered)
	case o.left.IsZero():
		o.left = now
		if o.until.Before(offered) {
			o.until = offered
		}
	case now.Sub(o.left) >= m.machine.Config().LeaveWait()-earlyRelease:
		c.ends(m, now)
	}
}

// skew is the group's Skew_Time at another master's interval.
func (m *member) skew(interval time.Duration) time.Duration {
	cfg := m.machine.Config()
	return cfg.MasterDown(m.of.fate.standing.priority(), interval) - time.Duration(cfg.DeadAdverts)*interval
}

// ends has a virtual router listen no longer than that: whoever is better would have relieved who is gone by then.
func (c *newcomer) ends(m *member, at time.Time) {
	if until := c.until[m]; until.After(at) {
		c.until[m] = at
	}
	if o := c.masters[m]; o != nil {
		o.until = earliest(o.until, at)
	}
}

// heed has a master hand over that other instances are to join, where one of them has heard a better master already: it is a newcomer that has
// listened. Better is who is better than the group, whose priority is the lowest of all: the instance's own does not count. Who is
// unhealthy cannot tell of one that offers its addresses whether it is better, and waits until that one is master again, or gone.
func (n *Node) heed(now time.Time, f *fate, joins []*instance) {
	better, offers := "", !f.doubtful(now) // else it looks first, and the next advert of the better one tells
	ours := f.standing.priority()
	for _, i := range joins {
		for _, m := range i.members {
			// Whom it followed is not whom it heard last where a lesser one advertises, too.
			for _, p := range []vrrp.Peer{m.machine.Followed(), m.machine.Peer()} {
				switch alive := now.Sub(p.Heard) <= time.Duration(i.cfg.DeadAdverts)*p.Interval; {
				case !alive:
				case p.Priority == vrrp.PriorityRelease:
					if ours == vrrp.PriorityIll {
						i.newcomer.hears(m, p, true)
						i.newcomer.masters[m].left = p.Heard
					}
				case m.defersTo(p, ours):
					i.newcomer.hears(m, p, true)
					if p.Priority != vrrp.PriorityIll {
						i.newcomer.offered = offers
						better = cmp.Or(better, i.better(p))
					}
				}
			}
		}
	}
	if f.state == Master && offers && better != "" {
		n.handOver(now, f, better, false)
	}
}

// defersTo says whether a newcomer waits for another master, at a priority of ours. What an unhealthy one has rests there for who is unhealthy too:
// which of them has the higher address may differ from link to link.
func (m *member) defersTo(p vrrp.Peer, ours uint8) bool {
	return p.Priority > ours || p.Priority == ours && (ours == vrrp.PriorityIll || p.Address.Compare(m.source) > 0)
}

// yields has a master hand over to one of its own priority that is master beside it now, while a newcomer of its group waits for a better one of
// that priority, which the addresses alone make better. It joined here, too: who of both gives way by the address on this link alone
// gives up what it has on the other.
func (n *Node) yields(now time.Time, m *member, ev Heard) {
	f := m.of.fate
	if f.state != Master || ev.Advert.Priority != f.advertises() || ev.Advert.Priority == vrrp.PriorityIll || f.doubtful(now) {
		return
	}
	for waiting := range f.members() {
		if o := waiting.of.newcomer.masters[waiting]; o != nil && waiting.of.state == Init && o.better && o.priority == ev.Advert.Priority {
			n.handOver(now, f, fmt.Sprintf("%s and %s advertise its priority %d, and one of them has the higher address", o.who, ev.From, o.priority), false)
			return
		}
	}
}

// missed is when a newcomer takes a master for gone.
func (i *instance) missed(p vrrp.Peer) time.Time {
	return p.Heard.Add(time.Duration(i.cfg.DeadAdverts)*p.Interval + newcomerMargin)
}

// better names a master that is better than the group.
func (i *instance) better(p vrrp.Peer) string {
	return fmt.Sprintf("%s, master of %s, advertises priority %d", p.Address, i.cfg.Name, p.Priority)
}

// restore takes back what a newcomer knows. It heard nobody while it was deaf.
func (c *newcomer) restore(members []*member, s *SealedInstance, deaf time.Duration) {
	c.known, c.offered = s.Listened, s.Offered
	for k, m := range members {
		x := &s.Members[k]
		if !x.Listens.IsZero() {
			c.listen(m, x.Listens.Add(deaf))
		}
		if o := x.Other; o.Who.IsValid() {
			c.beside(m, &otherMaster{o.Who, o.Priority, o.Interval, o.Better, o.Until.Add(deaf), o.Left})
		}
	}
}
