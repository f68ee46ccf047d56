package notify

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stopped calls Stop with the 5 s that the daemon gives it, and says how long it took.
func stopped(t *testing.T, n *Notifier) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	n.Stop(ctx)
	return time.Since(start)
}

func TestStop(t *testing.T) {
	tests := []struct {
		name   string
		hooks  func(b *book) []Hook
		before func(n *Notifier) // a second before the stop
		stop   []string          // the instances that stop
		took   time.Duration
		want   []string
	}{
		{
			name:  "with nothing to do returns at once",
			hooks: func(b *book) []Hook { return []Hook{b.hook("tell", 0, Master)} },
			stop:  []string{"web"},
			want:  []string{},
		},
		{
			name: "stop hooks run to their end",
			hooks: func(b *book) []Hook {
				return []Hook{b.hook("one", 2*time.Second, Stop), b.hook("two", time.Second, Stop)}
			},
			stop: []string{"web"},
			took: 3 * time.Second,
			want: []string{"1s+2s one web->stop", "3s+1s two web->stop"},
		},
		{
			name:  "a stop hook that hangs is ended with the time for all, and what comes after it is reported",
			hooks: func(b *book) []Hook { return []Hook{b.hook("one", hang, Stop), b.hook("two", 0, Stop)} },
			stop:  []string{"web"},
			took:  5 * time.Second,
			want: []string{
				"1s+5s one web->stop: the time for stop hooks is over",
				"6s+0s two web->stop: not run: the time for stop hooks is over",
			},
		},
		{
			name: "a hook that still runs is waited for, and its rest gives way to the stop",
			hooks: func(b *book) []Hook {
				return []Hook{b.hook("one", 1500*time.Millisecond, States...), b.hook("two", 0, Master)}
			},
			before: func(n *Notifier) { n.Notify(move("web").to(Master)) },
			stop:   []string{"web"},
			took:   2 * time.Second,
			want:   []string{"0s+1.5s one web->master", "1.5s+1.5s one web->stop skipped 1"},
		},
		{
			name: "a hook that hangs has a second to make way for the stop hooks",
			hooks: func(b *book) []Hook {
				return []Hook{b.hook("old", hang, Master), b.hook("stop", time.Second, Stop)}
			},
			before: func(n *Notifier) { n.Notify(move("web").to(Master)) },
			stop:   []string{"web"},
			took:   2 * time.Second,
			want: []string{
				"0s+2s old web->master: the daemon stops, and stop hooks wait behind this one", "2s+1s stop web->stop",
			},
		},
		{
			name:   "a hook with nothing behind it may use the whole time",
			hooks:  func(b *book) []Hook { return []Hook{b.hook("old", 4*time.Second, Master)} },
			before: func(n *Notifier) { n.Notify(move("web").to(Master)) },
			stop:   []string{"web"},
			took:   3 * time.Second,
			want:   []string{"0s+4s old web->master"},
		},
		{
			name:  "what waits without a stop behind it is dropped and reported",
			hooks: func(b *book) []Hook { return []Hook{b.hook("tell", 3*time.Second, Master, Backup)} },
			before: func(n *Notifier) {
				m := move("web")
				n.Notify(m.to(Master))
				synctest.Wait()
				n.Notify(m.to(Backup))
			},
			took: 2 * time.Second,
			want: []string{"1s+0s tell web->backup: not run: the daemon stops", "0s+3s tell web->master"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook()
				n := New(tt.hooks(b), b.report)
				begun(t, n)
				if tt.before != nil {
					tt.before(n)
				}
				time.Sleep(time.Second)
				for _, name := range tt.stop {
					n.Notify(move(name).to(Stop))
				}
				if took := stopped(t, n); took != tt.took {
					t.Errorf("Stop took %v, want %v", took, tt.took)
				}
				if diff := cmp.Diff(tt.want, b.results()); diff != "" {
					t.Errorf("reports (-want +got):\n%s", diff)
				}
				n.Notify(move("web").to(Master))
				time.Sleep(time.Minute)
				if got := len(b.results()); got != len(tt.want) {
					t.Errorf("%d reports a minute after the stop, want %d as at its end", got, len(tt.want))
				}
			})
		})
	}
}

func TestStopOfManyInstancesAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("stop", hang, Stop)}, b.report)
		begun(t, n)
		for i := range 255 {
			n.Notify(move(fmt.Sprint("vr", i)).to(Stop))
		}
		if took := stopped(t, n); took != 5*time.Second {
			t.Errorf("Stop took %v, want 5s", took)
		}
		counts := map[string]int{}
		for _, r := range b.reports {
			counts[r.Err.Error()]++
		}
		want := map[string]int{"the time for stop hooks is over": MaxRunning, "not run: the time for stop hooks is over": 255 - MaxRunning}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("errors (-want +got):\n%s", diff)
		}
	})
}

func TestStopWithoutRunReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("stop", 0, Stop)}, b.report)
		n.Notify(move("web").to(Stop))
		for range 2 { // the second finds nothing to do
			if took := stopped(t, n); took != 0 {
				t.Errorf("Stop took %v, want none", took)
			}
		}
		if diff := cmp.Diff([]string{"0s+0s stop web->stop: not run: the daemon stops"}, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func TestEndOfRunEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("one", hang, States...), b.hook("two", hang, States...)}, b.report)
		end := begun(t, n)
		n.Notify(move("web").to(Master))
		synctest.Wait()
		end()
		want := []string{"0s+0s one web->master: context canceled", "0s+0s two web->master: not run: context canceled"}
		if diff := cmp.Diff(want, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if took := stopped(t, n); took != 0 {
			t.Errorf("Stop after the end took %v, want none", took)
		}
	})
}

func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		first, removed := b.hook("first", 5*time.Second, States...), b.hook("removed", time.Second, States...)
		kept, added := b.hook("kept", time.Second, States...), b.hook("added", time.Second, States...)
		n := New([]Hook{first, removed, kept}, b.report)
		begun(t, n)
		m := move("web")
		n.Notify(m.to(Master))
		time.Sleep(time.Second)
		n.Replace([]Hook{first, added, kept}, nil)
		time.Sleep(time.Minute)
		n.Notify(m.to(Backup))
		time.Sleep(time.Minute)
		want := []string{
			"0s+5s first web->master", "5s+1s kept web->master",
			"1m1s+5s first web->backup", "1m6s+1s added web->backup", "1m7s+1s kept web->backup",
		}
		if diff := cmp.Diff(want, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

// TestStopThatAHookOutlives: a process that hangs in the kernel, on a file server that is gone, is not ended by any signal.
func TestStopThatAHookOutlives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		let := make(chan struct{})
		deaf := b.hookOf(&fake{name: "deaf", fails: func(Transition) error { <-let; return nil }}, Master)
		n := New([]Hook{deaf, b.hook("stop", 0, Stop)}, b.report)
		begun(t, n)
		n.Notify(move("web").to(Master))
		synctest.Wait()
		n.Notify(move("web").to(Stop))
		ended := make(chan time.Duration, 1)
		go func() { ended <- stopped(t, n) }()
		time.Sleep(time.Minute)
		select {
		case took := <-ended:
			if want := 5*time.Second + killBound; took != want {
				t.Errorf("Stop took %v, want %v", took, want)
			}
		default:
			t.Error("Stop has not returned after a minute")
		}
		close(let)
	})
}
