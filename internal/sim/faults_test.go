package sim

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// unrest is what a fault does to what the others may rely on.
type unrest uint8

const (
	gentle  unrest = iota // an opinion: nobody stops hearing anybody, and an unhealthy owner stays one
	planned               // orderly, but a host takes part no longer, or anew
	hard                  // something breaks
)

// kind is a kind of fault.
type kind struct {
	name   string
	weight int
	unrest unrest
	only   trait
	do     func(*scenario, dice, *Host)
}

// trait is what a cluster must have for a kind of fault.
type trait uint8

const (
	anyOf trait = iota
	grouped
	signed
	named
	unplugged
)

// kinds are all of them. A fault that lasts ends by itself, or with the others.
var kinds []kind

func init() {
	kinds = []kind{
		{"yield", 8, gentle, anyOf, func(s *scenario, d dice, h *Host) { s.verdict(h, yields, d.chance(0.5)) }},
		{"weight", 3, gentle, anyOf, func(s *scenario, d dice, h *Host) { s.verdict(h, weighs, d.chance(0.5)) }},
		{"release", 4, planned, anyOf, func(s *scenario, d dice, h *Host) { s.verdict(h, releases, d.chance(0.5)) }},
		{"drain", 5, gentle, anyOf, func(s *scenario, d dice, h *Host) { s.drain(h, d.chance(0.6)) }},
		{"flap", 2, gentle, anyOf, (*scenario).flap},
		{"stop", 4, planned, anyOf, (*scenario).stop},
		{"priority", 3, gentle, anyOf, (*scenario).reprioritize},
		{"rollout", 3, gentle, anyOf, (*scenario).rollout},
		{"absence", 2, planned, anyOf, func(s *scenario, d dice, h *Host) { s.configure(h, d.chance(0.6)) }},
		{"noise", 3, gentle, anyOf, (*scenario).noise},
		{"reexec", 5, planned, anyOf, (*scenario).reexec},
		{"overhaul", 2, hard, anyOf, (*scenario).overhaul},
		{"kill", 3, hard, anyOf, (*scenario).kill},
		{"crash", 3, hard, anyOf, (*scenario).crash},
		{"pause", 3, hard, anyOf, (*scenario).pause},
		{"freeze", 3, hard, anyOf, (*scenario).freeze},
		{"link", 3, hard, anyOf, (*scenario).flapLink},
		{"bare", 1, hard, anyOf, (*scenario).bare},
		{"mac", 1, hard, anyOf, (*scenario).remac},
		{"cut", 6, hard, anyOf, (*scenario).cut},
		{"heal", 3, hard, anyOf, func(s *scenario, _ dice, _ *Host) { s.c.Heal() }},
		{"storm", 2, hard, anyOf, (*scenario).storm},
		{"lag", 2, hard, anyOf, (*scenario).lag},
		{"firewall", 2, hard, anyOf, (*scenario).firewall},
		{"refuse", 1, hard, anyOf, (*scenario).refuseAddress},
		{"delete", 3, hard, anyOf, (*scenario).delete},
		{"slow reexec", 2, hard, anyOf, (*scenario).slowReexec},
		{"ungroup", 6, hard, grouped, (*scenario).ungroup},
		{"rekey", 8, gentle, signed, (*scenario).rekey},
		{"adjust", 5, gentle, signed, (*scenario).adjust},
		{"misset", 2, hard, signed, (*scenario).misset},
		{"names", 20, hard, named, (*scenario).rename},
		{"unplug", 12, hard, unplugged, (*scenario).unplug},
	}
}

// some draws how long a fault lasts: often shorter than what anybody waits for, often longer.
func (s *scenario) some(d dice) time.Duration {
	return pick(d, d.upTo(s.common.Interval), d.upTo(5*s.common.Interval), d.upTo(s.o.chaos/2))
}

func (s *scenario) verdict(h *Host, check string, healthy bool) {
	if _, ok := s.common.Checks[check]; !ok {
		return
	}
	s.c.Note("** check %s %s %t", h.Name, check, healthy)
	s.plights[h].sick[check] = !healthy
	h.SetCheck(check, &Verdict{healthy, "drawn"})
}

func (s *scenario) drain(h *Host, on bool) {
	s.c.Note("** drain %s %t", h.Name, on)
	if h.Running() && !h.Cleaning() {
		s.plights[h].drained = on
	}
	h.Feed(node.Drain{Who: "admin", On: on})
}

// flap is a check that cannot decide.
func (s *scenario) flap(d dice, h *Host) {
	healthy := d.chance(0.5)
	for k := range 1 + d.IntN(6) {
		s.then(time.Duration(k)*d.upTo(s.common.Interval), gentle, func() {
			healthy = !healthy
			s.verdict(h, yields, healthy)
		})
	}
}

