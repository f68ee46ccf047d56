package daemon

import (
	"sync"
	"time"

	"github.com/understudy-ha/understudy/checks"
)

// rechecks are the checks of which the node wants to know what a run says that begins after it asked.
type rechecks struct {
	due chan struct{} // some were asked for; room for one, since many wishes are one

	mu    sync.Mutex           // guards what follows; held for moments
	asked map[string]time.Time // by check: when, at the latest wish
}

func newRechecks() rechecks {
	return rechecks{due: make(chan struct{}, 1), asked: map[string]time.Time{}}
}

// ask wants the named checks run at once. It never waits.
func (a *rechecks) ask(names []string) {
	a.mu.Lock()
	for _, name := range names {
		a.asked[name] = time.Now()
	}
	a.mu.Unlock()
	select {
	case a.due <- struct{}{}:
	default:
	}
}

// wanted says whether a check was asked for and has not answered.
func (a *rechecks) wanted(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.asked[name].IsZero()
}

// answers says whether a result is what somebody waits for, who then waits no more: its run began late enough, and the verdict is not
// about to change.
func (a *rechecks) answers(r checks.Result) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, asked := a.asked[r.Check]
	if !asked || r.Need > 0 || r.Began.Before(at) {
		return false
	}
	delete(a.asked, r.Check)
	return true
}

// forget drops a check that is no longer configured.
func (a *rechecks) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.asked, name)
}
