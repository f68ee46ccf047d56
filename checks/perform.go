package checks

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// hedger is a check of which a second run may begin while the first still waits: it asks a server, and costs a connection.
// Without it a server that hangs is noticed only after fall timeouts one after the other.
type hedger interface{ hedge() }

// outcome is how one run ended.
type outcome struct {
	finding Finding
	err     error
	began   time.Time
	took    time.Duration
}

// attempt is one run under way.
type attempt struct {
	done   chan outcome
	cancel context.CancelFunc
}

// begin starts a run in a goroutine of its own.
func (l *loop) begin(ctx context.Context, ended func()) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{make(chan outcome, 1), cancel}
	l.tasks.Go(func() {
		defer ended()
		defer cancel()
		a.done <- l.examine(ctx)
	})
	return a
}

// perform runs the check once; it is called from one goroutine at a time. With hedge a second look begins when the first has
// waited for a pending interval, unless too many do; see Haste. If the first fails, the second is the next run, which so ends early; if it passes, the second
// is called off.
func (l *loop) perform(ctx context.Context, hedge bool) outcome {
	first := l.ahead
	l.ahead = nil
	if first == nil {
		if !hedge {
			return l.examine(ctx)
		}
		first = l.begin(ctx, func() {})
	}
	if !hedge {
		return <-first.done
	}
	pending := time.NewTimer(l.timing.PendingInterval)
	defer pending.Stop()
	select {
	case o := <-first.done:
		return o
	case <-pending.C:
	}
	if !begin(&l.haste.looks) {
		return <-first.done
	}
	second := l.begin(ctx, func() { end(&l.haste.looks) })
	o := <-first.done
	if o.err != nil {
		l.ahead = second
		return o
	}
	second.cancel() // Run waits for it
	return o
}

// examine runs the check once. Whatever the check does, there is an outcome, and one that came too late is a failure.
func (m *Monitor) examine(ctx context.Context) (o outcome) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.timing.Timeout, timedOut(m.timing.Timeout))
	defer cancel()
	start := time.Now()
	defer func() {
		o.began, o.took = start, time.Since(start)
		if p := recover(); p != nil {
			o.finding = Finding{Output: string(debug.Stack())}
			o.err = fmt.Errorf("the check itself crashed: %v; please report this", p)
		}
	}()
	if e, ok := m.checker.(Examiner); ok {
		o.finding, o.err = e.Examine(ctx)
	} else {
		o.err = m.checker.Check(ctx)
	}
	if o.err == nil && ctx.Err() != nil {
		o.err = context.Cause(ctx)
	}
	return o
}
