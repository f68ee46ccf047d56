package pairtest

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
	// spoilt is for how long a busy machine may leave an address to nobody in a planned move, or lose what comes: the
	// successor has to be slower than the 20 ms for which the other host waits.
	spoilt = 60 * time.Millisecond
	// Lingers is how long both hosts may have an address in a planned move: 250 ms and the successor's own start.
	Lingers = 250*time.Millisecond + Noise
)

// vips are the addresses that are meant: those that are named, or all.
func (c *Cluster) vips(named []netip.Addr) []netip.Addr {
	if len(named) == 0 {
		return c.VIPs
	}
	return named
}

// Only waits until one host, and no other, has the addresses. An empty name waits until none has.
func (c *Cluster) Only(t testing.TB, owner string, bound time.Duration, vips ...netip.Addr) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for _, vip := range c.vips(vips) {
		labtest.Owner(t, c.Owners, vip.String(), owner, max(time.Until(deadline), time.Millisecond))
	}
}

// Lost lists the connections that were not established at once. One that was and had no answer is not among them: the host
// that took over knows nothing of it.
func Lost(a netlab.Attempts) []netlab.Attempt {
	return slices.DeleteFunc(slices.Clone(a.List), func(t netlab.Attempt) bool {
		return (t.Established > 0 || t.Err == nil) && t.Established < retransmit
	})
}

// Slack is for how long the machine stood still between two instants, where that was long enough to cost connections: the
// daemons stand still with it, and a host that has announced itself and cannot go on for that long loses what comes.
func (c *Cluster) Slack(from, to time.Time) time.Duration {
	const quiet = 40 * time.Millisecond
	worst := time.Duration(0)
	for _, client := range c.Clients {
		worst = max(worst, client.Between(from, to).Stall())
	}
	if worst < quiet+c.slowest {
		return 0
	}
	return worst
}

// Planned asserts a move without loss, once, to a host: at every instant somebody had each address, both for a moment only, and
// no client lost a new connection.
func (c *Cluster) Planned(t testing.TB, from time.Time, to string, vips ...netip.Addr) {
	t.Helper()
	now := time.Now().Add(after)
	slack := c.Slack(from, now)
	history := c.Owners.History()
	for _, vip := range c.vips(vips) {
		c.Moved(t, vip, from, to)
		if gap := history.Gap(vip, from, now); gap > spoilt+slack {
			t.Errorf("nobody had %v for %v since %s", vip, gap, Stamp(from))
		}
		c.Overlap(t, vip, from, Lingers+slack)
		c.Unharmed(t, vip, from, now, spoilt+slack)
	}
}

// Moved asserts that an address moved once, to a host.
func (c *Cluster) Moved(t testing.TB, vip netip.Addr, from time.Time, to string) {
	t.Helper()
	history := c.Owners.History()
	if moves := history.Moves(vip, from, time.Now()); moves != 1 || fmt.Sprint(history.Owners(vip, time.Now())) != "["+to+"]" {
		t.Errorf("%v moved %d times since %s and is on %v, want once and to %s", vip, moves, Stamp(from), history.Owners(vip, time.Now()), to)
	}
}

// Unharmed asserts that the client of an address lost no more new connections than it opens within a time.
func (c *Cluster) Unharmed(t testing.TB, vip netip.Addr, from, to time.Time, most time.Duration) {
	t.Helper()
	client := c.Clients[vip]
	if client == nil {
		return
	}
	saw := client.Between(from, to)
	limit := int(most / (saw.To.Sub(saw.From) / time.Duration(max(len(saw.List), 1))))
	if lost := Lost(saw); len(lost) > limit {
		t.Errorf("%v: %d connections lost since %s, want at most %d; the first at %s: %+v\n%v", vip, len(lost), Stamp(from), limit, Stamp(lost[0].Start), lost[0], saw)
	}
	t.Logf("%v: %d lost: %v", vip, len(Lost(saw)), saw)
}

// Outage asserts how long the client of an address waited at most, beside what the machine stalled, and who answers at the end.
// It returns the outage.
func (c *Cluster) Outage(t testing.TB, vip netip.Addr, from time.Time, most time.Duration, to string) time.Duration {
	t.Helper()
	saw := c.Clients[vip].Between(from, time.Now().Add(after))
	if out := saw.Outage(); out > most+saw.Stall() {
		t.Errorf("%v: outage %v since %s, want at most %v\n%v", vip, out, Stamp(from), most, saw)
	}
	if last := saw.LastServer(); last != to {
		t.Errorf("%v: %q answered last, want %s\n%v", vip, last, to, saw)
	}
	t.Logf("%v: %v", vip, saw)
	return saw.Outage()
}

// Overlap asserts how long two hosts had an address at most.
func (c *Cluster) Overlap(t testing.TB, vip netip.Addr, from time.Time, most time.Duration) {
	t.Helper()
	if over := c.Owners.History().Overlap(vip, from, time.Now()); over > most {
		t.Errorf("two hosts had %v for %v since %s, want at most %v", vip, over, Stamp(from), most)
	}
}

// Rests asserts that for a while nothing moves and the clients notice nothing.
func (c *Cluster) Rests(t testing.TB, from, to time.Time, vips ...netip.Addr) {
	t.Helper()
	Until(t, to)
	vips = c.vips(vips)
	for _, change := range c.Owners.History() {
		if change.At.After(from) && change.At.Before(to) && slices.Contains(vips, change.Addr) {
			t.Errorf("%s at %s: %v held=%t, want no change since %s", change.Host, Stamp(change.At), change.Addr, change.Held, Stamp(from))
		}
	}
	for _, vip := range vips {
		c.Unharmed(t, vip, from, to, c.Slack(from, to))
	}
}

// Reaches waits until the user's neighbour entry of an address names a host.
func (c *Cluster) Reaches(t testing.TB, vip netip.Addr, host string, bound time.Duration) {
	t.Helper()
	want := c.Get(host).MAC().String()
	labtest.Eventually(t, bound, func() (bool, string) {
		mac, err := c.User.Neighbour(vip)
		return err == nil && mac.String() == want, fmt.Sprintf("the user has %v at %v, want %s of %s; %v", vip, mac, want, host, err)
	})
}
