package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// What is sent while a host's link is down the host does not hear, and somebody may catch it. Once the link is up again that is early, as
// what was sent before the host's process began: it makes the host master of nothing, however the host's own clock was set meanwhile.

// deafness is when a host's process last heard nobody, by what it was told of its links, and since when it has each virtual router.
type deafness struct {
	from, until map[string]time.Time
	since       map[speaker]time.Time // of all speakers
}

// configured takes note of which virtual routers a host's process has: one that a reload removed and brings back begins to hear anew.
func (x *deafness) configured(instances []node.Instance, now time.Time) {
	since := map[speaker]time.Time{}
	for _, i := range instances {
		key := speaker{link: i.Interface, vrid: i.VRID}
		if since[key] = now; !x.since[key].IsZero() {
			since[key] = x.since[key]
		}
	}
	x.since = since
}

// deafStream is the first of the streams that say what is played to hosts whose links are up again.
const deafStream = 1 << 41

// maxUnheard is how much of what a host did not hear is played to it at most, each time.
const maxUnheard = 6

// drawUnplugging draws whether the links of hosts that sign are down for longer than the margin that a clock is given. It came later than
// the rest, and is drawn apart, so that the other clusters are what they were.
func (s *scenario) drawUnplugging(d dice) {
	breaks := slices.ContainsFunc(s.o.kinds, func(k kind) bool { return k.unrest == hard }) // else its administrators are orderly
	if s.o.unplugs = s.keys.signed && breaks && d.chance(0.4); s.o.unplugs {
		s.o.kinds = append(s.o.kinds, kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.only == unplugged })])
	}
}

// unplug takes a host's link down for so long that the others certainly say something. Meanwhile one of them may stop, which hands over, and
// the host's clock may be set.
func (s *scenario) unplug(d dice, h *Host) {
	l := anyLink(d, h)
	l.Up, l.Reason = false, "no carrier"
	s.setLink(h, l)
	most := startSlack + 200*time.Millisecond + d.upTo(5*s.common.Interval)
	if d.chance(0.3) {
		s.then(d.upTo(most), gentle, func() { s.adjust(d, h) })
	}
	if other := pick(d, s.c.hosts...); other != h && d.chance(0.7) {
		s.then(d.upTo(most), planned, func() { s.stop(d, other) })
	}
	s.then(most, hard, func() { s.mend(h) })
}

// blink takes a host's link down for an interval.
func (s *scenario) blink(h *Host) {
	l := h.Link()
	l.Up, l.Reason = false, "no carrier"
	s.setLink(h, l)
	s.c.Run(s.widest)
	s.mend(h)
}

// deaf takes note that a link of a host is down.
func (x *deafness) deaf(link string, now time.Time) {
	if x.from == nil {
		x.from, x.until = map[string]time.Time{}, map[string]time.Time{}
	}
	x.from[link] = now
}

// hears takes note that it is up again, and has what was sent meanwhile played to the host.
func (s *scenario) hears(h *Host, link string) {
	x := s.plights[h]
	x.until[link] = s.c.now
	d := newDice(s.seed, deafStream+uint64(s.c.Since()))
	for range d.IntN(maxUnheard + 1) {
		s.then(d.upTo(s.common.Interval), gentle, func() { s.playUnheard(d, h, link) })
	}
}

// unheard says whether an advert was certainly sent on a link while a host heard nobody there.
func (s *scenario) unheard(h *Host, link string, c caught) bool {
	return s.passedBy(h, link, c) && s.isOld(h, c)
}

// passedBy says whether it was, by the cluster's clock.
func (s *scenario) passedBy(h *Host, link string, c caught) bool {
	x := s.plights[h]
	return c.Interface == link && c.by != h && c.at.After(x.from[link]) && c.at.Before(x.until[link])
}

// missed says whether what a host is given was sent before it listened: before its process or the virtual router began, its clock was set, or
// its link was up again.
// Somebody plays it, or it was under way for long. By what the host knows of its sender's clock it may be early, however far ahead that clock is.
func (s *scenario) missed(h *Host, heard node.Heard) bool {
	x := s.plights[h]
	began := later(x.sure, x.since[speaker{link: heard.Interface, vrid: heard.Advert.VRID}])
	return s.c.now.Add(-s.underWay(heard)).Before(later(began, x.until[heard.Interface]))
}

// movesAddresses says whether who hears an advert takes over at once.
func movesAddresses(c caught) bool {
	a := heading(c.Payload)
	return a.Priority == vrrp.PriorityRelease || vrrp.IsOffer(a)
}

// playUnheard plays one of those that a host did not hear. If it was given a newer one of its sender since then, it must do nothing.
func (s *scenario) playUnheard(d dice, h *Host, link string) {
	of := slices.DeleteFunc(slices.Clone(s.keys.caught), func(c caught) bool { return !s.unheard(h, link, c) })
	if len(of) == 0 || !sound(h) || h.cleaning || !h.Running() {
		return
	}
	if moves := slices.DeleteFunc(slices.Clone(of), func(c caught) bool { return !movesAddresses(c) }); len(moves) > 0 && d.chance(0.7) {
		of = moves
	}
	c := pick(d, of...)
	x, l, key := s.plights[h], h.LinkOn(link), speaker{c.Interface, c.Payload[1], c.Source}
	switch {
	case !listens(h, key), !c.Destination.IsMulticast() && c.Destination != l.Source4 && c.Destination != l.Source6:
	case x.heard[key].refuses(sequence(c.Payload), s.keys.window):
		h.Intrude(c.Interface, c.Payload, c.Source, c.Destination, vrrp.HopLimit)
	default:
		s.keys.count.unheard++
		s.p.disturbed()
		h.Replay(c.Interface, c.Payload, c.Source, c.Destination)
	}
}

