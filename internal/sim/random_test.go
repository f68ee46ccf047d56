package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	seed   = flag.Uint64("seed", 1, "the first seed of the random runs")
	runs   = flag.Int("runs", 0, "how many random runs, each with the next seed, and a tenth as many of groups (default 1000 and 200)")
	budget = flag.Duration("budget", 0, "stop after this time, of which groups have a quarter, and print how far it is and each seed that fails (0: neither)")
	effort = flag.Duration("effort", 0, "it is a failure when the seeds take more time of the processors than this, of which groups may take a quarter (0: any)")
	part   = flag.Bool("part", false, "it is no failure when the time is over before all seeds were tried")

	defaultRuns = 1000
)

const (
	workers     = 2
	maxFailures = 3 // that are told in full
	progressGap = 10 * time.Second
)

// TestRandom lets clusters live through random faults. A failure prints its seed and the faults that it needs; with that
// seed the run repeats exactly.
func TestRandom(t *testing.T) {
	n := *runs
	if n == 0 {
		n = defaultRuns
	}
	explore(t, n, *budget-*budget/groupTime, *effort-*effort/groupTime, single)
}

// species is a kind of clusters.
type species string

// The kinds: hosts with instances that have nothing to do with each other, and with a group of them. They are named after their
// tests.
const (
	single species = "TestRandom$"
	groups species = "TestRandomGroups"
)

// explore tries so many seeds, until a time is over if there is one. What they may take of the processors' time is held apart: a machine that
// is busy with something else changes the one, and not the other.
func explore(t *testing.T, n int, budget, effort time.Duration, k species) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(1600)) // the runs are short and leave much behind
	x := exploration{name: t.Name(), species: k, budget: budget, effort: effort, spent: processorTime(), next: *seed, end: *seed + uint64(n), began: time.Now()}
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(x.work)
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	x.report(t, n, done)
	tried := x.runs.Load()
	if took := processorTime() - x.spent; effort > 0 && took > effort {
		t.Errorf("%d of %d seeds took %s of the processors' time, want at most %s for all: make them faster, or fewer", tried, n, took.Round(time.Millisecond), effort)
	} else if tried < int64(n) && !*part {
		t.Errorf("%d of %d seeds were tried when the time of %s was over: give it more time, or fewer seeds", tried, n, budget)
	}
	for _, s := range x.failed {
		t.Errorf("%s", explain(s, k, n == 1))
	}
	if x.more > 0 {
		t.Errorf("and %d more seeds failed", x.more)
	}
}

// exploration is one seed after the other, by several workers.
type exploration struct {
	name    string
	species species
	budget  time.Duration
	effort  time.Duration
	began   time.Time
	spent   time.Duration // of the processors' time when it began
	end     uint64
	mu      sync.Mutex // guards what follows
	next    uint64
	failed  []uint64
	more    int
	runs    atomic.Int64
}

// processorTime is what this process has had of the processors so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// take gives out the next seed.
func (x *exploration) take() (uint64, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	over := x.budget > 0 && time.Since(x.began) > x.budget || x.effort > 0 && processorTime()-x.spent > x.effort
	if x.next >= x.end || over {
		return 0, false
	}
	x.next++
	return x.next - 1, true
}

// work runs seeds until there are no more.
func (x *exploration) work() {
	for {
		s, ok := x.take()
		if !ok {
			return
		}
		if faults := play(s, x.species, false, nil).c.Faults(); len(faults) > 0 {
			x.fail(s, faults[0])
		}
		x.runs.Add(1)
	}
}

// fail takes note of a seed.
func (x *exploration) fail(s uint64, why string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.budget > 0 {
		fmt.Printf("%s, seed %d: %s\n", x.name, s, why)
	}
	if len(x.failed) == maxFailures {
		x.more++
		return
	}
	x.failed = append(x.failed, s)
}

