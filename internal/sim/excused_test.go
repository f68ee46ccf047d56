package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestPromisesKnowWhoLeaves holds that two owners are suffered for the time of a departure only where one of them was leaving while they were two.
func TestPromisesKnowWhoLeaves(t *testing.T) {
	for _, tt := range []struct {
		name           string
		before, during bool // a leaves before they are two, and while they are
		of             string
		late           bool
	}{
		{"nobody leaves", false, false, "web", true},
		{"one left before", true, false, "web", true},
		{"one leaves", false, true, "web", false},
		{"one leaves that has other addresses", false, true, "mail", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			p := promise(c, w, func(*Host) health { return well }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
			for _, h := range c.hosts {
				h.begin(h.cfg)
			}
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, 0))
			x := w.host(c.Host("a"))
			mail := c.hosts[0].cfg.Instances[0]
			mail.Addresses = []node.Address{{IP: vip.Next()}}
			x.instances["mail"] = &watched{name: "mail", last: &mail}
			leaves := func(is bool) {
				x.instances[tt.of].state = node.Master
				if is {
					x.instances[tt.of].state = node.Leaving
				}
				p.look()
			}
			c.Host("a").kernel.add("web", vip, 0)
			leaves(tt.before)
			leaves(false)
			c.Host("b").kernel.add("web", vip, 0)
			leaves(tt.during)
			leaves(false)
			c.Run(p.bound.overlap(false) + time.Millisecond)
			if p.check(); len(c.Faults()) > 0 != tt.late {
				t.Errorf("faults %q, want one: %t", c.Faults(), tt.late)
			}
			c.Run(p.bound.overlap(true) - p.bound.overlap(false))
			p.check()
			wantFault(t, c, "[a b] all have 192.0.2.10")
		})
	}
}

// turned says whether all of some hosts were taken by surprise: what became well or ill a moment ago, maybe between taking addresses over and
// announcing them, offers them again.
func (p *promises) turned(hosts []string) bool {
	return !slices.ContainsFunc(hosts, func(h string) bool { return p.c.now.Sub(p.hosts[p.c.Host(h)].since) > p.bound.gap() })
}

// TestPromisesKnowWhoTurned holds that an address may be let go of before anybody announced it only where whoever has it became ill meanwhile.
func TestPromisesKnowWhoTurned(t *testing.T) {
	for _, turns := range []bool{false, true} {
		c := pair(func(cfg *Config) {
			cfg.Hosts = append(cfg.Hosts, node.Config{Name: "c", Instances: cfg.Hosts[0].Instances})
		})
		w := watchOver(c)
		healthy := map[string]health{"b": well, "c": ill} // and c might have relieved a, too
		p := promise(c, w, func(h *Host) health { return healthy[h.Name] }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
		for _, h := range c.hosts {
			h.begin(h.cfg)
		}
		for name, state := range map[string]node.State{"b": node.Master, "c": node.Backup} {
			i := w.host(c.Host(name)).instances["web"]
			i.state, i.since, i.joined = state, epoch, epoch
		}
		p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, w.slack))
		c.Host("c").resumed = epoch
		c.Host("a").kernel.add("web", vip, 0)
		p.served[service{vip, "a"}] = epoch
		c.Run(time.Minute)
		p.news()
		c.Host("b").kernel.add("web", vip, 0)
		c.Run(20 * time.Millisecond)
		if turns {
			healthy["b"] = ill
			p.look()
		}
		c.Run(20 * time.Millisecond)
		c.Host("a").kernel.drop(vip)
		if got := strings.Contains(strings.Join(c.Faults(), "\n"), "before any of [b] had announced it"); got == turns {
			t.Errorf("b became ill: %t; faults %q", turns, c.Faults())
		}
	}
}

// TestJudgeWaitsForWhoWasUnlike holds that hosts are one cluster only from when none of them is grouped in another way, and that another reload
// disturbs nobody.
func TestJudgeWaitsForWhoWasUnlike(t *testing.T) {
	for _, other := range []bool{false, true} {
		s := healed(func(*node.Instance) {})
		startAll(s.c)
		a := s.c.Host("a")
		if other {
			s.plights[a].version = unlike
		}
		s.c.Run(time.Second)
		s.configure(a, false)
		if disturbed := s.p.unrest.Equal(s.c.now); disturbed != other || s.plights[a].anew != other || s.plights[a].version != s.version {
			t.Errorf("it was another one %t: the judge waits anew %t, and it hears anew %t", other, disturbed, s.plights[a].anew)
		}
	}
}

