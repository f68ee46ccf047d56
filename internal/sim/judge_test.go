package sim

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// healed is a scenario of two healthy hosts after its faults, of which there were none: a is the better one, and b was there first. Other
// changes what the hosts have, and the judge knows nothing of it.
func healed(other func(*node.Instance)) *scenario {
	s := &scenario{plights: map[*Host]*plight{}, noises: map[string]int{}}
	s.common = node.Instance{
		Name: "web", Interface: Interface, VRID: 51, Version: vrrp.V3, DeadAdverts: 3, Preempt: true, Lease: true, Interval: time.Second,
		Addresses: []node.Address{{IP: vip}}, Announce: node.Announcing{Refresh: time.Minute},
		Checks: map[string]node.Effect{yields: {}, releases: {OnFailure: node.Release}, weighs: {OnFailure: node.Weigh, Weight: -60}},
	}
	s.o = options{hosts: 2, instances: 1, priority: []uint8{150, 100}, network: Network{MaxDelay: time.Millisecond, InOrder: true}}
	cfg := Config{Network: s.o.network, Kernel: time.Millisecond, LeaseLate: 980 * time.Millisecond}
	for _, name := range []string{"a", "b"} {
		cfg.Hosts = append(cfg.Hosts, node.Config{Name: name, Instances: s.o.siblings(s.common)})
	}
	s.c = New(cfg)
	for k, h := range s.c.hosts {
		s.plights[h] = &plight{priority: s.o.priority[k], vrid: s.common.VRID, families: s.common.Families(), links: h.Links(), sick: map[string]bool{}}
		cfg := s.config(h, s.common)
		cfg.Instances[0].Checks = maps.Clone(cfg.Instances[0].Checks)
		other(&cfg.Instances[0])
		h.Reconfigure(cfg)
	}
	s.w = watchOver(s.c)
	s.p = promise(s.c, s.w, s.health, s.calm, s.recovery, s.effective)
	s.haunt()
	s.renewed()
	return s
}

// TestJudgeSeesFaults keeps what a healed cluster must come to honest: each must be able to fail.
func TestJudgeSeesFaults(t *testing.T) {
	same := func(*node.Instance) {}
	sticks := func(i *node.Instance) { i.Preempt = false }
	tests := []struct {
		name  string
		other func(*node.Instance)
		begin func(s *scenario, a, b *Host) // before the hosts start
		end   func(s *scenario, a, b *Host) // before it is judged
		want  string                        // empty: nothing
	}{
		{"nothing is wrong", same, nil, nil, ""},
		{"nothing is wrong, and a weight counts", same, nil, func(s *scenario, a, _ *Host) { s.verdict(a, weighs, false) }, ""},
		{"nothing is wrong where all are unhealthy", same, nil, func(s *scenario, a, b *Host) {
			s.o.ill = true
			s.verdict(a, yields, false)
			s.verdict(b, yields, false)
		}, ""},
		{"the better host does not preempt", sticks, nil, nil, "the masters of web are [b], want one of [a]"},
		{"a weight has no effect on any host", func(i *node.Instance) { i.Checks[weighs] = node.Effect{OnFailure: node.Weigh, Weight: -1} }, nil,
			func(s *scenario, a, _ *Host) { s.verdict(a, weighs, false) }, "the masters of web are [a], want one of [b]"},
		{"a weight is wrong on every host, and moves nothing", func(i *node.Instance) { i.Checks[weighs] = node.Effect{OnFailure: node.Weigh, Weight: -61} }, nil,
			func(s *scenario, a, b *Host) {
				s.verdict(a, weighs, false)
				s.verdict(b, weighs, false)
			}, "a has priority 89 for web, want 90"},
		{"a host never gets out of init", same, func(_ *scenario, a, _ *Host) { a.checks[yields] = nil }, nil, "a takes no part: web init"},
		{"a host stays in fault", same, nil, func(_ *scenario, a, _ *Host) {
			l := a.Link()
			l.Up, l.Reason = false, "no carrier"
			a.SetLink(l)
		}, "a takes no part: web fault (no carrier)"},
		{"a host lost an instance", same, nil, func(_ *scenario, a, _ *Host) { a.Reconfigure(node.Config{Name: "a"}) }, "a takes no part"},
		{"a host is healthy and does not know it", same, nil, func(_ *scenario, a, _ *Host) { a.SetCheck(yields, &Verdict{false, "gone"}) }, "a takes no part"},
		{"two hosts do not hear each other", same, nil, func(s *scenario, _, _ *Host) { s.c.Cut(Cut{"a", "", Everything, ""}) }, "the masters of web are [a b], want one of [a]"},
		{"an address moves", same, nil, func(s *scenario, a, _ *Host) { s.c.after(8*time.Second, a.Crash) }, "an address moves or rests nowhere"},
		{"somebody changes its mind", same, nil, func(s *scenario, _, b *Host) {
			s.c.after(8*time.Second, func() { b.SetCheck(releases, &Verdict{false, "gone"}) })
		}, "1 changes and 0 quiet ones"},
		{"somebody cannot stop", same, nil, func(s *scenario, _, b *Host) {
			for k := range 2000 {
				s.c.after(8*time.Second+time.Duration(k)*time.Millisecond, func() { b.feed(node.Elapsed{}) })
			}
		}, "steps within"},
		{"an address was forgotten", same, nil, func(_ *scenario, _, b *Host) { b.kernel.add("web", netip.MustParseAddr("192.0.2.99"), 0) }, "b still has 192.0.2.99"},
		{"a dead process's address stays", same, nil, func(_ *scenario, a, _ *Host) {
			a.Kill()
			a.kernel.add("web", vip, 0)
		}, "a has [192.0.2.10] for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := healed(tt.other)
			a, b := s.c.hosts[0], s.c.hosts[1]
			if tt.begin != nil {
				tt.begin(s, a, b)
			}
			b.Start()
			s.c.Run(10 * time.Second)
			a.Start()
			s.p.news()
			s.c.Run(10 * time.Second)
			if tt.end != nil {
				tt.end(s, a, b)
			}
			s.p.disturbed()
			s.settle()
			told := func(fault string) bool { return strings.Contains(fault, tt.want) }
			if faults := s.c.Faults(); tt.want == "" && len(faults) > 0 || tt.want != "" && !slices.ContainsFunc(faults, told) {
				t.Errorf("faults %q, want one with %q", faults, tt.want)
			}
		})
	}
}

