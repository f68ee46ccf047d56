package pairtest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// controlInterval is how often the control client connects.
	controlInterval = 10 * time.Millisecond
	// quiet is how long the machine may stand still without costing anybody a connection: a host that hands over serves on for
	// 80 ms when it sees nothing of its successor.
	quiet = 40 * time.Millisecond
	// resolution is how exactly the order of two hosts' events is known: each is dated when the record reads it.
	resolution = 10 * time.Millisecond
	// retransmit is how long a connection takes at least whose first packet was lost (RFC 6298: 1 s).
	retransmit = 900 * time.Millisecond
	// caught is how many connections may be open at the instant of a move, beside those of the time for which the machine stood
	// still: each takes about a millisecond.
	caught = 3
	// few is below how many planned moves nothing is said of them together.
	few = 3
)

// harm is what became of a client's connections, where they had no answer at once.
type harm struct {
	refused   []netlab.Attempt // somebody had the address and no server: no machine is slow in that way
	causeless []netlab.Attempt // were established and broke while nothing moved
	lost      []netlab.Attempt // were not established at once: their first packet was lost
	late      []netlab.Attempt // were refused or not established within Prompt, whatever kept them
	open      []netlab.Attempt // were established and broke: the host that took over knows nothing of them
}

// harmed sorts a client's connections. moved says whether the address moved within a time.
func harmed(a netlab.Attempts, moved func(from, to time.Time) bool) harm {
	var h harm
	for _, t := range a.List {
		reset := errors.Is(t.Err, syscall.ECONNRESET) // a first packet is refused, never reset: this one was under way
		if t.Established == 0 && !reset || t.Established > netlab.Prompt {
			h.late = append(h.late, t)
		}
		switch {
		case errors.Is(t.Err, syscall.ECONNREFUSED):
			h.refused = append(h.refused, t)
		case t.Err != nil && (t.Established > 0 || reset) && !moved(t.Start, t.Start.Add(t.Took)):
			h.causeless = append(h.causeless, t)
		case t.Err != nil && t.Established == 0 && !reset, t.Established >= retransmit:
			h.lost = append(h.lost, t)
		case t.Err != nil, t.Took >= retransmit:
			h.open = append(h.open, t)
		}
	}
	return h
}

// moving says whether an address changed hosts between two instants, or had two: then either may have a client's packets. The
// clients follow the announcement, which comes after the address, and later still on a machine that stands still.
func moving(history netlab.History, vip netip.Addr, slack time.Duration) func(from, to time.Time) bool {
	return func(from, to time.Time) bool {
		periods := history.Periods(vip, from.Add(-after-slack), to.Add(after+slack))
		return len(periods) > 1 || len(periods[0].Owners) > 1
	}
}

// Slack is for how long the machine stood still between two instants, where that was long enough to cost connections. The control
// client knows: it connects all the time to an nginx that nothing happens to.
func (c *Cluster) Slack(from, to time.Time) time.Duration {
	return slack(c.control.Between(from, to))
}

func slack(a netlab.Attempts) time.Duration {
	worst := stood(a)
	if worst < quiet {
		return 0
	}
	return worst
}

// Stood is Slack where the hosts notice each other's shortest delays: at an interval of a few milliseconds.
func (c *Cluster) Stood(from, to time.Time) time.Duration {
	return stood(c.control.Between(from, to))
}

func stood(a netlab.Attempts) time.Duration {
	worst := a.Stall() - controlInterval
	for _, t := range a.List {
		worst = max(worst, t.Took)
	}
	return worst
}

// Unharmed asserts what the client of an address noticed: no connection was refused, none broke without a move, and no new one was
// lost but those of a time, and of that for which the machine stood still.
func (c *Cluster) Unharmed(t testing.TB, vip netip.Addr, from, to time.Time, most time.Duration) {
	t.Helper()
	c.unharmed(t, vip, from, to, from, most)
}

// unharmed returns what it asserts of, and how many connections that were open may have broken. For what the machine stood still
// before an instant nothing is excused.
func (c *Cluster) unharmed(t testing.TB, vip netip.Addr, from, to, since time.Time, most time.Duration) (h harm, open int) {
	t.Helper()
	client := c.Clients[vip]
	if client == nil {
		return h, caught
	}
	saw, slack := client.Between(from, to), c.Slack(since, to)
	h = harmed(saw, moving(c.Owners.History(), vip, slack))
	for _, bad := range []struct {
		what string
		list []netlab.Attempt
	}{{"refused", h.refused}, {"broken without a move", h.causeless}} {
		if len(bad.list) > 0 {
			t.Errorf("%v: %d connections %s since %s, the first at %s: %+v\n%v", vip, len(bad.list), bad.what, Stamp(from), Stamp(bad.list[0].Start), bad.list[0], saw)
		}
	}
	excused := most + slack
	gap := saw.To.Sub(saw.From) / time.Duration(max(len(saw.List), 1))
	limit := int(excused / gap)
	if len(h.lost) > limit {
		t.Errorf("%v: %d connections lost since %s, want at most %d; the first at %s: %+v\n%v", vip, len(h.lost), Stamp(from), limit, Stamp(h.lost[0].Start), h.lost[0], saw)
	}
	t.Logf("%v: %d lost, %d open, excused %v: %v", vip, len(h.lost), len(h.open), excused, saw)
	return h, caught + int(max(excused, c.Stood(since, to))/gap)
}

