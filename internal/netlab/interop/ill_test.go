package interop

import (
	"testing"
	"time"
)

// TestBothAreIll tells what becomes of the address when the checks of both sides fail, theirs first. Among understudys it stays where it
// is. A keepalived whose check has a weight still advertises more than our 1, and takes it; one whose check has none is in FAULT, and
// takes nothing.
func TestBothAreIll(t *testing.T) {
	book := newLedger(t)
	for _, tt := range []struct {
		name      string
		weight    int
		host      string        // who has the address while both are ill
		goes      time.Duration // how long it may take to go there,
		comesBack time.Duration // and to come back to us
		lost      loss          // then
	}{
		{"their check has a weight", -60, "theirs", checkEvery + prompt, downBetter + checkEvery, few},
		{"their check has none", 0, "ours", 0, 0, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, options{version: 3, vip: vip4, weight: tt.weight}, newKeepalived, better, worse)
			l.book = book
			l.us.Start(t)
			l.serves(t, time.Now(), "ours", settleBound)
			l.walk(t, tt.name, []step{
				{"they start", func(t *testing.T, l *lab) { l.peer.start(t) }, "ours", 0, caught, none},
				{"their check fails", func(t *testing.T, l *lab) { l.faults(t, true) }, "ours", 0, caught, none},
				{"our check fails, too", func(t *testing.T, l *lab) { l.sick(t, true) }, tt.host, tt.goes, caught, none},
				{"our check is healthy", func(t *testing.T, l *lab) { l.sick(t, false) }, "ours", tt.comesBack, caught, tt.lost},
			})
		})
	}
}
