package daemon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/command"
	"github.com/understudy-ha/understudy/notify"
)

// slowHook takes a while.
type slowHook time.Duration

func (s slowHook) Run(ctx context.Context, _ notify.Transition) (command.Outcome, error) {
	select {
	case <-time.After(time.Duration(s)):
		return command.Outcome{}, nil
	case <-ctx.Done():
		return command.Outcome{}, context.Cause(ctx)
	}
}

// quieting is a daemon with one check, which runs each second, and one hook, which runs already.
func quieting(t *testing.T, hook time.Duration) (d *Daemon, check *fakeChecker, tell func(), end func()) {
	t.Helper()
	c, check := newChecking(), &fakeChecker{}
	c.prepare(c.plan(map[string]*fakeChecker{"nginx": check}))
	endChecks := c.start(t)
	n := notify.New([]notify.Hook{{
		Name: "tell", Runner: slowHook(hook), Settings: notify.Settings{On: []notify.State{notify.Master, notify.Backup}, Timeout: time.Minute},
	}}, func(notify.Report) {})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	tell = func() { n.Notify(notify.Transition{Instance: "web", State: notify.Backup, Previous: notify.Master}) }
	n.Notify(notify.Transition{Instance: "web", State: notify.Master, Previous: notify.Backup})
	synctest.Wait()
	return &Daemon{monitors: c.monitors, notifier: n, saver: &drainSaver{}}, check, tell, func() {
		cancel()
		<-ended
		endChecks()
	}
}

func TestChecksGoOnWhileAnExchangeWaitsForHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 6 * time.Second
		d, check, _, end := quieting(t, takes)
		defer end()
		before, began := check.runs.Load(), time.Now()
		if err := d.quiet(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < takes || waited > takes+time.Second {
			t.Errorf("it waited %s for a hook of %s", waited, takes)
		}
		if n := check.runs.Load() - before; n < 4 {
			t.Errorf("the check ran %d times in %s", n, takes)
		}
		paused := check.runs.Load()
		time.Sleep(5 * time.Second)
		if n := check.runs.Load() - paused; n > 0 {
			t.Errorf("it ran %d times after that", n)
		}
	})
}

func TestAnExchangeDoesNotWaitForHooksForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, check, tell, end := quieting(t, 30*time.Second)
		defer end()
		go func() {
			time.Sleep(hooksBound - time.Second)
			tell() // it may not begin now
		}()
		before, began := check.runs.Load(), time.Now()
		if err := d.quiet(t.Context()); err == nil || err.Error() != "a hook still runs after 8s; try again when it has ended" {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(began); waited != hooksBound {
			t.Errorf("it waited %s, want %s", waited, hooksBound)
		}
		if n := check.runs.Load() - before; n < 6 {
			t.Errorf("the check ran %d times in %s", n, hooksBound)
		}
		before = check.runs.Load()
		d.notifier.Resume()
		d.monitors.resume() // nothing of it was paused
		time.Sleep(5 * time.Second)
		if n := check.runs.Load() - before; n < 3 || check.most.Load() > 1 {
			t.Errorf("it ran %d times in 5 s after that, at most %d at once", n, check.most.Load())
		}
	})
}
