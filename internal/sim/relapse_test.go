package sim

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestWatchKnowsRelapses holds that a successor which gave up a moment ago by the host's clock, and is master again, may be believed at its next
// advert only: a hypervisor may have hidden from that clock that the host stood still in between, and nothing else makes it longer.
func TestWatchKnowsRelapses(t *testing.T) {
	for _, tt := range []struct {
		pause Pause // empty: it goes on
		after time.Duration
		want  bool
	}{
		{"", maxLinger, true},
		{"", maxLinger + time.Millisecond, false},
		{Hidden, time.Minute, true},
		{Caught, maxLinger, true},
		{Caught, time.Minute, false},
		{Suspended, time.Minute, false},
	} {
		s := healed(func(*node.Instance) {})
		startAll(s.c)
		a := s.c.Host("a")
		x := s.w.host(a)
		i := x.instances["web"]
		x.released(i.cfg.VRID, s.c.now, a.now())
		if tt.pause != "" {
			a.Freeze(true)
		}
		s.c.Run(tt.after)
		if tt.pause != "" {
			a.Thaw(tt.pause)
		}
		s.w.changed(a, x, node.Changed{Instance: "web", From: i.state, To: node.Leaving, Why: "x"})
		if s.w.changed(a, x, node.Changed{Instance: "web", From: node.Leaving, To: node.Backup, Why: "x"}); i.relapsed != tt.want {
			t.Errorf("%q, after %s: it is %t, want %t", tt.pause, tt.after, i.relapsed, tt.want)
		}
	}
}