// TestWatchKnowsWhatWaits holds that hooks may be told master of addresses that something else deleted while the process stood still, until
// it hears of that, and of no others.
func TestWatchKnowsWhatWaits(t *testing.T) {
	c := pair(func(cfg *Config) {
		cfg.Kernel = 20 * time.Millisecond
		cfg.Hosts[0].Instances[0].Lease = false
	})
	watchOver(c)
	a := c.Host("a")
	a.Start()
	c.Run(3420 * time.Millisecond)
	a.Pause() // before the kernel's word
	c.Run(100 * time.Millisecond)
	a.Delete(vip)
	a.Resume()
	c.Run(time.Second)
	if trace := strings.Join(c.Trace(), "\n"); !strings.Contains(trace, "hooks of master") || len(c.Faults()) > 0 || !a.Has(vip) {
		t.Errorf("faults %q, want none, the address again, and the hooks of master in\n%s", c.Faults(), trace)
	}

	tests := []struct {
		name string
		lose func(a *Host)
	}{
		{"what ran out", func(a *Host) { a.kernel.drop(vip) }},
		{"what it was told of", func(a *Host) { a.Delete(vip); a.Resume() }},
		{"what was deleted before the kernel set it again", func(a *Host) { a.Delete(vip); a.kernel.add("web", vip, 0); a.kernel.drop(vip) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			a := c.Host("a")
			a.begin(a.cfg)
			a.kernel.add("web", vip, 0)
			a.Pause()
			tt.lose(a)
			w.step(a, node.Elapsed{}, []node.Action{node.Notify{Instance: "web", State: node.Master, Previous: node.Init}})
			wantFault(t, c, "without its addresses")
		})
	}
}