// cost is what a planned move of an address cost: for how long nobody had it, for how long both hosts beyond what the machine stood
// still, how many new connections were lost, and how many came late although the machine did not stand still for that long.
type cost struct {
	gap, slack, overlap time.Duration
	lost, late          int
}

// String is the cost in words.
func (m cost) String() string {
	return fmt.Sprintf("nobody %v, both %v, lost %d, late %d, stood still %v", m.gap, m.overlap, m.lost, m.late, m.slack)
}

// Planned asserts a move without loss, once, to a host: at every instant somebody had each address, both for a moment only, and
// no client lost a new connection. Only what the control client saw of a machine that stood still at the move itself excuses
// anything.
func (c *Cluster) Planned(t testing.TB, from time.Time, to string, vips ...netip.Addr) {
	t.Helper()
	now := time.Now().Add(after)
	for _, vip := range c.vips(vips) {
		c.Moved(t, vip, from, to)
		since := eve(c.Owners.History(), vip, from, now, to)
		slack := c.Slack(since, now)
		gap := c.Owners.History().Gap(vip, from, now)
		if gap > slack+resolution {
			t.Errorf("nobody had %v for %v since %s; the machine stood still for %v at the move", vip, gap, Stamp(from), slack)
		}
		c.Overlap(t, vip, since, Lingers)
		overlap := max(c.Owners.History().Overlap(vip, since, now)-c.Stood(since, now), 0)
		h, open := c.unharmed(t, vip, from, now, since, 0)
		if len(h.open) > open {
			t.Errorf("%v: %d connections were open at the move since %s and broke, want at most %d", vip, len(h.open), Stamp(from), open)
		}
		late := len(h.late)
		if slack > netlab.Prompt {
			late = 0
		}
		c.planned = append(c.planned, cost{gap, slack, overlap, len(h.lost), late})
	}
}

// eve is from when on a machine that stands still can cost a move to a host anything: both have the address for that long at most.
func eve(history netlab.History, vip netip.Addr, from, now time.Time, host string) time.Time {
	if since := history.Gets(host, vip, from).Add(-Lingers); since.After(from) && since.Before(now) {
		return since
	}
	return from
}

// Ungapped asserts that since an instant somebody always had an address.
func (c *Cluster) Ungapped(t testing.TB, vip netip.Addr, from time.Time) {
	t.Helper()
	now := time.Now()
	gap, slack := c.Owners.History().Gap(vip, from, now), c.Slack(from, now)
	if gap > slack+resolution {
		t.Errorf("nobody had %v for %v since %s; the machine stood still for %v", vip, gap, Stamp(from), slack)
	}
}

// Late counts the connections of an address's client between two instants that were refused or not established within Prompt,
// whatever the machine did.
func (c *Cluster) Late(vip netip.Addr, from, to time.Time) int {
	return len(harmed(c.Clients[vip].Between(from, to), func(_, _ time.Time) bool { return true }).late)
}

// judge asserts at the end that what was excused was not the rule: of all planned moves the one in the middle cost nothing. They are
// moves to an understudy, which announces at once.
func (c *Cluster) judge(t testing.TB) {
	t.Logf("%d planned moves: %v", len(c.planned), c.planned)
	if why := judged(c.planned); why != "" {
		t.Error(why)
	}
}

func judged(moves []cost) string {
	if len(moves) < few {
		return ""
	}
	var gaps, overlaps []time.Duration
	var losses, delays []int
	for _, m := range moves {
		gaps, overlaps = append(gaps, m.gap), append(overlaps, m.overlap)
		losses, delays = append(losses, m.lost), append(delays, m.late)
	}
	gap, overlap, lost, late := Median(gaps), Median(overlaps), Median(losses), Median(delays)
	if gap > resolution || overlap > Brief || lost > 0 || late > 0 {
		return fmt.Sprintf("of %d planned moves the median left the address to nobody for %v and to both hosts for %v, lost %d connections and kept %d waiting: %v",
			len(moves), gap, overlap, lost, late, moves)
	}
	return ""
}

// Median is the figure in the middle, of an even number the greater of both.
func Median[T cmp.Ordered](figures []T) T {
	return slices.Sorted(slices.Values(figures))[len(figures)/2]
}
