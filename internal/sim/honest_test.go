package sim

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestWatchSeesFaults keeps what no step may do honest: each must be able to fail.
func TestWatchSeesFaults(t *testing.T) {
	changed := func(from, to node.State, why string) node.Action {
		return node.Changed{Instance: "web", From: from, To: to, Why: why}
	}
	soon := epoch.Add(500 * time.Millisecond)
	tests := []struct {
		name    string
		actions []node.Action
		want    string
	}{
		{"a line that does not connect", []node.Action{changed(node.Backup, node.Master, "x")}, "but was init"},
		{"a line without a reason", []node.Action{changed(node.Init, node.Backup, "")}, "without a reason"},
		{"a hook that is told twice", []node.Action{node.Notify{Instance: "web", State: node.Init, Previous: node.Init}}, "tells the hooks"},
		{"a hook of nobody's", []node.Action{node.Notify{Instance: "mail", State: node.Backup, Previous: node.Init}}, "nobody configured"},
		{"a master without addresses", []node.Action{node.Notify{Instance: "web", State: node.Master, Previous: node.Init}}, "without its addresses"},
		{"a contention of a backup", []node.Action{node.Notify{Instance: "web", State: node.Contended, Previous: node.Master}}, "of a contention"},
		{"an advert of a backup", []node.Action{changed(node.Init, node.Backup, "x"), node.Send{Instance: "web", Payload: []byte{0x31, 51, 100}, Until: soon}}, "sends an advert"},
		{"an advert that is never stale", []node.Action{changed(node.Init, node.Master, "x"), node.Send{Instance: "web", Payload: []byte{0x31, 51, 100}, Until: epoch.Add(time.Hour)}}, "the advert is good for"},
		{"an announcement that is stale", []node.Action{node.Announce{Instance: "web"}}, "the announcement is good for"},
		{"a renewal that is stale", []node.Action{node.SetAddresses{Instance: "web", Until: epoch}}, "the renewal is good for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			a := c.Host("a")
			a.begin(a.cfg)
			w.step(a, node.Elapsed{}, tt.actions)
			wantFault(t, c, tt.want)
		})
	}
	t.Run("an address of a backup", func(t *testing.T) {
		c := pair(nil)
		w := watchOver(c)
		a := c.Host("a")
		a.begin(a.cfg)
		a.kernel.add("web", vip, 0)
		w.step(a, node.Elapsed{}, []node.Action{changed(node.Init, node.Backup, "x")})
		c.Run(time.Second)
		w.step(a, node.Elapsed{}, nil)
		wantFault(t, c, "has its addresses for")
	})
	t.Run("a master that woke late", func(t *testing.T) {
		c := pair(nil)
		w := watchOver(c)
		a := c.Host("a")
		a.begin(a.cfg)
		w.step(a, node.Elapsed{}, []node.Action{changed(node.Init, node.Master, "x")})
		c.Run(10 * time.Second)
		w.step(a, node.Elapsed{}, []node.Action{node.SetAddresses{Instance: "web", Addresses: []node.Address{{IP: vip}}}})
		wantFault(t, c, "although it was silent for 10s")
	})
}

// TestWatchFollowsLateWaker holds that the judge takes a reload as a host does that woke late: first it steps down, and then it parts with
// a family, or has another name.
func TestWatchFollowsLateWaker(t *testing.T) {
	v4, v6 := node.Address{IP: vip}, node.Address{IP: netip.MustParseAddr("2001:db8::10")}
	tests := []struct {
		name               string
		first, then, later []node.Address // what it begins with, a reload before it sleeps, and one while it sleeps
		fails              bool           // a check, before it sleeps
		want               string
	}{
		{"a family ends", []node.Address{v4, v6}, nil, []node.Address{v4}, false, "a (web/IPv6): backup -> stop"},
		{"a family of one that was handing over for a fault ends", []node.Address{v4, v6}, nil, []node.Address{v4}, true, "a (web/IPv6): fault -> stop"},
		{"one that was handing over comes back", []node.Address{v4}, []node.Address{v6}, []node.Address{v4}, false, "a (web/51): leaving -> backup"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(func(cfg *Config) {
				cfg.Hosts[0].Instances[0].Addresses = tt.first
				cfg.Hosts[0].Instances[0].Checks = map[string]node.Effect{releases: {OnFailure: node.Release}}
			})
			watchOver(c)
			a := c.Host("a")
			a.SetCheck(releases, &Verdict{Healthy: true})
			reload := func(as []node.Address) {
				next := a.Config()
				next.Instances = slices.Clone(next.Instances)
				next.Instances[0].Addresses = as
				a.Reconfigure(next)
			}
			a.Start()
			c.Run(5 * time.Second)
			if tt.then != nil {
				reload(tt.then)
				c.Run(100 * time.Millisecond)
			}
			if tt.fails {
				a.SetCheck(releases, &Verdict{Reason: "503"})
			}
			a.Pause()
			reload(tt.later)
			c.Run(10 * time.Second)
			before := len(c.Trace())
			a.Resume()
			c.Run(10 * time.Second)
			if after := strings.Join(c.Trace()[before:], "\n"); !strings.Contains(after, tt.want) || len(c.Faults()) > 0 {
				t.Errorf("faults %q, want none, and %q in\n%s", c.Faults(), tt.want, after)
			}
		})
	}
}

