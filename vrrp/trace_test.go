package vrrp

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected output of testdata/trace; commit a change only if you know its cause")

// TestTrace runs the scripts of testdata/trace. Each drives one Machine: blocks of commands, a line of four dashes, and
// what the machine did; a blank line ends a block. Each begins with a comment that says what it proves and by which rule.
func TestTrace(t *testing.T) {
	files, err := filepath.Glob("testdata/trace/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no trace in testdata/trace: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runTrace(string(want))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

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
			_, err := runTrace(tt.script)
			if err == nil {
				t.Fatalf("runTrace(%q) passed, want error %q", tt.script, tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// runTrace returns the script with its outputs replaced by what the machine does today.
func runTrace(script string) (string, error) {
	if first, _, _ := strings.Cut(script, "\n"); !strings.HasPrefix(first, "# ") {
		return "", fmt.Errorf("the first line is %q, not a comment that says what the script proves", first)
	}
	var (
		out    []string
		blocks int
		tr     = newTracer()
	)
	for block := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if isComment(lines) {
			out = append(out, strings.Join(lines, "\n"))
			continue
		}
		blocks++
		text, err := tr.block(lines)
		if err != nil {
			return "", err
		}
		out = append(out, text)
	}
	if blocks == 0 {
		return "", fmt.Errorf("no block")
	}
	return strings.Join(out, "\n\n") + "\n", nil
}

func isComment(lines []string) bool {
	for _, l := range lines {
		if !strings.HasPrefix(l, "#") {
			return false
		}
	}
	return true
}

// tracer drives one machine on a clock of its own.
type tracer struct {
	m          *Machine
	start, now time.Time
	out        []string
}

func newTracer() *tracer {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := Config{
		VRID: 10, Version: V3, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true,
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")},
	}
	return &tracer{m: New(cfg), start: start, now: start}
}

// block runs the commands above the dashes and returns them with their output.
func (tr *tracer) block(lines []string) (string, error) {
	tr.out = nil
	for i, line := range lines {
		if line == "----" {
			return strings.Join(append(lines[:i+1:i+1], tr.out...), "\n"), nil
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if err := tr.command(line); err != nil {
			return "", fmt.Errorf("%s: %w", line, err)
		}
	}
	return "", fmt.Errorf("block %q: no line ----", lines[0])
}

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
