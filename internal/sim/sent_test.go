package sim

import (
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// stale checks that what has no meaning later says until when it has one.
func (w *watch) stale(h *Host, until time.Time, most time.Duration, what string) {
	if left := until.Sub(h.now()); left <= 0 || left > most {
		w.c.Fault("%s: the %s is good for %s, want more than nothing and at most %s", h.Name, what, left, most)
	}
}

// serves says whether a host in that state may have the addresses for good.
func serves(s node.State) bool { return s == node.Master || s == node.Leaving }

// sent checks that only who has the addresses speaks for them, had them before the step, or has them after it.
func (w *watch) sent(h *Host, x *watchedHost, a node.Send) {
	i := x.instances[a.Instance]
	if i == nil || i.last == nil {
		return // a removed family that hands over on its own
	}
	w.stale(h, a.Until, i.last.Interval, "advert")
	priority := a.Payload[2]
	mute := i.state == node.Fault && priority == vrrp.PriorityRelease // tries whether adverts leave the host
	if !serves(i.before) && !serves(i.state) && !mute && !i.lingers {
		w.c.Fault("%s sends an advert of priority %d in state %s", h.Name, priority, i.state)
	}
}
