package node

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of waking late.
const (
	// shortSleep is a gap after which a master that hears nobody goes on.
	shortSleep = time.Second
	// listenMargin is what a master that woke late listens beyond one interval.
	listenMargin = 100 * time.Millisecond
)

// doubtful says whether an instance that is master let so much time pass since its last advert that a backup may have taken over. Until it
// has looked, it sends, announces, renews and repairs nothing.
func (i *instance) doubtful(now time.Time) bool {
	return i.state == Master && now.Sub(i.advertised) > i.deadInterval(i.cfg)
}

// deadInterval is how long the others wait for an advert of this host before one of them may take over: what the configuration
// says, or what an earlier one said with which the last advert was sent.
func (i *instance) deadInterval(cfg *Instance) time.Duration {
	return max(i.formerDead, cfg.DeadInterval())
}

// doubtful says whether any instance is, or all are.
func (f *fate) doubtful(now time.Time) bool {
	return f.overslept(now) || slices.ContainsFunc(f.instances, func(i *instance) bool { return i.doubtful(now) })
}

// overslept says whether the fate woke late in a handover: whoever was told to take over has, long ago. The leases are renewed
// meanwhile, so there is always something that was due. What was overdue when it began says nothing.
func (f *fate) overslept(now time.Time) bool {
	asleep := now.Add(-shortSleep)
	switch {
	case f.leave != nil:
		return due(asleep, f.due) && due(asleep, f.leave.began)
	case f.linger != nil:
		return due(asleep, f.due) && due(asleep, f.linger.heard)
	}
	return false
}

// wake is a doubtful master whose sockets were read dry without another master's advert in them. After a short gap it goes
// on, and announces again; after a longer one it lets go and listens.
func (n *Node) wake(now time.Time, f *fate) {
	if f.overslept(now) {
		why := fmt.Sprintf("woke late in a handover: %s after what was due, so another host may be master", now.Sub(f.due).Round(time.Millisecond))
		if reason, departs := n.departs(f); departs {
			n.quit(now, f, reason+"; "+why)
		} else {
			n.listen(now, f, why, "")
		}
		return
	}
	for _, i := range f.instances {
		if gap := now.Sub(i.advertised); i.doubtful(now) && gap >= shortSleep {
			n.listen(now, f, fmt.Sprintf("woke late: no advert was sent for %s, so another host may be master", gap.Round(time.Millisecond)), "")
			return
		}
	}
	for _, i := range f.instances {
		switch doubtful := i.doubtful(now); {
		case doubtful:
			gap := now.Sub(i.advertised)
			n.do(Warned{i.cfg.Name, fmt.Sprintf("woke late: no advert was sent for %s; nobody else was heard", gap.Round(time.Millisecond))})
			n.take(now, i)
		case i.holding && !i.confirmed: // its own interval is longer; what it lost, or was given, meant nothing while another one was doubtful
			n.take(now, i)
		}
	}
}

// listen makes a master backup that becomes master again at once when it hears nobody; to is who was heard already.
func (n *Node) listen(now time.Time, f *fate, why, to string) {
	for _, i := range f.instances {
		n.release(now, i, cmp.Or(to, i.successor()))
	}
	f.leave, f.linger = nil, nil
	f.offers.reset()
	for m := range f.members() {
		m.machine.Step(now, vrrp.StepDown{Why: why, Listen: m.of.cfg.Interval + listenMargin})
	}
	n.enter(now, f, Backup, why)
}

// woke takes note of a sleep that the monotonic clock did not count (suspend). Whoever became doubtful by it looks at the next
// Elapsed, which is due at once.
func (n *Node) woke(now time.Time, gap time.Duration) {
	for _, f := range n.fates {
		for _, i := range f.instances {
			i.advertised = i.advertised.Add(-gap)
			for _, m := range i.members {
				m.quitter.at = m.quitter.at.Add(-gap)
			}
		}
		if f.leave != nil {
			f.leave.began, f.leave.until = f.leave.began.Add(-gap), f.leave.until.Add(-gap)
		}
		if f.linger != nil {
			f.linger.heard, f.linger.until = f.linger.heard.Add(-gap), f.linger.until.Add(-gap)
		}
		n.plan(f)
		if f.doubtful(now) {
			f.woken = now
			n.plan(f)
		}
	}
}
