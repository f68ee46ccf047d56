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
}

// unsure says whether the fate still waits for a check's answer. At first it asks. Who falls silent meanwhile is waited for no longer
// than any silent master.
func (n *Node) unsure(now time.Time, f *fate, why string) bool {
	weighing := f.weighing()
	if f.recheck.at.IsZero() {
		f.recheck = recheck{now, weighing}
		if len(weighing) > 0 {
			n.do(Recheck{slices.Clone(weighing)})
			f.explain("asks its weighing checks once more before it takes over: " + why)
		}
	}
	f.recheck.left = slices.DeleteFunc(f.recheck.left, func(name string) bool { return !slices.Contains(weighing, name) })
	if due(now, f.recheckEnds()) {
		f.recheck.left = nil
	}
	return len(f.recheck.left) > 0
}

// endRecheck is a fate that need not be sure any more, whether the master is above it again or gives up.
func (f *fate) endRecheck() {
	if len(f.recheck.left) > 0 {
		f.explain(f.describe("listening"))
	}
	f.recheck = recheck{}
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

// recheckEnds is when the fate goes on without the answers; zero: it waits for none.
func (f *fate) recheckEnds() time.Time {
	if len(f.recheck.left) == 0 {
		return time.Time{}
	}
	ends := f.recheck.at.Add(maxRecheck)
	for m := range f.members() {
		if heard := m.machine.Peer().Heard; !heard.IsZero() {
			ends = earliest(ends, heard.Add(m.machine.Config().MasterDown(m.machine.Priority(), m.machine.Learned())))
		}
	}
	return ends
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
