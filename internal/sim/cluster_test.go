package sim

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

var vip = netip.MustParseAddr("192.0.2.10")

// pair is two hosts with the defaults, a better than b.
func pair(change func(*Config)) *Cluster {
	cfg := Config{Seed: 1, Kernel: time.Millisecond, Trace: true, Network: Network{MinDelay: time.Millisecond, MaxDelay: time.Millisecond}}
	for k, name := range []string{"a", "b"} {
		cfg.Hosts = append(cfg.Hosts, node.Config{Name: name, Instances: []node.Instance{{
			Name: "web", Interface: Interface, VRID: 51, Priority: uint8(150 - 50*k), Version: vrrp.V3, Addresses: []node.Address{{IP: vip}},
			Interval: time.Second, DeadAdverts: 3, Preempt: true, Lease: true,
		}}})
	}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

// startAll starts every host, and lets the cluster find its master.
func startAll(c *Cluster) {
	for _, h := range c.Hosts() {
		h.Start()
	}
	c.Run(5 * time.Second)
}

func TestOwnershipSumsGapsAndOverlaps(t *testing.T) {
	o := newOwnership(epoch)
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	o.change(at(1), vip, "a", true)
	o.change(at(4), vip, "b", true)
	o.change(at(6), vip, "a", false)
	o.change(at(6), vip, "b", false)
	o.change(at(6), vip, "b", true) // one instant, never seen
	o.change(at(9), vip, "b", false)

	want := []Period{{at(0), nil}, {at(1), []string{"a"}}, {at(4), []string{"a", "b"}}, {at(6), []string{"b"}}, {at(9), []string{}}}
	if diff := cmp.Diff(want, o.Periods(vip, at(0))); diff != "" {
		t.Errorf("periods (-want +got):\n%s", diff)
	}
	tests := []struct {
		name         string
		from, to     int
		gap, overlap time.Duration
	}{
		{"the whole history", 0, 10, 2 * time.Second, 2 * time.Second},
		{"the middle of an overlap", 5, 8, 0, time.Second},
		{"after the last change", 20, 25, 5 * time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gap, overlap := o.Sum(vip, at(tt.from), at(tt.to))
			if gap != tt.gap || overlap != tt.overlap {
				t.Errorf("Sum = %s, %s, want %s, %s", gap, overlap, tt.gap, tt.overlap)
			}
		})
	}
	text := o.Describe(vip, at(5), at(10))
	if want := "192.0.2.10: 5s a+b, 6s b, 9s nobody; gap 1s, overlap 1s"; text != want {
		t.Errorf("Describe = %q, want %q", text, want)
	}
}

func TestNetwork(t *testing.T) {
	tests := []struct {
		name    string
		network Network
		cut     Cut
		heard   func(adverts int) bool // of ten that a sends
	}{
		{"carries every packet once", Network{}, Cut{From: "b"}, func(n int) bool { return n == 10 }},
		{"loses all", Network{Loss: 1}, Cut{}, func(n int) bool { return n == 0 }},
		{"loses some", Network{Loss: 0.5}, Cut{}, func(n int) bool { return n > 0 && n < 10 }},
		{"repeats all", Network{Duplicates: 1}, Cut{}, func(n int) bool { return n == 20 }},
		{"is cut one way", Network{}, Cut{From: "a", To: "b", What: Everything}, func(n int) bool { return n == 0 }},
		{"is cut the other way", Network{}, Cut{From: "b", To: "a", What: Everything}, func(n int) bool { return n == 10 }},
		{"is cut for another kind", Network{}, Cut{What: AdvertsIPv6}, func(n int) bool { return n == 10 }},
		{"is cut for adverts", Network{}, Cut{What: AdvertsIPv4}, func(n int) bool { return n == 0 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			startAll(c)
			c.Network = tt.network
			if tt.cut.What != "" {
				c.Cut(tt.cut)
			}
			heard := 0
			c.Observe = func(h *Host, ev node.Event, _ []node.Action) {
				if e, ok := ev.(node.Heard); ok && h.Name == "b" && e.From == netip.MustParseAddr("10.0.0.1") {
					heard++
				}
			}
			a := c.Host("a")
			payload, err := vrrp.Advert{Version: vrrp.V3, VRID: 51, Priority: 150, Interval: time.Second, Addresses: []netip.Addr{vip}}.
				Append(nil, a.Link().Source4, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				c.carryAdvert(a, node.Send{Interface: Interface, Family: vrrp.IPv4, Payload: payload, Source: a.Link().Source4, Destination: vrrp.GroupIPv4})
			}
			c.Run(10 * time.Millisecond) // shorter than any advert of the cluster's own
			if !tt.heard(heard) {
				t.Errorf("b heard %d of 10 adverts", heard)
			}
		})
	}
}

