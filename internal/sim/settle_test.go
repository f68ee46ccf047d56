package sim

import (
	"fmt"
	"math/bits"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// settle checks that a healed cluster finds its master in time, and rests.
func (s *scenario) settle() {
	s.recover()
	for h, x := range s.plights {
		if s.worn(h) {
			s.p.rested = s.c.now
		}
		x.deleted = nil
	}
	b := s.bounds()
	for _, i := range s.o.siblings(s.common) {
		s.p.first[i.Name] = i.Addresses[0].IP
	}
	if s.o.ill {
		s.expire() // until then the kernel of a dead process answers the probes of a last resort
		s.c.Run(b.rest())
		s.judge(b.rest(), s.running())
		s.expire()
		short := min(4*time.Second, 3*time.Second+100*s.common.Interval)
		s.rest(pick(newDice(s.seed, 3), short, short, short, short, short, 20*time.Second), true)
		return
	}
	want := s.healthy()
	if s.common.Preempt {
		want = s.best(want)
	}
	bound := b.converge(s.lowest(want))
	if s.woke {
		bound += b.wakes()
	}
	s.c.Run(bound)
	s.judge(bound, want)
	s.c.Run(b.drift(maxLinger))
	s.expire()
	s.rest(10*s.common.Interval+time.Second, false)
}

// recover lets time pass until every host that is to take part does: from then on its time counts.
func (s *scenario) recover() {
	for _, x := range s.plights {
		x.looked = -1
	}
	step := max(fastestOf(s.o.siblings(s.common)).Interval/8, 2*time.Millisecond)
	for began, free := s.c.now, s.c.now; !s.recovered(); s.c.Run(step) { // who learns of another may be deaf to it anew
		if s.moved && slices.ContainsFunc(s.c.hosts, s.haunted) {
			free = s.c.now // whose kernel answers who asks whether somebody serves what was another virtual router's
		}
		if h := s.waits; h != nil && s.c.now.Sub(later(free, s.keys.deaf)) > s.recovery(h)+s.learns()+step {
			what := "takes no part"
			if s.partakes(h) {
				what = "does not know where the others are"
			}
			s.c.Fault("%s after nothing stood in its way any more %s %s: %s", s.c.now.Sub(began), h.Name, what, standings(h))
			return
		}
	}
}

// standings are a host's states and their reasons.
func standings(h *Host) string {
	var text strings.Builder
	for _, i := range h.Status().Instances {
		fmt.Fprintf(&text, " %s %s (%s)", i.Name, i.State, i.Why)
	}
	return strings.TrimSpace(text.String())
}

// expire lets time pass until what dead processes left is gone.
func (s *scenario) expire() {
	end := s.c.now
	for _, h := range s.c.hosts {
		if s.haunted(h) {
			end = later(end, s.c.now.Add(s.mayStay(h)))
			for ip := range h.kernel.addrs {
				end = later(end, s.c.now.Add(s.bounds().drift(s.bequeathed(h, ip))))
			}
		}
	}
	for s.c.now.Before(end) && slices.ContainsFunc(s.c.hosts, s.haunted) {
		s.c.Run(100 * time.Millisecond)
	}
}

// recovered says whether every healthy host takes part, and knows it, and knows the others and believes them: a master does not give way before.
// Whoever was waited for last is asked first: it is asked often.
func (s *scenario) recovered() bool {
	if s.c.now.Before(s.keys.deaf) || s.waits != nil && !s.partakes(s.waits) {
		return false
	}
	s.waits = nil
	for _, h := range s.c.hosts {
		if !s.partakes(h) {
			s.waits = h
			return false
		}
	}
	s.waits = s.stranger(true) // whoever learns of one, be it a dead one, listens again
	return s.waits == nil
}

// partakes says whether a host takes part, and knows it, or need not. Without a step it is what it was.
func (s *scenario) partakes(h *Host) bool {
	x := s.plights[h]
	if x.looked != x.steps {
		x.looked, x.partake = x.steps, s.seemsWell(h, x)
	}
	return x.partake
}

// seemsWell is that by its status.
func (s *scenario) seemsWell(h *Host, x *plight) bool {
	if !h.Running() || x.sick[releases] {
		return true
	}
	instances := h.Status().Instances
	if len(instances) != s.o.instances {
		return false
	}
	for _, i := range instances {
		leaves := i.State == node.Leaving && !x.sick[yields] && !x.drained // for what is over by now
		out := i.State == node.Init && !s.restsApart(h, i) || i.State == node.Fault || leaves || !i.Retry.IsZero()
		believesIll := len(i.Unhealthy) > 0 && !x.sick[yields] && !x.drained
		if out || believesIll {
			return false
		}
	}
	return true
}

// restsApart says whether an instance of a host may look on while the rest of its group serves: every host is unhealthy, another one that serves
// it keeps it, and it says that it waits for another one.
func (s *scenario) restsApart(h *Host, i node.InstanceStatus) bool {
	if !s.o.ill || !s.o.grouped() || !waitsApart.MatchString(i.Why) {
		return false
	}
	rest := serving(h, func(name string) bool { return name != i.Name })
	return rest && slices.ContainsFunc(s.c.hosts, func(other *Host) bool {
		return other != h && serving(other, func(name string) bool { return name == i.Name })
	})
}

// waitsApart is why a newcomer of a group waits.
var waitsApart = regexp.MustCompile(`(better than|as unhealthy as) this group: waiting|^another host is master|offers its addresses: waiting|^listening whether another`)

// serving says whether a host serves an instance with such a name, by its status: what the log last said of that name may be of another one.
func serving(h *Host, such func(name string) bool) bool {
	return h.Running() && slices.ContainsFunc(h.Status().Instances, func(i node.InstanceStatus) bool { return such(i.Name) && serves(i.State) })
}

// judge checks that each instance has one master, of those that it may be.
func (s *scenario) judge(bound time.Duration, want []*Host) {
	s.priorities()
	for _, i := range s.o.siblings(s.common) {
		var masters []*Host
		for _, h := range s.c.hosts {
			if st := h.State(i.Name); st == node.Master || s.o.ill && st == node.Leaving { // one that offers its addresses again
				masters = append(masters, h)
			}
		}
		if len(masters) != 1 || !slices.Contains(want, masters[0]) {
			s.c.Fault("%s after the last fault the masters of %s are %v, want one of %v", bound, i.Name, hostNames(masters), hostNames(want))
		}
	}
}

// running lists the hosts that take part, healthy or not.
func (s *scenario) running() (hosts []*Host) {
	for _, h := range s.c.hosts {
		if h.Running() && !s.plights[h].sick[releases] {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// healthy lists those that are healthy.
func (s *scenario) healthy() (hosts []*Host) {
	for _, h := range s.c.hosts {
		if s.health(h) == well {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// best lists the hosts of the highest effective priority; among equals the address decides, but not against a living master.
func (s *scenario) best(hosts []*Host) (bests []*Host) {
	top := uint8(0)
	for _, h := range hosts {
		p := s.effective(h)
		if p > top {
			top, bests = p, nil
		}
		if p == top {
			bests = append(bests, h)
		}
	}
	return bests
}

// lowest is the lowest effective priority.
func (s *scenario) lowest(hosts []*Host) uint8 {
	low := uint8(vrrp.PriorityOwner)
	for _, h := range hosts {
		low = min(low, s.effective(h))
	}
	return low
}

// effective is the priority that a host must have, by what was drawn for it and not by what its node says: a node that reckons wrong on
// every host would be its own judge. A group has the lowest of its instances.
func (s *scenario) effective(h *Host) uint8 {
	x, low := s.plights[h], uint8(vrrp.PriorityOwner)
	if x.sick[yields] || x.drained {
		return vrrp.PriorityIll
	}
	for _, i := range s.config(h, s.common).Instances {
		p, weight := int(i.Priority), i.Checks[weighs].Weight
		switch {
		case i.Priority == vrrp.PriorityOwner:
			continue // no weight counts
		case weight < 0 && x.sick[weighs], weight > 0 && !x.sick[weighs]:
			p += weight
		}
		low = min(low, uint8(min(max(p, 2), 254)))
	}
	return low
}

// priorities checks that each host that takes part has the priority that it must have.
func (s *scenario) priorities() {
	for _, h := range s.running() {
		for _, i := range h.Status().Instances {
			if want := s.effective(h); i.Priority != want {
				s.c.Fault("%s has priority %d for %s, want %d", h.Name, i.Priority, i.Name, want)
			}
		}
	}
}

func hostNames(hosts []*Host) (names []string) {
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return names
}

// rest checks that nothing moves any more, and that nobody has what it should not have.
func (s *scenario) rest(d time.Duration, ill bool) {
	s.w.reset()
	since := s.c.Now()
	s.c.Run(d)
	wanted := map[netip.Addr]bool{}
	for _, i := range s.o.siblings(s.common) {
		for _, ip := range ips(i) {
			wanted[ip] = true
			if periods := s.c.Owners.Periods(ip, since); len(periods) != 1 || len(periods[0].Hosts) != 1 {
				s.c.Fault("an address moves or rests nowhere although nothing happens: %s", s.c.Owners.Describe(ip, since, s.c.Now()))
				break
			}
		}
	}
	for _, h := range s.c.hosts {
		for _, ip := range h.kernel.list() {
			if !wanted[ip] {
				s.c.Fault("%s still has %s, which is no longer configured", h.Name, ip)
			}
		}
	}
	s.idle(d, ill)
}

func ips(i node.Instance) (out []netip.Addr) {
	for _, a := range append(slices.Clone(i.Addresses), i.Unadvertised...) {
		out = append(out, a.IP)
	}
	return out
}

// idle checks that nothing was done in a while but what the beat of the adverts asks for. An unhealthy master offers its
// addresses after 1, 2, 4 .. s, with two quiet lines each.
func (s *scenario) idle(d time.Duration, ill bool) {
	quiet := 0
	if ill {
		quiet = 2 * bits.Len(uint(d/time.Second)+1) * s.o.instances
	}
	if s.w.changes > 0 || s.w.quiet > quiet {
		s.c.Fault("%d changes and %d quiet ones within %s although nothing happens", s.w.changes, s.w.quiet, d)
	}
	// Each advert is one step of its sender and one of each other host; a renewal two (Elapsed, AddressesSet); a round of
	// announcements, of which there are few, one for each address and host.
	hosts, limit := len(s.c.hosts)+1, 0
	for _, i := range s.o.siblings(s.common) {
		beats := (int(d/i.Interval)+1)*hosts*len(i.Families()) + 2*int(d/min(i.Interval, 500*time.Millisecond))
		rounds := 10 * hosts * len(ips(i))
		limit += 2*beats + rounds + 300
	}
	if s.w.steps > limit {
		s.c.Fault("%d steps within %s although nothing happens, %d are enough", s.w.steps, d, limit)
	}
}
