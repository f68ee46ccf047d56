package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// lead is how far ahead of its own a host takes a speaker's clock to be. What it believed while one of the two was wrong it goes by until it
// believes that speaker again, even if the clock was set right since.
type lead struct {
	most time.Duration // of what it may have believed, in five minutes by the host's clock
	at   time.Time     // when that came; zero: nothing did
	anew bool          // the host's clock was set since then, so that it measures the speaker's anew
}

// with takes note of an advert, which the host may have believed, or certainly has.
func (l lead) with(by time.Duration, now time.Time, certain bool) lead {
	switch {
	case l.at.IsZero(), certain && (l.anew || now.Sub(l.at) >= quickFor):
		return lead{most: by, at: now}
	case by > l.most:
		return lead{by, now, l.anew}
	}
	return l
}

// remeasures takes note that a host's clock is set by so much, which its process notices with the next advert that it has, unless it is little.
func (x *recollection) remeasures(by time.Duration) {
	if by <= 2*startSlack {
		return
	}
	for who, h := range x.heard {
		h.ahead.anew = true
		x.heard[who] = h
	}
}

// misjudges says whether an advert may be early to a host since it takes its sender's clock to be further ahead than hosts that agree are: who
// was heard by a clock that stood must pass that lead where somebody hears anew, with a process, a virtual router or a link. Where the
// clock is set after that it must pass no more than that instant.
func (s *scenario) misjudges(h *Host, heard node.Heard) bool {
	x := s.plights[h]
	by := x.heard[speaker{heard.Interface, heard.Advert.VRID, heard.From}].ahead.most
	began := later(later(x.began, x.since[speaker{link: heard.Interface, vrid: heard.Advert.VRID}]), x.until[heard.Interface])
	return by > s.keys.ahead && !began.Before(x.set) && !signedAt(sequence(heard.Sealed)).After(h.clock.of(began).Add(by))
}

// misjudgement is how long that lasts at most, for one who is behind by what hosts that agree may be.
func (s *scenario) misjudgement(h *Host) (lasts time.Duration) {
	for _, known := range []map[speaker]hearing{s.plights[h].heard, s.plights[h].saved} {
		for _, heard := range known {
			if by := heard.ahead.most; by > s.keys.ahead {
				lasts = max(lasts, by+s.keys.ahead)
			}
		}
	}
	return lasts
}

// setRightUnheard has the second host of a pair stand still for a while, unseen by its clocks, and hear the first one by these; after what
// happens then its clock is set right, and it hears no more of that one.
func (s *scenario) setRightUnheard(stood time.Duration, first func(s *scenario, h *Host)) (a, b *Host) {
	interval := s.widest
	a, b = s.c.Host("a"), s.c.Host("b")
	a.Start()
	s.c.Run(10 * interval)
	b.Start()
	s.c.Run(30 * interval)
	right := b.Ahead()
	s.plights[b].amiss = true // so that nobody draws when it is set right
	b.Freeze(false)
	s.c.Run(stood)
	s.thaw(newDice(1, 1), b, Hidden)
	s.c.Run(interval)
	s.c.Cut(Cut{"a", "b", Everything, ""})
	s.c.Run(interval)
	first(s, b)
	s.c.Run(interval)
	s.setWall(b, right)
	return a, b
}

// listenTo has the one hear the other for a while.
func (s *scenario) listenTo(a, b *Host, d time.Duration) {
	s.c.Heal()
	s.c.Run(d)
	s.c.Cut(Cut{a.Name, b.Name, Everything, ""})
}