// TestWatchWaitsForNewcomer holds that a group may keep the addresses that its successor gave up until who came to it meanwhile has
// listened, and no longer.
func TestWatchWaitsForNewcomer(t *testing.T) {
	c := pair(func(cfg *Config) {
		h := &cfg.Hosts[0]
		inside := h.Instances[0]
		inside.Name, inside.VRID, inside.Addresses = "inside", 52, []node.Address{{IP: vip.Next()}}
		h.Instances = append(h.Instances, inside)
		h.Groups = []node.Group{{Name: "edge", Instances: []string{"web", "inside"}}}
	})
	w := watchOver(c)
	a := c.Host("a")
	a.begin(a.cfg)
	a.kernel.add("web", vip, 0)
	listens := func(instance string) []node.Action {
		return []node.Action{node.Changed{Instance: instance, From: node.Init, To: node.Backup, Why: "listening"}}
	}
	w.step(a, node.Heard{Received: vrrp.Received{Advert: vrrp.Advert{VRID: 51}}}, listens("web")) // priority 0
	c.Run(3 * time.Second)
	w.step(a, node.Elapsed{}, listens("inside"))
	c.Run(4 * time.Second)
	if w.step(a, node.Elapsed{}, nil); len(c.Faults()) > 0 {
		t.Errorf("faults %q while the newcomer listens, want none", c.Faults())
	}
	c.Run(time.Second)
	w.step(a, node.Elapsed{}, nil)
	wantFault(t, c, "has its addresses for")
}

// wantFault looks for a text in the first fault.
func wantFault(t *testing.T, c *Cluster, want string) {
	t.Helper()
	if len(c.Faults()) == 0 || !strings.Contains(c.Faults()[0], want) {
		t.Errorf("faults %q, want the first with %q", c.Faults(), want)
	}
}

