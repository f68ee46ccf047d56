package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

func TestGuardRefusesAFamilyThatCannotBeSpoken(t *testing.T) {
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
		{"a family is removed", instance("192.0.2.10", "2001:db8::10"), instance("192.0.2.10"), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes := config.Diff(&config.Config{Instances: []node.Instance{tt.from}}, &config.Config{Instances: []node.Instance{tt.to}})
			err := guard(changes, func(string, bool) (bool, error) { return tt.has, nil })
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("guard: %v, want %q", err, tt.want)
			}
		})
	}
}