// TestJudgeKnowsWhoIsMisjudged holds that the judge takes for early, which the next process does not know, what comes to a host whose link was
// down from one that it heard last while its own clock was behind, until that one's has passed the instant by as much; and that it takes
// for heard what comes after that, or where the host's clock was not behind, or that one was heard since it was set right, or where the host
// heard nothing anew since then.
func TestJudgeKnowsWhoIsMisjudged(t *testing.T) {
	const interval, stood = 100 * time.Millisecond, 3 * time.Second
	nothing := func(*scenario, *Host) {}
	restart := func(s *scenario, h *Host) {
		h.Feed(node.Stop{}) // which saves what it knows
		for h.Running() {
			s.c.Run(interval)
		}
		h.Start()
	}
	for _, tt := range []struct {
		name  string
		stood time.Duration
		first func(s *scenario, h *Host) // what happens while its clock is behind,
		hears bool                       // whether it hears the other one once that is right again,
		anew  func(s *scenario, h *Host) // and what happens then
		after time.Duration              // since that
		early bool
	}{
		{"it hears it for the first time since the clock was wrong", stood, nothing, false, (*scenario).blink, 2 * time.Second, true},
		{"it is another process", stood, nothing, false, restart, 2 * time.Second, true},
		{"the lead has passed", stood, nothing, false, (*scenario).blink, stood + interval, false},
		{"the clock was not far off", 0, nothing, false, (*scenario).blink, 2 * time.Second, false},
		{"it heard it since the clock was right", stood, nothing, true, (*scenario).blink, 2 * time.Second, false},
		{"it is another process, and the one before heard it", stood, nothing, true, restart, 2 * time.Second, false},
		{"its link was down before the clock was right", stood, (*scenario).blink, false, nothing, 2 * time.Second, false},
		{"it heard nothing anew", stood, nothing, false, nothing, 2 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signedPair(interval, interval, false)
			a, b := s.setRightUnheard(tt.stood, tt.first)
			if tt.hears {
				s.listenTo(a, b, stood)
			}
			s.c.Run(interval)
			tt.anew(s, b)
			s.c.Heal()
			s.c.Run(tt.after)
			c := *lastOf(s, a)
			heard := func() hearing { return s.plights[b].heard[speaker{c.Interface, c.Payload[1], c.Source}] }
			taken := slices.ContainsFunc(b.node.Seal(b.now()).Instances[0].Members[0].Floors.Senders, func(f vrrp.Floor) bool { return f.Newest == vrrp.Sequence(sequence(c.Payload)) })
			if n := heard().newest; taken != tt.early || (n.early == sequence(c.Payload)) != tt.early || (n.believed == sequence(c.Payload)) == tt.early {
				t.Errorf("the host takes it for early: %t, the judge has %+v, want %t of both", taken, heard(), tt.early)
			}
			s.c.Cut(Cut{"a", "b", Everything, ""})
			restart(s, b)
			s.c.Run(time.Millisecond)
			if got := heard().refuses(sequence(c.Payload), s.keys.window); got == tt.early {
				t.Errorf("the next process must refuse it: %t, want %t", got, !tt.early)
			}
			if !tt.early {
				b.Intrude(c.Interface, c.Payload, c.Source, c.Destination, vrrp.HopLimit)
			}
			for _, f := range s.c.Faults() {
				if strings.Contains(f, "to be refused") {
					t.Errorf("fault %q, want none", f)
				}
			}
		})
	}
}

