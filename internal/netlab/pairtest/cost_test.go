package pairtest

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	vip   = netip.MustParseAddr("10.0.0.100")
)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// TestHarmed sorts connections around a move from lb1 to lb2 that takes from 1000 to 1010 ms.
func TestHarmed(t *testing.T) {
	history := netlab.History{
		{At: at(0), Host: "lb1", Addr: vip, Held: true},
		{At: at(1000), Host: "lb2", Addr: vip, Held: true},
		{At: at(1010), Host: "lb1", Addr: vip},
	}
	const ms = time.Millisecond
	type counts struct{ Refused, Causeless, Lost, Late, Open int }
	tests := []struct {
		name    string
		attempt netlab.Attempt
		want    counts
	}{
		{"answered", netlab.Attempt{Start: at(500), Established: ms, Took: 2 * ms}, counts{}},
		{"refused in the middle of the move", netlab.Attempt{Start: at(1005), Took: ms, Err: syscall.ECONNREFUSED}, counts{Refused: 1, Late: 1}},
		{"reset by the host that took over", netlab.Attempt{Start: at(999), Established: ms, Took: 12 * ms, Err: syscall.ECONNRESET}, counts{Open: 1}},
		{"reset before this end wrote anything", netlab.Attempt{Start: at(999), Took: 12 * ms, Err: syscall.ECONNRESET}, counts{Open: 1}},
		{"reset long before the move", netlab.Attempt{Start: at(500), Established: ms, Took: 2 * ms, Err: syscall.ECONNRESET}, counts{Causeless: 1}},
		{"reset long after the move", netlab.Attempt{Start: at(1500), Took: 2 * ms, Err: syscall.ECONNRESET}, counts{Causeless: 1}},
		{"never established", netlab.Attempt{Start: at(1005), Took: 1500 * ms, Err: syscall.ETIMEDOUT}, counts{Lost: 1, Late: 1}},
		{"established with the second packet", netlab.Attempt{Start: at(1005), Established: 1001 * ms, Took: 1002 * ms}, counts{Lost: 1, Late: 1}},
		{"established by a machine that stood still", netlab.Attempt{Start: at(1005), Established: 101 * ms, Took: 102 * ms}, counts{Late: 1}},
		{"established and never answered", netlab.Attempt{Start: at(999), Established: ms, Took: 1500 * ms, Err: syscall.ETIMEDOUT}, counts{Open: 1}},
		{"established, and answered after its second try", netlab.Attempt{Start: at(999), Established: ms, Took: 1001 * ms}, counts{Open: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := harmed(netlab.Attempts{List: []netlab.Attempt{tt.attempt}}, moving(history, vip, 0))
			got := counts{len(h.refused), len(h.causeless), len(h.lost), len(h.late), len(h.open)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestSlack takes nothing for a machine that stands still but what the control client felt.
func TestSlack(t *testing.T) {
	const ms = time.Millisecond
	regular := func(n int, took time.Duration) netlab.Attempts {
		a := netlab.Attempts{From: at(0), To: at(100)}
		for ms := 0; ms < 100; ms += 10 {
			a.List = append(a.List, netlab.Attempt{Start: at(ms), Took: time.Millisecond})
		}
		a.List[n].Took = took
		return a
	}
	tests := []struct {
		name string
		saw  netlab.Attempts
		want time.Duration
	}{
		{"a machine that goes on", regular(3, 2*ms), 0},
		{"an answer that is a little late", regular(3, 39*ms), 0},
		{"an answer that is late", regular(3, 70*ms), 70 * ms},
		{"no connection for a while", netlab.Attempts{From: at(0), To: at(100), List: []netlab.Attempt{{Start: at(5), Took: ms}, {Start: at(75), Took: ms}}}, 60 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := slack(tt.saw); got != tt.want {
				t.Errorf("slack %v, want %v", got, tt.want)
			}
		})
	}
}

// TestEve takes no excuse from long before a move.
func TestEve(t *testing.T) {
	history := netlab.History{
		{At: at(0), Host: "lb1", Addr: vip, Held: true},
		{At: at(4000), Host: "lb2", Addr: vip, Held: true},
		{At: at(4010), Host: "lb1", Addr: vip},
	}
	tests := []struct {
		name string
		from int
		host string
		want int
	}{
		{"long after the beginning", 1000, "lb2", 4000 - int(Lingers/time.Millisecond)},
		{"soon after the beginning", 3900, "lb2", 3900},
		{"never", 1000, "lb3", 1000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := eve(history, vip, at(tt.from), at(5000), tt.host); !got.Equal(at(tt.want)) {
				t.Errorf("from %v on, want %v", got, at(tt.want))
			}
		})
	}
}

func TestJudged(t *testing.T) {
	clean, gap, loss := cost{}, cost{gap: 20 * time.Millisecond, slack: 50 * time.Millisecond}, cost{lost: 1, slack: 50 * time.Millisecond}
	seen, blind, late := cost{overlap: 12 * time.Millisecond}, cost{overlap: 81 * time.Millisecond}, cost{late: 1}
	tests := []struct {
		name  string
		moves []cost
		bad   bool
	}{
		{"two say nothing", []cost{gap, gap}, false},
		{"one of three", []cost{gap, clean, clean}, false},
		{"two of three", []cost{gap, clean, gap}, true},
		{"half of four", []cost{loss, clean, loss, clean}, true},
		{"gaps and losses apart", []cost{loss, gap, clean, clean, clean}, false},
		{"the successor was seen", []cost{seen, blind, seen}, false},
		{"the successor was not seen", []cost{blind, seen, blind}, true},
		{"connections came late", []cost{late, clean, late}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if why := judged(tt.moves); (why != "") != tt.bad {
				t.Errorf("judged %q, want a complaint: %t", why, tt.bad)
			}
		})
	}
}
