package sim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// least is the shortest lease there is: what a cleanup that is killed leaves.
const least = 2 * time.Second

// haunt makes the cluster look at every step for addresses that a process left for longer than it may.
func (s *scenario) haunt() {
	observe, told := s.c.Observe, map[*Host]time.Time{}
	s.c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		observe(h, ev, actions)
		x := s.plights[h]
		x.steps++
		x.believed = later(x.believed, s.believed(h, actions))
		for _, h := range s.c.hosts {
			if !s.haunted(h) || h.frozen || told[h].Equal(h.ended) || endless(h) {
				continue
			}
			if ips, most := s.overdue(h); len(ips) > 0 {
				told[h] = h.ended
				s.c.Fault("%s has %v for %s without a process, want at most %s", h.Name, ips, h.now().Sub(h.ended), most)
			}
		}
	}
}

// haunted says whether a host without a process has addresses.
func (s *scenario) haunted(h *Host) bool { return h.node == nil && len(h.kernel.addrs) > 0 }

// endless says whether a host has addresses without a lease, to which the kernel did not give one for the cleanup either.
func endless(h *Host) bool {
	return h.cleaning && !h.kernel.obeyed && slices.ContainsFunc(h.begun.Instances, func(i node.Instance) bool { return !i.Lease })
}

// believed is until when the others wait at least, without their skew, because of what a host says, as far as it knows: until then it may
// have its addresses.
// What a host does late it says late.
func (s *scenario) believed(h *Host, actions []node.Action) (until time.Time) {
	for _, a := range actions {
		if set, ok := a.(node.SetAddresses); ok && set.Lifetime > 0 && s.isAlone(h, set.Instance) {
			until = later(until, h.now().Add(h.Lag+set.Lifetime+s.c.cfg.LeaseLate)) // nobody waits for it, and it cannot know whether somebody is there
		}
		send, ok := a.(node.Send)
		if !ok {
			continue
		}
		dead := s.common.DeadAdverts
		if i := s.w.host(h).instances[send.Instance]; i != nil && i.last != nil {
			dead = max(dead, i.last.DeadAdverts) // a reload of all may not have come here yet
		}
		if a := heading(send.Payload); a.Priority != vrrp.PriorityRelease && !vrrp.IsOffer(a) {
			until = later(until, h.now().Add(h.Lag+time.Duration(dead)*a.Interval))
		}
	}
	return until
}

// isAlone says whether an instance has nobody to send an advert to, as it was configured last. One that this step brings is not seen yet.
func (s *scenario) isAlone(h *Host, instance string) bool {
	i := s.w.host(h).instances[instance]
	return i != nil && i.last != nil && alone(h, i.last)
}

// heading is what the first words of an advert say that a node sent. Whoever is given it parses it; the judge looks at each one.
func heading(payload []byte) vrrp.Advert {
	a := vrrp.Advert{Version: vrrp.Version(payload[0] >> 4), VRID: payload[1], Priority: payload[2]}
	if a.Version == vrrp.V2 {
		a.Interval = time.Duration(payload[5]) * time.Second
	} else {
		a.Interval = time.Duration(binary.BigEndian.Uint16(payload[4:])&0x0fff) * 10 * time.Millisecond
	}
	return a
}

// mayStay is for how long a host may have addresses after its last process. Killed, a daemon leaves what it had until the others no longer
// believe in it, or for the least lease, and a cleanup for that one, unless it is killed before the kernel has done anything for it; where
// there is no lease, for as long as it might have worked. What it found nobody for stays longer.
func (s *scenario) mayStay(h *Host) time.Duration {
	lease := least
	switch {
	case h.left:
		lease = unclaimedFor
	case h.cleaning:
		for _, i := range h.begun.Instances {
			if b := boundsOf(slowestOf(h.begun.Instances), 0, 0); !i.Lease {
				lease = least + 50*time.Millisecond + 2*b.leave + longestLinger
			}
		}
	}
	most := lease + s.c.cfg.LeaseLate + h.lagged
	if !h.cleaning || !h.kernel.obeyed {
		most = max(most, s.plights[h].believed.Sub(h.lived)) // a renewal may have been under way
	}
	return s.bounds().drift(most)
}

