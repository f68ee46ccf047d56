package mechanisms

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// inside is the only instance of the second interface.
const inside = `
instance "inside" {
  interface = "eth1"
  vrid      = 72
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.1.0.100"]
}
`

// TestInterfaceRemoved tells of an interface whose only instance a reload removes: the master hands over, what was open on the
// interface is closed soon, and when the instance comes back it is elected as before. The other interface notices nothing.
func TestInterfaceRemoved(t *testing.T) {
	t.Parallel()
	less := instance("")
	c := groupedBy(t, less+inside)
	begin(t, c)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	opened := sockets(t, lb1)
	if !opened.are(true) {
		t.Errorf("lb1 has nothing open on eth1, or this test does not see it: %v", opened)
	}
	change := func(h *pairtest.Server, config string) time.Time {
		before := h.Logged(reloaded)
		from := pairtest.Step(t, func() error { h.Configure(t, config+page); return nil })
		h.SaysAgain(t, reloaded, before, moveBound)
		return from
	}
	closed := func(h *pairtest.Server) {
		t.Helper()
		labtest.Eventually(t, 2*time.Second, func() (bool, string) {
			now := sockets(t, h)
			return now.are(false) && now.raw == opened.raw-1, fmt.Sprintf("%s has open: %v, with an instance on eth1 %v", h.Name(), now, opened)
		})
	}
	for range 2 {
		from := change(lb1, less)
		c.Only(t, "lb2", moveBound, inside4)
		c.Planned(t, from, "lb2", inside4)
		closed(lb1)
		c.Rests(t, from, time.Now(), web4)
		from = change(lb1, less+inside)
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1", inside4)
		c.Rests(t, from, time.Now(), web4)
	}
	from := change(lb2, less)
	closed(lb2)
	c.Rests(t, from, time.Now())
	if again := sockets(t, lb1); again != opened {
		t.Errorf("lb1 has open %v, at first %v", again, opened)
	}
}

// openSockets is what a host has open for VRRP.
type openSockets struct {
	raw    int  // on all interfaces
	packet int  // on eth1: for announcements, the witness and the lookout
	joined bool // eth1 is in the group
}

// are says whether something, or nothing at all, is open on eth1.
func (o openSockets) are(there bool) bool { return o.packet > 0 == there && o.joined == there }

// sockets asks a host's kernel.
func sockets(t *testing.T, h *pairtest.Server) (o openSockets) {
	t.Helper()
	ask := func(argv ...string) string {
		out, err := h.Exec(t.Context(), argv...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	o.raw = strings.Count(ask("ss", "-Hanw"), ":112 ")
	o.packet = strings.Count(ask("ss", "-Han0"), ":eth1 ")
	o.joined = strings.Contains(ask("ip", "maddress", "show", "dev", "eth1"), "224.0.0.18")
	return o
}
