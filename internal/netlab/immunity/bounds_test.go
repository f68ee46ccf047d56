package immunity

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// late is by how much a flood may delay an advert or a takeover, beside the time for which others had the processors, or the
	// machine stood still. What is behind it: a timer that is late has the sockets read dry first, a flooded socket is read every
	// millisecond or two, and whoever wants a processor gets it at the next tick of the kernel, which is every 4 ms. It is less than what
	// makes a backup rise at the shortest interval of the pair, were its dead_adverts the default; see swiftLimit.
	late = 40 * time.Millisecond
	// rare is of how many adverts one may be later than that, or all of one instant, and worst by how much, when all comes together: a backup
	// misses them after 412 ms at the shortest interval of the pair.
	rare, worst = 200, 200 * time.Millisecond
	// dry is for how long a daemon that others held up may have what came meanwhile read before it goes on, at most, the daemon's readDry;
	// and caught how many times as long as it was held up.
	dry, caught = 50 * time.Millisecond, 2
	// swiftLimit is how late an advert may be at that interval until a backup with priority 100 rises after three of them.
	swiftLimit = 3*swiftInterval + swiftInterval*156/256 - swiftInterval
	// early is by how much less than its time a backup may have waited: two clocks are read.
	early = time.Millisecond
	// settles is how long an address may take to be set after the advert that says so. It hangs on locks of the whole machine.
	settles = pairtest.Noise
)

// Three lost adverts must not be made of one that is late.
const _ = uint(swiftLimit - late)

// delay is how late something was, for how long of that others had the processors, and how late it may be beside that.
type delay struct{ after, others, bound time.Duration }

// net is what is left of it.
func (d delay) net() time.Duration { return d.after - d.others }

func (d delay) tooLate() bool { return d.net() > d.bound }

func (d delay) String() string {
	return fmt.Sprintf("%s late, of which others had the processors for %s; want at most %s beside that", d.after, d.others, d.bound)
}

// delayed finds that out of what was due on a host.
func (f *field) delayed(host string, due, came time.Time) delay {
	d := delay{after: came.Sub(due), bound: late}
	if d.after > late { // else what the machine did need not be asked
		d.others = max(f.taken(host, due, came), f.c.Slack(due, came))
	}
	d.others += min(dry, caught*d.others)
	return d
}

// taken is for how long of a time a host's daemon did not have the processors that it wanted, or that it was on. The pair's other daemon
// has of its own host's where there is no test.
func (f *field) taken(host string, from, to time.Time) time.Duration {
	return min(f.queues[host].waited(from, to)+f.still.stood(from, to), to.Sub(from))
}

// delays are those of what was due at one place.
type delays []delay

