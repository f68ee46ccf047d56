package node_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// macHost is one node with a virtual MAC, and what it wanted since it was looked at last.
type macHost struct {
	n      *node.Node
	now    time.Time
	family vrrp.Family
	wanted []string
	asked  uint64 // its last request for addresses
}

// newMACHost is a host that waits.
func newMACHost(vip string) *macHost {
	h := &macHost{now: time.Unix(1000, 0)}
	ips := addresses(vip)
	h.family = vrrp.FamilyOf(ips[0].IP)
	h.n = node.New(node.Config{Name: "a", Instances: []node.Instance{{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: ips, VirtualMAC: true,
		Interval: time.Second, DeadAdverts: 3, Preempt: true, Announce: node.Announcing{Refresh: time.Minute},
	}}}, h.now)
	h.device(node.VirtualMAC{})
	return h
}

// device tells the node of its device.
func (h *macHost) device(v node.VirtualMAC) {
	v.VRID, v.Family = 51, h.family
	if v.Family == vrrp.IPv6 && (v.Reason == "" || v.Speaks) {
		v.Source = netip.MustParseAddr("fe80::51")
	}
	h.step(node.LinkChanged{Link: node.Link{
		Name: "eth0", Up: true, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("10.0.0.1"), Source6: netip.MustParseAddr("fe80::1"),
		VirtualMACs: []node.VirtualMAC{v},
	}})
}

func (h *macHost) step(ev node.Event) {
	for _, a := range h.n.Step(h.now, ev) {
		switch a := a.(type) {
		case node.Send:
			h.wanted = append(h.wanted, fmt.Sprintf("advert %d from MAC %d", a.Payload[2], a.VirtualMAC))
		case node.SetAddresses:
			h.asked = a.Request
			h.wanted = append(h.wanted, fmt.Sprintf("set %d", len(a.Addresses)))
		case node.Announce:
			h.wanted = append(h.wanted, fmt.Sprintf("announce from MAC %d", a.VirtualMAC))
		case node.Changed:
			h.wanted = append(h.wanted, string(a.To))
		}
	}
}

func (h *macHost) set() { h.step(node.AddressesSet{Instance: "web", Request: h.asked}) }

func (h *macHost) run(d time.Duration) {
	node.Pass(h.n, &h.now, d, func() { h.step(node.Elapsed{}) })
}

// wants compares what it wanted since the last time.
func (h *macHost) wants(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, h.wanted); diff != "" {
		t.Errorf("%s (-want +got)\n%s", when, diff)
	}
	h.wanted = nil
}

// TestVirtualMACThatCannotBeAnyMore tells of a master whose device the kernel's settings make useless: where it still can say so it hands
// over, and keeps the addresses until a successor is heard; where the device is gone it lets go at once.
func TestVirtualMACThatCannotBeAnyMore(t *testing.T) {
	for vip, successor := range map[string]string{"192.0.2.10": "10.0.0.2", "2001:db8::10": "fe80::2"} {
		master := func(t *testing.T) *macHost {
			h := newMACHost(vip)
			h.run(3500 * time.Millisecond)
			h.set()
			h.run(time.Second)
			if got := h.n.Status(h.now).Instances[0].State; got != node.Master {
				t.Fatalf("the host alone is %s", got)
			}
			h.wanted = nil
			return h
		}
		t.Run(vip+", it still speaks", func(t *testing.T) {
			h := master(t)
			h.device(node.VirtualMAC{Reason: "rp_filter = 1", Speaks: true})
			h.run(50 * time.Millisecond)
			h.wants(t, "it cannot be", "advert 150 from MAC 51", "advert 0 from MAC 51", "leaving", "advert 0 from MAC 51", "advert 0 from MAC 51")
			from := netip.MustParseAddr(successor)
			h.step(node.Seen{Interface: "eth0", From: from, MAC: map[vrrp.Family]string{vrrp.IPv4: "00:00:5e:00:01:33", vrrp.IPv6: "00:00:5e:00:02:33"}[h.family], VRID: 51})
			h.step(node.Heard{Interface: "eth0", Received: received(vrrp.Advert{
				Version: vrrp.V3, VRID: 51, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr(vip)},
			}, from)})
			h.run(time.Millisecond)
			h.wants(t, "a successor is heard", "set 0", "fault")
			if i := h.n.Status(h.now).Instances[0]; i.State != node.Fault || i.Holding {
				t.Errorf("it is %s, holding %t: %s", i.State, i.Holding, i.Why)
			}
			h.run(time.Minute)
			h.wants(t, "as long as it cannot be")
			h.device(node.VirtualMAC{})
			h.wants(t, "it can be again", "backup")
		})
		t.Run(vip+", it is gone", func(t *testing.T) {
			h := master(t)
			h.device(node.VirtualMAC{Reason: "the name is taken"})
			h.wants(t, "it cannot be", "set 0", "fault")
		})
	}
}

// TestAdvertsThroughAMuteDevice: what a master said while its device was mute it says again when the addresses are on it, before it announces
// them; where nothing was said meanwhile, or the device is not mute, nothing is.
func TestAdvertsThroughAMuteDevice(t *testing.T) {
	const advert, announce = "advert 150 from MAC 51", "announce from MAC 51"
	down := 3*time.Second + 420*time.Millisecond
	t.Run("the addresses are there in time", func(t *testing.T) {
		h := newMACHost("192.0.2.10")
		h.run(down)
		h.set()
		h.wants(t, "it rises", "backup", "set 1", advert, "master", announce)
		h.step(node.AddressLost{Interface: "eth0", IP: netip.MustParseAddr("192.0.2.10")})
		h.set()
		h.wants(t, "the address was deleted", "set 1", announce)
	})
	t.Run("they take longer", func(t *testing.T) {
		h := newMACHost("192.0.2.10")
		h.run(down + 250*time.Millisecond)
		h.set()
		h.wants(t, "it rises", "backup", "set 1", advert, "master", "set 1", advert, announce)
	})
	t.Run("the device is made anew", func(t *testing.T) {
		h := newMACHost("192.0.2.10")
		h.run(down)
		h.set()
		h.run(500 * time.Millisecond)
		h.wanted = nil
		h.device(node.VirtualMAC{Made: 1})
		h.set()
		h.wants(t, "at once", "set 1", announce)
		h.device(node.VirtualMAC{Made: 2})
		h.run(800 * time.Millisecond)
		h.set()
		h.wants(t, "an advert later", "set 1", advert, advert, announce)
	})
}
