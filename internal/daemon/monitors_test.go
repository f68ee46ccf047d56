package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/checks"
)

// fakeChecker takes its time, also when it is told to end, and counts its runs.
type fakeChecker struct {
	runs    atomic.Int64
	now     *atomic.Int64 // how many of all that share it run at this moment
	most    *atomic.Int64
	lingers time.Duration
	ill     atomic.Bool
}

func (f *fakeChecker) Check(ctx context.Context) error {
	f.runs.Add(1)
	if n := f.now.Add(1); n > f.most.Load() {
		f.most.Store(n)
	}
	defer f.now.Add(-1)
	select {
	case <-time.After(300 * time.Millisecond):
		if f.ill.Load() {
			return errors.New("ill")
		}
		return nil
	case <-ctx.Done():
		time.Sleep(f.lingers)
		return errors.New("told to end")
	}
}

// checking runs monitors of fake checkers in a bubble.
type checking struct {
	*monitors
	now, most atomic.Int64
	mu        sync.Mutex // guards what follows
	last      map[string]checks.Result
}

func newChecking() *checking {
	c := &checking{last: map[string]checks.Result{}}
	c.monitors = newMonitors(func(r checks.Result) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last[r.Check] = r
		c.results.Store(r.Check, r)
	})
	return c
}

// plan is one that adds or changes the named checks and removes others.
func (c *checking) plan(made map[string]*fakeChecker, gone ...string) *plan {
	p := &plan{monitors: map[string]*checks.Monitor{}, gone: gone}
	timing := checks.Timing{Interval: time.Second, Timeout: 900 * time.Millisecond, PendingInterval: time.Second, Rise: 1, Fall: 1}
	for name, f := range made {
		f.now, f.most = &c.now, &c.most
		p.monitors[name] = checks.NewMonitor(name, f, timing, c.report)
	}
	return p
}

// known lists the checks that status would show a result of.
func (c *checking) known() []string {
	names := map[string]bool{}
	c.results.Range(func(name, _ any) bool {
		names[name.(string)] = true
		return true
	})
	return slices.Sorted(maps.Keys(names))
}

// start runs them until the returned function is called.
func (c *checking) start(t *testing.T) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.runAll(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := c.now.Load(); n != 0 {
			t.Errorf("%d checks run after the end", n)
		}
	}
}

func TestReplacedCheckIsNeverRunTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecking()
		c.prepare(c.plan(map[string]*fakeChecker{"nginx": {lingers: time.Second}}))
		end := c.start(t)
		time.Sleep(100 * time.Millisecond) // in the middle of a run
		for range 3 {
			c.replace(c.plan(map[string]*fakeChecker{"nginx": {lingers: time.Second}}))
			time.Sleep(100 * time.Millisecond)
		}
		end()
		if n := c.most.Load(); n != 1 {
			t.Errorf("%d runs at once, want 1", n)
		}
	})
}

func TestUnchangedCheckIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecking()
		same, old, fresh, added := &fakeChecker{}, &fakeChecker{}, &fakeChecker{}, &fakeChecker{}
		c.prepare(c.plan(map[string]*fakeChecker{"same": same, "changed": old, "gone": {}}))
		end := c.start(t)
		time.Sleep(500 * time.Millisecond)
		if diff := cmp.Diff([]string{"changed", "gone", "same"}, c.known()); diff != "" {
			t.Errorf("known (-want +got):\n%s", diff)
		}
		before, oldRuns := same.runs.Load(), old.runs.Load()
		c.replace(c.plan(map[string]*fakeChecker{"changed": fresh, "added": added}, "gone"))
		synctest.Wait()
		if same.runs.Load() != before {
			t.Error("a check that did not change was run again at once")
		}
		if fresh.runs.Load() != 1 || added.runs.Load() != 1 {
			t.Error("the first run of a new check does not come at once")
		}
		time.Sleep(10 * time.Second)
		if n := old.runs.Load(); n != oldRuns {
			t.Errorf("the old form of a changed check ran %d times after it was replaced", n-oldRuns)
		}
		if n := same.runs.Load(); n < 8 {
			t.Errorf("the check that did not change ran %d times in 10 s", n)
		}
		if diff := cmp.Diff([]string{"added", "changed", "same"}, c.known()); diff != "" {
			t.Errorf("known (-want +got):\n%s", diff)
		}
		end()
	})
}

func TestReloadBeforeTheChecksBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecking()
		old, fresh, gone := &fakeChecker{}, &fakeChecker{}, &fakeChecker{}
		c.prepare(c.plan(map[string]*fakeChecker{"nginx": old, "gone": gone}))
		c.replace(c.plan(map[string]*fakeChecker{"nginx": fresh}, "gone"))
		end := c.start(t)
		synctest.Wait()
		end()
		if old.runs.Load() != 0 || gone.runs.Load() != 0 || fresh.runs.Load() != 1 {
			t.Errorf("runs: old %d, gone %d, new %d; want 0, 0, 1", old.runs.Load(), gone.runs.Load(), fresh.runs.Load())
		}
	})
}

func TestReloadAfterTheEndStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecking()
		c.start(t)()
		late := &fakeChecker{}
		c.replace(c.plan(map[string]*fakeChecker{"late": late}))
		time.Sleep(time.Second)
		if n := late.runs.Load(); n != 0 {
			t.Errorf("%d runs after the end", n)
		}
	})
}
