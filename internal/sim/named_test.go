package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// namedPair is two healthy hosts whose peers have names; whoever begins finds the other one, unless fails says otherwise.
func namedPair(fails func(h *Host, name string) bool) *scenario {
	s := healed(func(i *node.Instance) { i.Peers = everyHost(2, 0, true) })
	s.common.Peers = everyHost(2, 0, true)
	s.o.naming = naming{named: true, astray: true, d: newDice(1, 1)}
	s.introduce()
	s.c.Resolve = func(h *Host, name string) Answer {
		if fails(h, name) {
			return Answer{Err: "server misbehaving"}
		}
		return s.resolve(h, name)
	}
	return s
}

// TestLookUps holds that the model of a process looks names up when the daemon does (TestNamesAreAskedLessAndLess,
// TestNamesAreAskedAtOnce): one that is silent after 5, 10, 20, 30, 30 .. s, one that is heard not at all, and one that the node asks
// for 5 s after the last look at the soonest.
func TestLookUps(t *testing.T) {
	s := namedPair(func(*Host, string) bool { return false })
	asked, resolve := map[string][]string{}, s.c.Resolve
	s.c.Resolve = func(h *Host, name string) Answer {
		asked[h.Name+" "+name] = append(asked[h.Name+" "+name], s.c.Since().Truncate(time.Second).String())
		return resolve(h, name)
	}
	a, b := s.c.Host("a"), s.c.Host("b")
	want := func(what string, want map[string][]string) {
		t.Helper()
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		clear(asked)
	}
	silent := []string{"0s", "5s", "15s", "35s", "1m5s", "1m35s"}
	startAll(s.c)
	s.c.Run(95 * time.Second)
	want("a master and its backup", map[string][]string{"a a.eth0": silent, "a b.eth0": silent, "b a.eth0": {"0s"}, "b b.eth0": silent})
	b.Pause()
	s.c.Run(60 * time.Second)
	delete(asked, "a a.eth0")
	delete(asked, "a b.eth0")
	want("a process that is stopped", map[string][]string{})
	b.Resume()
	s.c.Run(time.Second)
	delete(asked, "a a.eth0")
	delete(asked, "a b.eth0")
	want("one that goes on, and hears what came meanwhile", map[string][]string{"b b.eth0": {"2m40s"}})
	s.c.Run(time.Hour)
	clear(asked)
	now := s.c.Since()
	for range 100 {
		a.names.want([]string{"b.eth0", "nobody"})
		s.c.Run(100 * time.Millisecond)
	}
	if got := len(asked["a b.eth0"]); got < 2 || got > 3 || len(asked["a nobody"]) > 0 {
		t.Errorf("from %s on in 10s of wishes it was asked %v", now, asked)
	}
}

// TestLookUpFails holds what a process learns from a name service that fails in one family, or in all.
func TestLookUpFails(t *testing.T) {
	ips := func(texts ...string) (out []netip.Addr) {
		for _, text := range texts {
			out = append(out, netip.MustParseAddr(text))
		}
		return out
	}
	both := ips("10.0.0.2", "fe80::2")
	for _, tt := range []struct {
		name   string
		before Answer
		then   Answer
		want   string
	}{
		{"it fails after it was found", Answer{IPs: both}, Answer{Err: "away"}, "[10.0.0.2]"},
		{"it never was found", Answer{Err: "away"}, Answer{Err: "away"}, "[]"},
		{"another family fails", Answer{IPs: both}, Answer{IPs: ips("10.0.0.9", "fe80::9"), Err: "IPv6: away", Fails: []vrrp.Family{vrrp.IPv6}}, "[10.0.0.9]"},
		{"its family fails", Answer{IPs: both}, Answer{IPs: ips("10.0.0.9", "fe80::9"), Err: "IPv4: away", Fails: []vrrp.Family{vrrp.IPv4}}, "[10.0.0.2]"},
		{"it has moved", Answer{IPs: both}, Answer{IPs: ips("10.0.0.9", "fe80::9")}, "[10.0.0.9]"},
		{"it has no address of the family", Answer{IPs: both}, Answer{IPs: ips("fe80::9")}, "[10.0.0.2]"},
		{"it is this host's", Answer{IPs: both}, Answer{IPs: ips("127.0.1.1")}, "[127.0.1.1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := namedPair(func(*Host, string) bool { return false })
			now := tt.before
			s.c.Resolve = func(*Host, string) Answer { return now }
			a := s.c.Host("a")
			a.Start()
			s.c.Run(time.Second)
			now = tt.then
			s.c.Run(time.Minute)
			if got, known := a.Leads("b.eth0"); fmt.Sprint(got) != tt.want || !known {
				t.Errorf("it leads to %v, known %t, want %s", got, known, tt.want)
			}
		})
	}
}

