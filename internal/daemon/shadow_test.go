package daemon

import (
	"errors"
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

// TestShadowKnowsWhoSpeaks: who another host is, by its MAC address, is told before what it says, and again when that changes; this
// host's own is told with its adverts.
func TestShadowKnowsWhoSpeaks(t *testing.T) {
	var events []node.Event
	k := &portKeeper{Daemon: newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger(), Shadow: true})}
	known := newAcquaintances()
	refused := k.refuses(t.Context(), "eth0")
	self, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
	good := func(from netip.Addr) []byte {
		a := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{vip1}}
		payload, err := a.Append(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
		if err != nil {
			t.Fatal(err)
		}
		return payload
	}
	bad := good(other)
	bad[7]++
	mac := func(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }
	for _, p := range []linux.Tapped{
		{Packet: linux.Packet{Payload: bad, Source: other}, MAC: mac(9)},
		{Packet: linux.Packet{Payload: good(other), Source: other}, MAC: mac(9)},
		{Packet: linux.Packet{Payload: good(other), Source: other}, MAC: mac(8)},
		{Packet: linux.Packet{Payload: good(self), Source: self}, MAC: mac(1), Outgoing: true},
		{Packet: linux.Packet{Payload: good(self), Source: self}, MAC: mac(1), Outgoing: true, Fragment: true},
	} {
		p.Destination, p.TTL, p.At = vrrp.GroupIPv4, vrrp.HopLimit, time.Now()
		k.tapped(t.Context(), "eth0", p, known, refused)
	}
	for len(k.events) > 0 {
		switch ev := (<-k.events).(type) {
		case node.Heard:
			events = append(events, node.Heard{Interface: ev.Interface})
		case node.OwnAdvert:
			events = append(events, node.OwnAdvert{Interface: ev.Interface, MAC: ev.MAC})
		default:
			events = append(events, ev)
		}
	}
	const nine, eight, one = "02:00:00:00:00:09", "02:00:00:00:00:08", "02:00:00:00:00:01"
	want := []node.Event{
		node.Seen{Interface: "eth0", From: other, MAC: nine},
		node.Refused{Interface: "eth0", VRID: 71, From: other, MAC: nine, Err: vrrp.ErrChecksum},
		node.Heard{Interface: "eth0"},
		node.Seen{Interface: "eth0", From: other, MAC: eight},
		node.Heard{Interface: "eth0"},
		node.OwnAdvert{Interface: "eth0", MAC: one},
		node.Refused{Interface: "eth0", VRID: 71, From: self, MAC: one, Err: vrrp.ErrFragment},
	}
	if diff := cmp.Diff(want, events, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(errors.Is)); diff != "" {
		t.Errorf("the loop is told (-want +got):\n%s", diff)
	}
}
