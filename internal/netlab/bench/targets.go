package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// verdictOf is a target, and what was measured.
type verdictOf struct {
	Row     string  `json:"row"`
	Title   string  `json:"title"`
	Limit   float64 `json:"limit"`
	Got     float64 `json:"got"`
	Unit    string  `json:"unit"`
	Verdict string  `json:"verdict"`
	// Felt is what of it anybody noticed, where the verdict rests on that.
	Felt float64 `json:"felt,omitempty"`
	// Runs is how many there were of those that were planned, where they are too few.
	Runs    int `json:"runs,omitempty"`
	Planned int `json:"planned,omitempty"`
}

// holds says whether the target was reached, the machine's stalls aside, in all that was planned.
func (v verdictOf) holds() bool { return v.Verdict == met || v.Verdict == stalled }

// String is the verdict in words.
func (v verdictOf) String() string {
	switch v.Verdict {
	case tooFew:
		return fmt.Sprintf("%s (%d of %d)", v.Verdict, v.Runs, v.Planned)
	case stalled:
		return fmt.Sprintf("%s (felt %.4g %s)", v.Verdict, v.Felt, v.Unit)
	default:
		return v.Verdict
	}
}

// verdictFor compares a figure with its limit.
func verdictFor(row, title string, limit, got float64, unit string) verdictOf {
	v := verdictOf{Row: row, Title: title, Limit: limit, Got: got, Unit: unit, Verdict: unmet}
	if got <= limit {
		v.Verdict = met
	}
	return v
}

// of takes back what was met in fewer runs than planned: the others might not have met it.
func (v verdictOf) of(runs, planned int) verdictOf {
	if v.holds() && runs < planned {
		v.Verdict, v.Runs, v.Planned = tooFew, runs, planned
	}
	return v
}

const (
	met   = "met"
	unmet = "not met"
	// tooFew is what the time limit leaves, or a round that broke.
	tooFew = "met, but in fewer runs than planned"
	// unmeasured is what was planned and has no figure: the run ended early, the daemon could not carry so many, or what the row is about
	// did not happen in most of its runs.
	unmeasured = "not measured"
	// stalled: the outage is too long, but nobody tried to connect in that time, because the machine stood still.
	stalled = "met but for stalls of the machine"
)

const (
	// seamless is what the client can tell from no outage at all: two of its connections, and a late timer.
	seamless = 5
	// overlap is how long two hosts may have the address at a planned move or a noticed fault.
	overlap = 30
	// moved is how long an order to move may take until the client is on the other host, the command of a drain included.
	moved = 50
	// returned is how long after a contention the client may be on another host than the winner.
	returned = 50
)

// target is an upper limit of one figure of some rows, at the interval of the row.
type target struct {
	rows   []string
	figure string
	limit  milliseconds
	of     func(s summary) (got, withoutStalls milliseconds)
}

func outageMedian(s summary) (got, felt milliseconds) { return s.Outage.Median, s.Felt.Median }
func outageMax(s summary) (got, felt milliseconds)    { return s.Outage.Max, s.Felt.Max }
func twoOwnersMax(s summary) (got, same milliseconds) { return s.TwoOwners.Max, s.TwoOwners.Max }
func lostMax(s summary) (got, same milliseconds)      { return s.Lost.Max, s.Lost.Max }
func nobodyMax(s summary) (got, same milliseconds)    { return s.Nobody.Max, s.Nobody.Max }
func movesMax(s summary) (got, same milliseconds)     { return s.Moves.Max, s.Moves.Max }
func settledMax(s summary) (got, same milliseconds)   { return s.Settled.Max, s.Settled.Max }
func returnedMax(s summary) (got, same milliseconds)  { return s.Returned.Max, s.Returned.Max }
func settledMedian(s summary) (got, same milliseconds) {
	return s.Settled.Median, s.Settled.Median
}

// judge compares a figure with its limit. Nothing is met by daemons that did not end as they should, or to which nothing happened.
func (t target) judge(s summary, planned int) verdictOf {
	got, felt := t.of(s)
	v := verdictFor(s.Row, t.figure, float64(t.limit), float64(got), "ms")
	if t.figure == figureMoves || t.figure == figureLost {
		v.Unit = ""
	}
	switch {
	case s.Missed > 0: // an address that never moved was never away
		v.Verdict = unmet
	case v.Verdict == unmet && felt <= t.limit:
		v.Verdict, v.Felt = stalled, float64(felt)
	}
	if v.holds() && s.mostlyNothing() || t.figure == figureReturned && s.Contentions == 0 {
		v.Verdict = unmeasured
	}
	return v.of(s.Runs, planned)
}