func TestReordering(t *testing.T) {
	c := pair(func(cfg *Config) { cfg.Network = Network{MaxDelay: 10 * time.Millisecond} })
	var order []int
	for k := range 20 {
		c.carry(Interface, c.Host("a"), c.Host("b"), AdvertsIPv4, func(*Host) { order = append(order, k) })
	}
	c.Run(time.Second)
	if len(order) != 20 || slices.IsSorted(order) {
		t.Errorf("packets arrived as %v, want all of them in another order", order)
	}
}

func TestBrokenPacketIsRefused(t *testing.T) {
	c := pair(nil)
	startAll(c)
	a := c.Host("a")
	c.carryAdvert(a, node.Send{Interface: Interface, Family: vrrp.IPv4, Payload: []byte{0x31, 51, 1}, Source: a.Link().Source4, Destination: vrrp.GroupIPv4})
	c.Run(10 * time.Millisecond)
	if got := c.Host("b").Status().Instances[0].Routers[0].Refused["short"]; got == nil || got.Count != 1 {
		t.Errorf("a packet of 3 bytes was counted as %v, want one refusal as short", got)
	}
}

func TestKernel(t *testing.T) {
	tests := []struct {
		name string
		do   func(*Cluster, *Host)
		has  bool // a has the address after 10 s in which the process did nothing
	}{
		{"a killed process loses its address to the lease", func(_ *Cluster, h *Host) { h.Kill() }, false},
		{"a paused process loses it too", func(_ *Cluster, h *Host) { h.Pause() }, false},
		{"a crashed host has nothing", func(_ *Cluster, h *Host) { h.Crash() }, false},
		{"a deleted address is set again", func(_ *Cluster, h *Host) { h.Delete(vip) }, true},
		{"a refused address is not", func(_ *Cluster, h *Host) { h.Refuse(vip, "file exists"); h.Delete(vip) }, false},
		{"a stopped process has let go", func(_ *Cluster, h *Host) { h.Feed(node.Stop{}) }, false},
		{"a restarted one has swept it and takes it again", func(_ *Cluster, h *Host) { h.Kill(); h.Start() }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			startAll(c)
			a := c.Host("a")
			if !a.Has(vip) {
				t.Fatalf("a is no master:\n%s", strings.Join(c.Trace(), "\n"))
			}
			tt.do(c, a)
			c.Run(10 * time.Second)
			if a.Has(vip) != tt.has {
				t.Errorf("a has the address: %t, want %t:\n%s", a.Has(vip), tt.has, strings.Join(c.Trace(), "\n"))
			}
		})
	}
}

func TestPausedHostGoesOn(t *testing.T) {
	c := pair(nil)
	startAll(c)
	a := c.Host("a")
	a.Pause()
	c.Run(10 * time.Second)
	if got := c.Masters("web"); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("masters %v: the paused a still says so, and b is one", got)
	}
	a.Resume()
	c.Run(10 * time.Second)
	if got := c.Owners.Now(vip); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v have the address, want a again:\n%s", got, strings.Join(c.Trace(), "\n"))
	}
}

func TestSpinningDeadlineIsAFault(t *testing.T) {
	c := pair(nil)
	a := c.Host("a")
	a.Start()
	c.Run(time.Second)
	c.now = c.now.Add(time.Hour) // and its Elapsed does not come
	for k := 1; k <= maxElapsed; k++ {
		if a.spins(node.Stop{}) || a.spins(node.Elapsed{}) != (k == maxElapsed) {
			t.Fatalf("Elapsed %d: spinning is %t, want it at %d", k, k != maxElapsed, maxElapsed)
		}
	}
	c.now = c.now.Add(-time.Hour)
	if a.spins(node.Elapsed{}) || a.elapsed != 0 {
		t.Errorf("a deadline that lies ahead spins, or %d are remembered", a.elapsed)
	}
}
