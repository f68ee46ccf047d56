package main

import (
	"fmt"
	"strings"
)

// brief is the table of the README: how long nobody answered at the default interval, and which new connections were lost.
func (r *results) brief() string {
	var b strings.Builder
	b.WriteString("| median / maximum, ms | understudy | keepalived, FAULT | keepalived, weight |\n|---|---|---|---|\n")
	for _, row := range rowOrder() {
		if find(r.Summary, row, "understudy", ms(defaultInterval)) == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s |", rowTitle(row))
		for _, daemon := range []string{"understudy", "keepalived", "keepalived-weight"} {
			fmt.Fprintf(&b, " %s |", find(r.Summary, row, daemon, ms(defaultInterval)).brief())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// few lost connections are named one by one; of an outage there are as many as it lasts.
const few = 10

// brief is one cell: the outage, or after a cut the time until the client was on the winner, and whether any new connection was
// lost. Two hosts that keep the address are no figure.
func (s *summary) brief() string {
	switch {
	case s == nil:
		return ""
	case s.Stays > 0 && s.Row != "cut": // while it lasts neither host can know better
		return fmt.Sprintf("the address stays on both hosts (%d of %d runs)", s.Stays, s.Runs)
	}
	figure := s.Outage
	if s.Row == "heal" {
		figure = s.Settled
	}
	text := fmt.Sprintf("%.0f / %.0f", figure.Median, figure.Max)
	switch {
	case s.Lost.Max == 0:
		text += ", none lost"
	case s.Lost.Max <= few:
		text += fmt.Sprintf(", up to %.0f lost", s.Lost.Max)
	}
	if s.Missed > 0 {
		text += fmt.Sprintf(" (%d of %d runs did not end as they should)", s.Missed, s.Runs)
	}
	return text
}