const (
	// The figures that are not times.
	figureMoves = "moves, maximum"
	figureLost  = "lost, maximum"
	// That of contentions, which earlier results did not count.
	figureReturned = "client on the winner after each contention, maximum"
)

// targets is what understudy must reach. "At most" is the maximum of the runs.
func targets() []target {
	planned := []string{"stop", "return", "drain", "nginx-500", "nginx-restart", "nginx-upgrade", "thawed"}
	reloads := []string{"reload-unchanged", "reload-changed", "reload-broken"}
	down := ms(masterDown(defaultInterval))
	afterHeal := ms(defaultInterval + 50*time.Millisecond)
	return []target{
		{planned, "outage, median", seamless, outageMedian},
		{planned, figureLost, 0, lostMax},
		{planned, "two owners, maximum", overlap, twoOwnersMax},
		{[]string{"stop", "drain"}, "client on the other host after, median", moved, settledMedian},
		{append([]string{"nginx-upgrade"}, reloads...), figureMoves, 0, movesMax},
		{append([]string{"nginx-upgrade"}, reloads...), "nobody, maximum", 0, nobodyMax},
		{[]string{"nginx-killed"}, "outage, median", 30, outageMedian},
		{[]string{"nginx-hung"}, "outage, median", 1900, outageMedian},
		{[]string{"nginx-hung"}, "outage, maximum", 2400, outageMax},
		{[]string{"nginx-killed", "nginx-hung", "link-down"}, "two owners, maximum", overlap, twoOwnersMax},
		{[]string{"killed", "frozen"}, "outage, maximum", down + 50, outageMax},
		{[]string{"killed", "frozen"}, "two owners, maximum", 0, twoOwnersMax},
		{[]string{"link-down", "cut"}, "outage, maximum", down + 20, outageMax},
		{[]string{"heal"}, "client on the winner after, maximum", afterHeal, settledMax},
		{[]string{"heal"}, "two owners, maximum", afterHeal, twoOwnersMax},
		{[]string{"address-deleted"}, "outage, median", 10, outageMedian},
		{reloads, "outage, maximum", seamless, outageMax},
		{reloads, figureLost, 0, lostMax},
		{reloads, "two owners, maximum", 0, twoOwnersMax},
		{[]string{"advert-loss-1s", "advert-loss"}, "outage, median", seamless, outageMedian},
		{[]string{"advert-loss-1s", "advert-loss"}, "outage, maximum", 100, outageMax},
		{[]string{"advert-loss-1s", "advert-loss"}, figureReturned, returned, returnedMax},
	}
}

// spared says that there is nothing to judge: the client cannot come back from contentions that rightly never came.
func (t target) spared(s summary) bool {
	_, step := findStep(s.Row)
	return t.figure == figureReturned && s.Contentions == 0 && step != nil && step.about == rareContention
}

// exceeds says whether this run alone makes understudy miss a target. What happens once in ten runs is not seen again by asking for it:
// its trace is printed at once.
func (r sample) exceeds() bool {
	if r.Daemon != (&understudy{}).name() || r.Interval != intervalOf(r.Row) {
		return false
	}
	alone := sum([]sample{r})
	return slices.ContainsFunc(targets(), func(t target) bool {
		return slices.Contains(t.rows, r.Row) && strings.HasSuffix(t.figure, "maximum") && t.judge(alone, 1).Verdict == unmet
	})
}

// judged names what has targets: rows, sizes and takeovers.
func (p plan) judged() (names []string) {
	if p.understudy() == nil {
		return nil
	}
	if p.takeover {
		names = append(names, takeoverRow(1), takeoverRow(manyAddresses))
	}
	for _, c := range p.scales {
		compared := c.name != "255" || slices.ContainsFunc(p.products, func(d product) bool { return d.name() == "keepalived" })
		if slices.Contains([]string{"1", "255", "4080"}, c.name) && compared {
			names = append(names, scaleRow(c.name))
		}
	}
	for _, f := range p.faults {
		for _, s := range f.steps {
			measured := slices.ContainsFunc(p.intervals, func(d time.Duration) bool { return ms(d) == intervalOf(s.row) })
			if measured && slices.ContainsFunc(targets(), func(t target) bool { return slices.Contains(t.rows, s.row) }) {
				names = append(names, s.row)
			}
		}
	}
	return names
}

