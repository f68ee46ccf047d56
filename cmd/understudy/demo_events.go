package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

// demoEvent is one line of a step's timeline.
type demoEvent struct {
	at   time.Time
	text string
}

// ownerEvents says who had the address, from the first change on.
func ownerEvents(periods []netlab.Period) []demoEvent {
	var events []demoEvent
	for _, p := range periods[1:] {
		text := "nobody has the address"
		switch len(p.Owners) {
		case 0:
		case 1:
			text = p.Owners[0] + " has the address"
		default:
			text = strings.Join(p.Owners, " and ") + " have the address"
		}
		events = append(events, demoEvent{p.From, text})
	}
	return events
}

// The daemon's log lines that belong into a timeline: states and verdicts, with their reasons.
var (
	logLine   = regexp.MustCompile(`^(\S+) \[\w+\] +[\w.]+: (state changed|healthy|unhealthy): (.*)$`)
	logReason = regexp.MustCompile(`\bwhy=("(?:[^"\\]|\\.)*"|\S+)`)
	logStates = regexp.MustCompile(`\bfrom=(\S+) to=(\S+)`)
	logCheck  = regexp.MustCompile(`\bcheck=(\S+)`)
)

// events are what a host's daemons said about themselves between two instants.
func (h *demoHost) events(from, to time.Time) []demoEvent {
	var events []demoEvent
	for line := range strings.Lines(h.output()) {
		e, ok := parseLogLine(strings.TrimSpace(line))
		// The log has whole milliseconds.
		if ok && !e.at.Before(from.Truncate(time.Millisecond)) && !e.at.After(to) {
			events = append(events, demoEvent{e.at, h.Name() + " " + e.text})
		}
	}
	return events
}

func parseLogLine(line string) (demoEvent, bool) {
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		return demoEvent{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, m[1])
	if err != nil {
		return demoEvent{}, false
	}
	what := m[2]
	if s := logStates.FindStringSubmatch(m[3]); s != nil {
		what = fmt.Sprintf("goes from %s to %s", s[1], s[2])
	} else if c := logCheck.FindStringSubmatch(m[3]); c != nil {
		what = fmt.Sprintf("check %s is %s", c[1], m[2])
	}
	if r := logReason.FindStringSubmatch(m[3]); r != nil {
		what += ": " + unquote(r[1])
	}
	return demoEvent{at, what}, true
}

// shorten cuts a text to a line of a terminal.
func shorten(text string) string {
	const width = 110
	if runes := []rune(text); len(runes) > width {
		return string(runes[:width]) + "..."
	}
	return text
}

func unquote(text string) string {
	if plain, err := strconv.Unquote(text); err == nil {
		return plain
	}
	return text
}