func (s *scenario) stop(d dice, h *Host) {
	if !h.Running() || h.Cleaning() {
		return
	}
	s.plights[h].stopping = true
	h.Feed(node.Stop{})
	s.then(s.some(d), planned, func() {
		if s.plights[h].stopping {
			s.start(h)
		}
	})
}

// reprioritize gives one host another base.
func (s *scenario) reprioritize(d dice, h *Host) {
	x := s.plights[h]
	if x.version != s.version || x.absent {
		return
	}
	x.priority = uint8(2 + d.IntN(253))
	s.configure(h, false)
}

// noise are packets that nobody may act upon.
func (s *scenario) noise(d dice, h *Host) {
	for range 1 + d.IntN(20) {
		s.then(d.upTo(2*s.common.Interval), gentle, func() { s.damage(d, h) })
	}
}

// kill ends a process (SIGKILL); a cleanup may run after it, and be killed, too.
func (s *scenario) kill(d dice, h *Host) {
	cleans := d.chance(0.5)
	if !cleans && slices.ContainsFunc(s.o.siblings(s.common), func(i node.Instance) bool { return !i.Lease }) {
		s.crash(d, h) // its addresses would stay for ever
		return
	}
	h.Kill()
	if cleans {
		s.c.Note("** cleanup %s", h.Name)
		h.Cleanup()
	}
	wait := s.some(d)
	if cleans && d.chance(0.5) {
		s.then(pick(d, d.upTo(50*time.Millisecond), d.upTo(2*s.common.Interval)), hard, func() { s.strike(h) })
		wait += pick(d, 0, 2*least) // what it leaves must be gone by then
	}
	s.then(wait, hard, func() { s.start(h) })
}

// strike kills a cleanup that is at work still, but for one without which addresses would stay for ever.
func (s *scenario) strike(h *Host) {
	if h.Cleaning() && !endless(h) {
		s.c.Note("** kill the cleanup on %s", h.Name)
		h.Kill()
	}
}

// crash ends the whole host.
func (s *scenario) crash(d dice, h *Host) {
	h.Crash()
	s.then(s.some(d), hard, func() { s.start(h) })
}

// pause stops the process (SIGSTOP).
func (s *scenario) pause(d dice, h *Host) {
	h.Pause()
	s.then(s.some(d), hard, func() {
		s.c.Note("** resume %s", h.Name)
		h.Resume()
	})
}

// freeze stops the whole host, as a hypervisor does, or as a suspended machine.
func (s *scenario) freeze(d dice, h *Host) {
	h.Freeze(d.chance(0.5))
	how := s.awakening(d)
	s.then(s.some(d), hard, func() {
		s.c.Note("** thaw %s, %s", h.Name, how)
		s.thaw(d, h, how)
	})
}

// awakening draws how a host that stood still learns of it. At the end all clocks that must agree do.
func (s *scenario) awakening(d dice) Pause {
	how := pick(d, Hidden, Caught, Suspended)
	if s.keys.signed && s.ended && how == Hidden {
		return Caught
	}
	return how
}

// setLink changes a link and tells the trace.
func (s *scenario) setLink(h *Host, l node.Link) {
	s.c.Note("** link %s of %s up %t, %s, %s, %s", l.Name, h.Name, l.Up, l.MAC, l.Source4, l.Source6)
	h.SetLink(l)
}

// mend makes a host's links what they were, but for their MACs.
func (s *scenario) mend(h *Host) {
	for _, l := range s.plights[h].links {
		if l.MAC = h.LinkOn(l.Name).MAC; !reflect.DeepEqual(l, h.LinkOn(l.Name)) {
			s.setLink(h, l)
		}
	}
}

// anyLink draws one of a host's.
func anyLink(d dice, h *Host) node.Link { return pick(d, h.links...) }

// number is a host's, from which its addresses come.
func (s *scenario) number(h *Host) int { return int(h.Name[0]-'a') + 1 }

func (s *scenario) flapLink(d dice, h *Host) {
	l := anyLink(d, h)
	l.Up, l.Reason = false, "no carrier"
	s.setLink(h, l)
	s.then(s.some(d), hard, func() { s.mend(h) })
}

// bare takes the interface's own addresses away, as a network manager that starts again does.
func (s *scenario) bare(d dice, h *Host) {
	l, which := anyLink(d, h), d.IntN(3)
	if which != 0 {
		l.Source4 = netip.Addr{}
	}
	if which != 1 {
		l.Source6 = netip.Addr{}
	}
	s.setLink(h, l)
	s.then(s.some(d), hard, func() { s.mend(h) })
}

func (s *scenario) remac(d dice, h *Host) {
	l := anyLink(d, h)
	l.MAC = "02:00:00:00:01:" + string("0123456789abcdef"[d.IntN(16)]) + "0"
	s.setLink(h, l)
}

