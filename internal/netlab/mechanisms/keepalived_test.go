package mechanisms

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// old4 is the address of the instance that speaks VRRPv2.
var old4 = netip.MustParseAddr("10.0.0.102")

// v2 is that instance.
const v2 = `
instance "old" {
  interface = "eth0"
  vrid      = 73
  version   = 2
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.102"]
}
`

// keepalivedConfig is both instances as keepalived has them, at the lower priority.
const keepalivedConfig = `
vrrp_instance web {
	interface eth0
	state BACKUP
	version 3
	virtual_router_id 71
	priority 100
	advert_int 1
	virtual_ipaddress {
		10.0.0.100
	}
}
vrrp_instance old {
	interface eth0
	state BACKUP
	version 2
	virtual_router_id 73
	priority 100
	advert_int 1
	virtual_ipaddress {
		10.0.0.102
	}
}
`

// way is how a host goes that a peer of another make must not notice, and how it comes back.
type way struct {
	name         string
	leave, enter func() error
}

// ways are all of them.
func ways(t *testing.T, h *pairtest.Server) []way {
	return []way{
		{"a stop", func() error { return h.Daemon.Signal(syscall.SIGTERM) }, func() error { <-h.Daemon.Done(); h.Start(t); return nil }},
		{"a drain", func() error { h.Does(t, 0, "drain"); return nil }, func() error { h.Does(t, 0, "undrain"); return nil }},
		{"a check yields", func() error { return sick(h, "app", true) }, func() error { return sick(h, "app", false) }},
		{"a check releases", func() error { return sick(h, "site", true) }, func() error { return sick(h, "site", false) }},
	}
}

// TestKeepalivedSucceeds tells of planned moves to an unmodified keepalived at the default interval, in both versions of the
// protocol, and back. Where an understudy goes keepalived alone would make its clients wait for the skew of 610 ms.
func TestKeepalivedSucceeds(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+v2+page+switched("app", "")+switched("site", `on_failure = "release"`), web4, old4)
	lb1 := c.Get("lb1")
	lb1.Start(t)
	c.Settled(t, "lb1")
	pairtest.StartKeepalived(t, c.Get("lb2").Host, keepalivedConfig)
	pairtest.Until(t, time.Now().Add(time.Second)) // until it listens; a backup shows nothing

	paid := map[netip.Addr]*costs{web4: {}, old4: {}}
	for _, w := range ways(t, lb1) {
		t.Run(w.name, func(t *testing.T) {
			offers := lb1.Logged(`from=master to=leaving`)
			from := pairtest.Step(t, w.leave)
			c.Only(t, "lb2", moveBound)
			for vip, within := range map[netip.Addr]time.Duration{web4: prompt, old4: skew + prompt} {
				c.Moved(t, vip, from, "lb2")
				c.Overlap(t, vip, from, pairtest.Lingers)
				// From when lb1 said that it goes: a command takes its time to start.
				took := c.Owners.History().Gets("lb2", vip, from).Sub(left(t, lb1)) - c.Slack(from, time.Now())
				if took > within {
					t.Errorf("keepalived had %v after %v, want at most %v", vip, took, within)
				}
				paid[vip].add(t, c, vip, from, took)
				paid[vip].overlaps = append(paid[vip].overlaps, c.Owners.History().Overlap(vip, from, time.Now()))
			}
			if now := lb1.Logged(`from=master to=leaving`); now != offers+2 {
				t.Errorf("%d handovers, want one for each instance", now-offers)
			}
			from = pairtest.Step(t, w.enter)
			c.Settled(t, "lb1")
			takenBack(t, c, from, c.VIPs...)
		})
	}
	var overlaps []time.Duration
	for vip, k := range paid {
		k.judge(t, vip)
		overlaps = append(overlaps, k.overlaps...)
	}
	if median := pairtest.Median(overlaps); median > pairtest.Brief {
		t.Errorf("both hosts had an address for %v, want a median of at most %v", overlaps, pairtest.Brief)
	}
}

// costs are those of moves of one address to a speaker of another make.
type costs struct {
	moves, outages, overlaps []time.Duration
	late                     []int
}

// add takes up a move to lb2 that took so long, and asserts for how long nobody answered.
func (k *costs) add(t *testing.T, c *pairtest.Cluster, vip netip.Addr, from time.Time, took time.Duration) {
	t.Helper()
	k.moves = append(k.moves, took)
	k.outages = append(k.outages, c.Outage(t, vip, from, felt, "lb2"))
	k.late = append(k.late, c.Late(vip, from, time.Now()))
}

// judge asserts that half of the moves were such that nobody noticed, as package interop does.
func (k *costs) judge(t *testing.T, vip netip.Addr) {
	t.Helper()
	if len(k.late) == 0 {
		t.Errorf("%v: no move came to its end", vip)
		return
	}
	outages, late, half := slices.Sorted(slices.Values(k.outages)), slices.Sorted(slices.Values(k.late)), (len(k.late)-1)/2
	if outages[half] > 4*every || late[half] > 0 {
		t.Errorf("%v: outages %v beyond the stalls of the machine, and %v connections refused or late, want at most %v and none in half of them",
			vip, outages, late, 4*every)
	}
	t.Logf("%v: moves after %v, outages %v, both had it for %v, %v connections late", vip, k.moves, k.outages, k.overlaps, k.late)
}

// takenBack asserts a move from keepalived to lb1, and that the user follows.
func takenBack(t *testing.T, c *pairtest.Cluster, from time.Time, vips ...netip.Addr) {
	t.Helper()
	letGo(t, c, from, vips...)
	for _, vip := range vips {
		c.Reaches(t, vip, "lb1", time.Second)
	}
}

