package sim

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// What is promised of a host that the others know by an address which it has lost, as its own name says: it is master of nothing, since they would
// refuse its adverts from another one. That holds also while the others do not know where it is.

// settledness is by which addresses the instances of a process know that the others know its host.
type settledness struct {
	process *node.Node
	of      map[string]*settled // instance ->
}

// settled is that of one instance. One that a reload brings, or gives another virtual router, begins anew.
type settled struct {
	vrid  uint8
	link  string
	own   map[vrrp.Family]netip.Addr
	since time.Time // when it lost one of them, or got another one instead; zero: it has not
	has   [2]netip.Addr
}

// bareGrace is how long a host goes on without an address to send from, at most.
const bareGrace = time.Second

// isDisplaced takes note of where a host is known, and checks that it is no master where it is not any more.
func (s *scenario) isDisplaced(h *Host) {
	x := &s.plights[h].settledness
	if h.node == nil || h.cleaning || s.o.naming.local {
		return
	}
	if x.process != h.node {
		*x = settledness{h.node, map[string]*settled{}}
	}
	was := x.of
	x.of = map[string]*settled{}
	for k := range h.heeds.Instances {
		i := &h.heeds.Instances[k]
		if !byName(i) {
			continue
		}
		of := was[i.Name]
		if of == nil || of.vrid != i.VRID || of.link != i.Interface {
			of = &settled{vrid: i.VRID, link: i.Interface, own: map[vrrp.Family]netip.Addr{}}
		}
		x.of[i.Name] = of
		l := h.LinkOn(i.Interface)
		has := [2]netip.Addr{l.Source4, l.Source6}
		switch {
		case !of.lacks(h, i):
			if of.since.IsZero() {
				continue
			}
			of.since = time.Time{}
			s.p.look()
		case of.since.IsZero(), has != of.has: // with each it may have got back what it had
			of.since, of.has = s.c.now, has
			s.p.look()
		case h.State(i.Name) == node.Master && s.c.now.Sub(later(of.since, h.resumed)) > bareGrace+s.w.slack:
			s.c.Fault("%s is master of %s for %s after it lost the address by which the others know it", h.Name, i.Name, s.c.now.Sub(of.since))
			of.since = s.c.now // once is enough
		}
	}
}

// displaced says whether an instance of a host's process is known to the others by an address that the host has lost.
func (x *settledness) displaced(h *Host) bool {
	if x.process != h.node {
		return false
	}
	for _, of := range x.of {
		if !of.since.IsZero() {
			return true
		}
	}
	return false
}

// lacks says whether a host's link has another address than the one by which the others know it.
func (of *settled) lacks(h *Host, i *node.Instance) (lacks bool) {
	l := h.LinkOn(i.Interface)
	ips, _ := h.Leads(nameOf(h.Name, i.Interface))
	for _, f := range i.Families() {
		is := l.Source4
		if f == vrrp.IPv6 {
			is = l.Source6
		}
		switch own := of.own[f]; {
		case is.IsValid() && slices.Contains(ips, is):
			of.own[f] = is
		case l.Up && is.IsValid() && own.IsValid() && slices.Contains(ips, own):
			lacks = true
		}
	}
	return lacks
}

