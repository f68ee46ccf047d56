package mechanisms

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// answers waits until the client is answered by a host.
func answers(t *testing.T, c *pairtest.Cluster, host string, bound time.Duration) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		saw := c.Clients[web4].Between(time.Now().Add(-100*time.Millisecond), time.Now())
		return len(saw.List) > 0 && len(saw.Servers()) == 1 && saw.LastServer() == host, fmt.Sprintf("%s does not answer alone: %v", host, saw)
	})
}

// first is when the first connection began that a host answered.
func first(c *pairtest.Cluster, host string, from time.Time) time.Time {
	for _, a := range c.Clients[web4].Between(from, time.Now()).List {
		if a.Server == host {
			return a.Start
		}
	}
	return time.Now()
}

// TestFRRSucceeds tells of planned moves to FRR's vrrpd at the default interval, and back.
func TestFRRSucceeds(t *testing.T) {
	t.Parallel()
	pairtest.RequireFRR(t)
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+page+switched("app", "")+switched("site", `on_failure = "release"`))
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	beginAlone(t, c)
	o := pairtest.FRROptions{VRID: 71, Priority: 100, VIP: web4}
	p := pairtest.StartFRR(t, lb2.Host, o)
	var paid costs
	for _, w := range ways(t, lb1) {
		t.Run(w.name, func(t *testing.T) {
			from := pairtest.Step(t, w.leave)
			answers(t, c, "lb2", moveBound)
			took := first(c, "lb2", from).Sub(left(t, lb1)) - c.Slack(from, time.Now())
			if took > prompt {
				t.Errorf("FRR answered after %v, want at most %v", took, prompt)
			}
			paid.add(t, c, web4, from, took)
			mac, err := c.User.Neighbour(web4)
			if err != nil || mac.String() != o.MAC() {
				t.Errorf("the user has %v at %v, want %s; %v", web4, mac, o.MAC(), err)
			}
			labtest.Eventually(t, time.Second, func() (bool, string) {
				held, err := lb1.Holds(web4)
				return err == nil && !held, fmt.Sprintf("lb1 still has %v; %v", web4, err)
			})
			from = pairtest.Step(t, w.enter)
			labtest.Eventually(t, settleBound, func() (bool, string) { return lb1.AtHome(t, true) })
			answers(t, c, "lb1", moveBound)
			c.Outage(t, web4, from, felt, "lb1")
			c.Reaches(t, web4, "lb1", time.Second)
		})
	}
	paid.judge(t, web4)
	p.Stop(t)
	answers(t, c, "lb1", moveBound)
}
