package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestRenewalsAreSpread: 255 instances that became master at once have leases, as their configuration asks for, and are not
// renewed all at once.
func TestRenewalsAreSpread(t *testing.T) {
	const interval, count = time.Second, 255
	now := time.Unix(1000, 0)
	cfg := node.Config{Name: "a"}
	for k := 1; k <= count; k++ {
		cfg.Instances = append(cfg.Instances, node.Instance{
			Name: fmt.Sprint("web", k), Interface: "eth0", VRID: uint8(k), Priority: vrrp.PriorityOwner, Version: vrrp.V3,
			Addresses: addresses(fmt.Sprint("192.0.2.", k)), Interval: interval, DeadAdverts: 3, Preempt: true, Lease: true,
		})
	}
	n := node.New(cfg, now)
	n.Step(now, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source4: addresses("10.0.0.1")[0].IP}})
	for k := 1; k <= count; k++ {
		n.Step(now, node.AddressesSet{Instance: fmt.Sprint("web", k), Request: uint64(k)})
	}
	renewals, most := 0, 0
	for end := now.Add(10 * interval); ; {
		due, ok := n.Deadline()
		if !ok || due.After(end) {
			break
		}
		together := 0
		for _, a := range n.Step(due, node.Elapsed{}) {
			set, ok := a.(node.SetAddresses)
			if !ok {
				continue
			}
			if set.Lifetime != 2*time.Second || set.Until.IsZero() {
				t.Fatalf("at %s: %+v, want a renewal for 2s", due.Sub(now), set)
			}
			if after := due.Sub(now) % interval; after > 20*time.Millisecond {
				t.Fatalf("at %s: a renewal %s after the advert outlasts what the others wait", due.Sub(now), after)
			}
			together++
		}
		renewals, most = renewals+together, max(most, together)
	}
	if most := 10 * count; renewals < most-count || renewals > most {
		t.Errorf("%d renewals within 10 s, want one a second of each instance", renewals)
	}
	if most > 16 {
		t.Errorf("%d instances are renewed at one instant, want 16 goes", most)
	}
}
