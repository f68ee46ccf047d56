package checks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fake is a Checker whose runs do what the test says.
type fake struct {
	run     func(ctx context.Context, n int) error // n counts from 1
	runs    int
	running atomic.Int32
	overlap atomic.Bool
}

func (f *fake) Check(ctx context.Context) error {
	if f.running.Add(1) > 1 {
		f.overlap.Store(true)
	}
	defer f.running.Add(-1)
	f.runs++
	return f.run(ctx, f.runs)
}

// watching is a fake that can also watch.
type watching struct {
	*fake
	watch func(ctx context.Context, changed func()) error
}

func (w *watching) Watch(ctx context.Context, changed func()) error { return w.watch(ctx, changed) }

var errIll = errors.New("ill")

func testTiming() Timing {
	return Timing{Interval: time.Second, Timeout: 500 * time.Millisecond, PendingInterval: 200 * time.Millisecond, Rise: 2, Fall: 2}
}

// monitor runs a check for a time of the bubble and returns its results.
func monitor(t *testing.T, c Checker, timing Timing, d time.Duration) []Result {
	t.Helper()
	var results []Result
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	NewMonitor("nginx", c, timing, func(r Result) { results = append(results, r) }).Run(ctx)
	return results
}

// outcomes turns "+-+" into a run function; the last outcome stays.
func outcomes(s string) func(context.Context, int) error {
	return func(_ context.Context, n int) error {
		if s[min(n, len(s))-1] == '-' {
			return errIll
		}
		return nil
	}
}

func TestVerdictsByRiseAndFall(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		outcomes   string // + passed, - failed
		want       string // H healthy, u unhealthy; ! the verdict changed; 1/2 is the streak
	}{
		{name: "the first result is the first verdict", rise: 2, fall: 2, outcomes: "++", want: "H! H"},
		{name: "also when it is bad", rise: 2, fall: 2, outcomes: "--", want: "u! u"},
		{name: "fall counts failures in a row", rise: 2, fall: 2, outcomes: "+-+--", want: "H! H1/2 H H1/2 u!"},
		{name: "rise counts successes in a row", rise: 3, fall: 2, outcomes: "-++-+++", want: "u! u1/3 u2/3 u u1/3 u2/3 H!"},
		{name: "one is at once", rise: 1, fall: 1, outcomes: "+-+", want: "H! u! H!"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				timing := testTiming()
				timing.Rise, timing.Fall = tt.rise, tt.fall
				results := monitor(t, &fake{run: outcomes(tt.outcomes)}, timing, 20*time.Second)
				var got []string
				for i, r := range results[:len(tt.outcomes)] {
					s := map[bool]string{true: "H", false: "u"}[r.Healthy]
					if r.Changed {
						s += "!"
					}
					if r.Need > 0 {
						s += fmt.Sprintf("%d/%d", r.Streak, r.Need)
					}
					got = append(got, s)
					if passed := tt.outcomes[i] == '+'; r.Passed != passed || !r.Known || r.Check != "nginx" {
						t.Errorf("result %d: %+v", i, r)
					}
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
					t.Errorf("verdicts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRunsComeAtTheirTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		results := monitor(t, &fake{run: outcomes("++--+-+")}, testTiming(), 20*time.Second)
		if at := results[0].At.Sub(start); at != 0 {
			t.Errorf("first run after %s, want at once", at)
		}
		distinct := make(map[time.Duration]bool)
		for i := 1; i < len(results); i++ {
			want := time.Second
			if results[i-1].Need > 0 {
				want = 200 * time.Millisecond
			}
			gap := results[i].At.Sub(results[i-1].At)
			distinct[gap] = true
			if gap < want*9/10 || gap > want*11/10 {
				t.Errorf("run %d came %s after the one before, want %s and at most a tenth more or less", i, gap, want)
			}
		}
		if len(distinct) < len(results)/2 {
			t.Errorf("%d runs with only %d distinct gaps: no jitter", len(results), len(distinct))
		}
	})
}

func TestASlowCheckTimesOutWithTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := monitor(t, &fake{run: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("context ended by %v, %v", ctx.Err(), context.Cause(ctx))
			}
			return fmt.Errorf("%w waiting", context.Cause(ctx))
		}}, testTiming(), 5*time.Second)
		if r := results[0]; r.Passed || r.Healthy || r.Reason != "timed out after 500ms waiting" || r.Took != 500*time.Millisecond {
			t.Errorf("first result %+v", r)
		}
	})
}

func TestASuccessAfterTheTimeoutIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := monitor(t, &fake{run: func(context.Context, int) error {
			time.Sleep(550 * time.Millisecond)
			return nil
		}}, testTiming(), 700*time.Millisecond)
		if len(results) != 1 || results[0].Passed || results[0].Reason != "timed out after 500ms" {
			t.Errorf("results %+v", results)
		}
	})
}

func TestACheckThatIgnoresItsContextFailsAndIsNeverRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{run: func(_ context.Context, n int) error {
			if n == 2 {
				time.Sleep(10 * time.Second)
			}
			return nil
		}}
		start := time.Now()
		results := monitor(t, f, testTiming(), 20*time.Second)
		if f.overlap.Load() {
			t.Error("two runs at once")
		}
		var fell, rose time.Duration
		for _, r := range results[1:] {
			if r.Changed && !r.Healthy {
				fell = r.At.Sub(start)
				if !strings.HasPrefix(r.Reason, "timed out after 500ms and has not returned for ") {
					t.Errorf("reason %q", r.Reason)
				}
			}
			if r.Changed && r.Healthy {
				rose = r.At.Sub(start)
			}
		}
		// Second run at 1 s, overdue at 1.6 s, counted again one pending interval later.
		if fell < 1600*time.Millisecond || fell > 2100*time.Millisecond {
			t.Errorf("unhealthy after %s, want about 1.8s", fell)
		}
		if rose < 11*time.Second || rose > 14*time.Second {
			t.Errorf("healthy again after %s, want soon after the hanging run returned at 11s", rose)
		}
	})
}

func TestRunDoesNotWaitForeverForAStuckCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{run: func(context.Context, int) error { <-release; return nil }}
		start := time.Now()
		monitor(t, f, testTiming(), time.Second)
		if took := time.Since(start); took != time.Second+abandonAfter {
			t.Errorf("returned after %s, want %s", took, time.Second+abandonAfter)
		}
		close(release)
	})
}

func TestTheEndIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := monitor(t, &fake{run: func(ctx context.Context, n int) error {
			if n == 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}, testTiming(), 1200*time.Millisecond)
		if len(results) != 1 {
			t.Errorf("results %+v, want only the first", results)
		}
	})
}

func TestACrashIsAFailureWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := monitor(t, &fake{run: func(context.Context, int) error { panic("index out of range") }}, testTiming(), 3*time.Second)
		if len(results) < 2 {
			t.Fatalf("%d results, want it to go on", len(results))
		}
		r := results[0]
		if r.Passed || r.Reason != "the check itself crashed: index out of range; please report this" || !strings.Contains(r.Output, "monitor_test.go") {
			t.Errorf("result %+v", r)
		}
	})
}

func TestAWatcherRunsTheCheckAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{run: outcomes("+-")}
		w := &watching{fake: f, watch: func(ctx context.Context, changed func()) error {
			time.Sleep(300 * time.Millisecond)
			for range 50 {
				changed() // many are one
			}
			<-ctx.Done()
			return nil
		}}
		timing := testTiming()
		timing.PendingInterval = 10 * time.Millisecond
		start := time.Now()
		results := monitor(t, w, timing, 700*time.Millisecond)
		var at []time.Duration
		for _, r := range results {
			at = append(at, r.At.Sub(start).Round(5*time.Millisecond))
			if r.Warning != "" {
				t.Errorf("warning %q", r.Warning)
			}
		}
		want := []time.Duration{0, 300 * time.Millisecond, 310 * time.Millisecond}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("runs (-want +got):\n%s", diff)
		}
		if r := results[len(results)-1]; r.Healthy {
			t.Errorf("still healthy: %+v", r)
		}
	})
}

func TestAChangeDuringARunRunsItAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{run: func(_ context.Context, n int) error {
			if n == 1 {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}}
		w := &watching{fake: f, watch: func(ctx context.Context, changed func()) error {
			time.Sleep(50 * time.Millisecond)
			changed()
			<-ctx.Done()
			return nil
		}}
		if results := monitor(t, w, testTiming(), 500*time.Millisecond); len(results) != 2 || f.overlap.Load() {
			t.Errorf("%d results, overlap %t; want 2 one after the other", len(results), f.overlap.Load())
		}
	})
}

func TestConstantChangesCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{run: outcomes("+")}
		w := &watching{fake: f, watch: func(ctx context.Context, changed func()) error {
			for sleep(ctx, 100*time.Microsecond) {
				changed()
			}
			return nil
		}}
		monitor(t, w, testTiming(), time.Second)
		if f.runs > 101 {
			t.Errorf("%d runs in a second, want at most one in %s", f.runs, changeGap)
		}
	})
}

func TestAWatcherThatFailsIsAWarningAndIsTriedAgain(t *testing.T) {
	for name, fail := range map[string]func() error{
		"an error": func() error { return errors.New("too many open files") },
		"a crash":  func() error { panic("no") },
		"an end":   func() error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				w := &watching{fake: &fake{run: outcomes("+")}, watch: func(ctx context.Context, _ func()) error {
					if tries++; tries <= 3 {
						return fail()
					}
					<-ctx.Done()
					return nil
				}}
				results := monitor(t, w, testTiming(), 30*time.Second)
				if tries != 4 {
					t.Errorf("%d tries, want 4", tries)
				}
				if r := results[2]; !strings.HasPrefix(r.Warning, "no events, polling only: ") || !r.Passed {
					t.Errorf("while it fails: %+v", r)
				}
				if r := results[len(results)-1]; r.Warning != "" {
					t.Errorf("long after it works: %+v", r)
				}
			})
		})
	}
}

func TestReasonsAreOneBoundedLine(t *testing.T) {
	if got := oneLine("a\n  b\t\xffc\n"); got != "a b ?c" {
		t.Errorf("got %q", got)
	}
	if got := oneLine(strings.Repeat("€", maxReason)); len(got) > maxReason || !strings.HasSuffix(got, "€...") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// TestResumedMonitorGoesOn counts on from the last result of another monitor: the verdict is no news, and a second failure in a
// row is the second.
func TestResumedMonitorGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before Result
		runs   string
		want   []string
	}{
		{"healthy stays healthy", Result{Known: true, Healthy: true}, "+", []string{"healthy"}},
		{"a failure before this one counts", Result{Known: true, Healthy: true, Streak: 1}, "-", []string{"changed to ill"}},
		{"a success ends a streak", Result{Known: true, Healthy: true, Streak: 1}, "+-", []string{"healthy", "healthy, pending"}},
		{"nothing is known", Result{}, "-", []string{"changed to ill"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(tt.want))*time.Second-500*time.Millisecond)
				defer cancel()
				m := NewMonitor("nginx", &fake{run: outcomes(tt.runs)}, testTiming(), func(r Result) {
					words := map[bool]string{true: "healthy", false: "ill"}[r.Healthy]
					if r.Changed {
						words = "changed to " + words
					}
					if r.Streak > 0 {
						words += ", pending"
					}
					if len(got) < len(tt.want) {
						got = append(got, words)
					}
				})
				m.Resume(tt.before)
				m.Run(ctx)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("results (-want +got):\n%s", diff)
				}
			})
		})
	}
}
