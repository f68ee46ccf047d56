package daemon

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestMacvlansAreNeeded tells which devices there must be: one for each family of an instance with a virtual MAC, also for the
// unadvertised addresses, and those of an instance that a reload removes until it has handed over.
func TestMacvlansAreNeeded(t *testing.T) {
	web, plain := on("web", "eth0", 71, "192.0.2.10", "192.0.2.11"), on("plain", "eth0", 72, "192.0.2.12")
	web.VirtualMAC = true
	web.Unadvertised = []node.Address{{IP: netip.MustParseAddr("2001:db8::7")}}
	inside := on("inside", "eth1", 71, "10.9.0.1")
	inside.VirtualMAC = true
	four, six := linux.Macvlan{Parent: "eth0", VRID: 71, Owner: "web"}, linux.Macvlan{Parent: "eth0", VRID: 71, V6: true, Owner: "web"}
	other := linux.Macvlan{Parent: "eth1", VRID: 71, Owner: "inside"}

	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{web, plain}}, Options{Log: hclog.NewNullLogger()})
	if diff := cmp.Diff([]linux.Macvlan{four, six}, d.macvlans()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eth0", "us4-71-eth0", "us6-71-eth0"}, d.watched()); diff != "" {
		t.Errorf("watched (-want +got):\n%s", diff)
	}
	d.cfg.Store(&config.Config{Node: "lb1", Instances: []node.Instance{inside}})
	if diff := cmp.Diff([]linux.Macvlan{other, four, six}, d.macvlans()); diff != "" {
		t.Errorf("after a reload (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]linux.Macvlan{other}, d.macvlansOn("eth1")); diff != "" {
		t.Errorf("on eth1 (-want +got):\n%s", diff)
	}
	for name, want := range map[string]bool{"us6-71-eth0": true, "eth0": false, "us4-72-eth0": false} {
		if got := d.isDevice(name); got != want {
			t.Errorf("%s is a device: %t", name, got)
		}
	}
}

// TestWantWithAVirtualMAC tells what the kernel is asked for.
func TestWantWithAVirtualMAC(t *testing.T) {
	w := node.SetAddresses{Instance: "web", Interface: "eth0", VirtualMAC: 71, Addresses: []node.Address{
		{IP: vip1, Network: netip.MustParsePrefix("192.0.2.0/24")}, {IP: netip.MustParseAddr("2001:db8::10")},
	}}
	want := linux.Want{Owner: "web", Interface: "eth0", Addresses: []linux.Address{
		{IP: vip1, Network: netip.MustParsePrefix("192.0.2.0/24"), Device: linux.Macvlan{Parent: "eth0", VRID: 71, Owner: "web"}},
		{IP: netip.MustParseAddr("2001:db8::10"), Device: linux.Macvlan{Parent: "eth0", VRID: 71, V6: true, Owner: "web"}},
	}}
	if diff := cmp.Diff(want, wantOf(w), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.VirtualMAC = 0
	if got := wantOf(w).Addresses[0].Device; got != (linux.Macvlan{}) {
		t.Errorf("without one: %+v", got)
	}
}

// TestLossOnAMacvlan tells that the node hears of it under the name of the interface, and of nothing on the interface itself.
func TestLossOnAMacvlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		w := wish("web", time.Time{}, vip1)
		w.VirtualMAC = 71
		s.set(w)
		s.drain(t.Context())
		s.events = nil
		s.lostOn("eth0", vip1, false)
		s.lostOn("us4-71-eth0", vip1, false)
		synctest.Wait()
		s.end()
		if diff := cmp.Diff([]string{"AddressLost{Interface:eth0 IP:192.0.2.10 Expired:false}"}, s.events); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