// TestWatchWaitsForFamily holds that a host may keep the addresses that its successor gave up until a family that a reload brings has listened,
// and no longer; any other reload changes nothing.
func TestWatchWaitsForFamily(t *testing.T) {
	v4, v6 := node.Address{IP: vip}, node.Address{IP: netip.MustParseAddr("2001:db8::10")}
	for _, brings := range []bool{true, false} {
		c := pair(nil)
		w := watchOver(c)
		a := c.Host("a")
		a.begin(a.cfg)
		a.kernel.add("web", vip, 0)
		next := a.Config()
		next.Instances = slices.Clone(next.Instances)
		next.Instances[0].Addresses = []node.Address{v4, {IP: vip.Next()}}
		if brings {
			next.Instances[0].Addresses = []node.Address{v4, v6}
		}
		listens := []node.Action{node.Changed{Instance: "web", From: node.Init, To: node.Backup, Why: "listening"}}
		w.step(a, node.Heard{Received: vrrp.Received{Advert: vrrp.Advert{VRID: 51}}}, listens) // priority 0
		c.Run(3 * time.Second)
		w.step(a, node.Reconfigured{Config: next}, nil)
		c.Run(4 * time.Second)
		w.step(a, node.Elapsed{}, nil)
		if late := len(c.Faults()) > 0; late == brings {
			t.Errorf("a family brought %t: faults %q 4s after the reload", brings, c.Faults())
		}
		c.Run(time.Second)
		w.step(a, node.Elapsed{}, nil)
		wantFault(t, c, "has its addresses for")
	}
}

// TestPromisesWaitForWhoJoins holds that an unhealthy host may keep a part of a group while a healthy one that serves the rest is about to join
// with it, for as long as that one may need, and no longer; and not where nobody serves the rest.
func TestPromisesWaitForWhoJoins(t *testing.T) {
	const recovery = 10 * time.Second
	tests := []struct {
		name           string
		web, inside    node.State // b's
		after, andThen time.Duration
		late           bool // after the first time
	}{
		{"it is about to", node.Master, node.Init, recovery, 5 * time.Second, false},
		{"it joined, and never gets the addresses", node.Master, node.Master, 3 * time.Second, 2 * time.Second, false},
		{"it does not serve the rest", node.Init, node.Init, 5 * time.Second, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(func(cfg *Config) {
				cfg.Hosts = append(cfg.Hosts, node.Config{Name: "c", Instances: slices.Clone(cfg.Hosts[1].Instances)})
				for k := range cfg.Hosts {
					inside := cfg.Hosts[k].Instances[0]
					inside.Name, inside.VRID, inside.Addresses = "inside", 52, []node.Address{{IP: vip.Next()}}
					cfg.Hosts[k].Instances = append(cfg.Hosts[k].Instances, inside)
					cfg.Hosts[k].Groups = []node.Group{{Name: "edge", Instances: []string{"web", "inside"}}}
				}
			})
			w := watchOver(c)
			is := map[string]health{"a": ill, "b": well, "c": well}
			p := promise(c, w, func(h *Host) health { return is[h.Name] }, func() bool { return true }, func(*Host) time.Duration { return recovery }, equal)
			p.groups = true
			for host, states := range map[string][2]node.State{"a": {node.Init, node.Master}, "b": {tt.web, tt.inside}, "c": {node.Backup, node.Backup}} {
				h := c.Host(host)
				h.begin(h.cfg)
				for k, name := range []string{"web", "inside"} {
					i := w.host(h).instances[name]
					i.state, i.since, i.joined = states[k], epoch, epoch
				}
			}
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, w.slack))
			c.Host("a").kernel.add("inside", vip.Next(), 0)
			c.Host("b").kernel.add("web", vip, 0)
			p.unrest = c.now
			c.Run(tt.after)
			if p.check(); len(c.Faults()) > 0 != tt.late {
				t.Errorf("faults %q after %s, want one: %t", c.Faults(), tt.after, tt.late)
			}
			c.Run(tt.andThen)
			p.check()
			wantFault(t, c, "has 192.0.2.11 and is unhealthy, a healthy host looks on")
		})
	}
}

// equal is the priority of hosts that all have the same.
func equal(*Host) uint8 { return 100 }

// TestPromisesSeeWhoGivesWay holds that where the priorities of two masters change places the other one has its time to hear of it, from then
// on and no longer.
func TestPromisesSeeWhoGivesWay(t *testing.T) {
	c := pair(nil)
	best := "a"
	rank := func(h *Host) uint8 {
		if h.Name == best {
			return 200
		}
		return 100
	}
	p := promise(c, watchOver(c), func(*Host) health { return well }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, rank)
	for _, h := range c.hosts {
		h.begin(h.cfg)
	}
	p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, 0))
	c.Host("a").kernel.add("web", vip, 0)
	c.Host("b").kernel.add("web", vip, 0)
	bound := p.bound.overlap(false)
	c.Run(bound)
	best = "b"
	p.news()
	c.Run(bound)
	if p.check(); len(c.Faults()) > 0 {
		t.Fatalf("faults %q, although who gives way has just changed", c.Faults())
	}
	p.news() // nothing changes any more
	c.Run(time.Millisecond)
	p.check()
	wantFault(t, c, "[a b] all have 192.0.2.10")
}

