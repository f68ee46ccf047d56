package stories

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

const (
	// after is how long clients are looked at after a move: they follow the announcement, which follows the address.
	after = 150 * time.Millisecond
	// retransmit is how long a connection takes at least whose first packet was lost (RFC 6298: 1 s).
	retransmit = 900 * time.Millisecond
	// lingers is how long both hosts may have an address in a planned move: 250 ms and the successor's own start.
	lingers = 250*time.Millisecond + noise
)

// harm is what a move cost a client.
type harm struct {
	lost []netlab.Attempt // that were not established at once
	open int              // that were, and had no answer: the new host knows nothing of them
}

func harmed(a netlab.Attempts) harm {
	var h harm
	for _, t := range a.List {
		switch {
		case t.Established == 0 && t.Err != nil, t.Established >= retransmit:
			h.lost = append(h.lost, t)
		case t.Err != nil, t.Took >= retransmit:
			h.open++
		}
	}
	return h
}

// slack is for how long the machine stood still, where that was long enough to cost connections: the daemons stand still with
// it, and a host that has announced itself and cannot go on for that long loses what comes.
func (c *cluster) slack(from, to time.Time) time.Duration {
	const quiet = 40 * time.Millisecond
	worst := time.Duration(0)
	for _, client := range c.clients {
		worst = max(worst, client.Between(from, to).Stall())
	}
	if worst < quiet+c.slowest {
		return 0
	}
	return worst
}

// spoilt is for how long a planned move may leave an address to nobody, or lose what comes, when the machine is busy: the
// successor has to be slower than the 80 ms for which the other host waits. It must not be the rule; see judge.
const spoilt = 60 * time.Millisecond

// tally counts what planned moves of one address each cost in a cluster's life. A move during which the machine stood still
// shows nothing.
type tally struct {
	all, moves, gaps, losses int
}

// judge asserts that at most a quarter of the planned moves were spoilt by the machine. Of a few moves, or on a machine that
// stands still all the time, it says nothing.
func (c *cluster) judge(t *testing.T) {
	t.Logf("planned moves: %+v", c.tally)
	const few = 8
	if c.tally.moves < few || 2*c.tally.moves < c.tally.all {
		return
	}
	if c.tally.gaps*4 > c.tally.moves || c.tally.losses*4 > c.tally.moves {
		t.Errorf("planned moves: %+v: want at most a quarter with a gap or a loss", c.tally)
	}
}

// planned asserts a move without loss: at every instant somebody had each address, both for a moment only, and no client
// lost a new connection. It must have been to a host, once.
func (c *cluster) planned(t *testing.T, from time.Time, to string, vips ...netip.Addr) {
	t.Helper()
	if len(vips) == 0 {
		vips = c.vips
	}
	now := time.Now().Add(after)
	slack := c.slack(from, now)
	history := c.owners.History()
	for _, vip := range vips {
		c.moved(t, vip, from, to)
		gap, over := history.Gap(vip, from, now), history.Overlap(vip, from, now)
		if gap > spoilt+slack {
			t.Errorf("nobody had %v for %v", vip, gap)
		}
		if over > lingers+slack {
			t.Errorf("two hosts had %v for %v", vip, over)
		}
		lost := c.harmed(t, vip, from, now, spoilt+slack)
		c.tally.all++
		if slack == 0 {
			c.tally.add(gap > 0, lost > 0)
		}
	}
}

// add counts one move.
func (y *tally) add(gap, loss bool) {
	y.moves++
	if gap {
		y.gaps++
	}
	if loss {
		y.losses++
	}
}

// moved asserts that an address moved once, to a host.
func (c *cluster) moved(t *testing.T, vip netip.Addr, from time.Time, to string) {
	t.Helper()
	history := c.owners.History()
	if moves := history.Moves(vip, from, time.Now()); moves != 1 || fmt.Sprint(history.Owners(vip, time.Now())) != "["+to+"]" {
		t.Errorf("%v moved %d times since %s and is on %v, want once and to %s", vip, moves, stamp(from), history.Owners(vip, time.Now()), to)
	}
}

// unharmed asserts that the client of an address lost nothing where nothing moved.
func (c *cluster) unharmed(t *testing.T, vip netip.Addr, from, to time.Time) {
	t.Helper()
	c.harmed(t, vip, from, to, c.slack(from, to))
}

// harmed asserts that the client of an address lost no more new connections than it opens within a time, and returns how many.
// A connection takes about a millisecond, so that some may also be open at the instant of a move.
func (c *cluster) harmed(t *testing.T, vip netip.Addr, from, to time.Time, most time.Duration) int {
	t.Helper()
	client := c.clients[vip]
	if client == nil {
		return 0
	}
	saw := client.Between(from, to)
	limit := int(most / (saw.To.Sub(saw.From) / time.Duration(max(len(saw.List), 1))))
	h := harmed(saw)
	if len(h.lost) > limit {
		t.Errorf("%v: %d connections lost, the first at %s: %+v\n%v", vip, len(h.lost), stamp(h.lost[0].Start), h.lost[0], saw)
	}
	if h.open > limit+3 {
		t.Errorf("%v: %d connections were open and lost\n%v", vip, h.open, saw)
	}
	t.Logf("%v: %d lost, %d open: %v", vip, len(h.lost), h.open, saw)
	return len(h.lost)
}

// outage asserts how long the clients waited at most, beside what the machine stalled, and who answers at the end.
func (c *cluster) outage(t *testing.T, vip netip.Addr, from time.Time, most time.Duration, to string) {
	t.Helper()
	client := c.clients[vip]
	saw := client.Between(from, time.Now().Add(after))
	if out := saw.Outage(); out > most+saw.Stall() {
		t.Errorf("%v: outage %v, want at most %v\n%v", vip, out, most, saw)
	}
	if last := saw.LastServer(); last != to {
		t.Errorf("%v: %q answered last, want %s\n%v", vip, last, to, saw)
	}
	t.Logf("%v: %v", vip, saw)
}

// overlap asserts how long two hosts had an address at most.
func (c *cluster) overlap(t *testing.T, vip netip.Addr, from time.Time, most time.Duration) {
	t.Helper()
	if over := c.owners.History().Overlap(vip, from, time.Now()); over > most {
		t.Errorf("two hosts had %v for %v since %s, want at most %v", vip, over, stamp(from), most)
	}
}

// rests asserts that for a while nothing moves and the clients notice nothing.
func (c *cluster) rests(t *testing.T, from time.Time, until time.Duration, vips ...netip.Addr) {
	t.Helper()
	if len(vips) == 0 {
		vips = c.vips
	}
	to := from.Add(until)
	labtest.Eventually(t, until+noise, func() (bool, string) { return !time.Now().Before(to), "time passes" })
	for _, change := range c.owners.History() {
		if change.At.After(from) && change.At.Before(to) && slices.Contains(vips, change.Addr) {
			t.Errorf("%s at %s: %v held=%t, want no change since %s", change.Host, stamp(change.At), change.Addr, change.Held, stamp(from))
		}
	}
	for _, vip := range vips {
		c.unharmed(t, vip, from, to)
	}
}

// reaches waits until the user's neighbour entry of an address names a host.
func (c *cluster) reaches(t *testing.T, vip netip.Addr, host string) {
	t.Helper()
	want := c.host(host).MAC().String()
	labtest.Eventually(t, 2*time.Second, func() (bool, string) {
		mac, err := c.user.Neighbour(vip)
		return err == nil && mac.String() == want, fmt.Sprintf("the user has %v at %v, want %s of %s; %v", vip, mac, want, host, err)
	})
}
