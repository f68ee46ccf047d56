package stories

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestInterfaceComesLater tells what a daemon does whose interface is not usable at its start: it says why, waits, and goes on
// when it is.
func TestInterfaceComesLater(t *testing.T) {
	t.Parallel()
	c := newCluster(t, pairtest.Shape{
		Hosts: []string{"lb1", "lb2"},
		VIPs:  map[string]time.Duration{"10.0.0.100": 20 * time.Millisecond, "fd00::100": 20 * time.Millisecond},
		Config: `
instance "web" {
  interface          = "eth0"
  vrid               = 1
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["10.0.0.100", "fd00::100"]
  advertise_interval = "200ms"
}
check "http" "page" {
  url = "http://127.0.0.1/healthz"
}
`,
	}, nil)
	lb1 := c.Get("lb1")
	own := netip.MustParsePrefix("10.0.0.11/24")
	ip := func(args ...string) func() error {
		return func() error {
			_, err := lb1.Exec(t.Context(), append([]string{"ip"}, args...)...)
			return err
		}
	}
	c.Start(t, "lb2")
	c.Only(t, "lb2", pairtest.SettleBound)
	for _, story := range []struct {
		name string
		hurt func() error
		why  string
		mend func() error
	}{
		{"it is missing", ip("link", "set", netlab.Interface, "down", "name", "elsewhere"), `interface "eth0" does not exist`, func() error {
			if err := ip("link", "set", "elsewhere", "name", netlab.Interface)(); err != nil {
				return err
			}
			return lb1.AdminUp()
		}},
		{"it is not there", lb1.RemoveInterface, `interface "eth0" does not exist`, func() error { return lb1.RestoreInterface(t.Context()) }},
		{"it is down", lb1.AdminDown, `interface "eth0" is down`, lb1.AdminUp},
		{"it has no carrier", lb1.CarrierDown, `interface "eth0" has no carrier`, lb1.CarrierUp},
		{"it has no address", func() error { return lb1.RemoveAddress(own) }, `interface "eth0" has no IPv4 address`, func() error { return lb1.AddAddress(own) }},
	} {
		t.Run(story.name, func(t *testing.T) {
			pairtest.Step(t, story.hurt)
			from := pairtest.Step(t, func() error { c.Start(t, "lb1"); return nil })
			lb1.AwaitInstance(t, "web", 5*time.Second, func(i node.InstanceStatus) bool {
				return i.State == node.Fault && strings.Contains(i.Why, story.why)
			})
			lb1.Says(t, "to=fault why=.*"+strings.ReplaceAll(regexp.QuoteMeta(story.why), `"`, `\\"`), time.Second)
			c.Rests(t, from, time.Now().Add(500*time.Millisecond))
			from = pairtest.Step(t, story.mend)
			c.Settled(t, "lb1")
			c.Planned(t, from, "lb1")
			lb1.Stop(t)
			c.Only(t, "lb2", 5*time.Second)
			labtest.Eventually(t, time.Second, func() (bool, string) { return c.Get("lb2").AtHome(t, true) })
		})
	}
}

// TestInterfaceGoes tells of a master whose interface is deleted and made again: the other host takes over, and this one says what is
// missing, and takes the address back on the new interface.
func TestInterfaceGoes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, pairtest.Shape{
		Hosts: []string{"lb1", "lb2"},
		VIPs:  map[string]time.Duration{"10.0.0.100": 5 * time.Millisecond, "fd00::100": 20 * time.Millisecond},
		Config: `
instance "web" {
  interface          = "eth0"
  vrid               = 1
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["10.0.0.100", "fd00::100"]
  advertise_interval = "200ms"
}
check "http" "page" {
  url = "http://127.0.0.1/healthz"
}
`,
	}, nil)
	lb1 := c.Get("lb1")
	c.Start(t)
	c.Settled(t, "lb1")
	for range 2 {
		from := pairtest.Step(t, lb1.RemoveInterface)
		c.Only(t, "lb2", 5*time.Second)
		for _, vip := range c.VIPs {
			c.Overlap(t, vip, from, 0)
			// Three intervals and the skew of priority 100.
			c.Outage(t, vip, from, 722*time.Millisecond+noise, "lb2")
		}
		lb1.AwaitInstance(t, "web", time.Second, func(i node.InstanceStatus) bool {
			return i.State == node.Fault && strings.Contains(i.Why, `interface "eth0" does not exist`)
		})
		from = pairtest.Step(t, func() error { return lb1.RestoreInterface(t.Context()) })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	}
}
