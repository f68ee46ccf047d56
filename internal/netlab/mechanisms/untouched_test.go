package mechanisms

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// furnishing is what an administrator might have given a host: a second address of the same network, which is a secondary of the
// first, and routes.
const furnishing = `ip address add 10.0.0.211/24 dev eth0 && ip address add fd00::211/64 dev eth0 nodad &&
ip route add default via 10.0.0.50 && ip route add 10.9.0.0/16 via 10.0.0.50 && ip -6 route add fd09::/32 via fd00::50`

// flush is what a network manager does that starts again: everything goes, of both families, and what it knows comes back. The kernel
// drops IPv4's routes with the addresses that lead to their gateways, IPv6's it does not.
const flush = `ip -4 address flush dev eth0 && ip -6 address flush dev eth0 scope global && ip -6 route flush dev eth0 proto boot &&
ip address add 10.0.0.11/24 brd + dev eth0 && ip address add 10.0.0.211/24 dev eth0 &&
ip address add fd00::11/64 dev eth0 nodad && ip address add fd00::211/64 dev eth0 nodad &&
ip route add default via 10.0.0.50 && ip route add 10.9.0.0/16 via 10.0.0.50 && ip -6 route add fd09::/32 via fd00::50`

// TestUntouched tells that the host's own addresses and routes survive its daemon's death, the end of the leases and a network
// manager, and that nothing of the daemon is left behind but, until a cleanup, the route that a written prefix means.
func TestUntouched(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instanceOf(`"10.0.0.100/24", "fd00::100/64", "192.0.2.100/24"`, "")+page, web4, web6)
	lb1 := c.Get("lb1")
	shell := func(script string) func() error {
		return func() error {
			_, err := lb1.Exec(t.Context(), "sh", "-c", script)
			return err
		}
	}
	own := func() string {
		t.Helper()
		text, err := lb1.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	pairtest.Step(t, shell(furnishing))
	before := own()
	begin(t, c)

	t.Run("the daemon is killed, and the leases end", func(t *testing.T) {
		from := pairtest.Step(t, lb1.Daemon.Kill)
		c.Only(t, "lb2", 2*down)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, from, "lb2")
			c.Overlap(t, vip, from, 0)
		}
		// The route of 192.0.2.100/24 has no lease: it alone is left, until a cleanup.
		left := lines(own(), func(line string) bool { return !strings.HasPrefix(line, "192.0.2.0/24 dev eth0 proto ") })
		if diff := cmp.Diff(before, left); diff != "" {
			t.Errorf("lb1's own (-before +after the leases)\n%s", diff)
		}
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "no address was left behind") {
			t.Errorf("cleanup says %q", out)
		}
		if diff := cmp.Diff(before, own()); diff != "" {
			t.Errorf("lb1's own (-before +after the cleanup)\n%s", diff)
		}
		lb1.Start(t)
		c.Settled(t, "lb1")
	})
	t.Run("a network manager starts again", func(t *testing.T) {
		from := pairtest.Step(t, shell(flush))
		c.Only(t, "lb1", settleBound)
		c.Settled(t, "lb1")
		for _, vip := range c.VIPs {
			c.Outage(t, vip, from, noise, "lb1")
		}
		if moves := c.Owners.History().Moves(web4, from, time.Now()); moves > 0 {
			t.Errorf("%v moved %d times", web4, moves)
		}
	})
	t.Run("the daemon is stopped", func(t *testing.T) {
		lb1.Stop(t)
		c.Only(t, "lb2", moveBound)
		if diff := cmp.Diff(before, own()); diff != "" {
			t.Errorf("lb1's own (-before +after)\n%s", diff)
		}
	})
}

// lines are those of a text that are wanted.
func lines(text string, want func(string) bool) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if want(line) {
			out.WriteString(line)
		}
	}
	return out.String()
}
