package mechanisms

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// frozenFor is how long a daemon is stopped: long enough for another host to take over, and to be master for a while.
const frozenFor = 7 * time.Second

// freeze stops a host's daemon for a while, and returns when it was stopped and when it went on.
func freeze(t *testing.T, h *pairtest.Server) (stopped, thawed time.Time) {
	t.Helper()
	stopped = pairtest.Step(t, func() error { return h.Daemon.Signal(syscall.SIGSTOP) })
	pairtest.Until(t, stopped.Add(frozenFor))
	return stopped, pairtest.Step(t, func() error { return h.Daemon.Signal(syscall.SIGCONT) })
}

// TestFrozenMaster tells of a master that sleeps at the default interval, as a paused machine does: never are there two owners,
// and when it wakes it listens before it speaks.
func TestFrozenMaster(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	adverts := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")
	t.Run("its lease runs out before the others take over", func(t *testing.T) { leaseRunsOut(t, c, lb1, adverts) })
	stopped, thawed := freeze(t, lb1)
	state(t, lb1, node.Backup, "", time.Second)
	lb1.Says(t, "woke late", time.Second)
	for _, vip := range c.VIPs {
		c.Overlap(t, vip, stopped, 0)
		c.Outage(t, vip, stopped, down-1400*time.Millisecond+noise, "lb2")
		if owners := c.Owners.History().Owners(vip, thawed); len(owners) != 1 || owners[0] != "lb2" {
			t.Errorf("%v was on %v when lb1 woke", vip, owners)
		}
	}
	c.Settled(t, "lb1")
	c.Planned(t, thawed, "lb1")
	// Preemption takes its ordinary time, three of the other host's intervals and the skew of priority 150.
	const patience = 3*time.Second + 410*time.Millisecond
	if took := c.Owners.History().Gets("lb1", web4, thawed).Sub(thawed); took < patience-time.Second-noise {
		t.Errorf("lb1 took over %v after it woke", took)
	}
	if n := between(seen(t, adverts, "vrid 71"), stopped.Add(noise), thawed.Add(patience-time.Second-noise)); n > 0 {
		t.Errorf("lb1 sent %d adverts before it had listened", n)
	}
	if n := lb2.Logged("two masters"); n > 0 {
		t.Error("lb2 saw two masters")
	}
}

// leaseRunsOut stops a master for longer than its leases of 2 s last, and for less than the three intervals that the others wait at
// least: it need not listen first, sets the addresses again at once, says why, and announces them.
func leaseRunsOut(t *testing.T, c *pairtest.Cluster, h *pairtest.Server, adverts *netlab.Proc) {
	const tries, asleep, patience = 5, 2750 * time.Millisecond, 3 * time.Second
	arp := capture(t, c.User, "arp or icmp6")
	quiet(t, h)
	was := status(t, h)
	for range tries {
		said := map[netip.Addr]int{}
		for _, vip := range c.VIPs {
			said[vip] = h.Logged(ranOut(vip))
		}
		began := time.Now()
		labtest.Eventually(t, moveBound, func() (bool, string) { return between(seen(t, adverts, "vrid 71"), began, time.Now()) > 0, "no advert" })
		sent := at(t, adverts, "vrid 71", began)
		stopped := pairtest.Step(t, func() error { return h.Daemon.Signal(syscall.SIGSTOP) })
		pairtest.Until(t, sent.Add(asleep))
		thawed := pairtest.Step(t, func() error { return h.Daemon.Signal(syscall.SIGCONT) })
		c.Only(t, h.Name(), moveBound)
		history := c.Owners.History()
		gone := func(vip netip.Addr) bool { return history.Loses(h.Name(), vip, stopped).Before(thawed) }
		if late := thawed.Sub(sent); late > patience-noise/6 || !gone(web4) || !gone(web6) {
			t.Logf("it slept for %v, or its leases lasted; once more", late)
			c.Settled(t, h.Name())
			continue
		}
		for _, vip := range c.VIPs {
			if took := history.Gets(h.Name(), vip, thawed).Sub(thawed); took > noise+c.Slack(thawed, time.Now()) {
				t.Errorf("%v was set again after %v", vip, took)
			}
			h.SaysAgain(t, ranOut(vip), said[vip], time.Second)
		}
		announcedAgain(t, c, arp, h, thawed)
		if now := status(t, h); now.State != node.Master || !now.Since.Equal(was.Since) {
			t.Errorf("%s since %v, before master since %v: %s", now.State, now.Since, was.Since, now.Why)
		}
		return
	}
	t.Fatalf("in %d tries no lease ran out within %v, and none was as short as that", tries, patience)
}

// ranOut is what a daemon says of a lease.
func ranOut(vip netip.Addr) string {
	return fmt.Sprintf("the lease of %v ran out before it was renewed; set again", vip)
}

// quiet waits until the announcements of an election are over: what is heard from then on is for something else.
func quiet(t *testing.T, h *pairtest.Server) {
	t.Helper()
	await(t, h, 10*time.Second, func(i node.InstanceStatus) bool {
		return i.State == node.Master && time.Since(i.Since) > 5500*time.Millisecond
	})
}

