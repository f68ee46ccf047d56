package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// TestRemovedShadowRests: what a reload removed from a shadow is compared no more, and wants no Elapsed for that.
func TestRemovedShadowRests(t *testing.T) {
	now, ip := time.Unix(1000, 0), netip.MustParseAddr
	web := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 1,
		Addresses: []Address{{IP: ip("192.0.2.10")}},
	}
	n := New(Config{Shadow: true, Instances: []Instance{web}}, now)
	run := func(d time.Duration) {
		steps := 0
		Pass(n, &now, d, func() {
			if steps++; steps > 100 {
				t.Fatalf("an Elapsed is wanted at %v for ever", now)
			}
			n.Step(now, Elapsed{})
		})
	}
	n.Step(now, LinkChanged{Link{Name: "eth0", Up: true, Source4: ip("10.0.0.1")}})
	run(2500 * time.Millisecond)
	own := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: 150, Interval: 10 * time.Millisecond, Addresses: []netip.Addr{ip("192.0.2.10")}}
	n.Step(now, OwnAdvert{Interface: "eth0", Received: vrrp.Received{Advert: own, From: ip("10.0.0.1"), To: vrrp.IPv4.Group(), HopLimit: vrrp.HopLimit}})
	n.Step(now, Reconfigured{Config{Shadow: true}})
	run(10 * time.Second)
	if len(n.instances) > 0 {
		t.Errorf("it is still %s", n.instances[0].state)
	}
}