// letGo asserts a move from keepalived to lb1. It lets go at our first advert, before our announcement is out: of the new
// connections those of a few milliseconds are lost, which no host of ours could mend.
func letGo(t *testing.T, c *pairtest.Cluster, from time.Time, vips ...netip.Addr) {
	t.Helper()
	const unannounced = 15 * time.Millisecond
	for _, vip := range vips {
		c.Moved(t, vip, from, "lb1")
		c.Outage(t, vip, from, netlab.Prompt, "lb1")
		c.Unharmed(t, vip, from, time.Now(), unannounced)
	}
}

// TestKeepalivedIsRelieved tells that a healthy understudy takes the address from a keepalived that goes, and from one that is
// worse.
func TestKeepalivedIsRelieved(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+v2+page, web4, old4)
	lb1 := c.Get("lb1")
	k := pairtest.StartKeepalived(t, c.Get("lb2").Host, keepalivedConfig)
	c.Only(t, "lb2", settleBound)
	from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
	c.Settled(t, "lb1")
	takenBack(t, c, from, c.VIPs...)
	from = pairtest.Step(t, func() error { k.Stop(t); return nil })
	c.Rests(t, from, time.Now().Add(500*time.Millisecond))
	c.Only(t, "lb1", time.Millisecond)
}

// TestKeepalivedHeedsWeights tells that a weight which puts us below a keepalived moves the address to it after its whole
// Master_Down_Interval, as it does between two of them, and loses nothing: we serve on until then.
func TestKeepalivedHeedsWeights(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+page+switched("big", "weight = -60"))
	lb1 := c.Get("lb1")
	beginAlone(t, c)
	pairtest.StartKeepalived(t, c.Get("lb2").Host, keepalivedConfig)
	pairtest.Until(t, time.Now().Add(time.Second)) // until it listens; a backup shows nothing
	wire := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")
	from := pairtest.Step(t, func() error { return sick(lb1, "big", true) })
	c.Only(t, "lb2", settleBound, web4)
	told := at(t, wire, "prio 90", from) // up to an interval after the last one that it accepted
	if took := c.Owners.History().Gets("lb2", web4, from).Sub(told); took < down-time.Second-noise/10 || took > down+noise+c.Slack(from, time.Now()) {
		t.Errorf("keepalived had %v %v after the advert, want %v", web4, took, down)
	}
	c.Moved(t, web4, from, "lb2")
	c.Outage(t, web4, from, noise, "lb2")
	from = pairtest.Step(t, func() error { return sick(lb1, "big", false) })
	c.Settled(t, "lb1")
	takenBack(t, c, from, web4)
}

// TestKeepalivedThatKeepsToItsPlace tells of a keepalived with nopreempt: it discards adverts of priority 1, so that an unhealthy
// master reaches it only by offering the address again and again, after 1, 2, 4 s and so on.
func TestKeepalivedThatKeepsToItsPlace(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+page+switched("app", ""))
	lb1 := c.Get("lb1")
	beginAlone(t, c)
	wire := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")
	from := pairtest.Step(t, func() error { return sick(lb1, "app", true) })

	t.Run("offers to nobody", func(t *testing.T) {
		// Each release is one of a few within milliseconds: the first of each offer counts.
		offers := func() (list []time.Time) {
			for _, at := range seen(t, wire, "prio 0") {
				if at.After(from) && (len(list) == 0 || at.Sub(list[len(list)-1]) > 500*time.Millisecond) {
					list = append(list, at)
				}
			}
			return list
		}
		labtest.Eventually(t, settleBound, func() (bool, string) { return len(offers()) > 3, fmt.Sprintf("%d offers so far", len(offers())) })
		// Between two lies the wait for a successor, of 1.1 s, and from the second on the 50 ms for a master that answers.
		list := offers()
		for n, pause := range []time.Duration{2100 * time.Millisecond, 3150 * time.Millisecond, 5150 * time.Millisecond} {
			if took := list[n+1].Sub(list[n]); took < pause-noise/6-c.Slack(list[n], list[n+1]) || took > pause+noise+c.Slack(list[n], list[n+1]) {
				t.Errorf("offer %d came %v after the one before, want %v", n+2, took, pause)
			}
		}
		// The release alone first, and the interval of a centisecond only when nobody has answered.
		again := list[1]
		if n := between(seen(t, wire, "intvl 1cs"), again.Add(-100*time.Millisecond), again.Add(25*time.Millisecond)); n > 0 {
			t.Errorf("the repeated offer began with %d adverts of the handover", n)
		}
		if n := between(seen(t, wire, "intvl 1cs"), again, again.Add(noise)); n != 1 {
			t.Errorf("the repeated offer had %d adverts of the handover, want one", n)
		}
		c.Rests(t, from, time.Now())
	})
	t.Run("the next offer is heard", func(t *testing.T) {
		pairtest.StartKeepalived(t, c.Get("lb2").Host, strings.Replace(keepalivedConfig, "priority 100", "priority 100\n\tnopreempt", 1))
		from := time.Now()
		c.Only(t, "lb2", settleBound, web4)
		c.Moved(t, web4, from, "lb2")
		c.Unharmed(t, web4, from, time.Now().Add(noise/2), 0)
		// Once healthy, this host preempts as any other.
		from = pairtest.Step(t, func() error { return sick(lb1, "app", false) })
		c.Settled(t, "lb1")
		takenBack(t, c, from, web4)
	})
}
