package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// illGroup is an unhealthy host whose group is master, of which one virtual router ties with another host's old adverts: what that host, which is
// gone, sent before this one listened.
func illGroup(t *testing.T) (a *Host, old map[uint8]node.Send) {
	t.Helper()
	var s scenario
	s.keys = keys{signed: true, window: vrrp.DefaultWindow(time.Second)}
	c := pair(func(cfg *Config) {
		for k := range cfg.Hosts {
			h := &cfg.Hosts[k]
			web := &h.Instances[0]
			web.Interval, web.Auth, web.Checks = 100*time.Millisecond, s.auth(stepEnforce), map[string]node.Effect{yields: {}}
			inside := *web
			inside.Name, inside.VRID, inside.Addresses = "inside", 52, []node.Address{{IP: vip.Next()}}
			h.Instances = append(h.Instances, inside)
			h.Groups = []node.Group{{Name: "edge", Instances: []string{"web", "inside"}}}
		}
	})
	old = map[uint8]node.Send{}
	c.Observe = func(h *Host, _ node.Event, actions []node.Action) {
		for _, x := range actions {
			if x, ok := x.(node.Send); ok && h.Name == "b" && heading(x.Payload).Priority == vrrp.PriorityIll {
				old[heading(x.Payload).VRID] = x
			}
		}
	}
	for _, h := range c.Hosts() {
		h.SetCheck(yields, &Verdict{Reason: "503"})
	}
	c.Host("b").Start()
	c.Run(2 * time.Second)
	c.Host("b").Crash()
	c.Run(1200 * time.Millisecond)
	a = c.Host("a")
	a.Start()
	c.Run(1250 * time.Millisecond)
	if !a.Has(vip) || a.State("inside") != node.Master || len(old) != 2 || len(c.Faults()) > 0 {
		t.Fatalf("a is %s, %d adverts were caught, faults %q:\n%s", a.State("inside"), len(old), c.Faults(), strings.Join(c.Trace(), "\n"))
	}
	return a, old
}

// TestReplayIsAnnouncedFor holds that a group which does not give way for an old advert of an unhealthy host may announce its addresses again, in
// that instant and for nothing else.
func TestReplayIsAnnouncedFor(t *testing.T) {
	a, old := illGroup(t)
	c, inside := a.c, old[52]
	before := a.deadline()
	anew := func(at time.Time) bool { return announcesAnew(a.node.Seal(a.now()), a.now(), at) }
	if anew(before) {
		t.Error("it announces anew before anything was played")
	}
	a.Replay(Interface, inside.Payload, inside.Source, inside.Destination)
	after := a.deadline()
	if len(c.Faults()) > 0 || !after.Before(before) || a.State("inside") != node.Master {
		t.Errorf("it is %s, and its timer moves from %s to %s, faults %q: want a master that does something sooner", a.State("inside"), before, after, c.Faults())
	}
	for at, want := range map[time.Time]bool{after: true, before: false, before.Add(-time.Millisecond): false} {
		if got := anew(at); got != want {
			t.Errorf("what it does at %s is to announce anew: %t, want %t", at, got, want)
		}
	}
	more := a.node.Seal(a.now())
	if more.Instances[0].Members[0].Machine.Deadline = after; announcesAnew(more, a.now(), after) {
		t.Error("it announces anew, where a virtual router has something to do, too")
	}
	c.Run(time.Millisecond)
	for _, i := range a.node.Seal(a.now()).Instances {
		if next := i.Announcer.Next; next.IsZero() || anew(next) {
			t.Errorf("a millisecond later it announces anew, at %s", next)
		}
	}
}
