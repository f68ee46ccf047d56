package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/vrrp/tracetest"
)

// TestTrace runs the scripts of testdata/trace. Each drives one Machine, and prints what it did.
func TestTrace(t *testing.T) { tracetest.Test(t, "testdata/trace/*.txt", newTracer) }

// TestTraceBroken keeps the runner honest: a script that says nothing must not pass as one that proves something.
func TestTraceBroken(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"no comment on top", "startup 100\n----\n", `the first line is "startup 100", not a comment that says what the script proves`},
		{"no block", "# Proves nothing.\n", "no block"},
		{"a block without dashes", "# Proves it.\n\nstartup 100\n", `block "startup 100": no line ----`},
		{"an unknown command", "# Proves it.\n\nrise 100\n----\n", `rise 100: unknown command "rise"`},
		{"a wait without a deadline", "# Proves it.\n\nelapse\n----\n", "elapse: no deadline to go to"},
		{"a time in the past", "# Proves it.\n\nat 2s\nat 1s\n----\n", "at 1s: it is 2s already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tracetest.Run(tt.script, newTracer())
			if err == nil {
				t.Fatalf("Run(%q) passed, want error %q", tt.script, tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// tracer drives one machine on a clock of its own.
type tracer struct {
	m          *Machine
	start, now time.Time
	out        []string
}

func newTracer() tracetest.Tracer {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := Config{
		VRID: 10, Version: V3, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")},
	}
	return &tracer{m: New(cfg), start: start, now: start}
}

// Output is what came of the commands since the last block.
func (tr *tracer) Output() []string {
	out := tr.out
	tr.out = nil
	return out
}

// End knows nothing that the outputs do not show.
func (tr *tracer) End() error { return nil }

// step feeds one event and prints what came of it.
func (tr *tracer) step(ev Event) error {
	actions := tr.m.Step(tr.now, ev)
	tr.printf("%-12s %s", tr.since(tr.now), tr.status())
	for _, a := range actions {
		tr.printf("%-12s   %s", "", tr.action(a))
	}
	return nil
}

func (tr *tracer) printf(format string, args ...any) {
	tr.out = append(tr.out, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// since is an instant as the scripts write it: relative to their start.
func (tr *tracer) since(t time.Time) string { return t.Sub(tr.start).String() }

// status is where the machine stands after a step.
func (tr *tracer) status() string {
	s := tr.m.State().String()
	if deadline, ok := tr.m.Deadline(); ok {
		s += ", until " + tr.since(deadline)
	}
	if cause, why, ok := tr.m.Ready(); ok {
		s += fmt.Sprintf(", ready by %s: %s", causeName(cause), why)
	}
	return s
}

func (tr *tracer) action(a Action) string {
	switch a := a.(type) {
	case Send:
		return fmt.Sprintf("send %s, stale at %s", a.Advert, tr.since(a.Until))
	case Entered:
		return fmt.Sprintf("entered %s from %s: %s", a.To, a.From, a.Why)
	case Contended:
		return fmt.Sprintf("contended by %s priority %d interval %s", a.Peer.Address, a.Peer.Priority, a.Peer.Interval)
	default:
		panic(fmt.Sprintf("unhandled %T", a))
	}
}

func causeName(c Cause) string {
	switch c {
	case Silence:
		return "silence"
	case Outranked:
		return "lower master"
	case Handover:
		return "handover"
	case Owner:
		return "ownership"
	default:
		panic(fmt.Sprintf("unhandled cause %d", c))
	}
}
