package pairtest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

const (
	// after is how long clients are looked at after a move: they follow the announcement, which follows the address.
	after = 150 * time.Millisecond
	// Lingers is how long both hosts may have an address in one planned move of a busy machine: the 80 ms of a host that sees nothing
	// of its successor, some more for a host with many addresses, and the successor's own start.
	Lingers = 250*time.Millisecond + Noise
	// Brief is how long they may in the one in the middle of several: the old holder lets go 10 ms after it has seen the new one
	// announce every address. One that is blind for that serves on for 80 ms.
	Brief = 30 * time.Millisecond
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

// Moved asserts that an address moved once, to a host.
func (c *Cluster) Moved(t testing.TB, vip netip.Addr, from time.Time, to string) {
	t.Helper()
	history := c.Owners.History()
	if moves := history.Moves(vip, from, time.Now()); moves != 1 || fmt.Sprint(history.Owners(vip, time.Now())) != "["+to+"]" {
		t.Errorf("%v moved %d times since %s and is on %v, want once and to %s", vip, moves, Stamp(from), history.Owners(vip, time.Now()), to)
	}
}

// Outage asserts how long the client of an address waited at most, beside what the machine stalled: this client, or the hosts, by
// what the control client felt. And it asserts who answers at the end.
// It returns the outage beyond that.
func (c *Cluster) Outage(t testing.TB, vip netip.Addr, from time.Time, most time.Duration, to string) time.Duration {
	t.Helper()
	now := time.Now().Add(after)
	saw := c.Clients[vip].Between(from, now)
	if out := saw.Outage(); out > most+saw.Stall()+c.Slack(from, now) {
		t.Errorf("%v: outage %v since %s, want at most %v\n%v", vip, out, Stamp(from), most, saw)
	}
	if last := saw.LastServer(); last != to {
		t.Errorf("%v: %q answered last, want %s\n%v", vip, last, to, saw)
	}
	t.Logf("%v: %v", vip, saw)
	return max(saw.Outage()-saw.Stall(), 0)
}

// Overlap asserts how long two hosts had an address at most, beside what the machine stood still. Where it must never be, no machine
// excuses it.
func (c *Cluster) Overlap(t testing.TB, vip netip.Addr, from time.Time, most time.Duration) {
	t.Helper()
	now := time.Now()
	if most > 0 {
		most += c.Slack(from, now)
	}
	if over := c.Owners.History().Overlap(vip, from, now); over > most {
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
		c.Unharmed(t, vip, from, to, 0)
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
