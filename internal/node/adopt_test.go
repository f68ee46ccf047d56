package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// TestAdoptedFamilyIsRemoved: a family that a reload removes while what a dead daemon left is still to be adopted is let go of.
func TestAdoptedFamilyIsRemoved(t *testing.T) {
	now, ip := time.Unix(1000, 0), netip.MustParseAddr
	web := Instance{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3,
		Addresses: []Address{{IP: ip("192.0.2.10")}, {IP: ip("2001:db8::10")}},
	}
	n := New(Config{Instances: []Instance{web}}, now)
	wanted := map[string]int{} // by instance
	step := func(ev Event) {
		for _, a := range n.Step(now, ev) {
			if a, ok := a.(SetAddresses); ok {
				wanted[a.Instance] = len(a.Addresses)
			}
		}
	}
	step(Adopt{Instance: "web"})
	web.Addresses = web.Addresses[:1]
	step(Reconfigured{Config{Instances: []Instance{web}}})
	step(LinkChanged{Link{Name: "eth0", Up: true, Source4: ip("10.0.0.1"), Source6: ip("fe80::1")}})
	Pass(n, &now, 10*time.Second, func() { step(Elapsed{}) })
	if wanted["web"] != 1 || wanted["web/IPv6"] != 0 || len(n.instances) != 1 {
		t.Errorf("wanted are %v, of %d instances", wanted, len(n.instances))
	}
}
