package mechanisms

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// unicastPeers are the instances of a pair as understudy has them.
func unicastPeers() string {
	const peers = `peers = ["10.0.0.11", "10.0.0.12"]`
	return instance(peers) + strings.Replace(v2, "\n}", "\n  "+peers+"\n}", 1)
}

// unicastKeepalived is keepalived's configuration on the host that ends in own, with the other's.
func unicastKeepalived(own, other, priority int) string {
	source := fmt.Sprintf("priority %d\n\tunicast_src_ip 10.0.0.%d\n\tunicast_peer {\n\t\t10.0.0.%d\n\t}", priority, own, other)
	return strings.ReplaceAll(keepalivedConfig, "priority 100", source)
}

// TestKeepalivedUnicast tells of a pair by unicast whose other host is an unmodified keepalived, in both versions of the protocol
// and in both roles.
func TestKeepalivedUnicast(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, unicastPeers()+page, web4, old4)
	for _, h := range c.Hosts { // nothing but unicast can help
		drop := "ip daddr 224.0.0.0/4"
		pairtest.Step(t, func() error { return h.Firewall(t.Context(), netlab.DropOut(drop), netlab.DropIn(drop)) })
	}
	lb1 := c.Get("lb1")
	lb1.Start(t)
	c.Settled(t, "lb1")
	k := pairtest.StartKeepalived(t, c.Get("lb2").Host, unicastKeepalived(12, 11, 100))
	pairtest.Until(t, time.Now().Add(time.Second)) // until it listens; a backup shows nothing

	t.Run("keepalived succeeds", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGTERM) })
		c.Only(t, "lb2", moveBound)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, from, "lb2")
		}
		c.Outage(t, web4, from, noise, "lb2")
		<-lb1.Daemon.Done()
	})
	t.Run("keepalived is pushed aside", func(t *testing.T) {
		from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
		c.Settled(t, "lb1")
		takenBack(t, c, from, c.VIPs...)
	})
	t.Run("a death", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGKILL) })
		c.Only(t, "lb2", down+moveBound)
		for _, vip := range c.VIPs {
			c.Outage(t, vip, from, down+noise, "lb2")
		}
		lb1.Start(t)
		c.Settled(t, "lb1")
	})
	t.Run("keepalived leaves", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return k.Signal(syscall.SIGTERM) })
		if err := k.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		c.Rests(t, from, time.Now().Add(500*time.Millisecond))
		lb1.Stop(t)
	})
	t.Run("keepalived is master, and leaves", func(t *testing.T) {
		k := pairtest.StartKeepalived(t, c.Get("lb2").Host, unicastKeepalived(12, 11, 200))
		c.Only(t, "lb2", settleBound)
		for _, vip := range c.VIPs {
			c.Reaches(t, vip, "lb2", settleBound)
		}
		lb1.Start(t)
		from := time.Now()
		for _, name := range []string{"web", "old"} {
			stateOf(t, lb1, name, "backup")
		}
		c.Rests(t, from, time.Now().Add(down+time.Second))
		from = pairtest.Step(t, func() error { return k.Signal(syscall.SIGTERM) })
		c.Only(t, "lb1", moveBound)
		// keepalived says its priority 0 and goes at once: a backup waits for its skew, in VRRPv2 one of a whole second.
		for _, vip := range c.VIPs {
			c.Outage(t, vip, from, time.Second, "lb1")
		}
	})
}

// stateOf waits for a state of an instance.
func stateOf(t *testing.T, h *pairtest.Server, name string, want node.State) {
	t.Helper()
	labtest.Eventually(t, settleBound, func() (bool, string) {
		i, err := h.Instance(t, name)
		if err != nil {
			return false, err.Error()
		}
		return i.State == want, fmt.Sprintf("%s on %s is %s: %s", name, h.Name(), i.State, i.Why)
	})
}

// keepalivedUnicast6 is keepalived as the better host of a pair over IPv6. It sends with the kernel's hop limit, 64.
const keepalivedUnicast6 = `
vrrp_instance web {
	interface eth0
	state BACKUP
	version 3
	virtual_router_id 71
	priority 200
	advert_int 0.05
	unicast_src_ip fd00::12
	unicast_peer {
		fd00::11
	}
	virtual_ipaddress {
		fd00::100
	}
}
`

// TestKeepalivedHopLimit tells of a keepalived over IPv6 whose adverts look as if a router had forwarded them: lb1 refuses them, says
// so and what to do, and with min_ttl they agree.
func TestKeepalivedHopLimit(t *testing.T) {
	t.Parallel()
	const more = `advertise_interval = "50ms"
  peers = ["fd00::11", "fd00::12"]`
	c := cluster(t, []string{"lb1", "lb2"}, instanceOf(`"fd00::100"`, more)+page, web6)
	pairtest.StartKeepalived(t, c.Get("lb2").Host, keepalivedUnicast6)
	c.Only(t, "lb2", settleBound)
	lb1 := c.Get("lb1")
	lb1.Start(t)
	lb1.Says(t, `adverts from fd00::12 .*are refused: its TTL or hop limit is below this instance's min_ttl \(255 by default\); raise it there \(keepalived: unicast_ttl\)`, moveBound)
	stateOf(t, lb1, "web", node.Master)
	lb1.Configure(t, instanceOf(`"fd00::100"`, more+"\n  min_ttl = 64")+page)
	stateOf(t, lb1, "web", node.Backup)
	c.Only(t, "lb2", moveBound)
	if i := status(t, lb1); i.Routers[0].Peers[0].Priority != 200 {
		t.Errorf("lb1 knows the peers %+v", i.Routers[0].Peers)
	}
}