// TestJudgeWaitsForTheDeaf holds that a host that does not take part is waited for from when nobody may be deaf to another one any more, also where
// that comes to be so meanwhile, and no longer.
func TestJudgeWaitsForTheDeaf(t *testing.T) {
	const deaf = 7 * time.Second
	for _, anew := range []bool{false, true} {
		s := healed(func(*node.Instance) {})
		a, b := s.c.Host("a"), s.c.Host("b")
		a.checks[yields] = nil // it never gets out of init
		s.keys.signed = true
		b.Start()
		a.Start()
		s.c.Run(5 * time.Second)
		began := s.c.now
		want := s.recovery(a) + s.learns()
		if anew {
			s.c.after(want/2, func() { s.deafen(deaf) })
			want += want/2 + deaf + 100*time.Millisecond
		}
		s.recover()
		wantFault(t, s.c, "a takes no part")
		if took := s.c.now.Sub(began); took < want || took > want+time.Second {
			t.Errorf("deaf anew %t: it is waited for %s, want %s", anew, took, want)
		}
	}
}

// TestJudgeKnowsWhoSignsAhead holds that what a host signs after its clock was set back, until that shows more, may be early to those that hear it,
// and nothing else.
func TestJudgeKnowsWhoSignsAhead(t *testing.T) {
	const interval = 100 * time.Millisecond
	for _, back := range []time.Duration{0, 3 * time.Second} {
		s := signedPair(interval, interval, false)
		startAll(s.c)
		a, b := s.c.Host("a"), s.c.Host("b")
		if back > 0 {
			s.setWall(a, a.Ahead()-back)
		}
		heard := func() run {
			s.c.Run(time.Second)
			return s.plights[b].heard[speaker{Interface, 51, a.Link().Source4}].newest
		}
		r := heard()
		ahead := s.signedAhead(Interface, a.Link().Source4, r.perhaps)
		if ahead != (back > 0) || (r.early == r.perhaps) != ahead || (r.believed == r.perhaps) == ahead {
			t.Errorf("set back by %s: it signs ahead %t, of which b was given %+v", back, ahead, r)
		}
		if s.signedAhead(Interface, a.Link().Source4, r.perhaps+1<<32) || s.signedAhead(Interface, b.Link().Source4, r.perhaps) {
			t.Errorf("set back by %s: so does who did not, or what was not signed yet", back)
		}
		s.c.Run(back)
		if r = heard(); r.believed != r.perhaps {
			t.Errorf("set back by %s: once the clock is beyond that b was given %+v", back, r)
		}
	}
}

// mayMissTries says whether a host's process was exchanged so often in the time of a handover's two tries that it may have heard neither.
func (p *promises) mayMissTries(h *Host) bool {
	n := 0
	for _, a := range p.hosts[h].aways {
		if p.c.now.Sub(a.until) <= p.bound.drift(2*p.bound.leave) {
			n++
		}
	}
	return n >= 2
}

// TestPromisesKnowMissedTries holds that an address may be let go of for nobody only where the healthy host that listens was exchanged twice just
// then.
func TestPromisesKnowMissedTries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		aways []time.Duration // ago
		want  bool            // that it is found
	}{
		{"it is not exchanged", nil, true},
		{"once", []time.Duration{100 * time.Millisecond}, true},
		{"twice", []time.Duration{100 * time.Millisecond, 300 * time.Millisecond}, false},
		{"twice, once before the handover began", []time.Duration{100 * time.Millisecond, 10 * time.Second}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			p := promise(c, w, func(*Host) health { return well }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
			for _, h := range c.hosts {
				h.begin(h.cfg)
				w.host(h).instances["web"].state = node.Backup
			}
			i := c.hosts[0].cfg.Instances[0]
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(i, 0, 0))
			c.Host("a").kernel.add("web", vip, 0)
			p.served[service{vip, "a"}] = epoch
			c.Run(time.Minute)
			for _, ago := range tt.aways {
				p.hosts[c.Host("b")].aways = append(p.hosts[c.Host("b")].aways, away{c.now.Add(-ago), time.Millisecond})
			}
			c.Host("a").kernel.drop(vip)
			if got := strings.Contains(strings.Join(c.Faults(), "\n"), "before another host had it"); got != tt.want {
				t.Errorf("faults %q, want that one: %t", c.Faults(), tt.want)
			}
		})
	}
}
