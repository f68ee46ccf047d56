package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// results is all that was measured, as it is in results.json.
type results struct {
	Format    int              `json:"format"`
	Began     time.Time        `json:"began"`
	Took      string           `json:"took"`
	Machine   string           `json:"machine"`
	Memory    string           `json:"memory"` // which measure of it
	Seed      int64            `json:"seed"`
	Notes     []string         `json:"notes,omitempty"`
	Planned   []string         `json:"planned,omitempty"` // what is to be judged
	Runs      []plannedRuns    `json:"planned_runs,omitempty"`
	Summary   []summary        `json:"summary"`
	Scales    []scaleResult    `json:"scales"`
	Takeovers []takeoverResult `json:"takeovers"`
	Targets   []verdictOf      `json:"targets"`
	Samples   []sample         `json:"samples"`
}

// plannedRuns is how many runs were planned at an interval.
type plannedRuns struct {
	Interval milliseconds `json:"interval_ms"`
	Runs     int          `json:"runs"`
}

// plannedAt is how many runs were planned at an interval, 0 when that is not known.
func (r *results) plannedAt(interval milliseconds) int {
	for _, p := range r.Runs {
		if p.Interval == interval {
			return p.Runs
		}
	}
	return 0
}

// spread is a figure over the runs.
type spread struct {
	Median milliseconds `json:"median"`
	Max    milliseconds `json:"max"`
}

// spreadOf sums up a figure. Without values it is zero.
func spreadOf(values []milliseconds) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Max: v[n-1]}
}

// summary is one row of the table for one daemon at one interval.
type summary struct {
	Row      string       `json:"row"`
	Daemon   string       `json:"daemon"`
	Interval milliseconds `json:"interval_ms"`
	Runs     int          `json:"runs"`
	Missed   int          `json:"missed"` // runs in which the daemons did not reach what they should

	Stays    int `json:"two_owners_stay"` // runs that ended with two owners
	Happened int `json:"happened"`        // runs in which what the row is about happened

	Outage    spread `json:"outage_ms"`
	Felt      spread `json:"felt_ms"`
	Stall     spread `json:"stall_ms"`
	Settled   spread `json:"settled_ms"`
	TwoOwners spread `json:"two_owners_ms"`
	Nobody    spread `json:"nobody_ms"`
	Moves     spread `json:"moves"`
	Lost      spread `json:"lost"`
	Reset     spread `json:"reset"`
	// Unanswered are the new connections without an answer, and those that had it late.
	Unanswered spread `json:"unanswered_or_slow"`
	// NoAnswer are those without an answer alone.
	NoAnswer spread `json:"no_answer"`
	// Contentions is the sum of all runs.
	Contentions int    `json:"contentions,omitempty"`
	Returned    spread `json:"returned_ms,omitzero"`
	// KeepAlive and Downloads are how many of the open connections broke.
	KeepAlive spread `json:"keep_alive_broken"`
	Downloads spread `json:"downloads_broken"`
}

// note adds a remark to the results, once.
func (r *results) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// summarize sums the samples up, in the order of the catalogue.
func (r *results) summarize() {
	r.Summary = nil
	type key struct {
		interval    milliseconds
		row, daemon string
	}
	groups := make(map[key][]sample)
	var keys []key
	for _, s := range r.Samples {
		k := key{s.Interval, s.Row, s.Daemon}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], s)
	}
	order := rowOrder()
	slices.SortStableFunc(keys, func(a, b key) int {
		if a.interval != b.interval {
			return int(b.interval - a.interval)
		}
		return slices.Index(order, a.row) - slices.Index(order, b.row)
	})
	for _, k := range keys {
		r.Summary = append(r.Summary, sum(groups[k]))
	}
	r.Targets = slices.Concat(r.judgeFaults(), r.judgeScales(), judgeTakeovers(r.Takeovers))
	r.Targets = append(r.Targets, missing(r.Planned, r.Targets)...)
}

