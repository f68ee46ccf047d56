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
				func(string) (bool, error) { return tt.has, nil },
				func(string, bool) (bool, error) { return tt.has, nil },
				func(string, netip.Addr) (bool, error) { return tt.has, nil },
			})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("guard: %v, want %q", err, tt.want)
			}
		})
	}
}

func TestGuardRefusesToServeOnNoInterface(t *testing.T) {
	on := func(name, ifName, ip string) node.Instance {
		return node.Instance{Name: name, Interface: ifName, VRID: 71, Addresses: []node.Address{{IP: netip.MustParseAddr(ip)}}}
	}
	web := on("web", "eth0", "192.0.2.10")
	tests := []struct {
		name string
		to   []node.Instance
		want string // part of the error; empty: none
	}{
		{"its name is misspelt", []node.Instance{on("web", "ens18", "192.0.2.10")}, `instance "web": there is no interface "ens18" on this host, and what "web" serves on "eth0"`},
		{"its name is misspelt, and the instance has another one", []node.Instance{on("shop", "ens18", "192.0.2.10")}, `instance "shop": there is no interface "ens18"`},
		{"another interface that there is", []node.Instance{on("web", "eth1", "192.0.2.10")}, ""},
		{"one more instance, for an interface to come", []node.Instance{web, on("shop", "ens18", "192.0.2.20")}, ""},
		{"the instance is removed, another added for an interface to come", []node.Instance{on("shop", "ens18", "192.0.2.20")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes := config.Diff(&config.Config{Instances: []node.Instance{web}}, &config.Config{Instances: tt.to})
			err := guard(changes, host{hasInterface: func(name string) (bool, error) { return strings.HasPrefix(name, "eth"), nil }})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("guard: %v, want %q", err, tt.want)
			}
		})
	}
}
