package node_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// host is one node whose firewall can keep its adverts in.
type host struct {
	n      *node.Node
	now    time.Time
	closed bool
	states []string
}

// newHost is a master.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.n = node.New(node.Config{Name: "a", Instances: []node.Instance{{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("192.0.2.10"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true, Announce: node.Announcing{Refresh: time.Minute},
	}}}, h.now)
	h.step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("10.0.0.1")}})
	h.run(5 * time.Second)
	if got := h.state().State; got != node.Master {
		t.Fatalf("the host alone is %s", got)
	}
	return h
}

// step performs what the node wants: every advert is lost while the firewall is closed.
func (h *host) step(ev node.Event) {
	for _, a := range h.n.Step(h.now, ev) {
		switch a := a.(type) {
		case node.Send:
			if h.closed {
				h.step(node.SendFailed{Instance: a.Instance, Family: a.Family, Err: errors.New("operation not permitted")})
			}
		case node.SetAddresses:
			if len(a.Addresses) > 0 {
				h.step(node.AddressesSet{Instance: a.Instance, Request: a.Request})
			}
		case node.Changed:
			h.states = append(h.states, string(a.To))
		}
	}
}

// run lets time pass.
func (h *host) run(d time.Duration) {
	node.Pass(h.n, &h.now, d, func() { h.step(node.Elapsed{}) })
}

// hear lets time pass with an advert of another master every second.
func (h *host) hear(seconds int) {
	for range seconds {
		h.step(node.Heard{Interface: "eth0", Received: received(vrrp.Advert{
			Version: vrrp.V3, VRID: 51, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")},
		}, netip.MustParseAddr("10.0.0.2"))})
		h.run(time.Second)
	}
}

func (h *host) state() node.InstanceStatus { return h.n.Status(h.now).Instances[0] }

func TestAdvertsThatDoNotLeave(t *testing.T) {
	t.Run("nobody else is heard", func(t *testing.T) {
		h := newHost(t)
		h.closed = true
		h.run(time.Minute)
		if i := h.state(); i.State != node.Master || i.Routers[0].SendError != "operation not permitted" {
			t.Errorf("it is %s, send error %q", i.State, i.Routers[0].SendError)
		}
	})
	t.Run("another master is heard, and answered in vain", func(t *testing.T) {
		h := newHost(t)
		h.closed = true
		h.hear(2)
		if i := h.state(); i.State != node.Master {
			t.Errorf("after two intervals it is %s: %s", i.State, i.Why)
		}
		h.hear(3)
		if i := h.state(); i.State != node.Fault || !strings.Contains(i.Why, "operation not permitted") || !strings.Contains(i.Why, "10.0.0.2 is master") || i.Holding {
			t.Errorf("it is %s, holding %t: %s", i.State, i.Holding, i.Why)
		}
		h.hear(30)
		if i := h.state(); i.State != node.Fault {
			t.Errorf("with the firewall still closed it is %s: %s", i.State, i.Why)
		}
		h.closed = false
		h.hear(10) // a try every 5 s, and a Master_Down_Interval
		if i := h.state(); i.State != node.Master {
			t.Errorf("with the firewall open it is %s: %s", i.State, i.Why)
		}
	})
	t.Run("one that fails now and then is nothing", func(t *testing.T) {
		h := newHost(t)
		for n := range 12 {
			h.closed = n%2 == 0
			h.hear(1)
		}
		if i := h.state(); i.State != node.Master {
			t.Errorf("it is %s: %s", i.State, i.Why)
		}
	})
}
