package mechanisms

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestBesideKeepalived starts the daemon where keepalived serves its addresses: it sees that before it says a word, names who has them, and
// takes part when keepalived has gone. A word in keepalived's name would have the other host take them too.
func TestBesideKeepalived(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+page)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	config := func(priority int) string {
		return fmt.Sprintf(`
vrrp_instance web {
	interface eth0
	state BACKUP
	version 3
	virtual_router_id 71
	priority %d
	advert_int 1
	virtual_ipaddress {
		10.0.0.100
	}
}
`, priority)
	}
	first := pairtest.StartKeepalived(t, lb1.Host, config(150))
	c.Only(t, "lb1", settleBound)
	pairtest.StartKeepalived(t, lb2.Host, config(100))
	wire := capture(t, c.User, "ip proto 112")
	from := time.Now()
	lb1.Start(t)
	state(t, lb1, node.Fault, "10.0.0.100 is on eth0 already and not ours: probably keepalived (pid ", moveBound)
	c.Rests(t, from, time.Now().Add(down+time.Second)) // it would have risen by then
	if said := seen(t, wire, "prio 0"); len(said) > 0 {
		t.Errorf("something let go of the addresses %d times", len(said))
	}
	if out := lb1.Does(t, 4, "status", "web"); strings.Contains(out, "ip addr del") {
		t.Errorf("the status advises to cut off what serves:\n%s", out)
	}

	if err := first.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	c.Only(t, "lb1", settleBound)
	state(t, lb1, node.Master, "", moveBound)
}
