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
	// late is by how much a flood may delay an advert, or a takeover: what its adverts cost the daemon, and no timer's length. Nothing
	// may be later than atWorst, even on a machine that gives the daemon less than it asks for: its work takes longer there.
	late, atWorst = 50 * time.Millisecond, 100 * time.Millisecond
	// early is by how much less than its time a backup may have waited: an advert that left its sender just before the cut is lost too.
	early = 20 * time.Millisecond
	// seldom is of how many adverts and takeovers one may be later than late.
	seldom = 50
)

// delay is how late something was, and what of it is the machine's.
type delay struct {
	after  time.Duration
	waited time.Duration // for how long the daemon had no processor that it asked for, or the machine stood still
	others time.Duration // how much of that others had
}

// delayed finds that out of what was due on a host.
func (f *field) delayed(host string, due, came time.Time) delay {
	d := delay{after: came.Sub(due)}
	if d.after <= late {
		return d // what the machine did need not be asked
	}
	waited, others := f.queues[host].worst(due, came)
	slack := f.c.Slack(due, came)
	d.waited, d.others = max(waited, slack), max(others, slack)
	f.overdue = append(f.overdue, max(d.after-late-d.others, 0))
	return d
}

// tooLate says that even all the waiting is no excuse.
func (d delay) tooLate() bool { return d.after > atWorst+d.waited }

func (d delay) String() string {
	return fmt.Sprintf("%s late, want at most %s; it waited for a processor for %s, of which others had %s", d.after, atWorst, d.waited, d.others)
}

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
		d := f.delayed("lb1", s.from.Add(interval), s.to)
		worst = max(worst, d.after)
		f.timed++
		if d.tooLate() {
			t.Errorf("the master of %d was silent for %s of its interval of %s, from %s: %s", vrid, s.lasts(), interval, pairtest.Stamp(s.from), d)
		}
	}
	return worst
}

// cutOff takes lb1 off the switch, and expects lb2 to take over everything when its time has come; then all is as before.
func (f *field) cutOff(t *testing.T) {
	t.Helper()
	lb1 := f.c.Get("lb1")
	for _, w := range ways {
		for _, vrid := range []uint8{w.vrid, w.signed} {
			next(t, f.beats, vrid, time.Time{}, settleBound)
		}
	}
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
	for _, at := range f.beats.adverts()[vrid] {
		if at.Before(cut) {
			last = at
		}
	}
	due, took := last.Add(w.down()), f.took(vip(w.family, vrid), cut)
	d := f.delayed("lb2", due, took)
	f.timed++
	t.Logf("lb2 took %d over %s after its time of %s", vrid, d.after, w.down())
	if d.after < -early || d.tooLate() {
		t.Errorf("lb2 took %d over when its time of %s was over: %s", vrid, w.down(), d)
	}
}

// took is when lb2 got an address after an instant.
func (f *field) took(vip netip.Addr, from time.Time) time.Time {
	return f.c.Owners.History().Gets("lb2", vip, from)
}

// punctual asserts of all adverts and takeovers that what the floods cost the daemons held them up seldom.
func (f *field) punctual(t *testing.T) {
	held := 0
	for _, d := range f.overdue {
		if d > 0 {
			held++
		}
	}
	t.Logf("of %d adverts and takeovers %d were more than %s late, and %d of them not for the machine's sake alone", f.timed, len(f.overdue), late, held)
	if held > f.timed/seldom {
		t.Errorf("of %d adverts and takeovers %d were more than %s late beyond what others had of the machine, want one of %d at most: %v", f.timed, held, late, seldom, f.overdue)
	}
}
