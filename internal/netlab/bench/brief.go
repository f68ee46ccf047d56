package main

import (
	"fmt"
	"strings"
)

// brief is the table of the README: how long nobody answered, and which new connections were lost.
func (r *results) brief() string {
	var b strings.Builder
	usual := 0
	for _, s := range r.Summary {
		if s.Interval == ms(defaultInterval) {
			usual = max(usual, s.Runs)
		}
	}
	fmt.Fprintf(&b, "How long nobody answered, median / maximum of %s in milliseconds, where a cell names no other number; adverts every second,\n"+
		"where a row says nothing else. Lost is a new connection that was refused or not established within 100 ms, and of an outage as many\n"+
		"are as it lasts; one without an answer was established. Those that were open when the address moved are not in here.", several(usual, "run"))
	if planned := r.plannedAt(ms(defaultInterval)); usual < planned {
		fmt.Fprintf(&b, " %d runs were planned.", planned)
	}
	b.WriteString("\n\n| median / maximum, ms | understudy | keepalived, FAULT | keepalived, weight |\n|---|---|---|---|\n")
	for _, row := range rowOrder() {
		if find(r.Summary, row, "understudy", intervalOf(row)) == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s |", briefTitle(row))
		for _, daemon := range []string{"understudy", "keepalived", "keepalived-weight"} {
			fmt.Fprintf(&b, " %s |", find(r.Summary, row, daemon, intervalOf(row)).brief(usual))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// briefTitle is a row in words, with what is unequal in it.
func briefTitle(row string) string {
	title := targetTitle(row)
	if _, s := findStep(row); s != nil && s.unequal != "" {
		title += " (" + s.unequal + ")"
	}
	return title
}

const (
	// few lost connections are named one by one; of an outage there are as many as it lasts.
	few = 10
	// longTwoOwners is how long two hosts must have had the address, in milliseconds, for a cell to say so.
	longTwoOwners = 100
)

// brief is one cell: the outage, or after a cut the time until the client was on the winner, and what else a user has of it. Two
// hosts that keep the address are no figure, and where nothing happened there is none.
func (s *summary) brief(usual int) string {
	if s == nil {
		return ""
	}
	if why := s.nothing(); why != "" {
		return why
	}
	cut := s.Row == "cut" // while it lasts neither host can know better
	if s.Stays > 0 && !cut {
		return fmt.Sprintf("the address stays on both hosts (%d of %d runs)", s.Stays, s.Runs)
	}
	figure := s.Outage
	if s.Row == "heal" {
		figure = s.Settled
	}
	words := []string{fmt.Sprintf("%.0f / %.0f", figure.Median, figure.Max)}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if s.Lost.Max == 0 && s.NoAnswer.Max == 0 {
		add("none lost")
	}
	if s.Lost.Max > 0 && s.Lost.Max <= few {
		add("up to %.0f lost", s.Lost.Max)
	}
	if s.NoAnswer.Max > 0 {
		add("up to %.0f without an answer", s.NoAnswer.Max)
	}
	if s.TwoOwners.Max > longTwoOwners && !cut {
		add("two owners for up to %.0f ms", s.TwoOwners.Max)
	}
	happened := s.happened()
	if happened != "" {
		add("%s", happened)
	}
	text := strings.Join(words, ", ")
	switch {
	case s.Missed > 0:
		text += fmt.Sprintf(" (%d of %d runs did not end as they should)", s.Missed, s.Runs)
	case s.Runs != usual && happened == "":
		text += fmt.Sprintf(" (%s)", several(s.Runs, "run"))
	}
	return text
}
