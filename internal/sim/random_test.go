package sim

import (
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
)

var (
	seed = flag.Uint64("seed", 1, "the first seed of the random runs")
	runs = flag.Int("runs", 0, "how many random runs, each with the next seed (default 1000; 100 with -race)")

	defaultRuns = 1000
)

// TestRandom lets clusters live through random faults. A failure prints its seed; with it the run repeats exactly.
func TestRandom(t *testing.T) {
	n := *runs
	if n == 0 {
		n = defaultRuns
	}
	failures := 0
	for k := range n {
		s := *seed + uint64(k)
		faults, _ := play(s, false)
		if len(faults) == 0 {
			continue
		}
		_, sc := play(s, true)
		trace := sc.c.Trace()
		if n > 1 {
			trace = trace[max(0, len(trace)-60):] // one run shows all of it
		}
		t.Errorf("seed %d: %s\n%s\nthe end of its trace:\n%s\nrepeat with: go test ./internal/sim -run TestRandom -runs 1 -seed %d",
			s, sc, strings.Join(faults, "\n"), strings.Join(trace, "\n"), s)
		if failures++; failures == 3 {
			t.Fatal("and maybe more")
		}
	}
}

// TestSameSeedSameTrace keeps the runs repeatable: without that a seed proves nothing.
func TestSameSeedSameTrace(t *testing.T) {
	for s := *seed; s < *seed+20; s++ {
		_, one := play(s, true)
		_, two := play(s, true)
		if diff := cmp.Diff(one.c.Trace(), two.c.Trace()); diff != "" {
			t.Fatalf("seed %d (-first +second):\n%s", s, diff)
		}
		if len(one.c.Trace()) < 10 {
			t.Fatalf("seed %d: a trace of %d lines proves nothing", s, len(one.c.Trace()))
		}
	}
}

// play runs the scenario of one seed and returns what was wrong.
func play(seed uint64, trace bool) ([]string, *scenario) {
	s := draw(seed, trace)
	w := watchOver(s.c)
	healed := s.play()
	if s.ill {
		s.settleIll(w)
	} else {
		s.settleHealthy(w)
	}
	if len(s.c.Faults()) > 0 {
		s.c.Note("the faults ended at %s", healed.Sub(epoch))
	}
	return s.c.Faults(), s
}

// settleHealthy checks that a healed cluster converges to the best healthy host and rests there.
//
// The bound: a best host that is a backup hears its master within one interval, and then waits for its skew; one that just
// started, or hears lower adverts of a master that it does not follow, waits for its Master_Down_Interval. The others'
// timers only end later. 200 ms are for a leaving master that resumes (LeaveWait is the interval and 100 ms, in VRRPv2
// 1.1 s) and for processing. preempt_delay counts from when a host became eligible, at the end of the faults at the latest.
// Without preemption the same bound holds for some healthy host, whose master may be a second one that has to step down.
func (s *scenario) settleHealthy(w *watch) {
	bound := masterDown(s.instance) + s.instance.Interval + 200*time.Millisecond + s.instance.PreemptDelay
	s.c.Run(bound)
	want := s.best()
	if !s.instance.Preempt {
		want = nil
		for _, h := range s.healthy() {
			want = append(want, h.Name)
		}
	}
	masters := s.c.Masters("web")
	if len(masters) != 1 || !slices.Contains(want, masters[0]) {
		s.c.Fault("%s after the last fault the masters are %v, want one of %v", bound, masters, want)
		return
	}
	s.c.Run(maxLinger + w.slack)
	s.rest(w, masters[0], 10*s.instance.Interval+time.Second, 0)
}

// settleIll checks that among unhealthy hosts somebody takes the address, and that it rests there.
//
// The bound: silence is noticed after lastResort; a leaving master waits LeaveWait (interval + 100 ms, in VRRPv2 1.1 s)
// for each of two tries before.
func (s *scenario) settleIll(w *watch) {
	bound := lastResort(s.instance) + 2*max(s.instance.Interval+100*time.Millisecond, 1100*time.Millisecond) + 200*time.Millisecond
	s.c.Run(bound)
	masters := s.c.Masters("web")
	for _, h := range s.c.hosts {
		if h.State("web") == node.Leaving && len(masters) == 0 {
			masters = append(masters, h.Name) // one that offers its addresses again
		}
	}
	if len(masters) != 1 {
		s.c.Fault("%s after the last fault the masters are %v, want one", bound, masters)
		return
	}
	s.c.Run(maxLinger + w.slack)
	// It offers its addresses after 1, 2, 4 .. s: at most five times in 20 s, two quiet lines each.
	s.rest(w, masters[0], 20*time.Second, 2*6)
}

// rest checks that nothing moves any more.
func (s *scenario) rest(w *watch, owner string, d time.Duration, quiet int) {
	w.reset()
	since := s.c.Now()
	s.c.Run(d)
	for _, ip := range s.c.addresses() {
		periods := s.c.Owners.Periods(ip, since)
		// Without preemption the second instance may rest elsewhere.
		isWeb := slices.ContainsFunc(s.instance.Addresses, func(a node.Address) bool { return a.IP == ip })
		if len(periods) != 1 || len(periods[0].Hosts) != 1 || isWeb && periods[0].Hosts[0] != owner {
			s.c.Fault("the address moves although nothing happens, %s should have it: %s", owner, s.c.Owners.Describe(ip, since, s.c.Now()))
		}
	}
	instances := len(s.c.cfg.Hosts[0].Instances)
	if w.changes > 0 || w.quiet > quiet*instances {
		s.c.Fault("%d changes and %d quiet ones within %s although nothing happens", w.changes, w.quiet, d)
	}
	// Each advert is one step of its sender and one of each other host; a renewal two (Elapsed, AddressesSet).
	beats := int(d/s.instance.Interval)*(len(s.c.hosts)+1)*len(s.instance.Families()) + 2*int(d/min(s.instance.Interval, 500*time.Millisecond))
	if limit := 2*beats + 300; w.steps > limit*instances {
		s.c.Fault("%d steps within %s although nothing happens, %d are enough", w.steps, d, limit)
	}
}