// bequeathed is for how long a host may have an address after its last process because of a cleanup that found nobody for it and came to its
// end before: a process that is killed before the kernel has done anything for it, say while it waits for the names of its peers, changes
// nothing about that lease. All of it is by the host's clock, and needs no room.
func (s *scenario) bequeathed(h *Host, ip netip.Addr) time.Duration {
	left := h.kernel.addrs[ip].left
	if left.IsZero() {
		return 0
	}
	return left.Add(s.c.cfg.LeaseLate).Sub(h.ended)
}

// overdue lists the addresses that a host without a process has for longer than it may, and says for how long it may have the last of
// these.
func (s *scenario) overdue(h *Host) (ips []netip.Addr, most time.Duration) {
	left, may := h.now().Sub(h.ended), s.mayStay(h)
	if left <= may {
		return nil, may
	}
	for _, ip := range h.kernel.list() {
		if d := max(may, s.bequeathed(h, ip)); left > d {
			ips, most = append(ips, ip), max(most, d)
		}
	}
	return ips, most
}

// longestLinger is how long an old holder serves at most beside another master, however many addresses there are.
const longestLinger = 2 * time.Second

// TestHauntSeesFaults holds that what a process leaves for too long is seen, and that on a host that stood still the time counts from when it
// went on: only then the process comes to its end, and the kernel to what it was asked for last.
func TestHauntSeesFaults(t *testing.T) {
	tests := []struct {
		name string
		die  func(c *Cluster, a *Host)
		want bool
	}{
		{"killed", func(_ *Cluster, a *Host) { a.Kill() }, false},
		{"killed, and the lease never ends", func(_ *Cluster, a *Host) { a.Kill(); a.kernel.addrs[vip].expires = time.Time{} }, true},
		{"killed while its host stood still", stoodStill(Caught, least), false},
		{"killed while its host stood still, and a lease of what the others believe", stoodStill(Caught, believes-time.Second), false},
		{"killed while its host stood still, and a longer one", stoodStill(Caught, believes+time.Second), true},
		{"killed while its host stood still, unseen", stoodStill(Hidden, least), false},
		{"killed while its host stood still, unseen, and the lease never ends", func(c *Cluster, a *Host) {
			stoodStill(Hidden, least)(c, a)
			a.kernel.addrs[vip].expires = time.Time{}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := healed(func(i *node.Instance) { i.DeadAdverts = int(believes / i.Interval) })
			for _, h := range s.c.Hosts() {
				h.Start()
			}
			s.c.Run(5 * time.Second)
			tt.die(s.c, s.c.Host("a"))
			s.c.Run(5 * time.Second)
			if got := strings.Contains(strings.Join(s.c.Faults(), "\n"), "without a process"); got != tt.want {
				t.Errorf("faults %q, want one of what was left: %t", s.c.Faults(), tt.want)
			}
		})
	}
}

// TestHauntSeesASecondCleanup: one that is killed right at its start leaves what it asked for, whatever the one before it left.
func TestHauntSeesASecondCleanup(t *testing.T) {
	for _, endless := range []bool{false, true} {
		s := healed(func(i *node.Instance) { i.Lease, i.Interval = false, 10*time.Second })
		a := s.c.Host("a")
		a.Start()
		s.c.Run(time.Minute)
		a.Kill()
		a.Cleanup()
		for range 60 {
			if s.c.Run(time.Second); !a.Cleaning() {
				break
			}
		}
		a.Cleanup()
		s.c.Run(100 * time.Millisecond)
		a.Kill()
		if endless {
			a.kernel.addrs[vip].expires = time.Time{}
		}
		for range 12 { // each step of b is a look
			s.c.Host("b").Start()
			s.c.Run(time.Second)
			s.c.Host("b").Kill()
		}
		s.c.Host("b").Start()
		s.c.Run(time.Minute)
		if got := strings.Contains(strings.Join(s.c.Faults(), "\n"), "without a process"); got != endless {
			t.Errorf("its lease ends: %t; faults %q", !endless, s.c.Faults())
		}
	}
}

