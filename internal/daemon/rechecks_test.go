package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/checks"
)

func TestChecksThatAreAskedForRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecking()
		asked, other, paused := &fakeChecker{}, &fakeChecker{}, &fakeChecker{}
		c.prepare(c.plan(map[string]*fakeChecker{"asked": asked, "other": other}))
		end := c.start(t)
		time.Sleep(400 * time.Millisecond)
		for c.now.Load() != 0 {
			time.Sleep(10 * time.Millisecond)
		}
		before := [2]int64{asked.runs.Load(), other.runs.Load()}
		c.ask([]string{"asked", "gone"})
		synctest.Wait()
		if after := [2]int64{asked.runs.Load(), other.runs.Load()}; after != [2]int64{before[0] + 1, before[1]} {
			t.Errorf("runs before %v and after %v the first was asked for", before, after)
		}
		time.Sleep(100 * time.Millisecond) // it is under way
		c.ask([]string{"asked"})
		time.Sleep(210 * time.Millisecond)
		synctest.Wait()
		if n := asked.runs.Load() - before[0]; n != 2 {
			t.Errorf("%d runs after it was asked for during one, want another as soon as that one has ended", n)
		}
		c.ask([]string{"paused"})
		c.replace(c.plan(map[string]*fakeChecker{"paused": paused}))
		time.Sleep(400 * time.Millisecond)
		c.mu.Lock()
		first := c.last["paused"]
		c.mu.Unlock()
		if !c.answers(first) {
			t.Errorf("the first run of a check that was asked for before it ran answers nobody: %+v", first)
		}
		c.replace(c.plan(nil, "asked"))
		if c.wanted("asked") {
			t.Error("a check that is gone is still waited for")
		}
		end()
	})
}

func TestEveryFateThatAsksIsAnswered(t *testing.T) {
	a := newRechecks()
	a.ask([]string{"disk"})
	between := time.Now()
	time.Sleep(time.Millisecond)
	a.ask([]string{"disk"})
	if a.answers(checks.Result{Check: "disk", Began: between}) {
		t.Error("a run that began before the second question ends the wait for it")
	}
	if !a.answers(checks.Result{Check: "disk", Began: time.Now()}) {
		t.Error("a run that began after both answers neither")
	}
}
