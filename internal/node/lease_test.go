package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// What the kernel, which looks for leases that are over once a second at most, and then takes those that have a fiftieth of a second left,
// makes of a lease.
const (
	kernelEarly = 100 * time.Millisecond
	kernelLate  = 980 * time.Millisecond
)

// grant is a lease that was asked for, and the last advert before it.
type grant struct {
	at, spoke time.Time
	lifetime  time.Duration
}

// grants lists the leases of a lone master for a while. With a jolt it advertises every so often for another reason than the interval.
func grants(interval time.Duration, dead, count int, jolt time.Duration) (list []grant) {
	now := time.Unix(1000, 0)
	cfg := node.Config{Name: "a", Instances: []node.Instance{{
		Name: "web", Interface: "eth0", VRID: 255, Priority: vrrp.PriorityOwner, Version: vrrp.V3, Addresses: addresses(fmt.Sprintf("10.1.0.1*%d", count)),
		Interval: interval, DeadAdverts: dead, Preempt: true, Lease: true,
	}}}
	n := node.New(cfg, now)
	var spoke time.Time
	step := func(at time.Time, ev node.Event) {
		for _, a := range n.Step(at, ev) {
			switch a := a.(type) {
			case node.Send:
				spoke = at
			case node.SetAddresses:
				list = append(list, grant{at, spoke, a.Lifetime})
			}
		}
	}
	step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source4: addresses("10.0.0.1")[0].IP}})
	step(now, node.AddressesSet{Instance: "web", Request: 1})
	jolted := now
	for end := now.Add(max(10*time.Second, 5*interval)); ; {
		due, ok := n.Deadline()
		if next := jolted.Add(jolt); jolt > 0 && next.Before(due) {
			jolted = next
			i := cfg.Instances[0]
			if i.Priority = vrrp.PriorityOwner; next.Sub(now)/jolt%2 == 1 {
				i.Priority = 200
			}
			cfg.Instances = []node.Instance{i}
			step(next, node.Reconfigured{Config: cfg})
			continue
		}
		if !ok || due.After(end) {
			return list
		}
		step(due, node.Elapsed{})
	}
}

// TestLeaseIsOverInTime: whenever a daemon dies, its addresses are gone before another host of whatever priority takes them, which is
// when it misses the adverts.
func TestLeaseIsOverInTime(t *testing.T) {
	tests := []struct {
		interval time.Duration
		dead     int
	}{
		{time.Second, 3}, {1010 * time.Millisecond, 3}, {1150 * time.Millisecond, 3}, {1330 * time.Millisecond, 3}, {1490 * time.Millisecond, 3},
		{1500 * time.Millisecond, 3}, {2 * time.Second, 3}, {2500 * time.Millisecond, 3}, {5 * time.Second, 3}, {10 * time.Second, 3}, {40 * time.Second, 3},
		{40950 * time.Millisecond, 3}, {2 * time.Second, 2}, {2490 * time.Millisecond, 2}, {2500 * time.Millisecond, 2}, {3 * time.Second, 2}, {10 * time.Second, 2},
		{time.Second, 5}, {2 * time.Second, 5}, {time.Second, 100},
	}
	for _, tt := range tests {
		for _, count := range []int{1, 70} {
			for _, jolt := range []time.Duration{0, 930 * time.Millisecond, 1410 * time.Millisecond} {
				t.Run(fmt.Sprintf("%d times %s with %d addresses, jolted %s", tt.dead, tt.interval, count, jolt), func(t *testing.T) {
					for _, g := range grants(tt.interval, tt.dead, count, jolt) {
						over, missed := g.at.Add(g.lifetime+kernelLate), g.spoke.Add(time.Duration(tt.dead)*tt.interval)
						if over.After(missed) {
							t.Fatalf("%s after an advert the addresses are leased for %s: %s too long", g.at.Sub(g.spoke), g.lifetime, over.Sub(missed))
						}
					}
				})
			}
		}
	}
}

// TestLeaseLasts: no lease ends under a master that lives, also where the kernel is early and the next renewal late.
func TestLeaseLasts(t *testing.T) {
	const late = 350 * time.Millisecond
	for _, interval := range []time.Duration{
		10 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond, 500 * time.Millisecond, 890 * time.Millisecond, 910 * time.Millisecond,
		970 * time.Millisecond, time.Second, 1300 * time.Millisecond, 1490 * time.Millisecond, 1500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 40 * time.Second,
	} {
		for _, dead := range []int{1, 2, 3, 10} {
			for _, count := range []int{1, 70} {
				for _, jolt := range []time.Duration{0, 930 * time.Millisecond} {
					t.Run(fmt.Sprintf("%d times %s with %d addresses, jolted %s", dead, interval, count, jolt), func(t *testing.T) {
						list := grants(interval, dead, count, jolt)
						for k, g := range list[:len(list)-1] {
							next := list[k+1].at
							if spare := g.at.Add(g.lifetime - kernelEarly).Sub(next); spare < late {
								t.Fatalf("leased for %s %s after an advert, and again %s later: may be late by %s, want %s",
									g.lifetime, g.at.Sub(g.spoke), next.Sub(g.at), spare, late)
							}
						}
						if len(list) < 5 {
							t.Fatalf("%d leases in all", len(list))
						}
					})
				}
			}
		}
	}
}