// TestPromisesSeeFaults does the same for what may not last.
func TestPromisesSeeFaults(t *testing.T) {
	tests := []struct {
		name   string
		health map[string]health
		states map[string]node.State
		do     func(c *Cluster, p *promises)
		want   string
	}{
		{"two owners", nil, nil, func(c *Cluster, _ *promises) {
			c.Host("a").kernel.add("web", vip, 0)
			c.Host("b").kernel.add("web", vip, 0)
		}, "[a b] all have 192.0.2.10"},
		{"a healthy host that looks on", map[string]health{"a": ill, "b": well}, map[string]node.State{"b": node.Backup}, func(c *Cluster, _ *promises) {
			c.Host("a").kernel.add("web", vip, 0)
		}, "a healthy host looks on"},
		{"nobody", map[string]health{"b": well}, map[string]node.State{"b": node.Backup}, func(*Cluster, *promises) {}, "nobody has 192.0.2.10"},
		{"a healthy host that takes no part while an unhealthy one serves", map[string]health{"a": ill, "b": well}, nil, func(c *Cluster, _ *promises) {
			c.Host("a").kernel.add("web", vip, 0)
		}, "a healthy host looks on"},
		{"a healthy host that takes no part while nobody serves", map[string]health{"b": well}, map[string]node.State{"b": node.Fault}, func(*Cluster, *promises) {}, "nobody has 192.0.2.10"},
		{"a move among unhealthy hosts", map[string]health{"a": ill, "b": ill}, nil, func(c *Cluster, _ *promises) {
			c.Host("a").kernel.add("web", vip, 0)
			c.Run(time.Minute)
			c.Host("a").kernel.drop(vip)
		}, "although every host is unhealthy"},
		{"a gap in an orderly move", map[string]health{"a": well, "b": well}, map[string]node.State{"b": node.Backup}, func(c *Cluster, p *promises) {
			c.Host("a").kernel.add("web", vip, 0)
			p.served[service{vip, "a"}] = epoch
			c.Run(time.Minute)
			c.Host("a").kernel.drop(vip)
		}, "a let go of 192.0.2.10 before another host had it"},
		{"a gap in an orderly move to one that is unhealthy, too", map[string]health{"a": well, "b": ill}, map[string]node.State{"b": node.Backup}, func(c *Cluster, p *promises) {
			c.Host("a").kernel.add("web", vip, 0)
			p.served[service{vip, "a"}] = epoch
			c.Host("b").resumed = epoch
			c.Run(time.Minute)
			c.Host("a").kernel.drop(vip)
		}, "a let go of 192.0.2.10 before another host had it"},
		{"an owner that lets go early", map[string]health{"b": well}, map[string]node.State{"b": node.Master}, func(c *Cluster, p *promises) {
			c.Host("a").kernel.add("web", vip, 0)
			p.served[service{vip, "a"}] = epoch
			c.Run(time.Minute)
			p.news() // for which b takes it
			c.Host("b").kernel.add("web", vip, 0)
			c.Host("a").kernel.drop(vip)
		}, "before any of [b] had announced it"},
		{"one handover after the other", nil, nil, func(_ *Cluster, p *promises) { p.w.masters = 7 }, "became master 7 times"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(nil)
			w := watchOver(c)
			p := promise(c, w, func(h *Host) health { return tt.health[h.Name] }, func() bool { return true }, func(*Host) time.Duration { return time.Second }, equal)
			for _, h := range c.hosts {
				h.begin(h.cfg)
				if s := tt.states[h.Name]; s != "" {
					i := w.host(h).instances["web"]
					i.state, i.since, i.joined = s, epoch, epoch
				}
			}
			p.lookAfter(c.hosts[0].cfg.Instances, boundsOf(c.hosts[0].cfg.Instances[0], 0, w.slack))
			tt.do(c, p)
			p.check() // for a moment all of it may be
			if tt.want == "" {
				t.Fatal("the case wants nothing")
			}
			c.Run(20 * time.Second)
			p.check()
			wantFault(t, c, tt.want)
		})
	}
}

// TestIntrusionIsSeen keeps what a refused packet may do honest: a good one does move the timer.
func TestIntrusionIsSeen(t *testing.T) {
	for _, tt := range []struct {
		hops int
		want int
	}{{vrrp.HopLimit, 1}, {vrrp.HopLimit - 1, 0}} {
		c := pair(nil)
		b := c.Host("b")
		b.Start()
		c.Run(time.Second)
		from := netip.MustParseAddr("10.0.0.99")
		payload, err := vrrp.Advert{Version: vrrp.V3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip}}.
			Append(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
		if err != nil {
			t.Fatal(err)
		}
		b.Intrude(Interface, payload, from, vrrp.GroupIPv4, tt.hops)
		if len(c.Faults()) != tt.want {
			t.Errorf("with hop limit %d: faults %q, want %d", tt.hops, c.Faults(), tt.want)
		}
	}
}

// TestDifference holds that whatever a packet changes in a node is found, but for what is counted of it.
func TestDifference(t *testing.T) {
	c := pair(nil)
	startAll(c)
	seal := func() node.Sealed { return c.Host("a").node.Seal(c.Host("a").now()) }
	for name, tt := range map[string]struct {
		change func(*node.SealedInstance)
		want   string
	}{
		"nothing":                  {func(*node.SealedInstance) {}, ""},
		"a count":                  {func(i *node.SealedInstance) { i.Members[0].Counters.Accepted++ }, ""},
		"a refused sender":         {func(i *node.SealedInstance) { i.Members[0].Senders = append(i.Members[0].Senders, node.SealedSender{}) }, ""},
		"an announcement":          {func(i *node.SealedInstance) { i.Announcer.Next = epoch }, "Instances[0].Announcer.Next from "},
		"a virtual router's timer": {func(i *node.SealedInstance) { i.Members[0].Machine.Deadline = epoch }, "Instances[0].Members[0].Machine.Deadline from "},
		"a virtual router":         {func(i *node.SealedInstance) { i.Members = nil }, "Instances[0].Members from "},
	} {
		changed := seal()
		tt.change(&changed.Instances[0])
		got := difference("", reflect.ValueOf(uncounted(seal(), false)), reflect.ValueOf(uncounted(changed, false)))
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: found %q, want %q", name, got, tt.want)
		}
	}
}

