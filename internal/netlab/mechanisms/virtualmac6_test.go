package mechanisms

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestVirtualMACStaysDeafToRouters tells of a master's device that something has heed routers: that is undone, and clients notice
// nothing. Where it switches off its IPv6 the kernel takes the addresses, and the other host may have them until they can be set again.
func TestVirtualMACStaysDeafToRouters(t *testing.T) {
	t.Parallel()
	c := pair(t, virtual("")+page, web4, web6)
	lb1 := c.Get("lb1")
	for _, tt := range []struct{ setting, value string }{{"accept_ra", "2"}, {"accept_ra", "1"}, {"disable_ipv6", "1"}} {
		t.Run(tt.setting+" "+tt.value, func(t *testing.T) {
			from := pairtest.Step(t, func() error { return lb1.Sysctl("net.ipv6.conf.us6-71-eth0."+tt.setting, tt.value) })
			labtest.Eventually(t, moveBound, func() (bool, string) {
				out, err := lb1.Exec(t.Context(), "cat", "/proc/sys/net/ipv6/conf/us6-71-eth0/"+tt.setting)
				return err == nil && strings.TrimSpace(out) == "0", fmt.Sprintf("%s is %q; %v", tt.setting, out, err)
			})
			c.Settled(t, "lb1")
			for _, vip := range c.VIPs {
				if tt.setting == "disable_ipv6" {
					c.Outage(t, vip, from, moveBound, "lb1")
					continue
				}
				c.Outage(t, vip, from, noise, "lb1")
				if moves := c.Owners.History().Moves(vip, from, time.Now()); moves > 0 {
					t.Errorf("%v moved %d times", vip, moves)
				}
			}
		})
	}
}

// TestVirtualMACWithoutIPv6 tells of a host whose IPv6 is switched off below a virtual MAC: it hears no advert over IPv6 any more. It is in
// fault, and no second master, until it is on again.
func TestVirtualMACWithoutIPv6(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instanceOf(`"fd00::100"`, `mac = "virtual"`)+page, web6)
	begin(t, c)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	set := func(h *pairtest.Server, scope, value string) (from time.Time) {
		t.Helper()
		return pairtest.Step(t, func() error { return h.Sysctl("net.ipv6.conf."+scope+".disable_ipv6", value) })
	}
	remedy := linux.SysctlRemedy("net.ipv6.conf.eth0.disable_ipv6 = 0")
	from := set(lb2, "all", "1")
	state(t, lb2, node.Fault, remedy, moveBound)
	pairtest.Until(t, from.Add(2*down))
	state(t, lb2, node.Fault, remedy, 0)
	c.Rests(t, from, time.Now())
	set(lb2, "all", "0")
	c.Settled(t, "lb1")

	set(lb1, "eth0", "1")
	c.Only(t, "lb2", moveBound)
	state(t, lb1, node.Fault, remedy, moveBound)
	set(lb1, "eth0", "0")
	c.Settled(t, "lb1")
}
