package sim

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// hearing is what a host was given of a speaker.
type hearing struct {
	newest run
	before run // what it was given before the newest, which came more than two windows later
	waited wait
	ahead  lead
}

// wait is for how long what a host was given of a speaker had waited for it, or been under way: so much later it may take the speaker's clock
// to be.
type wait struct {
	least time.Duration // of those of five minutes by the host's clock
	at    time.Time     // when that came; zero: nothing did
}

// quickFor is for how long the quickest advert of a speaker counts.
const quickFor = 5 * time.Minute

// with takes note of one more, which the host may have believed, or certainly has.
func (w wait) with(lasted time.Duration, now time.Time, certain bool) wait {
	if w.at.IsZero() || now.Sub(w.at) >= quickFor || certain && lasted < w.least {
		return wait{lasted, now}
	}
	return w
}

// run is the newest of what was signed with no more than two windows between them.
type run struct {
	believed uint64 // that it must have accepted,
	early    uint64 // perhaps as early, which only this process knows, and one that goes on for it
	perhaps  uint64 // and what it may have accepted
	loose    bool   // since then its clock was set back so far that this lay outside the window: what is older may be early to it
}

// edge is what is not certain of two windows, since they are counted in whole seconds.
const edge = 2 * time.Second

// with takes note of an advert. It may have been accepted, or certainly was.
func (x hearing) with(seq uint64, certain, early bool, window time.Duration) hearing {
	r := run{perhaps: seq}
	switch {
	case certain && early:
		r.early = seq
	case certain:
		r.believed = seq
	}
	n := &x.newest
	switch ahead := signedAt(seq).Sub(signedAt(n.perhaps)); {
	case n.perhaps == 0:
		*n = r
	case ahead > 2*window+edge:
		return hearing{r, *n, x.waited, x.ahead}
	case certain && early && x.before.covers(seq, window):
		return x // what is early beside the newest leaves no trace
	case ahead < -2*window-edge && certain && (!early || ahead < -3*window-edge && !x.before.reaches(seq, window)): // what is early has less forgotten
		return hearing{newest: r, waited: x.waited, ahead: x.ahead}
	case ahead.Abs() > 2*window-edge: // whether what it knew is forgotten is not known
		return hearing{newest: run{perhaps: max(n.perhaps, seq), loose: true}, waited: x.waited, ahead: x.ahead}
	default:
		loose := n.loose && (!certain || seq <= n.perhaps)
		*n = run{max(n.believed, r.believed), max(n.early, r.early), max(n.perhaps, seq), loose}
	}
	return x
}

// loosen takes note that the host's clock was set, to an instant.
func (x hearing) loosen(now time.Time, window time.Duration) hearing {
	x.newest.loose = x.newest.loose || signedAt(x.newest.perhaps).Sub(now) > window-edge
	return x
}

// refuses says whether an advert must be refused: it, or a newer one, was given.
func (x hearing) refuses(seq uint64, window time.Duration) bool {
	return x.newest.covers(seq, window) && !x.newest.loose
}

// doubts says whether it must be early, if it is not refused.
func (x hearing) doubts(seq uint64, window time.Duration) bool {
	return x.newest.covers(seq, window) || x.before.covers(seq, window)
}

func (r run) covers(seq uint64, window time.Duration) bool {
	return seq <= max(r.believed, r.early) && signedAt(r.perhaps).Sub(signedAt(seq)) < 2*window-edge
}

// reaches says whether it may cover an advert.
func (r run) reaches(seq uint64, window time.Duration) bool {
	return seq <= r.perhaps && signedAt(r.perhaps).Sub(signedAt(seq)) < 2*window+edge
}

// unlearn forgets what another process, or another instance, does not know of what was early, or of a clock that was set.
func (x *recollection) unlearn() {
	for who, h := range x.heard {
		h.newest.early, h.before.early, h.ahead.anew = 0, 0, false
		x.heard[who] = h
	}
}