// TestJudgeWaitsForEarlierStorm holds that what a storm holds is waited for as long as it may come, also where a shorter storm follows it, and
// no longer.
func TestJudgeWaitsForEarlierStorm(t *testing.T) {
	const step = time.Millisecond
	for _, earlier := range []time.Duration{0, 10 * time.Second} {
		s := healed(func(*node.Instance) {})
		s.c.Network.MaxDelay = max(earlier, s.o.network.MaxDelay)
		s.storm(newDice(1, 1), nil)
		own := s.c.Network.MaxDelay
		for s.c.Network.MaxDelay > s.o.network.MaxDelay {
			s.c.Run(step)
		}
		comes := later(epoch.Add(earlier), s.c.now.Add(own))
		s.c.Run(comes.Sub(s.c.now))
		if s.calm() || comes.Sub(s.p.unrest) > step {
			t.Errorf("an earlier storm of %s: calm %t and unrest %s before the last packet comes", earlier, s.calm(), comes.Sub(s.p.unrest))
		}
		if s.c.Run(s.widest + step); !s.calm() {
			t.Errorf("an earlier storm of %s: not calm an interval after the last packet came", earlier)
		}
	}
}

// TestPromisesKnowWhoWasAway holds that a backup whose process was exchanged while nobody had the address may take as much longer as that was
// away, and no longer; not where another backup was there all the time, nor for what was before.
func TestPromisesKnowWhoWasAway(t *testing.T) {
	const gone = time.Second
	for _, tt := range []struct {
		name   string
		before bool   // it was away before nobody had the address
		other  health // a's
		late   bool   // without that time
	}{
		{"it alone", false, unknown, false},
		{"another backup", false, well, true},
		{"before", true, unknown, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			is := map[string]health{"a": tt.other, "b": well}
			p := promise(c, w, func(h *Host) health { return is[h.Name] }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
			for _, h := range c.hosts {
				h.begin(h.cfg)
				i := w.host(h).instances["web"]
				i.state, i.since, i.joined = node.Backup, epoch, epoch
			}
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, w.slack))
			b := c.Host("b")
			exchange := func() {
				b.sealedAt = b.now()
				c.Run(gone)
				p.exchanged(b)
			}
			left := p.bound.gap()
			if tt.before {
				exchange()
				c.Host("a").kernel.add("web", vip, 0)
				c.Run(time.Millisecond)
				c.Host("a").kernel.drop(vip)
			} else {
				exchange()
				left -= gone
			}
			c.Run(left + time.Millisecond)
			if p.check(); len(c.Faults()) > 0 != tt.late {
				t.Errorf("faults %q, want one: %t", c.Faults(), tt.late)
			}
			c.Run(gone)
			p.check()
			wantFault(t, c, "nobody has 192.0.2.10")
		})
	}
}

// TestWatchHearsWhoParts holds that who lingers may say once more that it stepped down, also in the step that ends that by a fault; nobody else
// may, and not after that step.
func TestWatchHearsWhoParts(t *testing.T) {
	change := func(from, to node.State) node.Action {
		return node.Changed{Instance: "web", From: from, To: to, Why: "x"}
	}
	for _, tt := range []struct {
		name   string
		served bool
		after  time.Duration
		then   []node.Action // in the step that sends
		late   bool
	}{
		{"while it lingers", true, 20 * time.Millisecond, nil, false},
		{"in the step that ends that", true, 20 * time.Millisecond, []node.Action{change(node.Backup, node.Fault)}, false},
		{"later", true, 2 * maxLinger, nil, true},
		{"later, in fault", true, 2 * maxLinger, []node.Action{change(node.Backup, node.Fault)}, true},
		{"who did not serve", false, 20 * time.Millisecond, []node.Action{change(node.Backup, node.Fault)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			a := c.Host("a")
			a.begin(a.cfg)
			send := func(d time.Duration, then ...node.Action) {
				c.Run(d)
				w.step(a, node.Elapsed{}, append([]node.Action{node.Send{Instance: "web", Payload: []byte{0x31, 51, 100}, Until: a.now().Add(time.Second)}}, then...))
			}
			if tt.served {
				w.step(a, node.Elapsed{}, []node.Action{change(node.Init, node.Master), change(node.Master, node.Backup)})
			} else {
				w.step(a, node.Elapsed{}, []node.Action{change(node.Init, node.Backup)})
			}
			if send(tt.after, tt.then...); len(c.Faults()) > 0 != tt.late {
				t.Errorf("faults %q, want one: %t", c.Faults(), tt.late)
			}
			send(maxLinger)
			wantFault(t, c, "sends an advert")
		})
	}
}

