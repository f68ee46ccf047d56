package node

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// A router advertisement is signed by nobody, and gives a host an address that the kernel lists before those that it has. The other
// host knows this one by the address that it advertised from until then.
func TestSourceOutlastsARouterAdvertisement(t *testing.T) {
	now := time.Unix(0, 0)
	own, forged := netip.MustParseAddr("2001:db8:77::11"), netip.MustParseAddr("2001:db8:bad::1")
	local := netip.MustParseAddr("fe80::11")
	n := New(Config{Instances: []Instance{{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, MinTTL: 255,
		Addresses: []Address{{IP: netip.MustParseAddr("2001:db8:77::100")}},
		Peers:     []Peer{{IP: netip.MustParseAddr("2001:db8:77::12")}},
	}}}, now)
	link := Link{Name: "eth0", Up: true, Source6: local, Own: []netip.Addr{own, local}}
	n.Step(now, LinkChanged{Link: link})
	link.Own = []netip.Addr{forged, own, local}
	n.Step(now.Add(time.Second), LinkChanged{Link: link})
	if s := n.Status(now).Instances[0].Routers[0].Source; s != own {
		t.Errorf("adverts come from %s, want %s", s, own)
	}
}

// Nor is ARP: one announcement of a stranger must not run a master's hooks again, and so not one each time that the last is forgotten.
func TestStrayAnnouncementsRunNoHooks(t *testing.T) {
	now := time.Unix(0, 0)
	ip := netip.MustParseAddr("192.0.2.10")
	n := New(Config{Instances: []Instance{{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3,
		Addresses: []Address{{IP: ip}},
	}}}, now)
	runs := 0
	step := func(ev Event) {
		for _, a := range n.Step(now, ev) {
			switch a := a.(type) {
			case SetAddresses:
				if len(a.Addresses) > 0 {
					defer n.Step(now, AddressesSet{Instance: "web", Request: a.Request})
				}
			case Notify:
				if a.Reassert {
					runs++
				}
			}
		}
	}
	step(LinkChanged{Link: Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("192.0.2.1")}})
	for at := now.Add(10 * time.Second); now.Before(at); now = now.Add(10 * time.Millisecond) {
		step(Elapsed{})
	}
	for range 10 {
		step(Announced{Interface: "eth0", IP: ip, MAC: "02:00:00:00:00:66"})
		for at := now.Add(4 * time.Second); now.Before(at); now = now.Add(10 * time.Millisecond) {
			step(Elapsed{})
		}
	}
	if s := n.Status(now).Instances[0].State; s != Master {
		t.Fatalf("it is in %s", s)
	}
	if runs > 0 {
		t.Errorf("10 announcements of a stranger ran the hooks %d times", runs)
	}
}