// TestForgeryIsSeen does the same for what a host with keys may not believe: a key, and an advert that was not heard, do move it.
func TestForgeryIsSeen(t *testing.T) {
	var s scenario
	s.keys = keys{signed: true, window: vrrp.DefaultWindow(time.Second)}
	tests := []struct {
		name string
		key  string
		old  bool // it is played to b as one that b did not hear
		want string
	}{
		{"the right key", keyText(1), false, "for a packet from 10.0.0.1"},
		{"another key", "another key", false, ""},
		{"a new advert played as an old one", keyText(1), true, "for an old advert of 10.0.0.1"},
		{"another key played as an old advert", "another key", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(func(cfg *Config) {
				for _, h := range cfg.Hosts {
					h.Instances[0].Auth = s.auth(stepEnforce)
				}
			})
			startAll(c)
			b := c.Host("b")
			from := c.Host("a").Link().Source4
			a := vrrp.Advert{Version: vrrp.V3, VRID: 51, Interval: time.Second, Addresses: []netip.Addr{vip}}
			cfg := *s.auth(stepEnforce)
			cfg.Keys[0].Secret = secret(tt.key)
			var signer vrrp.Authenticator
			trailer, err := signer.Sign(&cfg, b.now(), &a, from)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := a.AppendSealed(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
			if err != nil {
				t.Fatal(err)
			}
			if tt.old {
				b.Replay(Interface, payload, from, vrrp.GroupIPv4)
			} else {
				b.Intrude(Interface, payload, from, vrrp.GroupIPv4, vrrp.HopLimit)
			}
			if tt.want != "" {
				wantFault(t, c, tt.want)
			} else if len(c.Faults()) > 0 {
				t.Errorf("faults %q, want none", c.Faults())
			}
		})
	}
}

// TestReplayRelieves holds what an old advert may do beside that: a host that stops lets go for it, as for any successor, and in no time.
// A healthy master stays.
func TestReplayRelieves(t *testing.T) {
	var s scenario
	s.keys = keys{signed: true, window: vrrp.DefaultWindow(time.Second)}
	for _, stops := range []bool{false, true} {
		c := pair(func(cfg *Config) {
			for _, h := range cfg.Hosts {
				h.Instances[0].Auth = s.auth(stepEnforce)
			}
		})
		c.Run(2 * time.Second)
		a, b := c.Host("a"), c.Host("b")
		caught := vrrp.Advert{Version: vrrp.V3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip}}
		from := b.Link().Source4
		var signer vrrp.Authenticator
		trailer, err := signer.Sign(s.auth(stepEnforce), b.now(), &caught, from)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := caught.AppendSealed(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
		if err != nil {
			t.Fatal(err)
		}
		c.Run(1100 * time.Millisecond)
		a.Start()
		c.Run(3600 * time.Millisecond)
		if stops {
			a.Feed(node.Stop{})
		}
		c.Run(50 * time.Millisecond)
		a.Replay(Interface, payload, from, vrrp.GroupIPv4)
		c.Run(maxLinger)
		if len(c.Faults()) > 0 || a.Running() == stops || a.Has(vip) == stops {
			t.Errorf("stops %t: it runs %t and has the address %t, faults %q", stops, a.Running(), a.Has(vip), c.Faults())
		}
	}
}