// TestPromisesLetLateWakerListen holds that a healthy backup that was master and woke late may look on for as long as it listens, and no longer;
// where another backup is healthy, or it was none that woke late, nobody may.
func TestPromisesLetLateWakerListen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      health
		served bool
		woke   bool
		late   bool
	}{
		{"it woke late", unknown, true, true, false},
		{"it was no master", unknown, false, true, true},
		{"it stepped down awake", unknown, true, false, true},
		{"another one is there", well, true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(func(cfg *Config) {
				cfg.Hosts = append(cfg.Hosts, node.Config{Name: "c", Instances: slices.Clone(cfg.Hosts[1].Instances)})
				for k := range cfg.Hosts {
					cfg.Hosts[k].Instances[0].Interval = 10 * time.Millisecond
				}
			})
			w := watchOver(c)
			is := map[string]health{"a": ill, "b": well, "c": tt.c}
			p := promise(c, w, func(h *Host) health { return is[h.Name] }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
			c.Run(time.Second)
			for _, h := range c.hosts {
				h.begin(h.cfg)
				i := w.host(h).instances["web"]
				i.state, i.since, i.joined = node.Backup, c.now, c.now
			}
			b := c.Host("b")
			w.host(b).instances["web"].stepped = tt.served
			if b.resumed = epoch; tt.woke {
				b.resumed = c.now
			}
			w.host(c.Host("a")).instances["web"].state = node.Leaving
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, w.slack))
			c.Host("a").kernel.add("web", vip, 0)
			p.unrest = c.now
			c.Run(p.bound.idle() + p.bound.listens() - time.Millisecond)
			if p.check(); len(c.Faults()) > 0 != tt.late {
				t.Errorf("faults %q, want one: %t", c.Faults(), tt.late)
			}
			c.Run(2 * time.Millisecond)
			p.check()
			wantFault(t, c, "has 192.0.2.10 and is unhealthy, a healthy host looks on")
		})
	}
}

// TestPromisesKnowWhatIsMissed holds that of two owners the one that has to give way may need an interval more for each exchange of its process,
// and the other one none.
func TestPromisesKnowWhatIsMissed(t *testing.T) {
	for _, tt := range []struct {
		who   string
		times int
	}{{"a", 0}, {"a", 1}, {"a", 2}, {"b", 2}} {
		c := pair(nil)
		p := promise(c, watchOver(c), func(*Host) health { return well }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
		for _, h := range c.hosts {
			h.begin(h.cfg)
		}
		p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, 0))
		c.Host("a").kernel.add("web", vip, 0)
		c.Host("b").kernel.add("web", vip, 0)
		bound := p.bound.overlap(false)
		c.Run(10 * time.Millisecond)
		for range tt.times {
			c.Host(tt.who).sealedAt = c.Host(tt.who).now()
			p.exchanged(c.Host(tt.who))
			if tt.who == "a" {
				bound += p.bound.interval
			}
		}
		c.Run(bound - 11*time.Millisecond)
		if p.check(); len(c.Faults()) > 0 {
			t.Errorf("%d exchanges of %s: faults %q within %s", tt.times, tt.who, c.Faults(), bound)
		}
		c.Run(2 * time.Millisecond)
		p.check()
		wantFault(t, c, "[a b] all have 192.0.2.10")
	}
}

// TestWornByItsOwnClock holds that the minute in which a host offers what keeps being deleted is counted without what it stood still.
func TestWornByItsOwnClock(t *testing.T) {
	for _, stood := range []time.Duration{0, 20 * time.Second} {
		s := signedPair(time.Second, time.Second, false)
		b := s.c.Host("b")
		b.Start()
		for range 5 {
			s.plights[b].deleted = append(s.plights[b].deleted, b.now())
		}
		b.Freeze(true)
		s.c.Run(stood)
		b.Thaw(Suspended)
		s.c.Run(wornPause - stood + 10*time.Second)
		if got := s.worn(b); got != (stood > 0) {
			t.Errorf("it stood still for %s: worn is %t %s after it", stood, got, wornPause+10*time.Second)
		}
	}
}