// sum sums up samples of one row, daemon and interval.
func sum(list []sample) summary {
	of := func(figure func(s sample) milliseconds) spread {
		var values []milliseconds
		for _, s := range list {
			values = append(values, figure(s))
		}
		return spreadOf(values)
	}
	s := summary{
		Row: list[0].Row, Daemon: list[0].Daemon, Interval: list[0].Interval, Runs: len(list),
		Outage:     of(func(s sample) milliseconds { return s.Outage }),
		Felt:       of(func(s sample) milliseconds { return s.Felt }),
		Stall:      of(func(s sample) milliseconds { return s.Stall }),
		Settled:    of(func(s sample) milliseconds { return s.Settled }),
		TwoOwners:  of(func(s sample) milliseconds { return s.TwoOwners }),
		Nobody:     of(func(s sample) milliseconds { return s.Nobody }),
		Moves:      of(func(s sample) milliseconds { return milliseconds(s.Moves) }),
		Lost:       of(func(s sample) milliseconds { return milliseconds(s.Lost) }),
		Reset:      of(func(s sample) milliseconds { return milliseconds(s.Reset) }),
		Unanswered: of(func(s sample) milliseconds { return milliseconds(s.Unanswered + s.Slow) }),
		NoAnswer:   of(func(s sample) milliseconds { return milliseconds(s.Unanswered) }),
		Returned:   of(func(s sample) milliseconds { return s.Returned }),
		KeepAlive:  of(func(s sample) milliseconds { return milliseconds(s.KeepAlive.all()) }),
		Downloads:  of(func(s sample) milliseconds { return milliseconds(s.Downloads.all()) }),
	}
	_, step := findStep(s.Row)
	for _, one := range list {
		s.Contentions += one.Contentions
		if step == nil || step.about == nil || step.about.in(one) {
			s.Happened++
		}
		if one.Missed != "" {
			s.Missed++
		}
		if one.Stays {
			s.Stays++
		}
	}
	return s
}

// rowOrder is all rows in the order of the catalogue.
func rowOrder() (rows []string) {
	for _, f := range allFaults() {
		for _, s := range f.steps {
			rows = append(rows, s.row)
		}
	}
	return rows
}

// rowTitle is a row in words.
func rowTitle(row string) string {
	if _, s := findStep(row); s != nil {
		return s.title
	}
	return row
}

// targetTitle is a row in words, with its interval where that is not the default.
func targetTitle(row string) string {
	if interval := intervalOf(row); interval != ms(defaultInterval) {
		return fmt.Sprintf("%s, adverts every %v ms", rowTitle(row), interval)
	}
	return rowTitle(row)
}

// nothing says why a row's figures are of nothing, "" when they are not.
func (s *summary) nothing() string {
	if _, step := findStep(s.Row); s.Happened == 0 && step != nil && step.about != nil {
		return step.about.absent // "" of what is rare
	}
	return ""
}

// mostlyNothing says that a median of the runs is of nothing: in most of them what the row is about did not happen, and should have.
func (s *summary) mostlyNothing() bool {
	_, step := findStep(s.Row)
	return 2*s.Happened <= s.Runs && (step == nil || step.about == nil || !step.about.rare)
}

// happened says how often happened what the row is about, "" where that goes without saying.
func (s *summary) happened() string {
	_, step := findStep(s.Row)
	switch {
	case step == nil || step.about == nil || s.Happened == 0:
		return ""
	case s.Contentions > 0:
		return fmt.Sprintf("%s in %d of %d runs", several(s.Contentions, step.about.name), s.Happened, s.Runs)
	case s.Happened < s.Runs || step.about == contention || step.about == rareContention: // which nobody counted
		return fmt.Sprintf("a %s in %d of %d runs", step.about.name, s.Happened, s.Runs)
	default:
		return ""
	}
}

// several is a number of things in words.
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// find returns the summary of a row, nil when it was not measured.
func find(list []summary, row, daemon string, interval milliseconds) *summary {
	for i, s := range list {
		if s.Row == row && s.Daemon == daemon && s.Interval == interval {
			return &list[i]
		}
	}
	return nil
}

// unmet lists the targets that do not hold: not met, not measured, or measured in fewer runs than planned.
func (r *results) unmet() []verdictOf {
	return slices.DeleteFunc(slices.Clone(r.Targets), verdictOf.holds)
}

// read takes the results of an earlier run.
func (b *bench) read() error {
	data, err := os.ReadFile(b.plan.from)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &b.results); err != nil {
		return fmt.Errorf("%s: %w", b.plan.from, err)
	}
	b.results.modernize()
	return nil
}

// write writes what there is so far: results.json, results.md, brief.md and a plot for each interval.
func (b *bench) write() error {
	r := &b.results
	r.summarize()
	if err := os.MkdirAll(b.plan.dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	put := func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(b.plan.dir, name), append(data, '\n'), 0o644)
	}
	errs := []error{put("results.json", data), put("results.md", []byte(r.markdown())), put("brief.md", []byte(r.brief()))}
	for _, interval := range r.intervals() {
		errs = append(errs, put(fmt.Sprintf("outage-%vms.svg", interval), []byte(plot(r.Summary, interval))))
	}
	return errors.Join(errs...)
}

// intervals lists the intervals that were measured, the longest first.
func (r *results) intervals() (list []milliseconds) {
	for _, s := range r.Summary {
		if !slices.Contains(list, s.Interval) {
			list = append(list, s.Interval)
		}
	}
	return list
}
