package mechanisms

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestCrash tells of a daemon that is killed at the default interval, with and without the cleanup that a service manager runs
// after it.
func TestCrash(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page, web4, web6)
	lb1 := c.Get("lb1")

	t.Run("with a cleanup the addresses move at once", func(t *testing.T) {
		from := pairtest.Step(t, lb1.Daemon.Kill)
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "every address that was left behind has gone to another host") {
			t.Errorf("cleanup says %q", out)
		}
		c.Only(t, "lb2", time.Second)
		most := time.Second
		if raceEnabled {
			most += time.Second // the command itself needs that to start
		}
		if took := c.Owners.History().Gets("lb2", web4, from).Sub(from); took > most {
			t.Errorf("lb2 had %v %v after the death", web4, took)
		}
		c.Planned(t, from, "lb2")
		from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("after a clean stop the cleanup does nothing", func(t *testing.T) {
		lb1.Stop(t)
		c.Only(t, "lb2", moveBound)
		wire := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")
		from := time.Now()
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "no address was left behind") {
			t.Errorf("cleanup says %q", out)
		}
		c.Rests(t, from, time.Now().Add(500*time.Millisecond))
		if n := len(seen(t, wire, "vrid 71")); n > 0 {
			t.Errorf("cleanup sent %d adverts", n)
		}
		from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("without a cleanup the lease ends before the other host takes over", func(t *testing.T) {
		from := pairtest.Step(t, lb1.Daemon.Kill)
		c.Only(t, "lb2", 2*down)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, from, "lb2")
			c.Overlap(t, vip, from, 0)
			c.Outage(t, vip, from, down-1400*time.Millisecond+noise, "lb2")
			if lease := c.Owners.History().Loses("lb1", vip, from).Sub(from); lease < 600*time.Millisecond || lease > 2500*time.Millisecond+noise {
				t.Errorf("the lease of %v ended %v after the death", vip, lease)
			}
		}
	})
}

// TestCrashAlone tells of a daemon that is killed where no other host is: after a cleanup its addresses stay for 10 s, and a daemon
// that is started meanwhile has them without a gap.
func TestCrashAlone(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1"}, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page, web4, web6)
	begin(t, c)
	lb1 := c.Get("lb1")
	cleanup := func(t *testing.T) {
		t.Helper()
		pairtest.Step(t, lb1.Daemon.Kill)
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "nobody took [web]: the addresses stay for 10s") {
			t.Errorf("cleanup says %q", out)
		}
	}

	t.Run("the next daemon adopts the addresses", func(t *testing.T) {
		from := time.Now()
		cleanup(t)
		lb1.Start(t)
		lb1.Says(t, "adopted the addresses of a daemon of this host that died", moveBound)
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.State == node.Master && i.Priority == 150 })
		c.Rests(t, from, time.Now().Add(3*time.Second)) // longer than a lease
	})
	t.Run("without a next daemon they go", func(t *testing.T) {
		from := time.Now()
		cleanup(t)
		cleaned := time.Now()
		c.Only(t, "", 15*time.Second)
		for _, vip := range c.VIPs {
			// The kernel is up to 0.6 s early, and the command ends some time after it has set the lease.
			if stayed := c.Owners.History().Loses("lb1", vip, from).Sub(cleaned); stayed < 8*time.Second || stayed > 12*time.Second {
				t.Errorf("%v stayed for %v after the cleanup", vip, stayed)
			}
		}
	})
	t.Run("a daemon that comes later adopts nothing", func(t *testing.T) {
		before := lb1.Logged("adopted the addresses")
		lb1.Start(t)
		c.Settled(t, "lb1")
		if now := lb1.Logged("adopted the addresses"); now != before {
			t.Error("it adopted addresses that were gone")
		}
	})
}

// TestNoLease tells that without a lease the address of a dead daemon stays, until its successor on the host sweeps it.
func TestNoLease(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`lease = false`)+page)
	lb1 := c.Get("lb1")
	if i := status(t, lb1); i.Lease != 0 {
		t.Errorf("the lease is %v", i.Lease)
	}
	from := pairtest.Step(t, lb1.Daemon.Kill)
	labtest.Eventually(t, 2*down, func() (bool, string) {
		owners := c.Owners.Owners(web4)
		return len(owners) == 2, fmt.Sprintf("owners of %v are %v", web4, owners)
	})
	c.Outage(t, web4, from, noise, "lb2") // the dead daemon's nginx answers until the other host announces itself
	c.Reaches(t, web4, "lb2", time.Second)
	pairtest.Until(t, time.Now().Add(2*time.Second))
	from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
	lb1.Says(t, "removed an address that an earlier daemon left behind: address=10.0.0.100", moveBound)
	c.Only(t, "lb2", moveBound)
	if took := c.Owners.History().Loses("lb1", web4, from).Sub(from); took > time.Second+noise {
		t.Errorf("%v was swept %v after the start", web4, took)
	}
	swept := time.Now()
	c.Settled(t, "lb1")
	c.Planned(t, swept, "lb1")
}

// TestCleanupFindsAMaster tells of a cleanup that comes when another host has long been master: that host answers its priority 0 at
// once, and the cleanup only removes what was left behind.
func TestCleanupFindsAMaster(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "advertise_interval = \"200ms\"\n  lease = false")+page, web4, web6)
	lb1 := c.Get("lb1")
	pairtest.Step(t, lb1.Daemon.Kill)
	both(t, c, moveBound)
	for _, vip := range c.VIPs {
		c.Reaches(t, vip, "lb2", time.Second)
	}
	wire := capture(t, c.User, "ip proto 112")
	from := time.Now()
	if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "every address that was left behind has gone to another host") {
		t.Errorf("cleanup says %q", out)
	}
	c.Only(t, "lb2", time.Second)
	for _, vip := range c.VIPs {
		c.Unharmed(t, vip, from, time.Now(), 0)
		if saw := c.Clients[vip].Between(from, time.Now()); saw.Servers()["lb1"] > 0 {
			t.Errorf("lb1 was asked again: %v", saw)
		}
	}
	released := at(t, wire, "prio 0", from)
	slack := c.Slack(from, time.Now())
	if n := between(seen(t, wire, "intvl 1cs"), from, time.Now()); n > 0 && slack == 0 {
		t.Errorf("the cleanup offered the addresses %d times to a master", n)
	}
	if answer := at(t, wire, "10.0.0.12 >", released).Sub(released); answer > 50*time.Millisecond+slack {
		t.Errorf("lb2 answered the priority 0 after %v", answer)
	}
}
