package linux

import (
	"slices"
	"testing"
	"time"
)

func newTimer(t *testing.T) *Timer {
	t.Helper()
	timer, err := NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { timer.Close() })
	start(t, timer.Run)
	return timer
}

func set(t *testing.T, timer *Timer, at time.Time) {
	t.Helper()
	if err := timer.Set(at); err != nil {
		t.Fatal(err)
	}
}

// A sleep that is rounded up to whole milliseconds would be late by 0.7 ms here, every time.
func TestTimerMeetsDeadlinesBelowAMillisecond(t *testing.T) {
	timer := newTimer(t)
	var late []time.Duration
	for range 101 {
		at := time.Now().Add(1300 * time.Microsecond)
		set(t, timer, at)
		receive(t, timer.C())
		late = append(late, time.Since(at))
	}
	slices.Sort(late)
	if late[0] < 0 {
		t.Errorf("a tick came %v early", -late[0])
	}
	if median := late[50]; median > 400*time.Microsecond {
		t.Errorf("median lateness %v, want less than 400µs", median)
	}
	t.Logf("late: median %v, worst %v", late[50], late[100])
}

func TestTimerTicksAtOnceForAPastDeadline(t *testing.T) {
	timer := newTimer(t)
	for _, ago := range []time.Duration{0, time.Nanosecond, time.Hour} {
		set(t, timer, time.Now().Add(-ago))
		receive(t, timer.C())
	}
}

func TestTimerKeepsOnlyTheLastDeadline(t *testing.T) {
	timer := newTimer(t)
	began := time.Now()
	set(t, timer, began.Add(time.Hour))
	set(t, timer, began.Add(20*time.Millisecond))
	receive(t, timer.C())
	if took := time.Since(began); took < 20*time.Millisecond {
		t.Errorf("ticked after %v", took)
	}
}

func TestTimerTicksThatNobodyTookAreOne(t *testing.T) {
	timer := newTimer(t)
	for range 3 {
		set(t, timer, time.Now())
		eventually(t, "a tick waits", func() bool { return len(timer.C()) == 1 })
	}
	receive(t, timer.C())
	if n := len(timer.C()); n > 1 {
		t.Errorf("%d ticks wait", n)
	}
}

func TestTimerSetBeforeRunTicks(t *testing.T) {
	timer := must(NewTimer())
	defer timer.Close()
	set(t, timer, time.Now())
	stop := start(t, timer.Run)
	receive(t, timer.C())
	stop()
	// A second run lifts the deadline with which the first was ended.
	stop = start(t, timer.Run)
	set(t, timer, time.Now())
	receive(t, timer.C())
	stop()
}

func TestTimerClosedReportsErrors(t *testing.T) {
	timer := must(NewTimer())
	if err := timer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := timer.Set(time.Now()); err == nil {
		t.Error("Set on a closed timer: no error")
	}
	if err := timer.Run(t.Context()); err == nil {
		t.Error("Run on a closed timer: no error")
	}
}
