package checks

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hanging is a server that answers at once until it hangs.
type hanging struct {
	hangs atomic.Bool
	slow  time.Duration
	runs  atomic.Int64
}

func (h *hanging) hedge() {}

func (h *hanging) Check(ctx context.Context) error {
	h.runs.Add(1)
	if !h.hangs.Load() {
		time.Sleep(h.slow)
		return ctx.Err()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestHedgeShortensAHang shows that a second look begins while the first waits: with fall = 2 a hang costs a timeout and a
// pending interval, not two timeouts.
func TestHedgeShortensAHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{}
		timing := Timing{Interval: time.Second, Timeout: 900 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: 2, Fall: 2}
		var ill time.Time
		ctx, cancel := context.WithCancel(t.Context())
		m := NewMonitor("web", h, timing, func(r Result) {
			if r.Changed && !r.Healthy {
				ill = time.Now()
			}
		})
		ended := make(chan struct{})
		go func() { m.Run(ctx); close(ended) }()
		time.Sleep(10 * time.Millisecond)
		h.hangs.Store(true)
		began := time.Now()
		time.Sleep(4 * time.Second)
		cancel()
		<-ended
		// The next run begins within 1.1 intervals (jitter), and is the worst case's whole wait before the first look.
		if took := ill.Sub(began); ill.IsZero() || took > 1100*time.Millisecond+1100*time.Millisecond {
			t.Errorf("a hang was noticed after %s, want at most 2.2s", took)
		}
	})
}

// TestHedgeIsCalledOff shows that a slow answer is still a good one, and that what was begun beside it does no harm.
func TestHedgeIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{slow: 500 * time.Millisecond}
		timing := Timing{Interval: time.Second, Timeout: 900 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: 1, Fall: 1}
		ctx, cancel := context.WithCancel(t.Context())
		results := 0
		m := NewMonitor("web", h, timing, func(r Result) {
			results++
			if !r.Passed {
				t.Errorf("a slow answer within the timeout failed: %s", r.Reason)
			}
		})
		ended := make(chan struct{})
		go func() { m.Run(ctx); close(ended) }()
		time.Sleep(10 * time.Second)
		cancel()
		<-ended
		if results < 8 || h.runs.Load() < int64(results) {
			t.Errorf("%d results of %d runs in 10 s at an interval of 1 s", results, h.runs.Load())
		}
	})
}

// deaf is a server whose second and third answer are failures that come when they are let go, whatever became of who asked.
type deaf struct {
	runs  atomic.Int64
	letGo chan struct{}
}

func (d *deaf) hedge() {}

func (d *deaf) Check(context.Context) error {
	if n := d.runs.Add(1); n == 2 || n == 3 {
		<-d.letGo
		return errIll
	}
	return nil
}

// TestRunAgainKnowsNothingOfTheRunBefore shows that a check which ignored the end of one Run, with a second look beside it, has no say in
// the next.
func TestRunAgainKnowsNothingOfTheRunBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{letGo: make(chan struct{})}
		timing := Timing{Interval: time.Second, Timeout: 900 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: 1, Fall: 1}
		m := NewMonitor("web", d, timing, func(r Result) {
			if !r.Passed {
				t.Errorf("look %d: %s", d.runs.Load(), r.Reason)
			}
		})
		run := func(limit time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			m.Run(ctx)
		}
		run(1500 * time.Millisecond)
		if n := d.runs.Load(); n != 3 {
			t.Fatalf("%d looks were begun, want 3", n)
		}
		time.AfterFunc(100*time.Millisecond, func() { close(d.letGo) })
		run(5 * time.Second)
	})
}
