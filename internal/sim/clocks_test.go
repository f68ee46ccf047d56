package sim

import (
	"slices"
	"testing"
	"time"
)

// What is promised of clocks where hosts sign. As long as no two are further apart than the window, less what is on its way, each may be
// set whenever anybody likes, and nobody notices; but to a host whose own clock was set the others' are new, as at its start. One whose
// clock is further off hears nobody, and nobody hears it; two windows after it is right, and by what it may be behind, all is as it was, but for
// whom it has not heard since then: it goes by what it believed of that one's clock last, where it begins to hear anew. What
// was heard is refused as ever, whatever clock is set, or early where the newest of it lies outside the window then; but for what was signed
// more than two windows before something newer: there a time comes twice, and may be played again, unless nothing was signed between them.

// adjust sets a host's clock, so that it agrees with the others' as before: a step of NTP, or a person.
func (s *scenario) adjust(d dice, h *Host) {
	if s.plights[h].amiss || s.keys.ahead == 0 {
		return
	}
	s.keys.count.adjusted++
	s.setWall(h, s.agreeing(d, h))
}

// misset sets it so that it does not agree, until somebody sets it right. Two that are wrong may agree with each other.
func (s *scenario) misset(d dice, h *Host) {
	by := pick(d, s.keys.window+2*time.Second, s.keys.window+d.upTo(2*s.keys.window), s.keys.window+time.Minute, time.Hour)
	if d.chance(0.5) {
		by = -by
	}
	if s.plights[h].amiss {
		return
	}
	s.keys.count.missets++
	s.plights[h].amiss = true
	s.setWall(h, h.Ahead()+by)
	s.then(s.some(d), hard, func() { s.setRight(d, h) })
}

// setRight ends that. Adverts that were signed ahead of time, or that others signed, count for up to two windows, or until who
// signed them has passed them; what a host that is behind sends is early meanwhile, and so has less forgotten.
func (s *scenario) setRight(d dice, h *Host) {
	if !s.plights[h].amiss {
		return
	}
	s.plights[h].amiss = false
	s.setWall(h, s.agreeing(d, h))
	s.deafen(2*s.keys.window + s.keys.ahead)
}

// agreeing draws how far ahead a host's clock may be to agree with all others' that are right.
func (s *scenario) agreeing(d dice, h *Host) time.Duration {
	low, high := s.agrees(h)
	return low + d.upTo(max(high-low, 0))
}

// agrees is the range of that.
func (s *scenario) agrees(h *Host) (low, high time.Duration) {
	low, high = -s.keys.ahead, s.keys.ahead
	var others []time.Duration
	for _, other := range s.c.hosts {
		if other != h && !s.plights[other].amiss {
			others = append(others, other.Ahead())
		}
	}
	if len(others) > 0 {
		low, high = slices.Max(others)-s.keys.ahead, slices.Min(others)+s.keys.ahead
	}
	return low, high
}

// setWall sets a host's wall clock.
func (s *scenario) setWall(h *Host, ahead time.Duration) {
	s.c.Note("** the clock of %s is set by %s, to be %s ahead", h.Name, ahead-h.Ahead(), ahead)
	x := s.plights[h]
	x.sets = append(x.sets, h.clock.set)
	if (ahead - h.Ahead()).Abs() <= 2*startSlack {
		x.blurred = s.c.now
	}
	x.remeasures((ahead - h.Ahead()).Abs())
	h.SetWall(ahead)
	for _, known := range []map[speaker]hearing{x.heard, x.saved} {
		for who, heard := range known {
			known[who] = heard.loosen(h.now(), s.keys.window)
		}
	}
	s.relearns(h)
}

// thaw lets a host go on. Its wall clock may have missed that it stood, as its timers do, or know it before they do.
func (s *scenario) thaw(d dice, h *Host, how Pause) {
	if how == Caught || !s.keys.signed || !h.Frozen() {
		h.Thaw(how)
		return
	}
	x := s.plights[h]
	x.sets = append(x.sets, h.clock.set)
	if how == Hidden {
		x.blurred = s.c.now
	}
	s.relearns(h) // before it hears what waits
	h.Thaw(how)
	if low, high := s.agrees(h); (h.Ahead() < low || h.Ahead() > high) && !x.amiss {
		x.amiss = true
		s.then(s.some(d), hard, func() { s.setRight(d, h) })
	}
}

// relearns takes note that a host's clock is another one than before, for itself and for the others.
func (s *scenario) relearns(h *Host) {
	x := s.plights[h]
	early := s.earliness() // to one that began before its own clock was set it may be behind by twice as much
	x.set, x.sure, x.seen, s.keys.set = s.c.now, s.c.now, map[speaker]bool{}, true
	s.deafen(early)
	s.greet(h)
}

// sees takes note that a virtual router has an advert, of its own or another's: with the first one it sees that the clock was set, however
// long ago, and what was sent until then is early.
func (s *scenario) sees(h *Host, router speaker) {
	if x := s.plights[h]; x.seen != nil && !x.seen[router] {
		x.seen[router] = true
		s.deafen(s.keys.ahead - startSlack)
	}
}