// cut stops some traffic of a host, one way or both.
func (s *scenario) cut(d dice, h *Host) {
	what := pick(d, Everything, Everything, AdvertsIPv4, AdvertsIPv6, Announcements)
	other, link := s.c.hosts[d.IntN(len(s.c.hosts))].Name, ""
	if s.o.grouped() && d.chance(0.8) {
		link = anyLink(d, h).Name
	}
	cuts := []Cut{{h.Name, "", what, link}, {"", h.Name, what, link}, {h.Name, other, what, link}}
	if d.chance(0.5) {
		cuts = cuts[:2]
	} else {
		k := d.IntN(3)
		cuts = cuts[k : k+1]
	}
	for _, c := range cuts {
		s.c.Note("** cut %q %q %s %s", c.From, c.To, c.What, c.Link)
		s.c.Cut(c)
	}
	if d.chance(0.7) {
		s.then(s.some(d), hard, func() {
			s.c.Note("** heal")
			s.c.Heal()
		})
	}
}

// storm delays, repeats and reorders for a while.
func (s *scenario) storm(d dice, _ *Host) {
	s.calmNetwork() // of an earlier one, which may hold what it has longer than this one
	s.c.Network.MaxDelay, s.c.Network.InOrder = d.upTo(3*s.common.Interval), false
	s.c.Network.Duplicates = 0.5 * d.Float64()
	s.slowest = max(s.slowest, s.c.Network.MaxDelay)
	s.then(s.some(d), hard, s.calmNetwork)
}

// calmNetwork ends a storm; what is on its way still comes.
func (s *scenario) calmNetwork() {
	n := &s.c.Network
	s.late = later(s.late, s.c.now.Add(n.MaxDelay))
	s.then(n.MaxDelay, hard, func() {}) // an old advert that comes then makes a backup wait anew
	n.MaxDelay, n.Duplicates, n.InOrder = s.o.network.MaxDelay, s.o.network.Duplicates, s.o.network.InOrder
}

// lag is a process that performs everything late.
func (s *scenario) lag(d dice, h *Host) {
	s.catchUp(h) // with an earlier one
	h.Lag = d.upTo(2 * s.common.Interval)
	s.then(s.some(d), hard, func() { s.catchUp(h) })
}

// catchUp ends a lag; what was put off is still done late.
func (s *scenario) catchUp(h *Host) {
	s.late = later(s.late, s.c.now.Add(h.Lag))
	h.Lag = 0
}

// firewall keeps a host's adverts from leaving it.
func (s *scenario) firewall(d dice, h *Host) {
	h.Firewall, h.Walled = "operation not permitted", ""
	s.plights[h].walled = true
	if s.o.grouped() {
		h.Walled = anyLink(d, h).Name
	}
	s.then(s.some(d), hard, func() { h.Firewall = "" })
}

// refuse makes the kernel refuse a host's addresses, or take them again.
func (s *scenario) refuse(h *Host, why string) {
	x := s.plights[h]
	for _, ip := range x.refuses { // a reload may have changed the addresses meanwhile
		h.Refuse(ip, "")
	}
	x.refused, x.refuses = why != "", nil
	if !x.refused {
		return
	}
	x.balked = true
	for _, i := range s.o.siblings(s.common) {
		h.Refuse(i.Addresses[0].IP, why)
		x.refuses = append(x.refuses, i.Addresses[0].IP)
	}
}

// refuseAddress is an address that cannot be set. The wait for another try doubles each time, so it is done only so often.
func (s *scenario) refuseAddress(d dice, h *Host) {
	if s.refused++; s.refused > 2 {
		return
	}
	s.refuse(h, "file exists")
	told := d.chance(0.5) // the kernel tells when what stood in the way is gone
	s.then(s.some(d), hard, func() {
		gone := s.plights[h].refuses
		s.refuse(h, "")
		for _, i := range h.cfg.Instances {
			if told && h.State(i.Name) == node.Fault && slices.Contains(gone, i.Addresses[0].IP) {
				h.feed(node.AddressLost{Interface: i.Interface, IP: i.Addresses[0].IP})
			}
		}
	})
}

// delete is another hand that deletes an address, rarely again and again: then the host offers it to others for a minute.
func (s *scenario) delete(d dice, h *Host) {
	times := 1
	if d.chance(0.2) && s.common.Interval >= 300*time.Millisecond {
		times = 6
	}
	ip := pick(d, pick(d, s.o.siblings(s.common)...).Addresses...).IP
	for k := range times {
		s.then(time.Duration(k)*(60*time.Millisecond+d.upTo(time.Second)), hard, func() {
			if h.Has(ip) {
				s.plights[h].deleted = append(s.plights[h].deleted, h.now())
				h.Delete(ip)
			}
		})
	}
}
