package mechanisms

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// seldom is after how long of a backup's silence its name is looked up seldom: it was due after 5 to 10 s, 10 s later, and is 20 s after
// that.
const seldom = 18 * time.Second

// askedBound is how long it may take until a new address is known: a name is looked up once in 5 s, and Go's resolver keeps /etc/hosts
// for as long.
const askedBound = 10 * time.Second

// TestPeerMoves tells of peers by name, and of a host that is replaced and comes back with another address, better than the master.
// The master speaks to the old address, so the new host hears nothing and rises: but not for long are there two, since the master
// looks up who this stranger is.
func TestPeerMoves(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance(`peers = ["lb1.lab", "lb2.lab"]`)+page)
	for _, h := range c.Hosts {
		nameService(t, h, "10.0.0.11")
	}
	begin(t, c)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGTERM) })
	c.Only(t, "lb2", moveBound)
	lb1.Ended(t)
	pairtest.Until(t, from.Add(seldom))

	for _, step := range []error{lb1.RemoveAddress(netip.MustParsePrefix("10.0.0.11/24")), lb1.AddAddress(netip.MustParsePrefix("10.0.0.21/24"))} {
		if step != nil {
			t.Fatal(step)
		}
	}
	for _, h := range c.Hosts {
		nameService(t, h, "10.0.0.21")
	}
	from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
	c.Settled(t, "lb1")
	c.Overlap(t, web4, from, askedBound)
	c.Reaches(t, web4, "lb1", time.Second)
	lb2.Says(t, `a peer's name is resolved: peer=lb1\.lab addresses=\["?10\.0\.0\.21"?\]`, moveBound)
	await(t, lb2, moveBound, func(i node.InstanceStatus) bool {
		p := i.Routers[0].Peers
		return i.State == node.Backup && len(p) == 1 && p[0].Address == netip.MustParseAddr("10.0.0.21") && p[0].Heard.After(from)
	})
}

// nameService gives a host's programs the names of the hosts.
func nameService(t *testing.T, h *pairtest.Server, lb1 string) {
	t.Helper()
	if err := h.SetNames(fmt.Sprintf("127.0.0.1 localhost\n%s lb1.lab\n10.0.0.12 lb2.lab\n", lb1)); err != nil {
		t.Fatal(err)
	}
}