// announcedAgain waits until both addresses were announced soon after an instant.
func announcedAgain(t *testing.T, c *pairtest.Cluster, wire *netlab.Proc, h *pairtest.Server, from time.Time) {
	t.Helper()
	// Padded, and to all: the kernel's own answer to a question is neither.
	for _, words := range []string{"Reply " + web4.String() + " is-at " + h.MAC().String() + ", length 46", " > ff02::1: ICMP6, neighbor advertisement, tgt is " + web6.String()} {
		labtest.Eventually(t, time.Second, func() (bool, string) {
			return between(seen(t, wire, words), from, time.Now()) > 0, "not announced again: " + words
		})
		if took := at(t, wire, words, from).Sub(from); took > noise+c.Slack(from, time.Now()) {
			t.Errorf("announced again after %v: %s", took, words)
		}
	}
}

// TestFrozenWithoutLease tells of a master that sleeps and whose addresses nothing takes away meanwhile: when it wakes, that is the first
// thing that it does. What else was to be done then is left undone.
func TestFrozenWithoutLease(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "advertise_interval = \"200ms\"\n  lease = false")+page, web4, web6)
	lb1 := c.Get("lb1")
	adverts := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")
	stopped := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGSTOP) })
	both(t, c, moveBound)
	pairtest.Until(t, stopped.Add(3*time.Second))
	thawed := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGCONT) })
	c.Only(t, "lb2", moveBound)
	released := time.Now()
	for _, vip := range c.VIPs {
		if took := c.Owners.History().Loses("lb1", vip, thawed).Sub(thawed); took > noise/6+c.Slack(thawed, released) { // a linger would be longer
			t.Errorf("lb1 let %v go %v after it woke", vip, took)
		}
		c.Outage(t, vip, stopped, noise, "lb2")
	}
	c.Settled(t, "lb1")
	c.Planned(t, released, "lb1")
	rose := c.Owners.History().Gets("lb1", web4, thawed)
	if n := between(seen(t, adverts, "vrid 71"), stopped.Add(noise), rose.Add(-noise/2)); n > 0 {
		t.Errorf("lb1 sent %d adverts before it rose", n)
	}
}

// TestFrozenBackup tells that a backup which sleeps notices nothing of it, and a better one that keeps to its place neither.
func TestFrozenBackup(t *testing.T) {
	t.Parallel()
	c := pair(t, instance("preempt = false")+page)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	t.Run("a worse one", func(t *testing.T) {
		stopped, thawed := freeze(t, lb2)
		c.Rests(t, stopped, thawed.Add(1500*time.Millisecond))
		state(t, lb2, node.Backup, "", time.Second)
	})
	t.Run("a better one that does not preempt", func(t *testing.T) {
		lb1.Does(t, 0, "drain")
		c.Only(t, "lb2", moveBound)
		lb1.Does(t, 0, "undrain")
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 150 && i.State == node.Backup && !i.Holding })
		adverts := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")
		stopped, thawed := freeze(t, lb1)
		c.Rests(t, stopped, thawed.Add(1500*time.Millisecond))
		state(t, lb1, node.Backup, "", time.Second)
		if n := len(seen(t, adverts, "vrid 71")); n > 0 {
			t.Errorf("lb1 sent %d adverts", n)
		}
	})
}

// TestFrozenAlone tells of a master that sleeps where nobody else is: after less than a second it goes on; after more it lets go,
// listens for an interval and 100 ms, and is master again. Either way it announces its addresses.
func TestFrozenAlone(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1"}, instanceOf(`"10.0.0.100", "fd00::100"`, `advertise_interval = "200ms"`)+page, web4, web6)
	begin(t, c)
	lb1 := c.Get("lb1")
	wire, arp := capture(t, c.User, "ip proto 112 and src host 10.0.0.11"), capture(t, c.User, "arp or icmp6")
	sleep := func(t *testing.T, length time.Duration) (stopped, thawed time.Time) {
		t.Helper()
		stopped = pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGSTOP) })
		pairtest.Until(t, stopped.Add(length))
		return stopped, pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGCONT) })
	}

	t.Run("for less than a second", func(t *testing.T) {
		quiet(t, lb1)
		was := status(t, lb1)
		stopped, thawed := sleep(t, 700*time.Millisecond)
		if gap := thawed.Sub(stopped); gap > 950*time.Millisecond {
			t.Fatalf("the machine let the daemon sleep for %v", gap)
		}
		lb1.Says(t, "woke late", time.Second)
		c.Rests(t, stopped, thawed.Add(500*time.Millisecond))
		if now := status(t, lb1); !now.Since.Equal(was.Since) {
			t.Errorf("master since %v, before since %v", now.Since, was.Since)
		}
		announcedAgain(t, c, arp, lb1, thawed)
	})
	t.Run("for longer than its lease", func(t *testing.T) {
		stopped, thawed := sleep(t, 4*time.Second)
		c.Settled(t, "lb1")
		for _, vip := range c.VIPs {
			if lost := c.Owners.History().Loses("lb1", vip, stopped); lost.After(thawed) {
				t.Errorf("%v outlived its lease", vip)
			}
			// An interval of 200 ms and 100 ms.
			const listens = 300 * time.Millisecond
			if took := c.Owners.History().Gets("lb1", vip, thawed).Sub(thawed); took < listens-noise/10 || took > listens+noise {
				t.Errorf("lb1 had %v %v after it woke, want %v", vip, took, listens)
			}
			c.Outage(t, vip, thawed, noise+netlab.Prompt+300*time.Millisecond, "lb1")
		}
		if n := between(seen(t, wire, "vrid 71"), thawed, thawed.Add(250*time.Millisecond)); n > 0 {
			t.Errorf("%d adverts before it had listened", n)
		}
	})
}
