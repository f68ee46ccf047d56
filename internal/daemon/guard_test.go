package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

func TestGuardRefusesAFamilyThatCannotBeSpoken(t *testing.T) {
	from := func(source string, i node.Instance) node.Instance {
		i.Sources = []netip.Addr{netip.MustParseAddr(source)}
		return i
	}
	instance := func(ips ...string) node.Instance {
		i := node.Instance{Name: "web", Interface: "eth0", VRID: 71}
		for _, ip := range ips {
			i.Addresses = append(i.Addresses, node.Address{IP: netip.MustParseAddr(ip)})
		}
		return i
	}
	tests := []struct {
		name     string
		from, to node.Instance
		has      bool
		want     string // part of the error; empty: none
	}{
		{"a family that the interface can speak is added", instance("192.0.2.10"), instance("192.0.2.10", "2001:db8::10"), true, ""},
		{"one that it cannot speak is refused", instance("192.0.2.10"), instance("192.0.2.10", "2001:db8::10"), false, `"eth0" has no IPv6 link-local address`},
		{"an address of a family that runs is added", instance("192.0.2.10"), instance("192.0.2.10", "192.0.2.11"), false, ""},
		{"a source that the interface has", instance("192.0.2.10"), from("10.0.0.11", instance("192.0.2.10")), true, ""},
		{"one that it does not have is refused", instance("192.0.2.10"), from("10.0.0.11", instance("192.0.2.10")), false, `"eth0" does not have 10.0.0.11`},
		{"a source that was configured before", from("10.0.0.11", instance("192.0.2.10")), from("10.0.0.11", instance("192.0.2.11")), false, ""},
		{"a family with a source that the interface does not have", instance("192.0.2.10"), from("fe80::11", instance("192.0.2.10", "2001:db8::10")), false, `"eth0" does not have fe80::11`},
		{"a family is removed", instance("192.0.2.10", "2001:db8::10"), instance("192.0.2.10"), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes := config.Diff(&config.Config{Instances: []node.Instance{tt.from}}, &config.Config{Instances: []node.Instance{tt.to}})
			err := guard(changes, host{
				func(string, bool) (bool, error) { return tt.has, nil },
				func(string, netip.Addr) (bool, error) { return tt.has, nil },
			})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("guard: %v, want %q", err, tt.want)
			}
		})
	}
}
