package checks

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// doing is a check that several monitors may run.
type doing func() error

// Check implements Checker.
func (f doing) Check(context.Context) error { return f() }

// sharing runs a check in so many monitors that share their haste, for a while.
func sharing(t *testing.T, h *Haste, count, fall int, c Checker, d time.Duration) {
	t.Helper()
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range count {
		m := NewMonitor("web", c, Timing{Interval: time.Second, Timeout: 900 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: fall, Fall: fall}, func(Result) {})
		m.Share(h)
		tasks.Go(func() { m.Run(ctx) })
	}
	time.Sleep(d)
	cancel()
	tasks.Wait()
}

// taken is a haste whose places are taken, but for so many.
func taken(free int64) *Haste {
	var h Haste
	h.hasty.Store(maxHaste - free)
	h.looks.Store(maxHaste - free)
	return &h
}

// TestManyChecksAreNotInStep shows that checks which all begin at once are spread over their interval from then on.
func TestManyChecksAreNotInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tenths [20]atomic.Int64
		start := time.Now()
		count := doing(func() error {
			if at := int(time.Since(start) / (100 * time.Millisecond)); at < len(tenths) {
				tenths[at].Add(1)
			}
			return nil
		})
		sharing(t, new(Haste), 50, 2, count, 2*time.Second)
		for k := range tenths {
			if n := tenths[k].Load(); k > 0 && n > 25 {
				t.Errorf("%d of 50 checks ran in the tenth %d of a second", n, k)
			}
		}
	})
}

// costless is a check that needs no place to be in haste.
type costless struct{ doing }

func (costless) cheap() bool { return true }

// TestHasteIsBounded shows that a check whose verdict is pending looks more often only where there is a place for that, and gives it
// back in the end. A thousand checks that fail because the processor is busy must not keep it busy.
func TestHasteIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name        string
		free        int64
		costless    bool
		least, most int64
	}{
		{"a place is free", 1, false, 20, 30},
		{"none is", 0, false, 5, 7},
		{"none is needed", 0, true, 20, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int64
				var failing Checker
				run := doing(func() error {
					if runs.Add(1) > 1 {
						return errors.New("connection refused")
					}
					return nil
				})
				if failing = run; tt.costless {
					failing = costless{run}
				}
				h := taken(tt.free)
				sharing(t, h, 1, 1000, failing, 5500*time.Millisecond)
				if n := runs.Load(); n < tt.least || n > tt.most {
					t.Errorf("%d runs in 5.5 s, want %d to %d", n, tt.least, tt.most)
				}
				if got := h.hasty.Load(); got != maxHaste-tt.free {
					t.Errorf("after the end %d places are taken, want %d", got, maxHaste-tt.free)
				}
			})
		})
	}
}

// TestSecondLooksAreBounded shows the same of second looks at a server that hangs.
func TestSecondLooksAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name string
		free int64
		want int64
	}{
		{"a place is free", 1, 2},
		{"none is", 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, server := taken(tt.free), &hanging{}
				var looks atomic.Int64
				go func() {
					time.Sleep(500 * time.Millisecond)
					server.hangs.Store(true)
					before := server.runs.Load()
					for server.runs.Load() == before {
						time.Sleep(10 * time.Millisecond)
					}
					time.Sleep(500 * time.Millisecond) // more than a pending interval, and less than the timeout
					looks.Store(server.runs.Load() - before)
				}()
				sharing(t, h, 1, 2, server, 5*time.Second)
				if looks := looks.Load(); looks != tt.want {
					t.Errorf("%d looks at a server that hangs, want %d", looks, tt.want)
				}
				if got := h.looks.Load(); got != maxHaste-tt.free {
					t.Errorf("after the end %d places are taken, want %d", got, maxHaste-tt.free)
				}
			})
		})
	}
}
