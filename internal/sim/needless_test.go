package sim

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// needless checks that an address does not move where nothing happened for so long that every host has done what it had to do.
func (p *promises) needless(name string, ip netip.Addr, host string, owners []string) {
	if began := later(later(p.events[0], p.unrest), p.rested); p.c.now.Sub(began) > p.settles() {
		p.broken(name, "needless", "%v have %s after a change of %s, although nothing happened for %s", owners, ip, host, p.c.now.Sub(began))
	}
}

// settles is after which time nothing moves any more: each host takes part again, the best one has the addresses, and so has whoever is the last
// resort.
func (p *promises) settles() (d time.Duration) {
	for _, h := range p.c.hosts {
		d = max(d, p.recovery(h))
	}
	return d + max(p.bound.converge(1), p.bound.rest()) + p.bound.wakes() + maxLinger
}

// TestPromisesSeeNeedlessMoves holds that an address may move for so long after something happened, and no longer; and that in unrest it may.
func TestPromisesSeeNeedlessMoves(t *testing.T) {
	const recovery = 2 * time.Second
	for _, tt := range []struct {
		name  string
		calm  bool
		later time.Duration // than all is settled
		want  bool
	}{
		{"it is settled", true, time.Millisecond, true},
		{"it is not", true, -time.Millisecond, false},
		{"there is unrest", false, time.Millisecond, false},
		{"a host has just ended what it did by itself", true, time.Millisecond, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			p := promise(c, w, func(*Host) health { return well }, func() bool { return tt.calm }, func(*Host) time.Duration { return recovery }, equal)
			for _, h := range c.hosts {
				h.begin(h.cfg)
				w.host(h).instances["web"].state = node.Master
			}
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, w.slack))
			c.Host("a").kernel.add("web", vip, 0)
			c.Run(time.Minute)
			p.news()
			c.Run(p.settles() + tt.later)
			if strings.Contains(tt.name, "by itself") {
				p.rested = c.now
			}
			c.Host("b").kernel.add("web", vip, 0)
			c.Host("a").kernel.drop(vip)
			if got := slices.ContainsFunc(c.Faults(), func(f string) bool { return strings.Contains(f, "although nothing happened for") }); got != tt.want {
				t.Errorf("faults %q, want one: %t", c.Faults(), tt.want)
			}
		})
	}
}
