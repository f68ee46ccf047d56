package daemon

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestShadowKernel tells that a shadow says once what would change, and nothing of renewals.
func TestShadowKernel(t *testing.T) {
	said := &logs{}
	k := newShadowKernel(hclog.New(&hclog.LoggerOptions{Output: said, DisableTime: true}))
	want := func(owner string, ips ...netip.Addr) linux.Want {
		w := linux.Want{Owner: owner, Interface: "eth0", Lifetime: 2 * time.Second}
		for _, ip := range ips {
			w.Addresses = append(w.Addresses, linux.Address{IP: ip})
		}
		return w
	}
	tests := []struct {
		name  string
		wants []linux.Want
		says  []string
	}{
		{"taken", []linux.Want{want("web", vip1), want("mail")}, []string{"would set an address: instance=web address=192.0.2.10 interface=eth0"}},
		{"renewed", []linux.Want{want("web", vip1)}, nil},
		{"one more, one less", []linux.Want{want("web", vip2)}, []string{
			"would set an address: instance=web address=192.0.2.11 interface=eth0",
			"would remove an address: instance=web address=192.0.2.10 interface=eth0",
		}},
		{"released", []linux.Want{{Owner: "web"}}, []string{"would remove an address: instance=web address=192.0.2.11 interface=eth0"}},
		{"released again", []linux.Want{want("web")}, nil},
	}
	for _, tt := range tests {
		before := len(said.String())
		if failed := k.Set(tt.wants...); len(failed) > 0 {
			t.Errorf("%s: failed %v", tt.name, failed)
		}
		var got []string
		for line := range strings.Lines(said.String()[before:]) {
			got = append(got, strings.TrimSpace(strings.TrimPrefix(line, "[INFO]")))
		}
		if diff := cmp.Diff(tt.says, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if missing, err := k.Missing("eth0", []netip.Addr{vip1}); len(missing) > 0 || err != nil {
		t.Errorf("missing %v, %v: not a shadow's business", missing, err)
	}
}

// TestImaginedVirtualMACs tells that a shadow makes no device, and still knows where its adverts would come from.
func TestImaginedVirtualMACs(t *testing.T) {
	web := on("web", "eth0", 71, "192.0.2.10", "2001:db8::10")
	web.VirtualMAC = true
	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{web, on("plain", "eth0", 72, "192.0.2.12")}}, Options{Log: hclog.NewNullLogger(), Shadow: true})
	if list := d.macvlans(); len(list) > 0 {
		t.Errorf("a shadow needs the devices %v", list)
	}
	parent := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	want := []node.VirtualMAC{
		{VRID: 71, Family: vrrp.IPv4},
		{VRID: 71, Family: vrrp.IPv6, Source: linux.Macvlan{Parent: "eth0", VRID: 71, V6: true}.Source6(parent)},
	}
	if diff := cmp.Diff(want, d.imagined(node.Link{Name: "eth0", MAC: parent.String()}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if list := d.imagined(node.Link{Name: "eth1", MAC: parent.String()}); len(list) > 0 {
		t.Errorf("on an interface without any: %v", list)
	}
	if list := d.imagined(node.Link{Name: "eth0"}); len(list) != 2 || list[0].Reason == "" {
		t.Errorf("on an interface without a MAC address: %v", list)
	}
}
