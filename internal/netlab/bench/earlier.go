package main

import (
	"slices"
	"strings"
	"time"
)

// format is the form of results.json. The first one had no number.
const format = 2

// modernize brings results of the first form into the present one, and says what they do not tell.
func (r *results) modernize() {
	if r.Format >= format {
		return
	}
	r.Format, r.Memory = format, pss
	for i := range r.Samples {
		s := &r.Samples[i]
		// To keep the address over a freeze on the host that froze was no end to it. It is one: one host has the address.
		if s.Row == "frozen" && strings.HasPrefix(s.Missed, "the address is on [lb1],") {
			s.Missed = ""
		}
		interval := time.Duration(s.Interval * milliseconds(time.Millisecond))
		n := slices.IndexFunc(r.Runs, func(p plannedRuns) bool { return p.Interval == s.Interval })
		if n < 0 {
			n = len(r.Runs)
			r.Runs = append(r.Runs, plannedRuns{Interval: s.Interval})
		}
		r.Runs[n].Runs = max(r.Runs[n].Runs, s.Run)
		// How many were planned is not in them. A note says that some are missing, of as many as there are by default.
		if len(r.Notes) > 0 {
			r.Runs[n].Runs = max(r.Runs[n].Runs, plan{}.runsAt(interval))
		}
	}
	for i := range r.Scales {
		s := &r.Scales[i]
		for _, u := range []*usage{&s.Master, &s.Backup} {
			u.Memory, u.PSS = u.PSS, 0
		}
	}
	r.note("this run did not count contentions, and started a pair that did not recover from a fault by itself again without a word")
}
