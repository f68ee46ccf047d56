package immunity

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// late is by how much a flood may delay an advert, or a takeover: what its adverts cost the daemon, and no timer's length.
	late = 50 * time.Millisecond
	// early is by how much less than its time a backup may have waited: an advert that left its sender just before the cut is lost too.
	early = 20 * time.Millisecond
)

// unmoved asserts that since an instant no address moved, no state changed and no master missed a beat.
func (f *field) unmoved(t *testing.T, from time.Time) {
	t.Helper()
	now := time.Now()
	for _, change := range f.c.Owners.History() {
		if change.At.After(from) {
			t.Errorf("%s: %v held=%t after %s", change.Host, change.Addr, change.Held, change.At.Sub(from))
		}
	}
	for _, w := range ways {
		var worst time.Duration
		for _, vrid := range []uint8{w.vrid, w.signed} {
			worst = max(worst, f.beat(t, w, vrid, from, now))
			for name, want := range map[string]node.State{"lb1": node.Master, "lb2": node.Backup} {
				if i, err := f.c.Get(name).Instance(t, nameOf(vrid)); err != nil || i.State != want || i.Since.After(from) {
					t.Errorf("%s of %s is %s since %s: %s %v", i.Name, name, i.State, pairtest.Stamp(i.Since), i.Why, err)
				}
			}
		}
		t.Logf("%s: no advert was more than %s late", w.name, worst)
	}
}

// beat asserts that no advert of a virtual router was late between two instants, and returns by how much the latest was.
func (f *field) beat(t *testing.T, w way, vrid uint8, from, to time.Time) (worst time.Duration) {
	t.Helper()
	interval, _ := w.beat()
	for _, s := range silences(t, f.beats, vrid, from, to) {
		after := s.lasts() - interval
		worst = max(worst, after)
		if after <= late {
			continue // what the machine did need not be asked
		}
		if slack := f.stood("lb1", s.from.Add(interval), s.to); after > late+slack {
			t.Errorf("the master of %d was silent for %s of its interval of %s, from %s; the machine excuses %s", vrid, s.lasts(), interval, pairtest.Stamp(s.from), slack)
		}
	}
	return worst
}

// stood is for how long the machine kept a host's daemon waiting in a time, or stood still.
func (f *field) stood(host string, from, to time.Time) time.Duration {
	return max(f.c.Slack(from, to), f.queues[host].worst(from, to))
}

// cutOff takes lb1 off the switch, and expects lb2 to take over everything when its time has come; then all is as before.
func (f *field) cutOff(t *testing.T) {
	t.Helper()
	lb1 := f.c.Get("lb1")
	from := pairtest.Step(t, lb1.Cut)
	for _, vip := range f.c.VIPs {
		labtest.Eventually(t, settleBound, func() (bool, string) {
			return f.took(vip, from).Before(from.Add(settleBound)), fmt.Sprintf("lb2 has not taken %v over", vip)
		})
	}
	for _, w := range ways {
		for _, vrid := range []uint8{w.vrid, w.signed} {
			f.inTime(t, w, vrid, from)
		}
	}
	if err := lb1.Heal(); err != nil {
		t.Fatal(err)
	}
	f.c.Settled(t, "lb1")
}

// inTime asserts that lb2 took an address over when it had heard nothing for Master_Down_Interval.
func (f *field) inTime(t *testing.T, w way, vrid uint8, cut time.Time) {
	t.Helper()
	var last time.Time // advert that lb2 can have heard
	for _, at := range adverts(f.beats)[vrid] {
		if at.Before(cut) {
			last = at
		}
	}
	due, took := last.Add(w.down()), f.took(vip(w.family, vrid), cut)
	after := took.Sub(due)
	t.Logf("lb2 took %d over %s after its time of %s", vrid, after, w.down())
	if after >= -early && after <= late {
		return
	}
	if slack := f.stood("lb2", due.Add(-early), took); last.IsZero() || after < -early || after > late+slack {
		t.Errorf("lb2 took %d over %s after its time of %s was over, want at most %s; the machine excuses %s", vrid, after, w.down(), late, slack)
	}
}

// took is when lb2 got an address after an instant.
func (f *field) took(vip netip.Addr, from time.Time) time.Time {
	return f.c.Owners.History().Gets("lb2", vip, from)
}