// relearn takes note that another process goes on for a host's, with what that one knew of the others' clocks.
// The keys are none of that: whom the old one had not believed yet is early to the new one, until its clock has passed the exchange.
func (s *scenario) relearn(h *Host) {
	s.plights[h].sure = s.c.now
	s.deafen(s.earliness())
}

// isOld says whether an advert was certainly signed before a host listened: before its process began, its clock was set, or its link was up
// again. Where that may not have been noticed, or the host may remember a clock that has been set since, nothing is certain.
func (s *scenario) isOld(h *Host, c caught) bool {
	x, by := s.plights[h], s.plights[c.by]
	since, back := later(x.began, x.set), x.until[c.Interface]
	unnoticed := func(was time.Duration) bool { return (h.clock.set - was).Abs() <= 2*startSlack }
	remembers := !x.noted.IsZero() || len(x.sets) > 0
	if back.After(since) && !by.set.After(x.began) { // what it has of a clock that was set since then is not of that clock
		since = back
	}
	switch {
	case slices.ContainsFunc(x.sets, unnoticed), remembers && by.set.After(x.noted):
		return false
	case remembers && (!s.knowsClock(h, c, x.blurred) || !s.knowsClock(h, c, by.set)):
		return false
	case len(x.sets) == 0 && !x.noted.IsZero() && x.set.After(x.noted):
		return false
	}
	slowest := max(s.slowest, x.heard[speaker{c.Interface, c.Payload[1], c.Source}].waited.least)
	const tick = time.Second / 65536 // in which several are signed, each later than the last
	return c.at.Before(since.Add(-memorySlack-slowest)) && c.own.Before(h.clock.of(since).Round(0).Add(-startSlack-tick))
}

// knowsClock says whether what a process has heard, or the one before it, tells of a sender's clock by the host's as both are now: it was believed after
// the last time that the host's was set by so little, or by a hypervisor so secretly, that nobody noticed, and that the sender's was set.
func (s *scenario) knowsClock(h *Host, c caught, set time.Time) bool {
	believed := s.plights[h].heard[speaker{c.Interface, c.Payload[1], c.Source}].newest.believed
	return set.IsZero() || signedAt(believed).After(c.by.clock.of(set).Round(0))
}

// TestJudgeKnowsWhenAClockIsSeen holds that the judge counts from when a host sees that its clock was set: with its next advert, and no other.
func TestJudgeKnowsWhenAClockIsSeen(t *testing.T) {
	const interval, ahead = 10 * time.Second, 8 * time.Second
	const early = ahead - startSlack + 100*time.Millisecond
	for _, alone := range []bool{false, true} {
		s := signedPair(interval, ahead, false)
		a, b := s.c.Host("a"), s.c.Host("b")
		s.c.hosts[0].Start()
		s.c.Run(5 * interval)
		b.Start()
		s.c.Run(5 * interval)
		if alone {
			a.Crash()
		}
		s.keys.caught = nil // nobody plays anything
		set := s.c.now
		s.setWall(b, b.Ahead()-3*time.Second)
		most := set.Add(interval)
		if alone {
			for !b.Has(vip) {
				s.c.Run(time.Millisecond)
			}
			most = s.c.now
		}
		s.c.Run(3 * interval)
		if late := s.keys.deaf.Sub(most); late > early || late < early-interval && !alone || late < early-10*time.Millisecond && alone {
			t.Errorf("alone %t: set at %s, the judge suffers the early until %s after it was seen", alone, set, late)
		}
	}
}

// TestJudgeKnowsBlurredClocks holds that what a process has of the one before it says nothing for the judge where the host's clock was set, and
// nobody noticed, or the sender's, after the sender was heard last; and does, where the sender was heard since.
func TestJudgeKnowsBlurredClocks(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, tt := range []struct {
		name  string
		set   func(s *scenario, b *Host)
		hears bool
		old   bool
	}{
		{"it is not set", func(*scenario, *Host) {}, false, true},
		{"a hypervisor hides that it stood", func(s *scenario, b *Host) {
			b.Freeze(true)
			s.c.Run(5 * time.Second)
			s.thaw(newDice(1, 1), b, Hidden)
		}, false, false},
		{"and the sender is heard after that", func(s *scenario, b *Host) {
			b.Freeze(true)
			s.c.Run(5 * time.Second)
			s.thaw(newDice(1, 1), b, Hidden)
		}, true, true},
		{"it is set a little", func(s *scenario, b *Host) { s.setWall(b, b.Ahead()+900*time.Millisecond) }, false, false},
		{"and the sender is heard after that", func(s *scenario, b *Host) { s.setWall(b, b.Ahead()+900*time.Millisecond) }, true, true},
		{"the sender's is set", func(s *scenario, _ *Host) { s.setWall(s.c.Host("a"), s.c.Host("a").Ahead()+time.Second) }, false, false},
		{"and the sender is heard after that", func(s *scenario, _ *Host) { s.setWall(s.c.Host("a"), s.c.Host("a").Ahead()+time.Second) }, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signedPair(interval, 3*time.Second, false)
			a, b := s.c.Host("a"), s.c.Host("b")
			a.Start()
			s.c.Run(10 * interval)
			b.Start()
			s.c.Run(30 * interval)
			if !tt.hears {
				s.c.Cut(Cut{"a", "b", Everything, ""})
			}
			tt.set(s, b)
			s.c.Run(20 * time.Second) // until then it may be early
			b.Kill()
			s.c.Run(3 * time.Second)
			b.Start()
			s.c.Run(time.Millisecond)
			c := s.keys.caught[len(s.keys.caught)-35]
			if c.by != a {
				t.Fatalf("%s sent it, want a", c.by.Name)
			}
			if got := s.isOld(b, c); got != tt.old {
				t.Errorf("what was sent %s before the start is old: %t, want %t", s.plights[b].began.Sub(c.at), got, tt.old)
			}
		})
	}
}