// report prints how far it is, where that takes long enough to be asked for.
func (x *exploration) report(t *testing.T, n int, done <-chan struct{}) {
	tick := time.NewTicker(progressGap)
	defer tick.Stop()
	for {
		select {
		case <-done:
			took := time.Since(x.began).Round(time.Millisecond)
			t.Logf("%d of %d seeds from %d in %s", x.runs.Load(), n, *seed, took)
			return
		case <-tick.C:
			if x.budget > 0 {
				x.mu.Lock()
				fmt.Printf("%s: %d of %d seeds in %s, %d failed\n", x.name, x.runs.Load(), n, time.Since(x.began).Round(time.Second), len(x.failed)+x.more)
				x.mu.Unlock()
			}
		}
	}
}

// explain tells what is wrong with a seed, by the fewest of its faults that show it; all of it if it is the only one.
func explain(seed uint64, k species, whole bool) string {
	skip := shrink(seed, k)
	s := play(seed, k, true, skip)
	trace := s.c.Trace()
	if !whole {
		trace = trace[max(0, len(trace)-60):]
	}
	return fmt.Sprintf("seed %d, %d of %d faults left out: %s\n%s\nthe end of its trace:\n%s\nrepeat with: go test ./internal/sim -run '%s' -runs 1 -seed %d",
		seed, len(skip), s.o.faults, s, strings.Join(s.c.Faults(), "\n"), strings.Join(trace, "\n"), k, seed)
}

// shrink leaves out one fault after the other, as long as something is still wrong.
func shrink(seed uint64, k species) map[int]bool {
	skip := map[int]bool{}
	for again := true; again; {
		again = false
		for fault := range play(seed, k, false, nil).o.faults {
			if skip[fault] {
				continue
			}
			try := maps.Clone(skip)
			try[fault] = true
			if len(play(seed, k, false, try).c.Faults()) > 0 {
				skip, again = try, true
			}
		}
	}
	return skip
}

// TestTooLittleTime: seeds that were not tried have proved nothing, unless a part of them was asked for.
func TestTooLittleTime(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	explore := func(more ...string) (string, error) {
		args := []string{"-test.v", "-test.run", string(single), "-runs", "1000000"}
		out, err := exec.CommandContext(t.Context(), self, append(args, more...)...).CombinedOutput()
		return string(out), err
	}
	const few = " of 1000000 seeds"
	if out, err := explore("-budget", "200ms"); err == nil || !strings.Contains(out, few+" were tried when the time of 150ms was over") {
		t.Errorf("without its time it ends with %v:\n%s", err, out)
	}
	if out, err := explore("-effort", "200ms"); err == nil || !strings.Contains(out, "of the processors' time, want at most 150ms") {
		t.Errorf("with too much work it ends with %v:\n%s", err, out)
	}
	if out, err := explore("-budget", "200ms", "-part"); err != nil || !strings.Contains(out, few+" from 1 in ") {
		t.Errorf("with a part it ends with %v:\n%s", err, out)
	}
}

// TestSameSeedSameTrace keeps the runs repeatable: without that a seed proves nothing.
func TestSameSeedSameTrace(t *testing.T) {
	for _, k := range []species{single, groups} {
		for s := *seed; s < *seed+20; s++ {
			one, two := play(s, k, true, nil), play(s, k, true, nil)
			if diff := cmp.Diff(one.c.Trace(), two.c.Trace()); diff != "" {
				t.Fatalf("%s, seed %d (-first +second):\n%s", k, s, diff)
			}
			if len(one.c.Trace()) < 10 {
				t.Fatalf("%s, seed %d: a trace of %d lines proves nothing", k, s, len(one.c.Trace()))
			}
		}
	}
}

// play runs the scenario of one seed: the faults, and the time after them. A panic is as wrong as anything.
func play(seed uint64, k species, trace bool, skip map[int]bool) (s *scenario) {
	s = draw(seed, k, trace, skip)
	defer func() {
		if r := recover(); r != nil {
			s.c.Fault("panic: %v\n%s", r, debug.Stack())
		}
	}()
	s.play()
	s.settle()
	return s
}
