package notify

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "repeat the random test with this seed only")

// TestRandomLoads holds what is true under every load: the hooks of an instance never run at the same time, never hear of
// an older transition after a newer one, and, however long they take, each that wants the last state was told it last.
func TestRandomLoads(t *testing.T) {
	seeds := make([]uint64, 0, 300)
	for seed := range uint64(cap(seeds)) {
		seeds = append(seeds, seed+1)
	}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			if err := randomLoad(t, seed); err != nil {
				t.Errorf("with -seed=%d: %v", seed, err)
			}
		})
	}
}

func randomLoad(t *testing.T, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := newBook()
	var hooks []Hook
	for i := range 1 + rng.IntN(3) {
		hooks = append(hooks, randomHook(b, rng, fmt.Sprint("hook", i)))
	}
	n := New(hooks, b.report)
	end := begun(t, n)
	instances := make([]*moves, 1+rng.IntN(40))
	last := map[subject]Transition{}
	for i := range instances {
		instances[i] = move(fmt.Sprint("vr", i))
	}
	for range 4 * len(instances) {
		i := rng.IntN(len(instances))
		transition := instances[i].to(States[rng.IntN(len(States))])
		last[transition.subject()] = transition
		n.Notify(transition)
		if rng.IntN(4) == 0 {
			n.Replace(hooks, nil)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
	}
	time.Sleep(time.Hour)
	end()
	return b.judge(hooks, last)
}

func randomHook(b *book, rng *rand.Rand, name string) Hook {
	on := States[:1+rng.IntN(len(States))]
	// Drawn beforehand: the hooks run in several goroutines.
	times := make([]time.Duration, 7)
	for i := range times {
		times[i] = time.Duration(rng.Int64N(int64(12 * time.Second)))
	}
	return b.hookOf(&fake{
		name:  name,
		takes: func(t Transition) time.Duration { return times[t.Generation%7] },
		fails: func(t Transition) error {
			if t.Generation%3 == 0 {
				return errors.New("exit status 1")
			}
			return nil
		},
	}, on...)
}

func (b *book) judge(hooks []Hook, last map[subject]Transition) error {
	if b.overlap {
		return errors.New("two hooks of one instance ran at the same time")
	}
	if b.most > MaxRunning {
		return fmt.Errorf("%d hooks ran at once", b.most)
	}
	type run struct {
		hook string
		subject
	}
	newest := map[subject]uint64{} // over all hooks
	told := map[run]uint64{}
	for _, r := range b.reports {
		s := r.Transition.subject()
		if r.Transition.Generation < newest[s] {
			return fmt.Errorf("%s of %s ran for generation %d after %d", r.Hook, r.Instance, r.Transition.Generation, newest[s])
		}
		newest[s] = r.Transition.Generation
		told[run{r.Hook, s}] = r.Transition.Generation
	}
	for _, h := range hooks {
		for s, t := range last {
			if got := told[run{h.Name, s}]; h.wants(t) && got != t.Generation {
				return fmt.Errorf("%s was last told generation %d of %s, want %d", h.Name, got, t.Instance, t.Generation)
			}
		}
	}
	return nil
}

// TestRandomStops holds that Stop keeps to its time and leaves nothing running, at whatever instant it comes, and that
// every stop transition was either told or reported as not run.
func TestRandomStops(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			b := newBook()
			n := New([]Hook{randomHook(b, rng, "one"), b.hook("stop", time.Duration(rng.Int64N(int64(7*time.Second))), Stop)}, b.report)
			begun(t, n)
			instances := make([]*moves, 1+rng.IntN(60))
			for i := range instances {
				instances[i] = move(fmt.Sprint("vr", i))
				n.Notify(instances[i].to(Master))
				time.Sleep(time.Duration(rng.Int64N(int64(200 * time.Millisecond))))
			}
			for _, m := range instances {
				n.Notify(m.to(Stop))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			n.Stop(ctx)
			if took := time.Since(start); took > 5*time.Second || b.total > 0 {
				t.Errorf("seed %d: Stop took %v and left %d hooks running", seed, took, b.total)
			}
			stops := 0
			for _, r := range b.reports {
				if r.Hook == "stop" {
					stops++
				}
			}
			if stops != len(instances) {
				t.Errorf("seed %d: %d reports of stop hooks for %d instances", seed, stops, len(instances))
			}
		})
	}
}
