package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// At the default interval every figure is the median of 10 runs, at shorter ones of 3.
	defaultInterval = time.Second
	runsAtDefault   = 10
	runsElsewhere   = 3
	// wholeLimit and quickLimit bound it all: no round is begun that would not fit if it took as long as the longest before.
	wholeLimit = 89 * time.Minute
	quickLimit = 8 * time.Minute
	quickRuns  = 3
)

// quickFaults is what bench-quick measures.
var quickFaults = []string{"stop", "killed", "nginx-killed", "nginx-hung", "link-down", "address-deleted"}

// plan is what to measure.
type plan struct {
	dir       string
	products  []product
	faults    []fault
	scales    []scaleCase
	intervals []time.Duration
	runs      int // 0: by interval
	limit     time.Duration
	seed      int64
	takeover  bool
	trace     bool
	check     bool
	from      string // earlier results, to be written again
}

// parsePlan reads the command line.
func parsePlan(args []string, stderr io.Writer) (plan, error) {
	var p plan
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	binary := flags.String("understudy", "bin/understudy", "the `path` of the daemon to measure")
	flags.StringVar(&p.dir, "out", "dist/bench", "the `directory` of the results")
	daemons := flags.String("daemons", "understudy,keepalived,keepalived-weight", "which `daemons`")
	faults := flags.String("faults", "all", "which `faults`: all, none, or of "+strings.Join(faultNames(), ","))
	scales := flags.String("scale", "all", "which `sizes`: all, none, or of "+strings.Join(scaleNames(), ","))
	intervals := flags.String("interval", "1s,100ms", "advertisement `intervals`")
	flags.IntVar(&p.runs, "runs", 0, "how many runs (default 10 at 1s, 3 at other intervals)")
	flags.DurationVar(&p.limit, "limit", wholeLimit, "begin no round that would not be over within this `time`")
	flags.Int64Var(&p.seed, "seed", time.Now().UnixNano(), "of the random moments at which faults happen")
	flags.BoolVar(&p.trace, "trace", false, "print each run step by step, not only those that miss a target, and have the daemons log all they can")
	flags.BoolVar(&p.check, "check", false, fmt.Sprintf("exit %d when a target is not met", exitUnmet))
	flags.BoolVar(&p.takeover, "takeover", true, "measure how fast the addresses are taken over")
	flags.StringVar(&p.from, "from", "", "measure nothing: write the report of an earlier run again, from its results.json (`file`)")
	quick := flags.Bool("quick", false, fmt.Sprintf("measure %s at 1s, %d runs", strings.Join(quickFaults, ","), quickRuns))
	if err := flags.Parse(args); err != nil {
		return p, err
	}
	if flags.NArg() > 0 {
		return p, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *quick {
		*faults, *scales, *intervals, p.runs, p.limit = strings.Join(quickFaults, ","), "none", "1s", quickRuns, quickLimit
	}
	if p.from != "" {
		return p, nil
	}
	return p, p.choose(*binary, *daemons, *faults, *scales, *intervals)
}

// choose fills in what the command line names.
func (p *plan) choose(binary, daemons, faults, scales, intervals string) error {
	var err error
	if p.faults, err = pick(allFaults(), faults, func(f fault) string { return f.name }); err != nil {
		return fmt.Errorf("-faults: %w", err)
	}
	if p.intervals, err = parseIntervals(intervals); err != nil {
		return fmt.Errorf("-interval: %w", err)
	}
	for _, f := range p.faults {
		if faults != "all" && !slices.ContainsFunc(p.intervals, f.at) {
			return fmt.Errorf("-faults: %q is measured at %v only: add that to -interval", f.name, f.interval)
		}
	}
	if p.scales, err = pick(allScales(), scales, func(s scaleCase) string { return s.name }); err != nil {
		return fmt.Errorf("-scale: %w", err)
	}
	// exec would look for a bare name in PATH.
	if binary, err = netlab.Find(binary); err != nil {
		return fmt.Errorf("-understudy: %w; make build makes it", err)
	}
	u, err := newUnderstudy(binary)
	if err != nil {
		return err
	}
	products := []product{u, &keepalived{}, &keepalived{weight: true}}
	if p.products, err = pick(products, daemons, product.name); err != nil {
		return fmt.Errorf("-daemons: %w", err)
	}
	return nil
}

func parseIntervals(list string) (intervals []time.Duration, err error) {
	for text := range strings.SplitSeq(list, ",") {
		d, err := time.ParseDuration(text)
		if err != nil || d < 10*time.Millisecond || d > 40*time.Second || d%(10*time.Millisecond) != 0 {
			return nil, fmt.Errorf("%q: want 10ms to 40s, in whole centiseconds", text)
		}
		intervals = append(intervals, d)
	}
	return intervals, nil
}

// pick returns the named ones of all, in the order of all.
func pick[T any](all []T, names string, nameOf func(T) string) ([]T, error) {
	switch names {
	case "all":
		return all, nil
	case "none", "":
		return nil, nil
	}
	wanted := strings.Split(names, ",")
	var known []string
	for _, t := range all {
		known = append(known, nameOf(t))
	}
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%q is none of %s", w, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(t T) bool { return !slices.Contains(wanted, nameOf(t)) }), nil
}

// runsAt is how often each fault is measured at an interval.
func (p plan) runsAt(interval time.Duration) int {
	switch {
	case p.runs > 0:
		return p.runs
	case interval == defaultInterval:
		return runsAtDefault
	default:
		return runsElsewhere
	}
}

// understudy is the daemon of this project, nil if it is not to be measured.
func (p plan) understudy() *understudy {
	for _, d := range p.products {
		if u, ok := d.(*understudy); ok {
			return u
		}
	}
	return nil
}

// faultsOf are the faults to measure with a daemon at an interval: for keepalived's weights only those of nginx.
func (p plan) faultsOf(d product, interval time.Duration) []fault {
	k, other := d.(*keepalived)
	return slices.DeleteFunc(slices.Clone(p.faults), func(f fault) bool {
		return other && (f.alone || k.weight && !f.weighed) || !f.at(interval)
	})
}

// runsPlanned are the runs at each interval.
func (p plan) runsPlanned() (list []plannedRuns) {
	for _, interval := range p.intervals {
		list = append(list, plannedRuns{ms(interval), p.runsAt(interval)})
	}
	return list
}