// TestFrozenHost holds the model of a machine that stands still.
func TestFrozenHost(t *testing.T) {
	tests := []struct {
		how  Pause
		want string // what a does when it goes on
	}{
		{Hidden, "a: master -> backup, priority 150: 10.0.0.2"}, // it only hears that it lost, if b were better
		{Caught, "woke late"},
		{Suspended, "woke late"},
	}
	for _, tt := range tests {
		t.Run(string(tt.how), func(t *testing.T) {
			c := pair(func(cfg *Config) {
				cfg.Hosts[0].Instances[0].Preempt, cfg.Hosts[0].Instances[0].Lease = false, false
				cfg.Hosts[1].Instances[0].Priority = 200
				cfg.Hosts[1].Instances[0].Preempt = false
			})
			c.Host("a").Start()
			c.Run(5 * time.Second)
			c.Host("b").Start()
			c.Run(5 * time.Second)
			a := c.Host("a")
			a.Freeze(true)
			if got := c.Owners.Now(vip); len(got) != 0 {
				t.Errorf("%v serve while a stands still", got)
			}
			c.Run(10 * time.Second)
			before := len(c.Trace())
			a.Thaw(tt.how)
			if got := c.Owners.Now(vip); len(got) != 2 {
				t.Errorf("%v serve when a goes on, want both", got)
			}
			c.Run(1500 * time.Millisecond)
			if after := strings.Join(c.Trace()[before:], "\n"); !strings.Contains(after, tt.want) {
				t.Errorf("no %q in\n%s", tt.want, after)
			}
		})
	}
}

// TestClockDrifts holds that a fast clock's second is shorter.
func TestClockDrifts(t *testing.T) {
	for _, ppm := range []int64{-1000, 0, 1000} {
		k := ownClock{drift: ppm, offset: time.Hour}
		real := k.real(time.Second)
		shown := k.of(epoch.Add(time.Minute + real)).Sub(k.of(epoch.Add(time.Minute)))
		if shown < time.Second || shown > time.Second+2*time.Microsecond {
			t.Errorf("at %d ppm a second takes %s, in which the clock shows %s", ppm, real, shown)
		}
	}
}

// TestCleanup holds the model of what runs after a process that died: it hands over, or leaves the addresses to the next one.
func TestCleanup(t *testing.T) {
	for _, tt := range []struct {
		name   string
		others bool
		want   []string // who has the address when the process is back
	}{{"a backup takes over", true, []string{"b"}}, {"nobody is there", false, []string{"a"}}} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(func(cfg *Config) { cfg.Hosts[0].Instances[0].PreemptDelay = time.Minute })
			a := c.Host("a")
			a.Start()
			c.Run(5 * time.Second)
			if tt.others {
				c.Host("b").Start()
				c.Run(5 * time.Second)
			}
			since := c.Now()
			a.Kill()
			a.Cleanup()
			c.Run(4 * time.Second)
			if a.Running() {
				t.Fatalf("the cleanup still runs:\n%s", strings.Join(c.Trace(), "\n"))
			}
			a.Start()
			c.Run(time.Second)
			if gap, _ := c.Owners.Sum(vip, since, c.Now()); gap > 0 {
				t.Errorf("nobody had the address for %s: %s", gap, c.Owners.Describe(vip, since, c.Now()))
			}
			if got := c.Owners.Now(vip); len(got) != 1 || got[0] != tt.want[0] {
				t.Errorf("%v have the address, want %v:\n%s", got, tt.want, strings.Join(c.Trace(), "\n"))
			}
		})
	}
}

// A cleanup that is killed leaves its address for a lease of 2 s, also where the daemon's was longer, and also without a lease for no
// longer than it might have worked.
func TestKilledCleanup(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lease    bool
		interval time.Duration
		most     time.Duration // both hosts have the address
	}{
		{"at 1 s", true, time.Second, least},
		{"at 10 s", true, 10 * time.Second, least},
		{"without a lease", false, time.Second, 6250 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := pair(func(cfg *Config) {
				for k := range cfg.Hosts {
					i := &cfg.Hosts[k].Instances[0]
					i.Lease, i.Interval = tt.lease, tt.interval
				}
			})
			a := c.Host("a")
			a.Start()
			c.Run(5 * tt.interval)
			c.Host("b").Start()
			c.Run(5 * tt.interval)
			since := c.Now()
			a.Kill()
			a.Cleanup()
			c.Run(20 * time.Millisecond)
			a.Kill()
			c.Run(10 * tt.interval)
			gap, overlap := c.Owners.Sum(vip, since, c.Now())
			if tt.interval == time.Second && gap > 0 || overlap > tt.most { // at 10 s the other host's skew is longer than the lease
				t.Errorf("after %s: %s, want an overlap of at most %s", since.Sub(epoch), c.Owners.Describe(vip, since, c.Now()), tt.most)
			}
			if got := c.Owners.Now(vip); len(got) != 1 || got[0] != "b" {
				t.Errorf("%v have the address, want b:\n%s", got, strings.Join(c.Trace(), "\n"))
			}
		})
	}
}
