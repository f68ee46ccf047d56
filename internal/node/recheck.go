package node

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// maxRecheck bounds how long a backup waits for its own checks while a master below it serves.
const maxRecheck = time.Minute

// recheck is a backup that asks its own weighing checks before it takes over from a master that fell below it. The master serves on,
// so nothing is lost by asking; and what weighs on every host alike, which this host may only not have noticed yet, moves nothing.
type recheck struct {
	at   time.Time // when they were asked; zero: they were not
	left []string  // those that have not answered
	ends time.Time // when the fate goes on without the answers; zero: it waits for none
}

// unsure says whether a fate with a master that fell below it still waits for a check's answer. At first it asks. It waits no longer than
// until that master is given up as silent.
func (n *Node) unsure(now time.Time, f *fate, why string, silent time.Time) bool {
	r, weighing := &f.recheck, f.weighing()
	if r.at.IsZero() && len(weighing) > 0 {
		r.at, r.left = now, slices.Clone(weighing)
		n.do(Recheck{weighing})
		f.explain("asks its weighing checks once more before it takes over: " + why)
	}
	r.left = slices.DeleteFunc(r.left, func(name string) bool { return !slices.Contains(weighing, name) })
	r.ends = time.Time{}
	if len(r.left) > 0 {
		r.ends = earliest(r.at.Add(maxRecheck), silent)
	}
	if due(now, r.ends) {
		r.left, r.ends = nil, time.Time{}
	}
	return !r.ends.IsZero()
}

// endRecheck is a fate that need not be sure any more, whether the master is above it again or gives up.
func (f *fate) endRecheck() {
	if !f.recheck.at.IsZero() {
		f.explain(f.describe("listening"))
	}
	f.recheck = recheck{}
}

// outranked says when the masters that fell below the fate are given up, if none of their adverts comes any more; zero: there is none.
// The one that was heard last decides, as without any weight. A member that hears nobody counts for nothing here: its link may be cut,
// and the master that another member hears serves on.
func (f *fate) outranked() (silent time.Time) {
	for m := range f.members() {
		if cause, _, ok := m.machine.Ready(); !ok || cause != vrrp.Outranked {
			continue
		}
		if down := m.machine.Peer().Heard.Add(m.machine.Config().MasterDown(m.machine.Priority(), m.machine.Learned())); down.After(silent) {
			silent = down
		}
	}
	return silent
}

// weighing are the checks that change the priority of the fate's instances.
func (f *fate) weighing() (names []string) {
	for _, i := range f.instances {
		if i.cfg.Priority == vrrp.PriorityOwner {
			continue // it takes no weights
		}
		for _, name := range i.checks {
			if i.cfg.Checks[name].OnFailure == Weigh && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// rechecked takes an answer. Of a run that began before the question it is none.
func (n *Node) rechecked(now time.Time, ev Rechecked) {
	for _, f := range n.fates {
		at := slices.Index(f.recheck.left, ev.Check)
		if at < 0 || ev.Began.Before(f.recheck.at) {
			continue
		}
		f.recheck.left = slices.Delete(f.recheck.left, at, at+1)
		n.settle(now, f)
		n.plan(f)
	}
}
