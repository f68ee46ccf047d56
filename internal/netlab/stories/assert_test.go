package stories

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
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

// lost lists the connections that a planned move must not cost: all that failed or were sent twice, but those that were open
// at the instant of the move. The new host knows nothing of these, and resets them.
func lost(a netlab.Attempts, every time.Duration) []netlab.Attempt {
	var lost, reset []netlab.Attempt
	for _, t := range a.List {
		switch {
		case errors.Is(t.Err, syscall.ECONNRESET):
			reset = append(reset, t)
		case t.Err != nil, t.Took >= retransmit:
			lost = append(lost, t)
		}
	}
	// A connection takes about a millisecond; where the machine stalls, more are open at once.
	if open := 3 + int(a.Stall()/every); len(reset) > open {
		lost = append(lost, reset...)
	}
	return lost
}

// planned asserts a move without loss: at every instant somebody had each address, both for a moment only, and no client
// lost a new connection. It must have been to a host, once.
func (c *cluster) planned(t *testing.T, from time.Time, to string, vips ...netip.Addr) {
	t.Helper()
	if len(vips) == 0 {
		vips = c.vips
	}
	now := time.Now().Add(after)
	for _, vip := range vips {
		c.moved(t, vip, from, to)
		history := c.owners.History()
		if gap := history.Gap(vip, from, now); gap > 0 {
			t.Errorf("nobody had %v for %v", vip, gap)
		}
		if over := history.Overlap(vip, from, now); over > lingers {
			t.Errorf("two hosts had %v for %v", vip, over)
		}
		c.unharmed(t, vip, from, now)
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

// unharmed asserts that the client of an address lost nothing.
func (c *cluster) unharmed(t *testing.T, vip netip.Addr, from, to time.Time) {
	t.Helper()
	client := c.clients[vip]
	if client == nil {
		return
	}
	saw := client.Between(from, to)
	if lost := lost(saw, saw.To.Sub(saw.From)/time.Duration(max(len(saw.List), 1))); len(lost) > 0 {
		t.Errorf("%v: %d connections lost, the first at %s: %+v\n%v", vip, len(lost), stamp(lost[0].Start), lost[0], saw)
	}
	t.Logf("%v: %v", vip, saw)
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
		if change.At.After(from) && change.At.Before(to) && among(vips, change.Addr) {
			t.Errorf("%s at %s: %v held=%t, want no change since %s", change.Host, stamp(change.At), change.Addr, change.Held, stamp(from))
		}
	}
	for _, vip := range vips {
		c.unharmed(t, vip, from, to)
	}
}

func among(vips []netip.Addr, ip netip.Addr) bool {
	for _, v := range vips {
		if v == ip {
			return true
		}
	}
	return false
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
