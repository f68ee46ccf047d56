package notify

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// TestMuted tells that muted hooks are chosen as always, and run nothing.
func TestMuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		var would []string
		hooks := Muted([]Hook{b.hook("tell", 0, Master), b.hook("other", 0, Backup)}, func(hook string, tr Transition) {
			would = append(would, hook+" "+string(tr.State))
		})
		n := New(hooks, b.report)
		end := begun(t, n)
		n.Notify(move("web").to(Master))
		synctest.Wait()
		end()
		if diff := cmp.Diff([]string{"tell master"}, would); diff != "" {
			t.Errorf("would run (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"0s+0s tell web->master"}, b.results()); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		if ran := b.lines(); len(ran) > 0 {
			t.Errorf("hooks ran: %q", ran)
		}
	})
}