// TestHearing holds what the judge takes for heard: all that was given, but what a clock that was set back by more than two windows has
// forgotten, and what is too near to that.
func TestHearing(t *testing.T) {
	const window = 5 * time.Second
	at := func(seconds uint64) uint64 { return (1_000_000 + seconds) << 32 }
	type given struct {
		second         uint64
		certain, early bool
	}
	sure := func(seconds ...uint64) (out []given) {
		for _, second := range seconds {
			out = append(out, given{second, true, false})
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		given  []given
		anew   bool
		set    uint64          // the second that the host's clock is set to; 0: it is not
		played map[uint64]bool // which seconds must be refused, or early where the clock was set or something of a later time was given
	}{
		{"nothing", nil, false, 0, map[uint64]bool{10: false}},
		{"one after the other", sure(100, 101), false, 0, map[uint64]bool{94: true, 100: true, 101: true, 102: false, 92: false}},
		{"what was early, and is known", []given{{100, true, false}, {101, true, true}}, false, 0, map[uint64]bool{101: true}},
		{"what was early, and is not known any more", []given{{100, true, false}, {101, true, true}}, true, 0, map[uint64]bool{100: true, 101: false}},
		{"the newest may have been refused", []given{{100, true, false}, {107, false, false}}, false, 0, map[uint64]bool{98: false, 100: true, 107: false}},
		{"a jump ahead", sure(100, 160), false, 0, map[uint64]bool{100: true, 101: false, 160: true}},
		{"a jump ahead, and back", sure(100, 160, 101), false, 0, map[uint64]bool{100: true, 101: true, 160: false}},
		{"a jump ahead that may have been refused", []given{{100, true, false}, {160, false, false}}, false, 0, map[uint64]bool{100: true, 160: false}},
		{"a jump back that may have been refused", []given{{160, true, false}, {100, false, false}}, false, 0, map[uint64]bool{100: false, 160: false}},
		{"a jump of about two windows", sure(100, 110), false, 0, map[uint64]bool{100: false, 110: false}},
		{"a jump back to what is early", []given{{115, true, false}, {102, true, true}}, false, 0, map[uint64]bool{102: false, 115: false}},
		{"a jump ahead, and what is early by what came before", append(sure(100, 130), given{98, true, true}), false, 0, map[uint64]bool{98: true, 100: true, 101: false, 130: true}},
		{"a jump ahead, and what is perhaps early by what came before", append(sure(100, 130), given{91, true, true}), false, 0, map[uint64]bool{91: false, 100: false, 130: false}},
		{"a jump ahead, and what is early and older than all that", append(sure(100, 130), given{80, true, true}), false, 0, map[uint64]bool{80: true, 81: false, 100: false, 130: false}},
		{"a clock that is set, but not far enough", sure(100, 101), false, 98, map[uint64]bool{100: true, 101: true, 102: false}},
		{"a clock that is set so that it lies outside the window", sure(100, 101), false, 94, map[uint64]bool{100: true, 101: true, 102: false}},
		{"and on from there", sure(100, 110, 111), false, 0, map[uint64]bool{100: false, 105: true, 111: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := recollection{heard: map[speaker]hearing{}}
			for _, g := range tt.given {
				x.heard[speaker{}] = x.heard[speaker{}].with(at(g.second), g.certain, g.early, window)
			}
			if tt.anew {
				x.unlearn()
			}
			h := x.heard[speaker{}]
			if tt.set != 0 {
				h = h.loosen(signedAt(at(tt.set)), window)
			}
			for second, want := range tt.played {
				if got := h.doubts(at(second), window); got != want {
					t.Errorf("second %d must not be believed: %t, want %t", second, got, want)
				}
				want = want && h.newest.covers(at(second), window) && (tt.set == 0 || tt.set > 97)
				if got := h.refuses(at(second), window); got != want {
					t.Errorf("second %d must be refused: %t, want %t", second, got, want)
				}
			}
		})
	}
}

// TestJudgeKnowsWhatIsSaved holds that the judge takes for saved what the last process wrote, also in its last step, and not what was lost
// with the host before.
func TestJudgeKnowsWhatIsSaved(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, crashes := range []bool{false, true} {
		s := signedPair(interval, interval, false)
		a, b := s.c.Host("a"), s.c.Host("b")
		x := s.plights[b]
		a.Start()
		s.c.Run(10 * interval)
		b.Start()
		s.c.Run(30 * interval)
		s.c.Cut(Cut{"a", "b", Everything, ""})
		if crashes {
			b.Crash()
			s.c.Run(30 * interval)
			b.Start()
		}
		for b.memorized.Equal(x.at) { // until it has just been written, by this process for the first time where the host has crashed
			s.c.Run(10 * time.Microsecond)
		}
		b.Kill()
		s.c.Run(30 * interval)
		b.Start()
		_, known := x.heard[speaker{Interface, 51, a.Link().Source4}]
		if known == crashes || b.memory == nil || !x.at.Equal(b.memorized) {
			t.Errorf("crashes %t: it is to remember a: %t", crashes, known)
		}
	}
}

// TestJudgeKnowsWhatIsHeeded holds that a host which stands still is given for nothing what comes to it while its configuration has nothing
// to hear that, and that it hears the rest of what waited.
func TestJudgeKnowsWhatIsHeeded(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, absent := range []bool{false, true} {
		s := signedPair(interval, interval, false)
		a, b := s.c.Host("a"), s.c.Host("b")
		a.Start()
		s.c.Run(10 * interval)
		b.Start()
		s.c.Run(30 * interval)
		had := b.Config()
		b.Freeze(false)
		if absent {
			b.Reconfigure(node.Config{Name: b.Name})
		}
		s.c.Run(10 * interval)
		stood := s.c.now
		b.Reconfigure(had)
		a.Kill()
		s.c.Run(interval)
		b.Thaw(Caught)
		heard := signedAt(s.plights[b].heard[speaker{Interface, 51, a.Link().Source4}].newest.perhaps)
		if late := stood.Sub(heard) < 5*interval; late == absent {
			t.Errorf("absent %t: it was given what was signed %s before it was configured again", absent, stood.Sub(heard))
		}
	}
}

// TestJudgeKnowsWhatWasUnplugged holds that the judge takes what is played to a host whose link is up again for early, which the next process
// does not know, if it was sent while the link was down.
func TestJudgeKnowsWhatWasUnplugged(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, unplugged := range []bool{false, true} {
		s := signedPair(interval, interval, false)
		a, b := s.c.Host("a"), s.c.Host("b")
		a.Start()
		s.c.Run(10 * interval)
		b.Start()
		s.c.Run(30 * interval)
		l := b.Link()
		if l.Up, l.Reason = !unplugged, "no carrier"; unplugged {
			s.setLink(b, l)
		}
		s.c.Run(5 * time.Second)
		c := s.keys.caught[len(s.keys.caught)-30]
		s.mend(b)
		if unplugged {
			b.Replay(Interface, c.Payload, c.Source, c.Destination)
		}
		h := s.plights[b].heard[speaker{Interface, 51, a.Link().Source4}].newest
		if got := h.early == sequence(c.Payload); got != unplugged {
			t.Errorf("unplugged %t: early is %t, in %+v", unplugged, got, h)
		}
	}
}

// TestWaits holds for how long what a host knows of a speaker may have waited: as long as the quickest of five minutes, of those that it
// believed for certain, else as long as any.
func TestWaits(t *testing.T) {
	var w wait
	for _, tt := range []struct {
		at, lasted time.Duration
		certain    bool
		want       time.Duration
	}{
		{0, 2 * time.Second, false, 2 * time.Second},
		{time.Second, time.Millisecond, false, 2 * time.Second},
		{2 * time.Second, 5 * time.Millisecond, true, 5 * time.Millisecond},
		{3 * time.Second, time.Second, true, 5 * time.Millisecond},
		{quickFor + time.Second, time.Second, true, 5 * time.Millisecond},
		{quickFor + 2*time.Second, time.Second, true, time.Second},
	} {
		if w = w.with(tt.lasted, epoch.Add(tt.at), tt.certain); w.least != tt.want {
			t.Errorf("at %s, after one of %s: %s, want %s", tt.at, tt.lasted, w.least, tt.want)
		}
	}
}

// TestJudgeKnowsTwoSavesAtOnce holds that the judge takes for saved what a process writes last, also in the instant in which it wrote before.
func TestJudgeKnowsTwoSavesAtOnce(t *testing.T) {
	const interval = 100 * time.Millisecond
	s := signedPair(interval, interval, false)
	a, b := s.c.Host("a"), s.c.Host("b")
	a.Start()
	s.c.Run(2 * interval)
	b.Start()
	s.c.Run(3 * interval)
	b.Pause()
	s.c.Run(2 * time.Second)
	b.Feed(node.Stop{})
	last := s.keys.caught[len(s.keys.caught)-1]
	b.Resume()
	b.Start()
	s.c.Run(time.Millisecond)
	if h := s.plights[b].heard[speaker{Interface, 51, a.Link().Source4}]; h.newest.perhaps != sequence(last.Payload) || b.memory == nil {
		t.Errorf("of what the process before heard last it is to remember %+v, want %d", h.newest, sequence(last.Payload))
	}
}
