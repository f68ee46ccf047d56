package mechanisms

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// rarely is a check that lb1 runs again and again, and lb2 twice a minute.
const rarely = `
check "script" "rarely" {
  command  = ["/usr/bin/test", "!", "-e", "LAB/${hostname}/sick-rarely"]
  interval = { lb1 = "400ms", lb2 = "30s" }[hostname]
  rise     = 1
  fall     = 1
  weight   = -60
}
`

// TestWeights tells that a changed weight is one advert at once, not the next one, and that the same weight on every host moves
// nothing.
func TestWeights(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`advertise_interval = "2s"`)+page+switched("small", "weight = -20")+switched("big", "weight = -60")+rarely)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	wire := capture(t, c.User, "ip proto 112 and src host 10.0.0.11")

	t.Run("one advert at once", func(t *testing.T) {
		for _, change := range []struct {
			ill      bool
			priority uint8
		}{{true, 130}, {false, 150}} {
			// Right after an advert, the next one is far away.
			sent := len(seen(t, wire, "vrid 71"))
			await(t, lb1, 3*time.Second, func(node.InstanceStatus) bool { return len(seen(t, wire, "vrid 71")) > sent })
			from := pairtest.Step(t, func() error { return sick(lb1, "small", change.ill) })
			await(t, lb2, 2*time.Second, func(i node.InstanceStatus) bool { return i.Routers[0].PeerPrio == change.priority })
			now := time.Now()
			if took := now.Sub(from); took > time.Second+noise {
				t.Errorf("lb2 heard of priority %d after %v", change.priority, took)
			}
			pairtest.Until(t, now.Add(100*time.Millisecond))
			if n := between(seen(t, wire, "vrid 71"), from, time.Now()); n != 1 && c.Slack(from, time.Now()) == 0 {
				t.Errorf("%d adverts for one change of priority", n)
			}
			c.Rests(t, from, time.Now())
		}
	})
	t.Run("below the backup, which takes over after its skew", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return sick(lb1, "big", true) })
		c.Only(t, "lb2", moveBound)
		c.Planned(t, from, "lb2")
		// (256-100)/256 of an interval after the advert that says so, not three intervals later.
		const skew = 2 * time.Second * 156 / 256
		told := at(t, wire, "prio 90", from)
		if took := c.Owners.History().Gets("lb2", web4, from).Sub(told); took < skew-noise/10 || took > skew+noise+c.Slack(from, time.Now()) {
			t.Errorf("lb2 had %v %v after the advert, want %v", web4, took, skew)
		}
		from = pairtest.Step(t, func() error { return sick(lb1, "big", false) })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
	})
	t.Run("the same weight on every host", func(t *testing.T) {
		from := pairtest.Step(t, func() error {
			if err := sick(lb1, "big", true); err != nil {
				return err
			}
			return sick(lb2, "big", true)
		})
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 90 && i.State == node.Master })
		await(t, lb2, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 40 })
		c.Rests(t, from, time.Now().Add(7*time.Second)) // a Master_Down_Interval
		from = pairtest.Step(t, func() error {
			if err := sick(lb2, "big", false); err != nil {
				return err
			}
			return sick(lb1, "big", false)
		})
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 150 && i.State == node.Master })
		c.Rests(t, from, time.Now().Add(3*time.Second))
	})
	t.Run("the same weight, which the backup has not noticed", func(t *testing.T) {
		from := pairtest.Step(t, func() error {
			if err := sick(lb2, "rarely", true); err != nil {
				return err
			}
			return sick(lb1, "rarely", true)
		})
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 90 && i.State == node.Master })
		await(t, lb2, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 40 }) // asked, within its skew
		c.Rests(t, from, time.Now().Add(7*time.Second))                                        // a Master_Down_Interval
	})
}