// TestJudgeKnowsBlurredClocksThatAreSet holds the same of what a process has heard itself, once the host's clock is set so that it notices.
func TestJudgeKnowsBlurredClocksThatAreSet(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, tt := range []struct{ stands, hears, old bool }{{false, false, true}, {true, false, false}, {true, true, true}} {
		s := signedPair(interval, 3*time.Second, false)
		a, b := s.c.Host("a"), s.c.Host("b")
		a.Start()
		s.c.Run(10 * interval)
		b.Start()
		s.c.Run(30 * interval)
		if !tt.hears {
			s.c.Cut(Cut{"a", "b", Everything, ""})
		}
		if tt.stands {
			b.Freeze(true)
			s.c.Run(5 * time.Second)
			s.thaw(newDice(1, 1), b, Hidden)
		}
		s.c.Run(20 * time.Second)
		s.setWall(b, b.Ahead()+4*time.Second)
		s.c.Run(time.Second)
		c := s.keys.caught[slices.IndexFunc(s.keys.caught, func(c caught) bool { return c.by == a && s.c.now.Sub(c.at) < 4*time.Second })]
		if got := s.isOld(b, c); got != tt.old {
			t.Errorf("stood %t, heard a since then %t: what was sent %s before it was set is old: %t, want %t", tt.stands, tt.hears, s.plights[b].set.Sub(c.at), got, tt.old)
		}
	}
}

// TestClocksAreSet holds that the random runs set clocks, and set them wrong.
func TestClocksAreSet(t *testing.T) {
	for _, k := range []species{single, groups} {
		var sum counts
		for s := *seed; s < *seed+400 && (sum.adjusted == 0 || sum.missets == 0); s++ {
			if draw(s, k, false, nil).keys.signed {
				n := play(s, k, false, nil).keys.count
				sum.adjusted, sum.missets = sum.adjusted+n.adjusted, sum.missets+n.missets
			}
		}
		if sum.adjusted == 0 || sum.missets == 0 {
			t.Errorf("%s: in 400 seeds %d clocks were set and %d set wrong, want some of each", k, sum.adjusted, sum.missets)
		}
	}
}

// TestJudgeKnowsWhatIsOld holds from when on an advert is certainly older than a host: a second before its start by the sender's clock, but for
// what may have been signed in the same tick of a sequence, where only a counter tells which of two is newer; and so long before it by the
// cluster's clock as what the host knows of the sender may have waited.
func TestJudgeKnowsWhatIsOld(t *testing.T) {
	const tick = time.Second / 65536
	for _, tt := range []struct {
		name        string
		signed, ago time.Duration // before the start, by the sender's clock beyond the second, and by the cluster's
		waited      time.Duration // what the host was given of the sender
		want        bool
	}{
		{"just less than a second before", -time.Nanosecond, 3 * time.Second, 0, false},
		{"in the tick of a second before", tick / 2, 3 * time.Second, 0, false},
		{"in the tick before that", tick + time.Nanosecond, 3 * time.Second, 0, true},
		{"sent before what waited as long", 2 * tick, 3 * time.Second, 2 * time.Second, true},
		{"sent after what waited for longer", 2 * tick, 3 * time.Second, 4 * time.Second, false},
		{"sent just before the start, by a clock that is behind", 2 * tick, memorySlack, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signedPair(100*time.Millisecond, 100*time.Millisecond, false)
			startAll(s.c)
			a, b := s.c.Host("a"), s.c.Host("b")
			x, began := s.plights[b], s.plights[b].began
			c := s.keys.caught[len(s.keys.caught)-1]
			if c.by != a {
				t.Fatalf("%s sent it, want a", c.by.Name)
			}
			c.at, c.own = began.Add(-tt.ago), b.clock.of(began).Round(0).Add(-startSlack-tt.signed)
			key := speaker{c.Interface, c.Payload[1], c.Source}
			heard := x.heard[key]
			heard.waited.least = tt.waited
			x.heard[key] = heard
			if got := s.isOld(b, c); got != tt.want {
				t.Errorf("it is old: %t, want %t", got, tt.want)
			}
		})
	}
}