// TestDisplacedMayNotServe holds that a host may not be master for long which has lost the address by which the others know it, and that any other
// may: one that has it, or a name that says nothing of it or leads to the new address, no link, or never had the old address.
func TestDisplacedMayNotServe(t *testing.T) {
	const elsewhere = "10.0.9.1"
	for _, tt := range []struct {
		name  string
		local bool // its own name leads to a loopback address
		then  func(s *scenario, a *Host, l node.Link)
		want  bool // that it is found
		again bool // it gets yet another one before it is looked at
	}{
		{"it has another one", false, func(s *scenario, a *Host, l node.Link) {
			l.Source4 = netip.MustParseAddr(elsewhere)
			a.SetLink(l)
		}, true, false},
		{"it has yet another one since a moment ago", false, func(s *scenario, a *Host, l node.Link) {
			l.Source4 = netip.MustParseAddr(elsewhere)
			a.SetLink(l)
		}, false, true},
		{"it has what it had", false, func(*scenario, *Host, node.Link) {}, false, false},
		{"its name does not say where it is", true, func(s *scenario, a *Host, l node.Link) {
			l.Source4 = netip.MustParseAddr(elsewhere)
			a.SetLink(l)
		}, false, false},
		{"its name leads to the new one", false, func(s *scenario, a *Host, l node.Link) {
			l.Source4 = netip.MustParseAddr(elsewhere)
			a.SetLink(l)
			a.names.of["a.eth0"].ips = []netip.Addr{l.Source4}
		}, false, false},
		{"it is deaf and mute", false, func(s *scenario, a *Host, l node.Link) {
			l.Source4, l.Up, l.Reason = netip.MustParseAddr(elsewhere), false, "no carrier"
			a.SetLink(l)
		}, false, false},
		{"its virtual router never had it", false, func(s *scenario, a *Host, l node.Link) {
			l.Source4 = netip.MustParseAddr(elsewhere)
			a.SetLink(l)
			s.isDisplaced(a)
			a.heeds.Instances = slices.Clone(a.heeds.Instances)
			a.heeds.Instances[0].VRID++
		}, false, false},
		{"its process never had it", false, func(s *scenario, a *Host, l node.Link) {
			l.Source4 = netip.MustParseAddr(elsewhere)
			a.Kill()
			a.SetLink(l)
			a.Start()
		}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := namedPair(func(*Host, string) bool { return false })
			s.o.naming.local = tt.local
			a := s.c.Host("a")
			s.plights[a].stale = map[string][]netip.Addr{"a.eth0": {a.Link().Source4}}
			if tt.local {
				s.plights[a].stale = nil
			}
			a.Start()
			s.c.Run(10 * time.Second)
			tt.then(s, a, a.Link())
			s.p.disturbed()
			s.isDisplaced(a)
			for !s.c.now.After(epoch.Add(10*time.Second + bareGrace + s.w.slack)) {
				if s.c.Run(10 * time.Millisecond); len(s.c.Faults()) > 0 {
					t.Fatalf("faults %q, want none of this product", s.c.Faults())
				}
			}
			if tt.again {
				l := a.Link()
				l.Source4 = l.Source4.Next()
				a.SetLink(l)
			}
			a.states["web"] = node.Master // whatever it became
			if s.isDisplaced(a); len(s.c.Faults()) > 0 != tt.want {
				t.Errorf("faults %q, want one: %t", s.c.Faults(), tt.want)
			}
		})
	}
}

// TestDisplacedMayRest holds that a host is not asked to serve while its own name leads to an address that it has lost, and is once that leads to
// the new one.
func TestDisplacedMayRest(t *testing.T) {
	s := namedPair(func(*Host, string) bool { return false })
	a := s.c.Host("a")
	a.Start()
	s.c.Run(4 * time.Second)
	want := func(when string, want health) {
		t.Helper()
		if got := s.p.hosts[a].health; got != want {
			t.Errorf("%s its health is %v, want %v", when, got, want)
		}
	}
	want("at first", well)
	l := *s.rightly(a, Interface)
	s.plights[a].stale = map[string][]netip.Addr{"a.eth0": {l.Source4}}
	l.Source4 = netip.MustParseAddr("10.0.9.1")
	s.rightly(a, Interface).Source4 = l.Source4
	s.setLink(a, l)
	s.c.Run(time.Minute)
	want("with another address", unknown)
	s.plights[a].stale = nil
	s.c.Run(time.Minute)
	want("once its name leads there", well)
	if state := a.State("web"); len(s.c.Faults()) > 0 || state != node.Master {
		t.Errorf("it is %s, faults %q", state, s.c.Faults())
	}
}