func scaleRow(name string) string      { return "scale " + name }
func takeoverRow(addresses int) string { return fmt.Sprintf("takeover of %d", addresses) }

// missing are the verdicts of what was planned and has no figure.
func missing(planned []string, have []verdictOf) (out []verdictOf) {
	for _, row := range planned {
		if !slices.ContainsFunc(have, func(v verdictOf) bool { return v.Row == row }) {
			out = append(out, verdictOf{Row: row, Title: "any", Verdict: unmeasured})
		}
	}
	return out
}

// judgeFaults compares what was measured with the targets, in the order of the catalogue.
func (r *results) judgeFaults() []verdictOf {
	var out []verdictOf
	for _, row := range rowOrder() {
		s := find(r.Summary, row, "understudy", intervalOf(row))
		if s == nil {
			continue
		}
		for _, t := range targets() {
			if slices.Contains(t.rows, row) && !t.spared(*s) {
				out = append(out, t.judge(*s, r.plannedAt(s.Interval)))
			}
		}
	}
	return out
}

const (
	// What many instances may cost, on the master and on the backup.
	memoryOfOne     = 20.0 // MiB
	memoryOfAll     = 120.0
	cpuOfAll        = 15.0 // seconds a minute: a quarter of one core
	cpuOfKeepalived = 1.5  // times keepalived's, in the same run
)

// The takeover's targets, in milliseconds.
const (
	takeoverOfOne  = 2
	takeoverOfMany = 50
)

func judgeTakeovers(list []takeoverResult) []verdictOf {
	var out []verdictOf
	for _, r := range list {
		limit := milliseconds(takeoverOfMany)
		if r.Addresses == 1 {
			limit = takeoverOfOne
		}
		for _, f := range []struct {
			title string
			limit milliseconds
			got   spread
		}{{"advert, median", takeoverOfOne, r.Advert}, {"usable, median", limit, r.Usable}, {"announced, median", limit, r.Announced}} {
			v := verdictFor(takeoverRow(r.Addresses), f.title, float64(f.limit), float64(f.got.Median), "ms")
			switch {
			case r.Missed > 0:
				v.Verdict = unmet
			case r.Runs == 0:
				v.Verdict = unmeasured
			}
			out = append(out, v.of(r.Runs, r.Planned))
		}
	}
	return out
}

func (r *results) judgeScales() []verdictOf {
	var out []verdictOf
	get := func(name, daemon string) *scaleResult {
		for i, s := range r.Scales {
			if s.Name == name && s.Daemon == daemon && s.Error == "" {
				return &r.Scales[i]
			}
		}
		return nil
	}
	roles := []struct {
		name string
		of   func(s *scaleResult) usage
	}{{"master", func(s *scaleResult) usage { return s.Master }}, {"backup", func(s *scaleResult) usage { return s.Backup }}}
	for _, role := range roles {
		judge := func(s *scaleResult, figure string, limit, got float64, unit string) {
			out = append(out, verdictFor(scaleRow(s.Name), fmt.Sprintf(figure, "of the "+role.name), limit, got, unit))
		}
		if s := get("1", "understudy"); s != nil {
			judge(s, r.Memory+" %s", memoryOfOne, role.of(s).Memory, "MiB")
		}
		if s, k := get("255", "understudy"), get("255", "keepalived"); s != nil && k != nil {
			judge(s, fmt.Sprintf("CPU %%s, %.1f times keepalived's", cpuOfKeepalived), cpuOfKeepalived*role.of(k).CPU, role.of(s).CPU, "s/min")
		}
		if s := get("4080", "understudy"); s != nil {
			judge(s, "CPU %s", cpuOfAll, role.of(s).CPU, "s/min")
			judge(s, r.Memory+" %s", memoryOfAll, role.of(s).Memory, "MiB")
		}
	}
	return out
}
