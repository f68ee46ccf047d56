// Command bench measures what the users of a pair of load balancers see when something breaks: understudy beside keepalived,
// on the same hosts in turns. `make bench` runs it whole, `make bench-quick` a part; see -help for less than that.
//
// Two hosts and a client are made in network namespaces, with real nginx on both hosts. The client opens a new connection to
// the virtual address every 2 ms, whether or not earlier ones have ended, with a deadline of 1.5 s, no retry and no
// keep-alive. Who has the address comes from the kernel's own events, with time stamps of one clock.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes: unmet targets are only an error when -check asks for it.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
	exitUnmet = 3
)

// run is main with its inputs and outputs named.
func run(args []string, stdout, stderr io.Writer) int {
	plan, err := parsePlan(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	b := &bench{plan: plan, out: stdout, began: time.Now()}
	if err := b.run(ctx); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitError
	}
	unmet := b.results.unmet()
	excused := 0
	for _, v := range b.results.Targets {
		if v.Verdict != met {
			fmt.Fprintf(stdout, "%s: %s: %.4g, at most %.4g %s: %v\n", targetTitle(v.Row), v.Title, v.Got, v.Limit, v.Unit, v)
		}
		if v.Verdict == stalled {
			excused++
		}
	}
	fmt.Fprintf(stdout, "%d of %d targets are not met, %d are met but for stalls of the machine\n", len(unmet), len(b.results.Targets), excused)
	if plan.check && len(unmet) > 0 {
		return exitUnmet
	}
	return exitOK
}

// maxBroken is how many rounds may break before it ends, and how many takeovers before the rest of them is left out.
const maxBroken = 3

// bench is one run of the command.
type bench struct {
	plan    plan
	out     io.Writer
	began   time.Time
	longest time.Duration // a round of all daemons
	broken  int           // rounds that did not come to their end
	results results
}

// run measures everything that is planned, and writes the results after every round, so that a broken one leaves the rest.
func (b *bench) run(ctx context.Context) error {
	if b.plan.from != "" {
		if err := b.read(); err != nil {
			return err
		}
		return b.write()
	}
	b.results = results{
		Format: format, Began: b.began, Seed: b.plan.seed, Machine: describeMachine(), Memory: resident,
		Planned: b.plan.judged(), Runs: b.plan.runsPlanned(),
	}
	fmt.Fprintf(b.out, "%s; seed %d; results go to %s\n", b.results.Machine, b.plan.seed, b.plan.dir)
	err := b.takeovers(ctx)
	if err == nil {
		err = b.scales(ctx)
	}
	if err == nil {
		err = b.rounds(ctx)
	}
	b.results.Took = time.Since(b.began).Round(time.Second).String()
	return errors.Join(err, b.write())
}

// rounds measures the faults: in each round one daemon after the other, so that whatever the machine does meets both.
func (b *bench) rounds(ctx context.Context) error {
	if len(b.plan.faults) == 0 {
		return nil
	}
	for _, interval := range b.plan.intervals {
		if !slices.ContainsFunc(b.plan.faults, func(f fault) bool { return f.at(interval) }) {
			continue
		}
		for n := range b.plan.runsAt(interval) {
			if b.late() {
				return nil
			}
			began := time.Now()
			if err := b.round(ctx, interval, n); err != nil {
				err = fmt.Errorf("%v, run %d: %w", interval, n+1, err)
				if b.broken++; ctx.Err() != nil || b.broken > maxBroken {
					return err
				}
				// The others are worth their hour.
				b.remark("a round broke", err)
			}
			b.longest = max(b.longest, time.Since(began))
			if err := b.write(); err != nil {
				return err
			}
		}
	}
	return nil
}

// remark says what went otherwise than planned: the whole of it now, its first line in the results.
func (b *bench) remark(what string, err error) {
	reason, _, _ := strings.Cut(err.Error(), "\n")
	b.results.note("%s: %s", what, reason)
	fmt.Fprintf(b.out, "%7s  %s: %v\n", time.Since(b.began).Round(time.Second), what, err)
}

// late says that the time is up, in the results too.
func (b *bench) late() bool {
	if time.Since(b.began)+b.longest <= b.plan.limit {
		return false
	}
	b.results.note("the time limit of %v ended it early; each figure names its number of runs", b.plan.limit)
	return true
}

// round makes a pair of hosts that go with it, and measures every fault once with each daemon, on the same hosts in turns.
func (b *bench) round(ctx context.Context, interval time.Duration, n int) (err error) {
	pair, err := newPair(ctx, b.plan.products[0], interval, b.plan.seed+int64(n))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pair.close()) }()
	pair.trace, pair.out, pair.remark = b.plan.trace, b.out, b.remark
	for _, d := range b.plan.products {
		if err := pair.take(d); err != nil {
			return fmt.Errorf("%s: %w", d.name(), err)
		}
		for _, f := range b.plan.faultsOf(d, interval) {
			if err := b.fault(ctx, pair, f, n); err != nil {
				return fmt.Errorf("%s: %s: %w", d.name(), f.name, err)
			}
		}
	}
	return nil
}

// fault measures one fault.
func (b *bench) fault(ctx context.Context, pair *pair, f fault, n int) error {
	samples, err := pair.measure(ctx, f)
	for _, s := range samples {
		s.Run = n + 1
		b.results.Samples = append(b.results.Samples, s)
		fmt.Fprintf(b.out, "%7s  %-17s %6v  %v\n", time.Since(b.began).Round(time.Second), s.Daemon, pair.interval, s)
	}
	return err
}
