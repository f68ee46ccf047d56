package notify

import (
	"context"
	"time"
)

// killBound is how long Stop waits for hooks that it has killed. One that hangs in the kernel is not ended by that.
const killBound = time.Second

// Stop ends the Notifier's work: no transition is taken any more, those that wait are dropped, except the ones to Stop,
// whose hooks run to their end, those of different instances at the same time. The end of ctx bounds all of it: what
// still runs then is killed, what has not begun is reported as not run. A hook of an older transition may use the same
// time, but only for stopGrace if a stop hook waits behind it. Stop returns when nothing runs any more, or what runs is not to be ended;
// Run goes on until its own context ends.
func (n *Notifier) Stop(ctx context.Context) {
	n.reportLost(n.beginStop())
	grace := time.NewTimer(stopGrace)
	defer grace.Stop()
	for {
		select {
		case <-n.idle:
			return
		case <-grace.C:
			n.makeWay()
		case <-ctx.Done():
			n.abortAll()
			n.awaitIdle(killBound)
			return
		}
	}
}

// awaitIdle waits until nothing runs any more, up to a bound.
func (n *Notifier) awaitIdle(most time.Duration) {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-n.idle:
	case <-late.C:
	}
}

// beginStop drops what is not to be run any more: all of it if there is no Run to run it.
func (n *Notifier) beginStop() (lost []job, cause error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopping = true
	n.resume()
	for _, l := range n.lanes {
		lost = append(lost, l.queue.drop(n.hooksOf(l.key), func(t Transition) bool {
			return !n.running || t.State != Stop
		})...)
		if !n.running && !l.active {
			n.retire(l)
		}
	}
	n.checkIdle()
	return lost, errStopped
}

// makeWay ends the hooks of older transitions that keep a stop hook waiting.
func (n *Notifier) makeWay() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lanes {
		if l.cancel != nil && !tells(l.batch, Stop) && l.queue.waitsFor(Stop, n.hooksOf(l.key)) {
			l.cancel(errMakeWay)
		}
	}
}

func tells(batch []pending, state State) bool {
	for _, p := range batch {
		if p.State == state {
			return true
		}
	}
	return false
}

func (n *Notifier) abortAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.abort != nil {
		n.abort(errStopOver)
	}
}
