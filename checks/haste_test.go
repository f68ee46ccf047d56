package checks

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// doing is a check that many monitors may run.
type doing func() error

// Check implements Checker.
func (f doing) Check(context.Context) error { return f() }

// many runs checks that share their haste for some seconds, and calls sample at the end of each.
func many(t *testing.T, count, fall int, c Checker, report func(Result), seconds int, sample func(second int)) {
	t.Helper()
	var haste Haste
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range count {
		m := NewMonitor("web", c, Timing{Interval: time.Second, Timeout: 900 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: fall, Fall: fall}, report)
		m.Share(&haste)
		tasks.Go(func() { m.Run(ctx) })
	}
	for s := range seconds {
		time.Sleep(time.Second)
		sample(s)
	}
	cancel()
	tasks.Wait()
	if h, l := haste.hasty.Load(), haste.looks.Load(); h != 0 || l != 0 {
		t.Errorf("after the end %d are hasty and %d look", h, l)
	}
}

// TestManyChecksAreNotInStep shows that a thousand checks, which all begin at once, are spread over their interval from then on.
func TestManyChecksAreNotInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tenths [30]atomic.Int64
		start := time.Now()
		count := doing(func() error {
			if at := int(time.Since(start) / (100 * time.Millisecond)); at < len(tenths) {
				tenths[at].Add(1)
			}
			return nil
		})
		many(t, 1000, 2, count, func(Result) {}, 3, func(int) {})
		for k := range tenths {
			if n := tenths[k].Load(); k > 0 && (n < 50 || n > 170) {
				t.Errorf("%d of 1000 checks ran in the tenth %d of a second", n, k)
			}
		}
	})
}

// TestHasteIsBounded shows that a thousand checks that fail now and then, as on a processor that cannot keep up, do not look five
// times as often while their verdicts are pending.
func TestHasteIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		flapping := doing(func() error {
			runs.Add(1)
			if rand.IntN(2) == 1 {
				return errors.New("connection refused")
			}
			return nil
		})
		most := int64(0)
		many(t, 1000, 10, flapping, func(Result) {}, 5, func(second int) {
			if n := runs.Swap(0); second > 0 { // all begin in the first
				most = max(most, n)
			}
		})
		// 64 of them may run every 0.2 s, the others every 0.9 to 1.1 s.
		if most < 1000 || most > 1000*11/10+64*5 {
			t.Errorf("%d runs in a second", most)
		}
	})
}

// TestSecondLooksAreBounded shows how many a server that hangs gets.
func TestSecondLooksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{}
		var ill atomic.Int64
		many(t, 200, 2, h, func(r Result) {
			if r.Changed && !r.Healthy {
				ill.Add(1)
			}
		}, 6, func(second int) {
			switch second {
			case 1:
				h.hangs.Store(true)
				h.runs.Store(0)
			case 2: // one look for each, and second ones
				if n := h.runs.Load(); n > 200+64 {
					t.Errorf("%d looks in the first second of a hang", n)
				}
			case 5:
				if n := ill.Load(); n != 200 {
					t.Errorf("%d of 200 checks found it ill", n)
				}
			}
		})
	})
}
