package node_test

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestDoubtfulMasterWaitsForItsElapsed: a master that slept for longer than the others wait may have lost, and its sockets were not read yet:
// whatever it is told before its Elapsed, it says nothing on the link.
func TestDoubtfulMasterWaitsForItsElapsed(t *testing.T) {
	instance := func(name string, vrid uint8, list string) node.Instance {
		return node.Instance{
			Name: name, Interface: "eth0", VRID: vrid, Priority: 150, Version: vrrp.V3, Addresses: addresses(list), Interval: time.Second, DeadAdverts: 3,
			Preempt: true, MinTTL: vrrp.HopLimit, Checks: map[string]node.Effect{"nginx": {}},
		}
	}
	reload := func(group []node.Group, instances ...node.Instance) node.Event {
		return node.Reconfigured{Config: node.Config{Name: "a", Instances: instances, Groups: group, Checks: []string{"nginx"}}}
	}
	edge := func(names ...string) []node.Group { return []node.Group{{Name: "edge", Instances: names}} }
	web, mail := instance("web", 51, "192.0.2.10"), instance("mail", 52, "192.0.2.20")
	for name, ev := range map[string]node.Event{
		"a check that fails":      node.CheckChanged{Check: "nginx", Reason: "503"},
		"a drain":                 node.Drain{Who: "admin", On: true},
		"the end":                 node.Stop{},
		"an address of IPv6 more": reload(edge("web", "mail"), instance("web", 51, "192.0.2.10,2001:db8::10"), mail),
		"an instance more":        reload(edge("web", "mail", "new"), web, mail, instance("new", 53, "192.0.2.30")),
		"an instance less":        reload(nil, web),
		"a new MAC address":       node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: mac(2), Source4: self4}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			n := node.New(node.Config{Name: "a", Instances: []node.Instance{web, mail}, Groups: edge("web", "mail"), Checks: []string{"nginx"}}, now)
			step := func(ev node.Event) (said []node.Action) {
				for _, a := range n.Step(now, ev) {
					switch a := a.(type) {
					case node.SetAddresses:
						if len(a.Addresses) > 0 {
							n.Step(now, node.AddressesSet{Instance: a.Instance, Request: a.Request})
						}
					case node.Send, node.Announce:
						said = append(said, a)
					}
				}
				return said
			}
			step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: mac(1), Source4: self4, Source6: addresses("fe80::1")[0].IP}})
			step(node.CheckChanged{Check: "nginx", Healthy: true})
			node.Pass(n, &now, 10*time.Second, func() { step(node.Elapsed{}) })
			if s := n.Status(now).Instances[0]; s.State != node.Master || !s.Confirmed {
				t.Fatalf("it is %s, confirmed %t", s.State, s.Confirmed)
			}
			now = now.Add(5 * time.Second)
			if said := step(ev); len(said) > 0 {
				t.Errorf("it says %+v", said)
			}
		})
	}
}
