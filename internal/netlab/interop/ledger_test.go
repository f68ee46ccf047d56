package interop

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// bill is what a step was allowed to cost beside what it did.
type bill struct {
	cost
	row, step string
	moves     bool          // the address does
	within    time.Duration // for how long nobody may answer
	may       loss
}

// hiccuped says whether the step needed more than its bound.
func (b bill) hiccuped() bool {
	return b.outage > b.within+b.excuse+b.unready || b.lost > b.limit(b.may)
}

// unexcused is what the step cost beyond what the machine stood still.
func (b bill) unexcused() (outage time.Duration, lost int) {
	excuse := b.slack
	if b.may == few {
		excuse += b.stood
	}
	return max(b.outage-b.stall-b.slack, 0), max(b.lost-int(excuse/every), 0)
}

// ledger has the bills of all rows of a test. A step may have a hiccup in one of ten; in more it is how the step is, and in two of one kind it is
// how the step is with that kind. What is proven to have gone to a host that announced too early (see early) is neither.
type ledger struct {
	mu    sync.Mutex // guards what follows
	bills []bill
}

// newLedger is judged when all rows are through.
func newLedger(t *testing.T) *ledger {
	t.Helper()
	b := &ledger{}
	t.Cleanup(func() {
		for _, why := range b.judge() {
			t.Error(why)
		}
	})
	return b
}

// charge takes a bill.
func (l *lab) charge(t *testing.T, b bill) {
	t.Helper()
	b.atMost(t, b.within, b.may)
	l.bills = append(l.bills, b)
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.book.bills = append(l.book.bills, b)
}

// judge says what is wrong with each kind of step, over all rows.
func (l *ledger) judge() (wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := map[string][]bill{}
	for _, b := range l.bills {
		kinds[b.step] = append(kinds[b.step], b)
	}
	for _, step := range slices.Sorted(maps.Keys(kinds)) {
		var rows []string
		alike, twice := map[string]bool{}, ""
		for _, b := range kinds[step] {
			if !b.hiccuped() {
				continue
			}
			rows = append(rows, fmt.Sprintf("%s: nobody answered for %v, %d lost", b.row, b.outage, b.lost))
			peer, _, _ := strings.Cut(b.row, ",")
			if alike[peer] {
				twice = peer
			}
			alike[peer] = true
		}
		if most := max(1, len(kinds[step])/10); len(rows) > most || twice != "" {
			wrong = append(wrong, fmt.Sprintf("%q cost more than its bound in %d of %d rows, want %d at most, no two of one kind: %s", step, len(rows), len(kinds[step]), most, strings.Join(rows, "; ")))
		}
		if why := median(kinds[step]); why != "" {
			wrong = append(wrong, fmt.Sprintf("%q: %s", step, why))
		}
	}
	return wrong
}

// median says whether what a busy machine was excused was the rule: of the moves without an outage the one in the middle has none, and
// lost no connection, or one where a moment may pass.
func median(bills []bill) string {
	var outages []time.Duration
	var losses []int
	most := 1
	for _, b := range bills {
		if !b.moves || b.may == gone {
			continue
		}
		if b.may != few {
			most = 0
		}
		outage, lost := b.unexcused()
		outages, losses = append(outages, outage), append(losses, lost)
	}
	slices.Sort(outages)
	slices.Sort(losses)
	if middle := (len(outages) - 1) / 2; len(outages) > 0 && (outages[middle] > caught || losses[middle] > most) {
		return fmt.Sprintf("outages beyond what the machine stood still %v, want a median of at most %v; lost connections %v, want a median of at most %d", outages, caught, losses, most)
	}
	return ""
}

// TestLedger holds that one hiccup in ten rows is excused, and no pattern.
func TestLedger(t *testing.T) {
	good := bill{step: "we stop", moves: true, within: caught, may: none}
	with := func(change func(*bill)) bill {
		b := good
		change(&b)
		return b
	}
	// pair6 is a ledger in which two rows of one kind differ.
	pair6 := func(change func(*bill)) []bill {
		one, two := with(change), with(change)
		one.row, two.row = "keepalived v3 IPv6", "keepalived v3 IPv6, their virtual MAC"
		return append(slices.Repeat([]bill{good}, 18), one, two)
	}
	var (
		hiccuped = with(func(b *bill) { b.lost = int(hiccup / every) })
		one      = with(func(b *bill) { b.lost = 1 })
		silent   = with(func(b *bill) { b.outage = caught + every })
		excused  = with(func(b *bill) { b.lost, b.slack, b.excuse = 10, 10*every, 20*every })
		still    = with(func(b *bill) { b.moves, b.lost = false, 1 })
		moment   = with(func(b *bill) { b.may, b.lost = few, 1 })
		moments  = with(func(b *bill) { b.may, b.lost = few, 2 })
		outage   = with(func(b *bill) { b.may, b.within, b.outage, b.lost = gone, time.Second, time.Second, 200 })
	)
	for _, tt := range []struct {
		name  string
		bills []bill
		want  string
	}{
		{"nothing was lost", slices.Repeat([]bill{good}, 20), ""},
		{"a hiccup", []bill{good, good, hiccuped}, ""},
		{"a hiccup in ten", append(slices.Repeat([]bill{good}, 18), hiccuped, with(func(b *bill) { b.row, b.outage = "another", silent.outage })), ""},
		{"a hiccup of two kinds", append(slices.Repeat([]bill{good}, 18), with(func(b *bill) { b.row, b.lost = "FRR, unicast", 10 }), with(func(b *bill) { b.row, b.lost = "keepalived", 10 })), ""},
		{"a hiccup of one kind in two rows", append(slices.Repeat([]bill{good}, 18), with(func(b *bill) { b.row, b.lost = "FRR", 10 }), with(func(b *bill) { b.row, b.lost = "FRR, unicast", 10 })), "no two of one kind"},
		{"more of them", append(slices.Repeat([]bill{good}, 17), hiccuped, silent, silent), "in 3 of 20 rows"},
		{"every row loses ten", slices.Repeat([]bill{hiccuped}, 20), "in 20 of 20 rows"},
		{"every row loses one", slices.Repeat([]bill{one}, 20), "in 20 of 20 rows"},
		{"the machine stood still", slices.Repeat([]bill{excused}, 20), ""},
		{"something is lost where nothing moves", []bill{still, still, good, good, good}, "in 2 of 5 rows"},
		{"moments", slices.Repeat([]bill{moment}, 20), ""},
		{"moments that are none", slices.Repeat([]bill{moments}, 20), "want a median of at most 1"},
		{"two of one kind announced too early", pair6(func(b *bill) { b.early, b.unready, b.outage = 3, 3*every, caught+3*every }), ""},
		{"and cost another one each", pair6(func(b *bill) { b.early, b.unready, b.lost = 3, 3*every, 1 }), "no two of one kind"},
		{"and were silent for longer", pair6(func(b *bill) { b.early, b.unready, b.outage = 3, 3*every, caught+4*every }), "no two of one kind"},
		{"and each lost one that went elsewhere", pair6(func(b *bill) { b.lost = 1 }), "no two of one kind"},
		{"outages that may be", slices.Repeat([]bill{outage}, 20), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := ledger{bills: tt.bills}
			if got := strings.Join(l.judge(), "\n"); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("it says %q, want %q", got, tt.want)
			}
		})
	}
	if why := median([]bill{still, still, still, good}); why != "" {
		t.Errorf("steps in which nothing moves count for the median: %s", why)
	}
}
