package mechanisms

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

// keepalived starts keepalived on a host.
func keepalived(t *testing.T, h *netlab.Host, config string) *netlab.Proc {
	t.Helper()
	labtest.Require(t, "keepalived")
	path := filepath.Join(h.Dir(), "keepalived")
	if err := os.WriteFile(path+".conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := h.Start("keepalived", "-n", "-l", "-D", "-P", "-f", path+".conf", "-p", path+".pid", "-r", path+"-vrrp.pid")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("keepalived on %s:\n%s", h.Name(), p.Output())
		}
	})
	return p
}

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
	keepalived(t, c.Get("lb2").Host, keepalivedConfig)
	pairtest.Until(t, time.Now().Add(time.Second)) // until it listens; a backup shows nothing

	outages := map[netip.Addr][]time.Duration{}
	moves := map[netip.Addr][]time.Duration{}
	for _, w := range ways(t, lb1) {
		t.Run(w.name, func(t *testing.T) {
			offers := lb1.Logged(`from=master to=leaving`)
			from := pairtest.Step(t, w.leave)
			c.Only(t, "lb2", moveBound)
			for _, vip := range c.VIPs {
				c.Moved(t, vip, from, "lb2")
				c.Overlap(t, vip, from, pairtest.Lingers+c.Slack(from, time.Now()))
				outages[vip] = append(outages[vip], c.Outage(t, vip, from, noise, "lb2"))
				moves[vip] = append(moves[vip], c.Owners.History().Gets("lb2", vip, from).Sub(from))
			}
			if now := lb1.Logged(`from=master to=leaving`); now != offers+2 {
				t.Errorf("%d handovers, want one for each instance", now-offers)
			}
			from = pairtest.Step(t, w.enter)
			c.Settled(t, "lb1")
			c.Planned(t, from, "lb1")
		})
	}
	for vip, list := range outages {
		slices.Sort(list)
		if median := list[len(list)/2]; median > 50*time.Millisecond {
			t.Errorf("%v: outages %v, want a median below 50ms", vip, list)
		}
		t.Logf("%v: outages %v, moves after %v", vip, list, moves[vip])
	}
	// VRRPv3 learns the interval, and the skew with it; the first two ways wait for no check.
	for n, took := range moves[web4][:2] {
		if took > 250*time.Millisecond+noise/2 {
			t.Errorf("%s: keepalived had %v after %v", ways(t, lb1)[n].name, web4, took)
		}
	}
}

// TestKeepalivedIsRelieved tells that a healthy understudy takes the address from a keepalived that goes, and from one that is
// worse.
func TestKeepalivedIsRelieved(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+v2+page, web4, old4)
	lb1 := c.Get("lb1")
	k := keepalived(t, c.Get("lb2").Host, keepalivedConfig)
	c.Only(t, "lb2", settleBound)
	from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
	c.Settled(t, "lb1")
	for _, vip := range c.VIPs {
		c.Moved(t, vip, from, "lb1")
		// keepalived lets go at once when it hears our first advert.
		c.Outage(t, vip, from, noise, "lb1")
		c.Reaches(t, vip, "lb1", time.Second)
	}
	from = pairtest.Step(t, func() error { return k.Signal(syscall.SIGTERM) })
	if err := k.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	c.Rests(t, from, time.Now().Add(500*time.Millisecond))
	c.Only(t, "lb1", time.Millisecond)
}