// TestJudgeSuffersTheMisjudged holds that two owners, of whom one has misjudged the other's clock, are suffered as long as that lasts once its
// link is up again, or it is another process, and no longer; and not at all if it heard the other since its own clock was right, or that was
// never wrong.
func TestJudgeSuffersTheMisjudged(t *testing.T) {
	const interval, ahead, stood = 100 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second
	const usual = 2*ahead + 100*time.Millisecond
	const misjudged = stood - interval + ahead + 100*time.Millisecond // b's clock was an interval ahead before it stood
	for _, tt := range []struct {
		name  string
		stood time.Duration
		hears bool
		anew  bool // it is another process; else its link is down for a moment
		want  time.Duration
	}{
		{"its link was down", stood, false, false, misjudged},
		{"it is another process", stood, false, true, misjudged},
		{"it heard it since the clock was right", stood, true, false, usual},
		{"the clock was not far off", 0, false, false, usual},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signedPair(interval, ahead, false)
			a, b := s.setRightUnheard(tt.stood, func(*scenario, *Host) {})
			s.plights[b].amiss = false
			if tt.hears {
				s.listenTo(a, b, stood)
			}
			l := b.Link()
			l.Up, l.Reason = false, "no carrier"
			s.setLink(b, l)
			s.c.Run(2 * s.keys.window) // until then more is suffered
			s.c.Heal()
			if tt.anew {
				b.Kill()
			}
			s.mend(b)
			if tt.anew {
				s.start(b)
			}
			s.keys.caught = nil // nobody plays anything
			s.p.disturbed()
			up, before := s.c.now, len(s.c.Faults())
			a.kernel.add("web", vip, 0)
			b.kernel.add("web", vip, 0)
			told := func() bool {
				return slices.ContainsFunc(s.c.Faults()[before:], func(f string) bool { return strings.Contains(f, "[a b] all have "+vip.String()) })
			}
			for s.c.now.Sub(up) < time.Minute && !told() {
				s.c.Run(interval / 10)
			}
			want := tt.want + s.p.bound.overlap(false)
			if got := s.c.now.Sub(up); got < want || got > want+2*interval {
				t.Errorf("two owners are suffered for %s, want %s; faults %q", got, want, s.c.Faults())
			}
		})
	}
}

// lastOf is the newest advert of a host that came to the others.
func lastOf(s *scenario, h *Host) *caught {
	for k := range slices.Backward(s.keys.caught) {
		if c := &s.keys.caught[k]; c.by == h && s.c.now.Sub(c.at) > 2*time.Millisecond {
			return c
		}
	}
	return nil
}

// TestLeads holds how far ahead a host may take a speaker's clock to be: by the most that it may have believed in five minutes, and anew by
// what it certainly believes once its own was set.
func TestLeads(t *testing.T) {
	for _, tt := range []struct {
		name  string
		given []time.Duration // one each second; the last is in question
		anew  bool            // before the last
		idle  time.Duration   // and so long before it
		sure  bool            // the host certainly believes it
		want  time.Duration
	}{
		{"one alone", []time.Duration{-time.Second}, false, 0, false, -time.Second},
		{"a later one is less", []time.Duration{3 * time.Second, time.Second}, false, 0, true, 3 * time.Second},
		{"a later one may be more", []time.Duration{time.Second, 3 * time.Second}, false, 0, false, 3 * time.Second},
		{"its clock was set", []time.Duration{3 * time.Second, time.Second}, true, 0, true, time.Second},
		{"its clock was set, and it may not believe it", []time.Duration{3 * time.Second, time.Second}, true, 0, false, 3 * time.Second},
		{"five minutes are over", []time.Duration{3 * time.Second, time.Second}, false, quickFor, true, time.Second},
	} {
		x := recollection{heard: map[speaker]hearing{}}
		for k, by := range tt.given {
			at, last := epoch.Add(time.Duration(k)*time.Second), k == len(tt.given)-1
			if last {
				at = at.Add(tt.idle)
			}
			if last && tt.anew {
				x.remeasures(2*startSlack + 1)
			} else {
				x.remeasures(2 * startSlack)
			}
			x.heard[speaker{}] = hearing{ahead: x.heard[speaker{}].ahead.with(by, at, tt.sure || !last)}
		}
		if got := x.heard[speaker{}].ahead.most; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestJudgeSuffersASecondSetting holds that where another host's clock was set before, a host whose clock is set back may be early for twice as
// long as the clocks are apart: another one may have begun by a clock that was ahead then.
func TestJudgeSuffersASecondSetting(t *testing.T) {
	const interval, ahead = 100 * time.Millisecond, 4 * time.Second
	s := signedPair(interval, ahead, false)
	startAll(s.c)
	for n, want := range []time.Duration{ahead - startSlack, 2 * ahead} {
		s.keys.deaf = time.Time{}
		s.relearns(s.c.hosts[n])
		if got := s.keys.deaf.Sub(s.c.now); got != want+100*time.Millisecond {
			t.Errorf("after setting %d a host may not be believed for %s, want %s", n+1, got, want+100*time.Millisecond)
		}
	}
}