// TestUnheardIsOld holds what is played to a host whose link is up again: what was sent while it was down, up to the margin that the host
// gives a clock, and nothing else.
func TestUnheardIsOld(t *testing.T) {
	const interval = 100 * time.Millisecond
	s := signedPair(interval, interval, false)
	startAll(s.c)
	b := s.c.Host("b")
	l := b.Link()
	l.Up, l.Reason = false, "no carrier"
	down := s.c.Now()
	s.setLink(b, l)
	s.c.Run(5 * time.Second)
	s.mend(b)
	up := s.c.Now()
	s.c.Run(interval * 5)
	played := 0
	for _, c := range s.keys.caught {
		old := c.at.After(down) && c.at.Before(up.Add(-startSlack))
		if got := s.unheard(b, Interface, c); got && !(c.at.After(down) && c.at.Before(up)) || old && !got {
			t.Errorf("what was sent %s after the link was down, for %s, is old: %t", c.at.Sub(down), up.Sub(down), got)
		}
		if old {
			played++
		}
	}
	if played == 0 || s.unheard(b, "eth1", s.keys.caught[0]) {
		t.Errorf("%d adverts were not heard, want some, and none on another link", played)
	}
}

// TestUnheardIsPlayed holds that the random runs play it, and that it is new to the host.
func TestUnheardIsPlayed(t *testing.T) {
	for _, k := range []species{single, groups} {
		n := 0
		for s := *seed; s < *seed+1000 && n == 0; s++ {
			if draw(s, k, false, nil).keys.signed {
				n = play(s, k, false, nil).keys.count.unheard
			}
		}
		if n == 0 {
			t.Errorf("%s: in 1000 seeds nothing was played to a host that had not heard it", k)
		}
	}
}

// TestJudgeKnowsWhatWasUnderWay holds that the judge takes an advert for early, which the next process does not know, that was sent before the
// host's link was down and came once it was up again, or that was sent before a start and came after it; and that it takes for heard,
// which the next process does know, what was under way for as long while nothing of that happened to the link that it came by.
func TestJudgeKnowsWhatWasUnderWay(t *testing.T) {
	const interval = 100 * time.Millisecond
	restart := func(_ *scenario, h *Host) {
		h.Kill()
		h.Start()
	}
	exchange := func(s *scenario, h *Host) {
		if !h.Reexec(time.Millisecond) {
			t.Error("its process does not let itself be exchanged")
		}
		s.c.Run(interval / 10)
	}
	reload := func(_ *scenario, h *Host) { h.Reconfigure(h.cfg) }
	regain := func(_ *scenario, h *Host) {
		cfg := h.cfg
		h.Reconfigure(node.Config{Name: h.Name})
		h.Reconfigure(cfg)
	}
	for _, tt := range []struct {
		name  string
		does  func(s *scenario, h *Host) // while it is under way,
		after bool                       // or before it is sent
		early bool
	}{
		{"nothing happens", func(*scenario, *Host) {}, false, false},
		{"the link is down", (*scenario).blink, false, true},
		{"the link was down before", (*scenario).blink, true, false},
		{"another link is down", func(s *scenario, h *Host) {
			s.linked(h, node.Link{Name: "eth1"})
			s.linked(h, node.Link{Name: "eth1", Up: true})
		}, false, false},
		{"it is started anew", restart, false, true},
		{"it was started anew before", restart, true, false},
		{"it loses the virtual router for a moment", regain, false, true},
		{"it lost the virtual router before", regain, true, false},
		{"it is reloaded as it is", reload, false, false},
		{"its process is exchanged", exchange, false, true},
		{"its process was exchanged before", exchange, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signedPair(interval, 3*time.Second, false)
			a, b := s.c.Host("a"), s.c.Host("b") // whose clock is ahead, so that what it sent just before a start seems to be later
			b.Start()
			s.c.Run(10 * interval)
			a.Start()
			s.c.Run(30 * interval)
			s.c.Cut(Cut{"b", "a", Everything, ""})
			s.c.Run(interval)
			if tt.after {
				tt.does(s, a)
				s.c.Run(interval)
			}
			c := s.keys.caught[len(s.keys.caught)-1]
			s.c.Run(3 * interval / 2)
			if !tt.after {
				tt.does(s, a)
			}
			a.feed(read(c.Interface, c.Payload, c.Source, c.Destination, vrrp.HopLimit))
			taken := func() bool {
				return slices.ContainsFunc(a.node.Seal(a.now()).Instances[0].Members[0].Floors.Senders, func(f vrrp.Floor) bool { return f.Newest == vrrp.Sequence(sequence(c.Payload)) })
			}
			heard := func() hearing { return s.plights[a].heard[speaker{c.Interface, c.Payload[1], c.Source}] }
			if h := heard().newest; c.by != b || taken() != tt.early || (h.early == sequence(c.Payload)) != tt.early || (h.believed == sequence(c.Payload)) == tt.early {
				t.Errorf("the host takes it for early: %t, the judge has %+v, want %t of both", taken(), h, tt.early)
			}
			a.Feed(node.Stop{}) // which saves what it knows
			a.Start()
			s.c.Run(time.Millisecond)
			if got := heard().refuses(sequence(c.Payload), s.keys.window); got == tt.early {
				t.Errorf("the next process must refuse it: %t, want %t", got, !tt.early)
			}
			if !tt.early {
				a.Intrude(c.Interface, c.Payload, c.Source, c.Destination, vrrp.HopLimit)
			}
			if len(s.c.Faults()) > 0 {
				t.Errorf("faults %q, want none", s.c.Faults())
			}
		})
	}
}