// String is what is to be known of them.
func (all delays) String() string {
	after, net := make([]time.Duration, len(all)), make([]time.Duration, len(all))
	for n, d := range all {
		after[n], net[n] = d.after, d.net()
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(after)
	at := func(share float64) time.Duration {
		return after[int(share*float64(len(after)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d: median %s, 99%% %s, at most %s late, %s without what others had", len(all), at(0.5), at(0.99), at(1), slices.Max(net).Round(100*time.Microsecond))
}

// unmoved asserts that since an instant no address moved, no state changed and no master missed a beat.
func (f *field) unmoved(t *testing.T, from time.Time) {
	t.Helper()
	now := time.Now()
	complain := func(at time.Time, format string, args ...any) {
		t.Helper()
		if say := fmt.Sprintf(format, args...); f.starved(at) {
			t.Logf("%s; others had the processors for a third of the time before that", say)
		} else {
			t.Error(say)
		}
	}
	for _, change := range f.c.Owners.History() {
		if change.At.After(from) {
			complain(change.At, "%s: %v held=%t after %s", change.Host, change.Addr, change.Held, change.At.Sub(from))
		}
	}
	for _, w := range f.ways {
		var beats delays
		for _, vrid := range w.vrids() {
			beats = append(beats, f.beat(t, w, vrid, from, now)...)
			for name, want := range map[string]node.State{"lb1": node.Master, "lb2": node.Backup} {
				i, err := f.c.Get(name).Instance(t, nameOf(vrid))
				if err != nil {
					t.Error(err)
				} else if i.State != want || i.Since.After(from) {
					complain(i.Since, "%s of %s is %s since %s: %s", i.Name, name, i.State, pairtest.Stamp(i.Since), i.Why)
				}
			}
		}
		t.Logf("adverts, %s: %v", w.name, beats)
		f.adverts = append(f.adverts, beats...)
	}
}

// starved says whether others had the processors for a third of the time before an instant in which a daemon wanted one. Whatever
// came in such a time, adverts may have been lost: a socket holds so many packets and no more. Where the flooder has a processor
// of its own, that is said of one that stood still alone.
func (f *field) starved(at time.Time) bool {
	const span = time.Second
	if f.flooder != nil {
		return f.still.stood(at.Add(-span), at) > span/3
	}
	for host := range f.queues {
		if f.taken(host, at.Add(-span), at) > span/3 {
			return true
		}
	}
	return false
}

// beat asserts that no advert of a virtual router was much too late between two instants.
func (f *field) beat(t *testing.T, w way, vrid uint8, from, to time.Time) (all delays) {
	t.Helper()
	interval, _ := w.beat()
	for _, s := range silences(t, f.beats, vrid, from, to) {
		d := f.delayed("lb1", s.from.Add(interval), s.to)
		all = append(all, d)
		if d.net() > worst {
			t.Errorf("the master of %d was silent for %s of its interval of %s, from %s: %s", vrid, s.lasts(), interval, pairtest.Stamp(s.from), d)
		}
	}
	return all
}

// cutOff takes lb1 off the switch, and expects lb2 to take over what goes some ways when its time has come; then all is as before.
func (f *field) cutOff(t *testing.T, ways ...way) {
	t.Helper()
	lb1 := f.c.Get("lb1")
	for _, w := range ways {
		for _, vrid := range w.vrids() {
			next(t, f.heard, vrid, time.Time{}, settleBound)
		}
	}
	f.c.Settled(t, "lb1")
	from := pairtest.Step(t, lb1.Cut)
	defer func() { // also where a takeover did not come: the other ways are looked at by themselves
		if err := lb1.Heal(); err != nil {
			t.Error(err)
		}
		f.c.Settled(t, "lb1")
	}()
	for _, w := range ways {
		for _, vrid := range w.vrids() {
			f.inTime(t, w, vrid, from)
		}
	}
}

// inTime asserts that lb2 took over when it had heard nothing for Master_Down_Interval. Its first advert says when that was; the address
// follows.
func (f *field) inTime(t *testing.T, w way, vrid uint8, cut time.Time) {
	t.Helper()
	rose := next(t, f.rises, vrid, cut, settleBound)
	vip := vip(w.family, vrid)
	labtest.Eventually(t, settleBound, func() (bool, string) {
		return f.took(vip, cut).Before(cut.Add(settleBound)), fmt.Sprintf("lb2 has not taken %v over", vip)
	})
	var last time.Time // advert that lb2 heard
	for _, at := range f.heard.adverts()[vrid] {
		if at.Before(rose) {
			last = at
		}
	}
	if w.virtual && f.took(vip, cut).Before(rose) {
		rose = f.took(vip, cut) // its device is mute until it has the address
	}
	d := f.delayed("lb2", last.Add(w.down()), rose)
	if w.virtual {
		d.bound += settles
	}
	f.takeovers = append(f.takeovers, d)
	set := f.took(vip, cut).Sub(rose)
	t.Logf("lb2 took %d over %s after its time of %s, and had the address %s later", vrid, d.after, w.down(), set)
	if d.after < -early || d.tooLate() {
		t.Errorf("lb2 took %d over when its time of %s was over: %s", vrid, w.down(), d)
	}
	if set > settles+f.c.Slack(rose, rose.Add(set)) {
		t.Errorf("lb2 set the address of %d %s after it had taken over, want within %s", vrid, set, settles)
	}
}

// took is when lb2 got an address after an instant.
func (f *field) took(vip netip.Addr, from time.Time) time.Time {
	return f.c.Owners.History().Gets("lb2", vip, from)
}

// punctual says how late everything was, and asserts that what was excused was not the rule.
func (f *field) punctual(t *testing.T) {
	tooLate := 0
	for _, d := range f.adverts {
		if d.tooLate() {
			tooLate++
		}
	}
	t.Logf("adverts, %v; %d too late", f.adverts, tooLate)
	if most := max(len(f.adverts)/rare, 2*len(f.ways)); tooLate > most {
		t.Errorf("of %d adverts %d were late by more than %s beside the time that others had, want %d at most", len(f.adverts), tooLate, late, most)
	}
	t.Logf("takeovers, %v", f.takeovers)
	for what, all := range map[string]delays{"adverts": f.adverts, "takeovers": f.takeovers} {
		excused := 0
		for _, d := range all {
			if d.after > d.bound {
				excused++
			}
		}
		if excused > len(all)/seldom {
			t.Errorf("of %d %s %d were later than that, want one of %d at most", len(all), what, excused, seldom)
		}
	}
}

// seldom is of how many adverts and takeovers one may be later than late, whatever others had: a machine that has no processor for the
// daemons for longer shows nothing.
const seldom = 4
