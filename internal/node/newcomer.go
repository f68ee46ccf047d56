package node

import (
	"fmt"
	"time"
)

// newcomerMargin is by how much another master's advert may be late, beyond an interval.
const newcomerMargin = 100 * time.Millisecond

// newcomer is what an instance knows that is to join a running master: one that a reload added to a group. Under its VRID another
// host may be master, and a better one than the group; to claim the addresses beside it would push the whole group aside, and the
// addresses of the others would be nobody's until somebody has missed them. So it listens for an interval first. Where it hears a
// better master, one fate demands that the group hands over to that host; where nobody takes the rest, the rest serves on, and the
// newcomer waits for as long as the better one is heard.
type newcomer struct {
	until   time.Time // listens until then; zero: it does not
	known   bool      // it has listened, or took part until a moment ago
	offered bool      // the group has handed over, or tried to
}

// assessNewcomer keeps an instance out of a running master while it listens.
func (n *Node) assessNewcomer(now time.Time, i *instance, s *standing) {
	c := &i.newcomer
	switch {
	case i.state != Init || i.fate.state != Master:
	case s.cannot != "" || s.pending != "":
		c.until, c.known = time.Time{}, false // it cannot hear yet
	case !c.known:
		if c.until.IsZero() {
			c.until = now.Add(i.cfg.Interval + newcomerMargin)
		}
		s.pending = "listening whether another host is master, before it joins a running one"
		i.why = s.pending
	}
}

// tickNewcomer ends the listening.
func (i *instance) tickNewcomer(now time.Time) {
	if due(now, i.newcomer.until) {
		i.newcomer.until, i.newcomer.known = time.Time{}, true
	}
}

// newcomerHears is an advert for an instance that takes no part yet.
func (n *Node) newcomerHears(now time.Time, m *member, ev Heard) {
	i, f := m.of, m.of.fate
	ours := f.advertises()
	better := ev.Advert.Priority > ours || ev.Advert.Priority == ours && ev.From.Compare(m.source) > 0
	if i.state != Init || i.newcomer.until.IsZero() || !better {
		return
	}
	i.newcomer.until = now.Add(time.Duration(i.cfg.DeadAdverts)*ev.Advert.Interval + newcomerMargin)
	if f.state == Master && !f.doubtful(now) && !i.newcomer.offered {
		i.newcomer.offered = true
		n.handOver(now, f, fmt.Sprintf("%s, master of %s, advertises priority %d", ev.From, i.cfg.Name, ev.Advert.Priority), false)
	}
	n.settle(now, f)
	n.plan(f)
}