// TestJudgeOfNames keeps what hosts with peers by name must come to honest: it must be able to fail, and no host may be blamed for what it
// cannot know.
func TestJudgeOfNames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails func(h *Host, name string) bool
		want  string // empty: nothing
	}{
		{"nothing is wrong", func(*Host, string) bool { return false }, ""},
		{"it is never found", func(h *Host, name string) bool { return h.Name == "b" && name == "a.eth0" }, "b takes no part: web init (02:00:00:00:00:01 serves its addresses"},
		{"it is somebody else's", func(*Host, string) bool { return false }, "b does not know where the others are"},
		{"it is found after a while", func(h *Host, name string) bool { return name == "a.eth0" && h.c.Since() < 25*time.Second }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := namedPair(tt.fails)
			if tt.name == "it is somebody else's" {
				s.plights[s.c.Host("b")].stale = map[string][]netip.Addr{"a.eth0": {stranger(vrrp.IPv4)}}
			}
			s.c.Host("a").Start()
			s.c.Run(10 * time.Second)
			s.c.Host("b").Start()
			s.c.Run(10 * time.Second)
			s.p.disturbed()
			s.settle()
			got := strings.Join(s.c.Faults(), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
		})
	}
}

// TestDeafHostMustAsk holds that a host which never found the one that serves must not take over from silence.
func TestDeafHostMustAsk(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails bool
		why   string
		want  string
	}{
		{"it found it", false, "nobody advertised for 3.609s", ""},
		{"it never found it", true, "nobody advertised for 3.609s", "b takes over web from silence, which a serves"},
		{"it never found it, and another one hands over", true, "handed over by 10.0.0.3", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := namedPair(func(h *Host, name string) bool { return tt.fails && h.Name == "b" && name == "a.eth0" })
			startAll(s.c)
			s.c.Run(5 * time.Second)
			s.asked(s.c.Host("b"), []node.Action{node.Changed{Instance: "web", From: node.Backup, To: node.Master, Why: tt.why}})
			got := strings.Join(s.c.Faults(), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("faults %q, want %q", got, tt.want)
			}
		})
	}
}

// TestNamesGoAstray holds that the random runs are what they are meant to be: name services fail, hosts move, and come to know each other
// again, and hosts ask the link because they never found another one.
func TestNamesGoAstray(t *testing.T) {
	for _, k := range []species{single, groups} {
		var sum namings
		all := func() bool { return sum.outages > 0 && sum.moves > 0 && sum.learned > 0 && sum.asked > 0 }
		for s := *seed; s < *seed+1000 && !all(); s++ {
			if draw(s, k, false, nil).o.naming.named {
				n := play(s, k, false, nil).o.naming.count
				sum.outages, sum.moves, sum.learned, sum.asked = sum.outages+n.outages, sum.moves+n.moves, sum.learned+n.learned, sum.asked+n.asked
			}
		}
		if !all() {
			t.Errorf("%s: in 1000 seeds %+v, want some of each", k, sum)
		}
	}
}

// TestBackupMayNotHaste holds that a backup which heard nobody must wait as long again once it has found a peer, and no longer; one that
// heard a master in one family knows who that was.
func TestBackupMayNotHaste(t *testing.T) {
	for _, tt := range []struct {
		ago  time.Duration
		why  string
		want string
	}{
		{time.Second, "nobody advertised for 3.609s", "b takes over web from silence 1s after it found a.eth0"},
		{4 * time.Second, "nobody advertised for 3.609s", ""},
		{time.Second, "nobody advertised for 3.609s; fe80::3 is silent for 3.609s", ""},
	} {
		s := namedPair(func(*Host, string) bool { return false })
		startAll(s.c)
		b := s.c.Host("b")
		s.plights[b].met = map[string]time.Time{"a.eth0": s.c.Now()}
		s.c.Run(tt.ago)
		s.asked(b, []node.Action{node.Changed{Instance: "web", From: node.Backup, To: node.Master, Why: tt.why}})
		got := strings.Join(s.c.Faults(), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s after it, %s: faults %q, want %q", tt.ago, tt.why, got, tt.want)
		}
	}
}

