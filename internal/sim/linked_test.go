package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// linked takes note that a host's process was told of a link. When that is up again, what others sent meanwhile may be played to it, so
// that whom it has not believed yet is early anew. Whom it has is believed at once, since it knows that one's clock, if none was set.
func (s *scenario) linked(h *Host, l node.Link) {
	x := s.plights[h]
	if l.Up && x.down[l.Name] && (s.keys.set || !s.believes(h, l.Name)) {
		x.sure = s.c.now
		s.deafen(max(s.earliness(), s.misjudgement(h)))
	}
	switch {
	case !l.Up && !x.down[l.Name]:
		x.deaf(l.Name, s.c.now)
	case l.Up && x.down[l.Name]:
		s.hears(h, l.Name)
	}
	x.down[l.Name] = !l.Up
}

// believes says whether a host has believed every other one on a link, by all of its virtual routers.
func (s *scenario) believes(h *Host, link string) bool {
	for k := range h.cfg.Instances {
		i := &h.cfg.Instances[k]
		if i.Interface != link || i.Auth == nil {
			continue
		}
		for _, other := range s.c.hosts {
			for _, f := range i.Families() {
				from := other.LinkOn(link).Source4
				if f == vrrp.IPv6 {
					from = other.LinkOn(link).Source6
				}
				if s.plights[h].heard[speaker{link, i.VRID, from}].newest.believed == 0 && other != h {
					return false
				}
			}
		}
	}
	return true
}

// TestJudgeSuffersTheEarly holds that after a link was down two owners are suffered as long as one of them may take the other for a
// replay, and no longer; and not at all where it believed that one before.
func TestJudgeSuffersTheEarly(t *testing.T) {
	const interval, ahead = 100 * time.Millisecond, 4 * time.Second
	for _, tt := range []struct {
		name  string
		first string // who is master, before the link of b is down
		set   bool   // a clock was set
		want  time.Duration
	}{
		{"b has not heard of a yet", "b", false, ahead - startSlack + 100*time.Millisecond},
		{"b believed a", "a", false, 0},
		{"b believed a, whose clock may have been set", "a", true, 2*ahead + 100*time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := signedPair(interval, ahead, tt.set)
			s.c.Host(tt.first).Start()
			s.c.Run(interval * 10)
			startAll(s.c)
			s.c.Run(ahead)
			b := s.c.Host("b")
			l := b.Link()
			l.Up, l.Reason = false, "no carrier"
			s.setLink(b, l)
			s.c.Run(interval * 10)
			s.mend(b)
			s.p.disturbed()
			up := s.c.Now()
			s.c.Host("a").kernel.add("web", vip, 0)
			b.kernel.add("web", vip, 0)
			told := func() bool {
				return slices.ContainsFunc(s.c.Faults(), func(f string) bool { return strings.Contains(f, "[a b] all have "+vip.String()) })
			}
			for s.c.Now().Sub(up) < time.Minute && !told() {
				s.c.Run(interval)
			}
			want := tt.want + s.p.bound.overlap(false)
			if got := s.c.Now().Sub(up); got <= want || got > want+2*interval {
				t.Errorf("two owners are suffered for %s, want %s; faults %q", got, want, s.c.Faults())
			}
		})
	}
}

// signedPair is a scenario of two hosts that sign, in which nothing is drawn; b is nearly as far ahead as it may be.
func signedPair(interval, ahead time.Duration, set bool) *scenario {
	s := &scenario{keys: keys{signed: true, window: vrrp.DefaultWindow(interval), ahead: ahead, set: set}, widest: interval, plights: map[*Host]*plight{}}
	s.c = pair(func(cfg *Config) {
		for k := range cfg.Hosts {
			i := &cfg.Hosts[k].Instances[0]
			i.Interval, i.Preempt, i.Auth = interval, false, s.auth(stepEnforce)
		}
		s.o.network = cfg.Network
	})
	for _, h := range s.c.hosts {
		s.plights[h] = &plight{links: h.Links(), step: stepEnforce}
	}
	s.c.Host("b").SetClock(0, ahead-interval)
	s.common = s.c.hosts[0].cfg.Instances[0]
	s.w = watchOver(s.c)
	s.p = promise(s.c, s.w, s.health, s.calm, s.recovery, s.effective)
	s.p.lookAfter(s.c.hosts[0].cfg.Instances, s.bounds())
	s.catch()
	return s
}
