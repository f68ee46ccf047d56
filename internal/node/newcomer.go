package node

import (
	"cmp"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// newcomerMargin is by how much another master's advert may be late, beyond an interval.
const newcomerMargin = 100 * time.Millisecond

// newcomer is what an instance knows that is to join a running master: one that a reload added to a group, or put into another.
// Under its VRID another host may be master, and a better one than the group; to claim the addresses beside it would push the
// whole group aside, and the addresses of the others would be nobody's until somebody has missed them. So it listens for an
// interval first. Where it hears a better master, one fate demands that the group hands over to that host; where nobody takes the
// rest, the rest serves on, and the newcomer waits for as long as the better one is heard.
type newcomer struct {
	until   map[*member]time.Time // each listens until then; none: it does not
	known   bool                  // it has listened, or took part until a moment ago
	offered bool                  // the group has handed over, or tried to
}

// assessNewcomer keeps an instance out of a running master while it listens.
func (n *Node) assessNewcomer(now time.Time, i *instance, s *standing) {
	c := &i.newcomer
	switch {
	case i.state != Init || i.fate.state != Master:
	case s.cannot != "" || s.pending != "":
		c.until, c.known = nil, false // it cannot hear yet
	case !c.known:
		if i.listensUntil().IsZero() {
			for _, m := range i.members {
				c.listen(m, now.Add(i.cfg.Interval+newcomerMargin))
			}
		}
		s.pending = "listening whether another host is master, before it joins a running one"
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

// listensUntil is when the last virtual router has listened: under each another host may be master. Zero: none listens.
func (i *instance) listensUntil() (last time.Time) {
	for _, m := range i.members {
		if until := i.newcomer.until[m]; until.After(last) {
			last = until
		}
	}
	return last
}

// tickNewcomer ends the listening.
func (i *instance) tickNewcomer(now time.Time) {
	if due(now, i.listensUntil()) {
		i.newcomer.until, i.newcomer.known = nil, true
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
	if i.state != Init || i.listensUntil().IsZero() && !c.known || !m.losesTo(p, f.advertises()) {
		return
	}
	c.listen(m, i.missed(p))
	c.known = false // who has listened may have to wait still before it joins
	if f.state == Master && !f.doubtful(now) && !c.offered && !early {
		c.offered = true
		n.handOver(now, f, i.better(p), false)
	}
	n.settle(now, f)
	n.plan(f)
}

// heed has a master hand over that other instances are to join, where one of them has heard a better master already: it is a newcomer that has
// listened. Better is who is better than the group, whose priority is the lowest of all: the instance's own does not count.
func (n *Node) heed(now time.Time, f *fate, joins []*instance) {
	better, offers := "", !f.doubtful(now) // else it looks first, and the next advert of the better one tells
	for _, i := range joins {
		for _, m := range i.members {
			// Whom it followed is not whom it heard last where a lesser one advertises, too.
			for _, p := range []vrrp.Peer{m.machine.Peer(), m.machine.Followed()} {
				alive := now.Sub(p.Heard) <= time.Duration(i.cfg.DeadAdverts)*p.Interval
				if alive && m.losesTo(p, f.standing.priority()) {
					i.newcomer.listen(m, i.missed(p))
					i.newcomer.known, i.newcomer.offered = false, offers
					better = cmp.Or(better, i.better(p))
				}
			}
		}
	}
	if f.state == Master && offers && better != "" {
		n.handOver(now, f, better, false)
	}
}

// losesTo says whether another host is better at a priority of ours.
func (m *member) losesTo(p vrrp.Peer, ours uint8) bool {
	return p.Priority > ours || p.Priority == ours && p.Address.Compare(m.source) > 0
}

// missed is when a newcomer takes a master for gone.
func (i *instance) missed(p vrrp.Peer) time.Time {
	return p.Heard.Add(time.Duration(i.cfg.DeadAdverts)*p.Interval + newcomerMargin)
}

// better names a master that is better than the group.
func (i *instance) better(p vrrp.Peer) string {
	return fmt.Sprintf("%s, master of %s, advertises priority %d", p.Address, i.cfg.Name, p.Priority)
}
