package mechanisms

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// inside4 is the address of the second network.
var inside4 = netip.MustParseAddr("10.1.0.100")

// groupConfig is an outside and an inside instance with one fate.
const groupConfig = `
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.100"]
}

instance "inside" {
  interface = "eth1"
  vrid      = 72
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.1.0.100"]
}

group "edge" {
  instances = ["web", "inside"]
}

notify "script" "tell" {
  on      = ["master", "backup", "fault", "stop"]
  groups  = ["edge"]
  command = ["/bin/sh", "-c", "echo \"$@\" >> LAB/${hostname}/told", "tell"]
}
`

// grouped makes hosts with an outside and an inside interface; no daemon runs yet.
func grouped(t *testing.T) *pairtest.Cluster {
	t.Helper()
	return groupedBy(t, groupConfig)
}

// groupedBy is grouped with another configuration.
func groupedBy(t *testing.T, config string) *pairtest.Cluster {
	t.Helper()
	return pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Config: config + page, Inside: true,
		VIPs: map[string]time.Duration{web4.String(): every, inside4.String(): every},
	})
}

// TestGroup tells that whatever takes one of a group's addresses away moves both.
func TestGroup(t *testing.T) {
	t.Parallel()
	c := grouped(t)
	begin(t, c)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	for _, w := range ways(t, lb1)[:2] {
		t.Run(w.name, func(t *testing.T) {
			from := pairtest.Step(t, w.leave)
			c.Only(t, "lb2", moveBound)
			c.Planned(t, from, "lb2")
			from = pairtest.Step(t, w.enter)
			c.Settled(t, "lb1")
			c.Planned(t, from, "lb1")
		})
	}
	t.Run("the carrier of the inside", func(t *testing.T) {
		from := pairtest.Step(t, lb1.Inside.CarrierDown)
		c.Only(t, "lb2", moveBound)
		c.Planned(t, from, "lb2", web4) // its own link was well: it handed over
		c.Moved(t, inside4, from, "lb2")
		c.Outage(t, inside4, from, time.Second+noise, "lb2") // what was sent to the dead cable is sent again after a second
		lb1.Does(t, 4, "status", "edge")
		lb2.Does(t, 0, "status", "edge")
		from = pairtest.Step(t, lb1.Inside.CarrierUp)
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	told, err := lb1.Exec(t.Context(), "cat", lb1.Dir()+"/told")
	if err != nil {
		t.Fatal(err)
	}
	want := "GROUP edge BACKUP 0, GROUP edge MASTER 0, " +
		"GROUP edge STOP 0, GROUP edge BACKUP 0, GROUP edge MASTER 0, " +
		"GROUP edge BACKUP 0, GROUP edge MASTER 0, " +
		"GROUP edge FAULT 0, GROUP edge BACKUP 0, GROUP edge MASTER 0"
	if got := strings.Join(strings.Split(strings.TrimSpace(told), "\n"), ", "); got != want {
		t.Errorf("the hooks of lb1 were told %s, want %s", got, want)
	}
}

// TestGroupWithVirtualMAC tells the same of groups where one or both of the instances have a virtual MAC.
func TestGroupWithVirtualMAC(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		vrid string // before which the key is written
	}{{"outside", "vrid      = 71"}, {"both", "vrid      = 7"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := groupedBy(t, strings.ReplaceAll(groupConfig, tt.vrid, "mac       = \"virtual\"\n  "+tt.vrid))
			begin(t, c)
			lb1 := c.Get("lb1")
			for _, w := range ways(t, lb1)[:2] {
				from := pairtest.Step(t, w.leave)
				c.Only(t, "lb2", moveBound)
				c.Planned(t, from, "lb2")
				from = pairtest.Step(t, w.enter)
				c.Settled(t, "lb1")
				c.Planned(t, from, "lb1")
			}
			from := pairtest.Step(t, lb1.Inside.CarrierDown)
			c.Only(t, "lb2", moveBound)
			c.Planned(t, from, "lb2", web4) // its own link was well: it handed over
			c.Moved(t, inside4, from, "lb2")
			from = pairtest.Step(t, lb1.Inside.CarrierUp)
			c.Settled(t, "lb1")
			c.Planned(t, from, "lb1")
		})
	}
}

