package notify

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSealedQueuesGoOn holds the hooks of one notifier in the middle of its work, and lets another one go on: every hook is told
// everything once.
func TestSealedQueuesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		hooks := []Hook{b.hook("one", 2*time.Second, Master, Backup), b.hook("two", time.Second, Master, Backup)}
		first := New(hooks, b.report)
		end := begun(t, first)
		web := move("web")
		first.Notify(web.to(Master))
		time.Sleep(time.Second)
		if err := first.Hold(t.Context()); err != nil { // one runs for another second
			t.Fatal(err)
		}
		first.Notify(move("mail").to(Backup))
		first.Notify(web.to(Backup))
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"0s one web init->master"}, b.lines()); diff != "" {
			t.Errorf("held, they were told (-want +got):\n%s", diff)
		}
		text, err := json.Marshal(first.Seal())
		if err != nil {
			t.Fatal(err)
		}
		var queues []Sealed
		if err := json.Unmarshal(text, &queues); err != nil {
			t.Fatal(err)
		}
		second := New(hooks, b.report)
		second.Restore(queues)
		begun(t, second)
		time.Sleep(time.Minute)
		got := map[string]int{}
		for _, line := range b.lines() {
			got[line]++
		}
		// web's second hook no longer hears of master, since it is a backup by then.
		want := map[string]int{
			"0s one web init->master": 1, "1m2s one web master->backup": 1, "1m4s two web master->backup": 1,
			"1m2s one mail init->backup": 1, "1m4s two mail init->backup": 1,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		first.Resume() // what the one before would have done
		end()
	})
}

// TestHeldHooksGoOn resumes after a hold that ended too early.
func TestHeldHooksGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("one", 2*time.Second, Master), b.hook("two", time.Second, Master)}, b.report)
		begun(t, n)
		n.Notify(move("web").to(Master))
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := n.Hold(ctx); err == nil {
			t.Error("a hook runs, and the hold does not say so")
		}
		n.Resume()
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"0s one web init->master", "2s two web init->master"}, b.lines()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestStopEndsAHold has the daemon stop in the middle of one: the stop hooks run.
func TestStopEndsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		n := New([]Hook{b.hook("one", time.Second, Stop)}, b.report)
		begun(t, n)
		if err := n.Hold(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.Notify(move("web").to(Stop))
		if took := stopped(t, n); took != time.Second {
			t.Errorf("it took %s: %v", took, b.results())
		}
	})
}
