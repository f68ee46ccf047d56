package linux

import (
	"testing"
)

// TestObstacles compares what is known beforehand of virtual MAC addresses with what becomes of making them.
func TestObstacles(t *testing.T) {
	m := Macvlan{Parent: "v0", VRID: 71, Owner: "web"}
	const bridge, vmac = "ip link add br0 type bridge", "ip link add vmac link v0 address 00:00:5e:00:01:47 type macvlan mode "
	tests := []struct {
		name     string
		prepare  []string
		sysctl   string // of IPv4, set to 1
		macvlan  Macvlan
		hindered bool
	}{
		{"nothing", nil, "", m, false},
		{"a setting", nil, "ipv4/conf/all/rp_filter", m, true},
		{"IPv6 is off", nil, "ipv6/conf/v0/disable_ipv6", Macvlan{Parent: "v0", VRID: 71, V6: true}, true},
		{"a port of a bridge", []string{bridge, "ip link set v0 master br0"}, "", m, true},
		{"the bridge itself", []string{bridge, "ip link set br0 up"}, "", Macvlan{Parent: "br0", VRID: 71}, false},
		{"keepalived's", []string{vmac + "private", "ip link set vmac up"}, "", m, true},
		{"another's in mode bridge", []string{vmac + "bridge", "ip link set vmac up"}, "", m, true},
		{"one that is off", []string{vmac + "bridge"}, "", m, false},
		{"one of another router", []string{vmac + "bridge", "ip link set vmac up"}, "", Macvlan{Parent: "v0", VRID: 72}, false},
		{"one of the other family", []string{vmac + "bridge", "ip link set vmac up"}, "", Macvlan{Parent: "v0", VRID: 71, V6: true}, false},
		{"one on another interface", []string{vmac + "bridge", "ip link set vmac up", bridge, "ip link set br0 up"}, "", Macvlan{Parent: "br0", VRID: 71}, false},
		{"the interface has the address itself", []string{"ip link set v0 address 00:00:5e:00:01:47"}, "", m, true},
		{"no Ethernet", nil, "", Macvlan{Parent: "lo", VRID: 71}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, _ := pair(t)
			a := openAddresses(t, t.TempDir())
			self.run(tt.prepare...)
			if tt.sysctl != "" {
				self.sysctl(tt.sysctl, "1")
			}
			known, err := Obstacles([]Macvlan{{Parent: "none", VRID: 1}, tt.macvlan})
			if err != nil || len(known) != 2 || known[0] != nil && tt.sysctl == "" {
				t.Fatalf("got %v, %v", known, err)
			}
			_, err = a.Macvlans().Ensure(tt.macvlan)
			if got, want := errorText(known[1]), errorText(err); got != want || (err != nil) != tt.hindered {
				t.Errorf("known beforehand: %q\nand then:         %q, want an error: %t", got, want, tt.hindered)
			}
			if err != nil {
				return
			}
			if again, err := Obstacles([]Macvlan{tt.macvlan}); err != nil || again[0] != nil {
				t.Errorf("once it is there: %v, %v", again, err)
			}
		})
	}
}