// TestGroupWithOneLinkCut tells that a silent cut of one link moves nothing while the master is heard on the other, that status
// names whom the group waits for, and that a stop then moves both all the same.
func TestGroupWithOneLinkCut(t *testing.T) {
	t.Parallel()
	c := grouped(t)
	begin(t, c)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	from := pairtest.Step(t, lb2.Inside.Cut)
	labtest.Eventually(t, down+moveBound, func() (bool, string) {
		r, err := lb2.Report(t)
		if err != nil {
			return false, err.Error()
		}
		waits := r.Node.Groups[0].Waiting
		return slices.Equal(waits, []string{"web (IPv4) hears 10.0.0.11 with priority 150"}), fmt.Sprintf("edge on lb2 waits for %q", waits)
	})
	c.Rests(t, from, time.Now().Add(down))
	pairtest.Step(t, lb2.Inside.Heal)
	c.Settled(t, "lb1")

	pairtest.Step(t, lb1.Inside.Cut) // now the clients inside lose it, until the group goes
	pairtest.Until(t, time.Now().Add(down))
	from = pairtest.Step(t, func() error { lb1.Does(t, 0, "drain"); return nil })
	c.Only(t, "lb2", moveBound)
	c.Planned(t, from, "lb2", web4)
	c.Moved(t, inside4, from, "lb2")

	pairtest.Step(t, lb1.Inside.Heal)
	pairtest.Step(t, func() error { lb1.Does(t, 0, "undrain"); return nil })
	c.Settled(t, "lb1")
	// Now the wait inside is far from over, and the skew there would be 610 ms: the handover that is heard outside counts for it.
	pairtest.Step(t, lb1.Inside.Cut)
	from = pairtest.Step(t, func() error { lb1.Does(t, 0, "drain"); return nil })
	c.Only(t, "lb2", moveBound)
	c.Planned(t, from, "lb2", web4)
	c.Moved(t, inside4, from, "lb2")
	if took := c.Owners.History().Gets("lb2", inside4, from).Sub(left(t, lb1)); took > noise+c.Slack(from, time.Now()) {
		t.Errorf("lb2 had %v %v after lb1 left", inside4, took)
	}
}

// syncGroup is the same group as keepalived has it.
func syncGroup(priority int) string {
	var b strings.Builder
	for _, i := range []struct {
		name, iface, vip string
		vrid             int
	}{{"web", "eth0", "10.0.0.100", 71}, {"inside", "eth1", "10.1.0.100", 72}} {
		fmt.Fprintf(&b, "vrrp_instance %s {\n interface %s\n state BACKUP\n version 3\n virtual_router_id %d\n priority %d\n advert_int 1\n virtual_ipaddress {\n  %s\n }\n}\n",
			i.name, i.iface, i.vrid, priority, i.vip)
	}
	return b.String() + "vrrp_sync_group edge {\n group {\n  web\n  inside\n }\n}\n"
}

// TestGroupToSyncGroup tells of planned moves of a group to keepalived's sync group and back.
func TestGroupToSyncGroup(t *testing.T) {
	t.Parallel()
	c := grouped(t)
	lb1 := c.Get("lb1")
	beginAlone(t, c)
	pairtest.StartKeepalived(t, c.Get("lb2").Host, syncGroup(100))
	pairtest.Until(t, time.Now().Add(time.Second)) // until it listens; a backup shows nothing
	for _, w := range ways(t, lb1)[:2] {
		t.Run(w.name, func(t *testing.T) {
			from := pairtest.Step(t, w.leave)
			c.Only(t, "lb2", moveBound)
			for _, vip := range c.VIPs {
				c.Moved(t, vip, from, "lb2")
				c.Overlap(t, vip, from, pairtest.Lingers+c.Slack(from, time.Now()))
				c.Outage(t, vip, from, 2*noise, "lb2") // by itself it would wait its skew of 610 ms
			}
			from = pairtest.Step(t, w.enter)
			c.Settled(t, "lb1")
			letGo(t, c, from, c.VIPs...)
		})
	}
	t.Run("the carrier of the inside", func(t *testing.T) {
		// keepalived waits its Master_Down_Interval inside, where nothing was handed over.
		from := pairtest.Step(t, lb1.Inside.CarrierDown)
		c.Only(t, "lb2", down+moveBound)
		c.Outage(t, inside4, from, down+time.Second+noise, "lb2")
		c.Outage(t, web4, from, 2*noise, "lb2") // lb1 went on serving
		pairtest.Step(t, lb1.Inside.CarrierUp)
		c.Settled(t, "lb1")
	})
}

// TestSyncGroupToGroup tells that a group takes everything from keepalived's sync group that goes, whatever made it go.
func TestSyncGroupToGroup(t *testing.T) {
	t.Parallel()
	c := grouped(t)
	lb2 := c.Get("lb2")
	k := pairtest.StartKeepalived(t, c.Get("lb1").Host, syncGroup(150))
	c.Only(t, "lb1", settleBound)
	lb2.Start(t)
	lb2.Says(t, "to=backup", settleBound)
	labtest.Eventually(t, settleBound, func() (bool, string) { return lb2.AtHome(t, false) })

	t.Run("the carrier of the inside", func(t *testing.T) {
		from := pairtest.Step(t, c.Get("lb1").Inside.CarrierDown)
		c.Only(t, "lb2", moveBound)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, from, "lb2")
			c.Outage(t, vip, from, time.Second+noise, "lb2") // our skew of 610 ms: keepalived says priority 0 alone
		}
		pairtest.Step(t, c.Get("lb1").Inside.CarrierUp)
		c.Only(t, "lb1", settleBound)
		labtest.Eventually(t, settleBound, func() (bool, string) { return lb2.AtHome(t, false) })
	})
	t.Run("a stop", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return k.Signal(syscall.SIGTERM) })
		c.Only(t, "lb2", moveBound)
		for _, vip := range c.VIPs {
			c.Moved(t, vip, from, "lb2")
			c.Outage(t, vip, from, time.Second+noise, "lb2")
		}
	})
}