// TestLeftoversOfTheUninformed holds that a process which still looks its peers up is no part of the cluster where its host has addresses that a
// dead one left, and is one once it has, or where there are none.
func TestLeftoversOfTheUninformed(t *testing.T) {
	for _, left := range []bool{false, true} {
		s := namedPair(func(*Host, string) bool { return false })
		resolve := s.c.Resolve
		s.c.Resolve = func(h *Host, name string) Answer {
			a := resolve(h, name)
			a.After = time.Second
			return a
		}
		b := s.c.Host("b")
		b.Start()
		if s.c.Run(500 * time.Millisecond); left {
			b.kernel.add("web", vip, 0)
		}
		if got := s.stranger(false) == b; got != left {
			t.Errorf("addresses are left %t: it is a stranger %t", left, got)
		}
		s.c.Run(time.Second)
		if got := s.stranger(false); got != nil {
			t.Errorf("addresses are left %t, and it has looked its peers up: %s is a stranger", left, got.Name)
		}
	}
}

// TestStrangers holds whom the judge takes for a host that does not know the others: who does not know one that takes part, or that has what a dead
// process left, or under which address it is known itself, if its name says so; and nobody else.
func TestStrangers(t *testing.T) {
	lost := map[string][]netip.Addr{"a.eth0": {stranger(vrrp.IPv4)}, "b.eth0": {stranger(vrrp.IPv4)}}
	for _, tt := range []struct {
		name   string
		wrong  string // the name that leads a elsewhere
		local  bool   // a host's own name leads to a loopback address
		starts bool   // b does
		left   bool   // b's host has what a dead process left
		away   bool   // it is asked also for hosts that are away
		want   bool   // that a is one
	}{
		{"it knows all", "", false, true, false, true, false},
		{"it does not know one that takes part", "b.eth0", false, true, false, false, true},
		{"it does not know one that is away", "b.eth0", false, false, false, false, false},
		{"it does not know one that is away, which counts", "b.eth0", false, false, false, true, true},
		{"it does not know one of which addresses are left", "b.eth0", false, false, true, false, true},
		{"it knows one of which addresses are left", "", false, false, true, false, false},
		{"it does not know itself", "a.eth0", false, true, false, false, true},
		{"its name does not say where it is", "a.eth0", true, true, false, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := namedPair(func(*Host, string) bool { return false })
			a, b := s.c.Host("a"), s.c.Host("b")
			s.o.naming.local = tt.local
			s.plights[a].stale = map[string][]netip.Addr{tt.wrong: lost[tt.wrong]}
			if tt.wrong == "" {
				s.plights[a].stale = nil
			}
			a.Start()
			if tt.starts {
				b.Start()
			}
			s.c.Run(time.Second)
			if tt.left {
				b.kernel.add("web", vip, 0)
			}
			if got := s.stranger(tt.away); got != nil && got != a || (got == a) != tt.want {
				t.Errorf("the stranger is %v, want a: %t", got, tt.want)
			}
		})
	}
}

// TestHeardNobody: who was offered the addresses in one family did hear somebody, although nobody advertised in the other.
func TestHeardNobody(t *testing.T) {
	for why, want := range map[string]bool{
		"nobody advertised for 12.926s": true,
		"nobody advertised for 12.926s; adverts from fe80::2 were refused (not-a-peer)":             true,
		"nobody advertised for 12.926s; fe80::1 is silent for 12.9s":                                false,
		"nobody advertised for 12.926s; fe80::1 is unhealthy and offers its addresses (priority 1)": false,
		"fe80::1 is silent for 12.9s; adverts from fe80::2 were refused (not-a-peer)":               false,
	} {
		if got := heardNobody(why); got != want {
			t.Errorf("%q says that nobody was heard: %t, want %t", why, got, want)
		}
	}
}
