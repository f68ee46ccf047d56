package mechanisms

import (
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestUnnamedMaster tells of a host that cannot name the master, but other peers: it hears nobody, asks the link, and does not take the
// address beside it. It takes it when nobody answers any more.
func TestUnnamedMaster(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance(`peers = {
    lb1 = ["10.0.0.11", "10.0.0.12"]
    lb2 = ["10.0.0.12", "10.0.0.13", "nobody.invalid"]
  }[hostname]`)+page)
	begin(t, c)
	from := time.Now()
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	lb2.Says(t, `serves its addresses, and the peer .*nobody\.invalid.* is not known`, down+moveBound)
	c.Rests(t, from, time.Now().Add(2*down))
	if n := lb2.Logged(`nobody\.invalid.* is not known`); n != 1 {
		t.Errorf("lb2 said %d times that it waits", n)
	}
	from = pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGKILL) })
	c.Only(t, "lb2", 2*down+moveBound)
	c.Overlap(t, web4, from, 0)
}
