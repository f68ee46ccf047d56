package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func after(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

// answered is a connection that a host answered after some milliseconds.
func answered(at, took int, server string) netlab.Attempt {
	return netlab.Attempt{
		Start: after(at), Established: time.Millisecond, Took: time.Duration(took) * time.Millisecond, Server: server,
	}
}

// failed is one that was never established.
func failed(at int, err error) netlab.Attempt {
	return netlab.Attempt{Start: after(at), Took: time.Millisecond, Err: err}
}

func TestJudge(t *testing.T) {
	late := answered(0, 150, "lb1")
	late.Established = 120 * time.Millisecond
	silent := answered(0, 1500, "")
	silent.Err = fmt.Errorf("read: %w", syscall.ETIMEDOUT)
	resetting := silent
	resetting.Err = fmt.Errorf("read: %w", syscall.ECONNRESET)
	tests := []struct {
		name    string
		attempt netlab.Attempt
		want    verdict
	}{
		{"answered at once", answered(0, 3, "lb1"), prompt},
		{"established at once, answered late", answered(0, 101, "lb1"), slow},
		{"established late, as after a lost SYN", late, lost},
		{"refused", failed(0, fmt.Errorf("connect: %w", syscall.ECONNREFUSED)), lost},
		{"no host there", failed(0, fmt.Errorf("connect: %w", syscall.EHOSTUNREACH)), lost},
		{"established, then nothing", silent, unanswered},
		{"reset after it was established", resetting, reset},
		{"reset between its first packets", failed(0, fmt.Errorf("connect: %w", syscall.ECONNRESET)), reset},
		{"no local port left", failed(0, fmt.Errorf("connect: %w", syscall.EADDRNOTAVAIL)), broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.attempt); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestSampleOfAttempts(t *testing.T) {
	refused := fmt.Errorf("connect: %w", syscall.ECONNREFUSED)
	tests := []struct {
		name string
		list []netlab.Attempt
		want sample
	}{
		{"all answered by one host", []netlab.Attempt{answered(0, 1, "lb1"), answered(2, 1, "lb1"), answered(4, 1, "lb1")},
			sample{Outage: 6, Stall: 6, Connections: 3}},
		{"a stall of the machine is an outage that nobody felt", []netlab.Attempt{answered(0, 1, "lb1"), answered(8, 1, "lb1")},
			sample{Outage: 8, Stall: 8, Connections: 2}},
		{"a refused connection", []netlab.Attempt{answered(0, 1, "lb1"), failed(2, refused), answered(4, 1, "lb2"), answered(9, 1, "lb2")},
			sample{Outage: 5, Felt: 4, Stall: 5, Settled: 2, Connections: 4, Lost: 1}},
		{"an outage that lasts to the end", []netlab.Attempt{answered(0, 1, "lb1"), failed(2, refused), failed(6, refused)},
			sample{Outage: 10, Felt: 10, Stall: 4, Settled: 6, Connections: 3, Lost: 2}},
		{"an outage from the beginning", []netlab.Attempt{failed(0, refused), answered(7, 1, "lb1"), answered(9, 1, "lb1")},
			sample{Outage: 7, Felt: 7, Stall: 7, Connections: 3, Lost: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got sample
			if err := got.attempts(netlab.Attempts{From: begin, To: after(10), List: tt.list}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	var s sample
	none := netlab.Attempts{From: begin, To: after(10), List: []netlab.Attempt{failed(0, syscall.EADDRNOTAVAIL)}}
	if err := s.attempts(none); err == nil {
		t.Error("a client without ports is no error")
	}
}

func TestSampleOfOwners(t *testing.T) {
	change := func(at int, host string, held bool) netlab.Change {
		return netlab.Change{At: after(at), Host: host, Addr: vip, Held: held}
	}
	tests := []struct {
		name    string
		history netlab.History
		want    sample
	}{
		{"handed over", netlab.History{change(-5, "lb1", true), change(10, "lb2", true), change(22, "lb1", false)},
			sample{TwoOwners: 12, Moves: 1}},
		{"lost and taken", netlab.History{change(-5, "lb1", true), change(10, "lb1", false), change(60, "lb2", true)},
			sample{Nobody: 50, Moves: 1}},
		{"left behind", netlab.History{change(-5, "lb1", true), change(60, "lb2", true)},
			sample{TwoOwners: 40, Stays: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got sample
			got.own(tt.history, begin, after(100))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSampleOfContentions(t *testing.T) {
	change := func(at int, host string, held bool) netlab.Change {
		return netlab.Change{At: after(at), Host: host, Addr: vip, Held: held}
	}
	refused := fmt.Errorf("connect: %w", syscall.ECONNREFUSED)
	once := netlab.History{change(-5, "lb1", true), change(100, "lb2", true), change(130, "lb2", false)}
	tests := []struct {
		name    string
		history netlab.History
		list    []netlab.Attempt
		want    sample
	}{
		{"none", once[:1], []netlab.Attempt{answered(50, 1, "lb1"), failed(60, refused)}, sample{}},
		{"the loser answers while it has the address", once, []netlab.Attempt{answered(110, 1, "lb2"), answered(132, 1, "lb1")}, sample{Contentions: 1}},
		{"the client stays on the loser", once, []netlab.Attempt{answered(132, 1, "lb2"), failed(165, refused), answered(170, 200, "lb1")},
			sample{Contentions: 1, Returned: 35}},
		{"the next one begins", append(slices.Clone(once), change(500, "lb1", false), change(510, "lb2", true)),
			[]netlab.Attempt{answered(132, 1, "lb1"), failed(498, refused), answered(512, 1, "lb2")}, sample{Contentions: 2}},
		{"nobody knows who wins", once[:2], []netlab.Attempt{answered(110, 1, "lb2")}, sample{Contentions: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got sample
			got.contend(tt.history, netlab.Attempts{From: begin, To: after(1000), List: tt.list})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestMemory reads what the kernel prints: each part of a file counts once, without the pages that were written to.
func TestMemory(t *testing.T) {
	const parent = `55d0c0000000-55d0c0010000 r-xp 00001000 fe:00 247278                     /usr/sbin/daemon
Size:                 64 kB
Rss:                  60 kB
Pss:                  15 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d0c0010000-55d0c0014000 rw-p 00011000 fe:00 247278                     /usr/sbin/daemon
Rss:                  16 kB
Pss:                  16 kB
Anonymous:            12 kB
55d0c1000000-55d0c1100000 rw-p 00000000 00:00 0                          [heap]
Rss:                 900 kB
Pss:                 900 kB
Anonymous:           900 kB
`
	child := strings.Replace(parent, " 60 kB", " 64 kB", 1)
	files := make(map[string]int)
	for _, text := range []string{parent, child} {
		if err := mappedFiles(text, files); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"00001000 fe:00 247278": 64, "00011000 fe:00 247278": 4}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	n, err := anonymousOf("Rss:       976 kB\nPss_Anon:       456 kB\nPss_File: 12 kB\n")
	if _, none := anonymousOf("Rss:  976 kB\n"); n != 456 || err != nil || none == nil {
		t.Errorf("%d anonymous KiB, %v; of none: %v", n, err, none)
	}
}

func TestTraceJoinsConnectionsThatFaredAlike(t *testing.T) {
	list := []netlab.Attempt{
		answered(0, 1, "lb1"), answered(2, 3, "lb1"),
		failed(4, fmt.Errorf("connect: %w", syscall.ECONNREFUSED)),
		answered(6, 1, "lb2"),
	}
	var got []string
	for _, l := range traceAttempts(netlab.Attempts{From: begin, To: after(8), List: list}) {
		got = append(got, fmt.Sprintf("%v %s", l.at.Sub(begin), l.text))
	}
	want := []string{
		"0s client: 2 connections until 2.0: answered by lb1, the slowest after 3.0 ms",
		"4ms client: 1 connections until 4.0: refused or not established in time (connect: connection refused), the slowest after 1.0 ms",
		"6ms client: 1 connections until 6.0: answered by lb2, the slowest after 1.0 ms",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
