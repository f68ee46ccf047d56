package node_test

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/internal/sim"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestChangeTook: status says how long the last change was in the making. The kernel needs 5 ms for an address here, and the
// network 1 ms for a packet.
func TestChangeTook(t *testing.T) {
	const kernel, wire = 5 * time.Millisecond, time.Millisecond
	cfg := sim.Config{Seed: 1, Kernel: kernel, Network: sim.Network{MinDelay: wire, MaxDelay: wire}}
	for k, name := range []string{"a", "b"} {
		cfg.Hosts = append(cfg.Hosts, node.Config{Name: name, Instances: []node.Instance{{
			Name: "web", Interface: sim.Interface, VRID: 51, Priority: uint8(150 - 50*k), Version: vrrp.V3,
			Addresses: addresses("192.0.2.10"), Interval: time.Second, DeadAdverts: 3, Preempt: true,
		}}})
	}
	c := sim.New(cfg)
	a, b := c.Host("a"), c.Host("b")
	a.Start()
	b.Start()
	c.Run(5 * time.Second)
	took := func(h *sim.Host, to node.State) time.Duration {
		t.Helper()
		change := h.Status().Instances[0].LastChange
		if change.To != to {
			t.Fatalf("%s changed to %s last, want %s", h.Name, change.To, to)
		}
		return change.Took
	}
	if got := took(a, node.Master); got != kernel {
		t.Errorf("to become master took %s, want the kernel's %s", got, kernel)
	}
	a.Feed(node.Drain{Who: "admin", On: true})
	c.Run(500 * time.Millisecond)
	if got := took(b, node.Master); got != kernel {
		t.Errorf("to take over took %s, want the kernel's %s", got, kernel)
	}
	// The successor's skew, its address and the wire, and what the old master serves on after it has seen it announced.
	if got, least := took(a, node.Backup), kernel+2*wire+10*time.Millisecond; got < least || got > least+10*time.Millisecond {
		t.Errorf("the handover took %s, want %s and the successor's skew of at most 10ms", got, least)
	}
	// A host that pushes a living master aside has the addresses first; that counts, and a repair later does not.
	a.Feed(node.Drain{Who: "admin"})
	c.Run(5 * time.Second)
	a.Delete(addresses("192.0.2.10")[0].IP)
	c.Run(time.Second)
	if got := took(a, node.Master); got != kernel {
		t.Errorf("to come back took %s, want the kernel's %s", got, kernel)
	}
	// Where the successor's announcements are not seen, what it is waited for counts too.
	c.Cut(sim.Cut{What: sim.Announcements})
	a.Feed(node.Drain{Who: "admin", On: true})
	c.Run(500 * time.Millisecond)
	if got := took(a, node.Backup); got < 80*time.Millisecond || got > 100*time.Millisecond {
		t.Errorf("the handover that was not seen took %s, want the 80ms that are waited", got)
	}
}
