package linux

import (
	"strings"
	"testing"
)

// TestMacvlanThatRemains tells which device a master can still hand over by when it cannot be had any more.
func TestMacvlanThatRemains(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(h *host)
		want4 bool
		want6 bool
	}{
		{"strict reverse path filter", func(h *host) { h.sysctl("ipv4/conf/all/rp_filter", "1") }, true, true},
		{"the interface has no IPv6, so nobody is heard", func(h *host) { h.sysctl("ipv6/conf/v0/disable_ipv6", "1") }, true, false},
		{"the device has no IPv6", func(h *host) { h.sysctl("ipv6/conf/us6-71-v0/disable_ipv6", "1") }, true, false},
		{"switched off", func(h *host) { h.run("ip link set us4-71-v0 down") }, false, true},
		{"deleted", func(h *host) { h.run("ip link del us6-71-v0") }, true, false},
		{"another has the name", func(h *host) {
			h.run("ip link del us4-71-v0", "ip link add us4-71-v0 link v0 address 00:00:5e:00:01:47 type macvlan mode bridge", "ip link set us4-71-v0 up")
		}, false, true},
		{"another MAC", func(h *host) { h.run("ip link set us4-71-v0 address 02:00:00:00:00:09") }, false, true},
		{"no interface", func(h *host) { h.run("ip link del v0") }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, peer := pair(t)
			withIPv6(self, peer)
			a := openAddresses(t, t.TempDir())
			setAll(t, a, virtual())
			index, source := must(a.index("us4-71-v0")), must(a.Macvlans().Ensure(router6)).Source6
			tt.spoil(self)
			state4, got4 := a.Macvlans().Remains(router4)
			state6, got6 := a.Macvlans().Remains(router6)
			if got4 != tt.want4 || got6 != tt.want6 {
				t.Errorf("that of IPv4 remains %t, of IPv6 %t; want %t and %t:\n%s", got4, got6, tt.want4, tt.want6, self.run("ip -o addr"))
			}
			if got4 && state4 != (MacvlanState{Index: index}) || got6 && state6.Source6 != source {
				t.Errorf("they are %+v and %+v", state4, state6)
			}
			if got := self.run("ip -o link"); got6 && !strings.Contains(got, "us6-71-v0") {
				t.Errorf("left:\n%s", got)
			}
		})
	}
}
