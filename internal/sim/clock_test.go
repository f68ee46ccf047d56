package sim

import (
	"testing"
	"time"
	"unsafe"
)

// TestInstant holds that package time takes an instant of ours for one of its own, with two readings.
func TestInstant(t *testing.T) {
	if now, r := time.Now(), (readings{}); unsafe.Sizeof(now) != unsafe.Sizeof(r) || (*readings)(unsafe.Pointer(&now)).wall>>63 != 1 {
		t.Fatal("package time keeps an instant in another way by now")
	}
	wall := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	a, b := instant(wall, 5*time.Second), instant(wall.Add(-time.Hour), 7*time.Second) // set back meanwhile
	if got := b.Sub(a); got != 2*time.Second || !b.After(a) {
		t.Errorf("by the monotonic reading %s passed, want 2s", got)
	}
	if got := b.Round(0).Sub(a.Round(0)); got != -time.Hour || !a.Round(0).Equal(wall) {
		t.Errorf("by the wall reading %s passed, want -1h", got)
	}
	later := b.Add(time.Minute)
	if later.Sub(b) != time.Minute || later.Round(0).Sub(b.Round(0)) != time.Minute {
		t.Errorf("a minute later is %s, and %s by the wall reading", later.Sub(b), later.Round(0).Sub(b.Round(0)))
	}
}

// TestSetWall holds that a clock which is set moves what is shown, and no timer.
func TestSetWall(t *testing.T) {
	c := pair(nil)
	startAll(c)
	a := c.Host("a")
	before, deadline := a.now(), a.deadline()
	a.SetWall(-time.Hour)
	if got := a.Ahead(); got != -time.Hour || !a.now().Equal(before) {
		t.Errorf("the clock is %s ahead, and its timers are at %s, want -1h and %s", got, a.now(), before)
	}
	c.Run(10 * time.Second)
	if a.deadline().Sub(deadline) < 9*time.Second || len(c.Faults()) > 0 || !a.Has(vip) {
		t.Errorf("the deadline went from %s to %s; faults %q", deadline, a.deadline(), c.Faults())
	}
}