// TestHauntKnowsWhatACleanupLeft: what a cleanup left for 10 s may stay for that long although the process after it was killed, where the
// kernel had not done anything for that one yet, each address by itself; and no longer.
func TestHauntKnowsWhatACleanupLeft(t *testing.T) {
	start, nothing := (*Host).Start, func(*Host) {}
	sets := func(ip netip.Addr) func(*Host) {
		return func(a *Host) { a.kernel.add("web", ip, least) }
	}
	const little = 2 * time.Millisecond
	tests := []struct {
		name   string
		begin  func(a *Host) // the next process
		then   func(a *Host) // what the kernel does for it
		beyond time.Duration
		want   bool
	}{
		{"killed at its start", start, nothing, 0, false},
		{"killed at its start, and a lease that is a little longer", start, nothing, little, true},
		{"a second cleanup is killed at its start", (*Host).Cleanup, nothing, 0, false},
		{"a second cleanup is killed at its start, and a lease that is a little longer", (*Host).Cleanup, nothing, little, true},
		{"killed after it has set them", start, func(a *Host) { a.c.Run(100 * time.Millisecond) }, 0, true},
		{"killed after it has set this one", start, sets(vip), 0, true},
		{"killed after it has set the other one", start, sets(vip.Next()), 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, until := bequest(t)
			a, b := s.c.Host("a"), s.c.Host("b")
			tt.begin(a)
			tt.then(a)
			a.Kill()
			a.kernel.addrs[vip].expires = until.Add(tt.beyond)
			b.Start()
			for _, at := range []time.Duration{-little / 2, little / 2} {
				s.c.Run(until.Add(at).Sub(a.now()))
				b.Feed(node.Elapsed{}) // each step of b is a look
			}
			if got := strings.Contains(strings.Join(s.c.Faults(), "\n"), "without a process"); got != tt.want {
				t.Errorf("faults %q, want one of what was left: %t", s.c.Faults(), tt.want)
			}
		})
	}
	t.Run("it is waited for in the end", func(t *testing.T) {
		s, until := bequest(t)
		a := s.c.Host("a")
		a.Start()
		a.Kill()
		a.kernel.addrs[vip].expires = until
		if s.expire(); s.haunted(a) {
			t.Errorf("it has %v", a.kernel.list())
		}
	})
}

// bequest is a cluster in which a cleanup found nobody for two addresses 3 s ago, and until when these may stay.
func bequest(t *testing.T) (s *scenario, until time.Time) {
	t.Helper()
	s = healed(func(i *node.Instance) { i.Addresses = []node.Address{{IP: vip}, {IP: vip.Next()}} })
	a := s.c.Host("a")
	a.Start()
	s.c.Run(5 * time.Second)
	a.Kill()
	for a.Cleanup(); a.Cleaning(); {
		s.c.Run(100 * time.Millisecond)
	}
	until = a.ended.Add(s.c.cfg.Kernel + unclaimedFor + s.c.cfg.LeaseLate)
	s.c.Run(3 * time.Second)
	if len(a.kernel.addrs) != 2 {
		t.Fatalf("the cleanup left %v", a.kernel.list())
	}
	return s, until
}

// believes is for how long the others believe in a host of TestHauntSeesFaults, which may be longer than the least lease.
const believes = 4 * time.Second

// stoodStill kills a process while its host stands still, for longer than a lease, with a renewal under way.
func stoodStill(p Pause, lifetime time.Duration) func(c *Cluster, a *Host) {
	return func(c *Cluster, a *Host) {
		a.kernel.set(node.SetAddresses{Instance: "web", Interface: Interface, Addresses: []node.Address{{IP: vip}}, Lifetime: lifetime})
		c.Run(time.Microsecond) // the kernel is at it
		a.Freeze(true)
		c.Run(10 * time.Second)
		a.Kill()
		c.Run(10 * time.Second)
		a.Thaw(p)
	}
}
