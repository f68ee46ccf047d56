package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

var (
	begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lb2   = netip.MustParseAddr("10.0.0.2")
)

func authOf(mode vrrp.AuthMode) *vrrp.Auth {
	return &vrrp.Auth{Mode: mode, Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, Secret: vrrp.NewSecret([]byte(strings.Repeat("k", 32)))}}}
}

// signedNode has one instance with authentication, on a link that is up.
func signedNode(auth *vrrp.Auth) *Node {
	n := New(signedConfig(auth), begin)
	n.Step(begin, LinkChanged{Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}})
	return n
}

func signedConfig(auth *vrrp.Auth) Config {
	return Config{Name: "lb1", Instances: []Instance{{
		Name: "web", Interface: "eth0", VRID: 71, Priority: 100, Version: vrrp.V3, Addresses: []Address{{IP: netip.MustParseAddr("192.0.2.10")}},
		Interval: time.Second, DeadAdverts: 3, Preempt: true, Auth: auth,
	}}}
}

// from is an advert of lb2, whose clock differs.
func from(t *testing.T, signer *vrrp.Authenticator, sent time.Time, priority uint8) Heard {
	t.Helper()
	a := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}
	trailer, err := signer.Sign(authOf(vrrp.Enforce), sent, &a, lb2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.AppendSealed(nil, lb2, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
	if err != nil {
		t.Fatal(err)
	}
	r, err := vrrp.Parse(b, lb2, vrrp.GroupIPv4, vrrp.HopLimit)
	if err != nil {
		t.Fatal(err)
	}
	return Heard{Interface: "eth0", Received: r}
}

// warnings are what the log is told.
func warnings(actions []Action) string {
	var all []string
	for _, a := range actions {
		if w, ok := a.(Warned); ok {
			all = append(all, w.Why)
		}
	}
	return strings.Join(all, "\n")
}

// TestClockSkewIsNamed once it is more than half the window, once for each host.
func TestClockSkewIsNamed(t *testing.T) {
	tests := []struct {
		name  string
		ahead time.Duration
		want  string
	}{
		{"none", 0, ""},
		{"half the window", -2500 * time.Millisecond, ""},
		{"behind", -3 * time.Second, "clock-skew from 10.0.0.2, accepted all the same: its clock is 3s behind this host's, and at more than 5s its adverts are refused; set both clocks by NTP"},
		{"ahead", 3 * time.Second, "clock-skew from 10.0.0.2, accepted all the same: its clock is 3s ahead of this host's"},
		{"too far", 7 * time.Second, "adverts from 10.0.0.2 are refused: its signature is of another time: by its clock it was sent 7s in the future, and 5s is allowed; its clock is ahead of this host's: set both by NTP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := signedNode(authOf(vrrp.Enforce))
			var signer vrrp.Authenticator
			now := begin.Add(time.Minute)
			n.Step(now, Seen{Interface: "eth0", From: lb2, MAC: "02:00:00:00:00:02"})
			got := strings.ReplaceAll(warnings(n.Step(now, from(t, &signer, now.Add(tt.ahead), 150))), " (02:00:00:00:00:02)", "")
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) {
				t.Errorf("warned %q, want %q", got, tt.want)
			}
			now = now.Add(time.Second)
			if again := warnings(n.Step(now, from(t, &signer, now.Add(tt.ahead), 150))); again != "" {
				t.Errorf("warned again: %q", again)
			}
		})
	}
}

// TestBeforeTheStart: what an unknown host sent before the start makes a backup wait at most, also in a virtual router that a reload adds to a
// node that has run for long, or that gets its keys, or this one, by a reload; it is told once, and nobody is told of a master that is
// believed.
func TestBeforeTheStart(t *testing.T) {
	with := func(i ...Instance) Config { return Config{Name: "lb1", Instances: i} }
	web := func(auth *vrrp.Auth) Instance { return signedConfig(auth).Instances[0] }
	other := authOf(vrrp.Enforce)
	other.Active, other.Keys = 2, []vrrp.Key{{ID: 2, Secret: vrrp.NewSecret([]byte("another key, which nobody signs with"))}}
	for added, before := range map[string]Config{"nothing": {}, "an instance": with(), "its keys": with(web(nil)), "a key": with(web(other))} {
		n := New(signedConfig(authOf(vrrp.Enforce)), begin)
		if before.Name != "" {
			n = New(before, begin.Add(-time.Hour))
			n.Step(begin, Reconfigured{signedConfig(authOf(vrrp.Enforce))})
		}
		n.Step(begin, LinkChanged{Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}})
		n.Step(begin, Seen{Interface: "eth0", From: lb2, MAC: "02:00:00:00:00:02"})
		due, _ := n.Deadline()
		var signer vrrp.Authenticator
		for _, tt := range []struct {
			after, sent time.Duration
			priority    uint8
			holds       bool
			warned      string
		}{
			{0, -4 * time.Second, 0, false, "early from 10.0.0.2 (02:00:00:00:00:02), accepted all the same: by its clock it was sent 4s ago, before this host listened or a clock was set: that clock is behind " +
				"(set both by NTP), or somebody caught it and plays it again; until that clock has passed the start it can make this host wait, or give way while it is unhealthy or leaves, and never take over"},
			{0, -3 * time.Second, 1, false, ""},
			{time.Second, -2 * time.Second, 150, true, ""},
		} {
			got := warnings(n.Step(begin.Add(tt.after), from(t, &signer, begin.Add(tt.sent), tt.priority)))
			at, _ := n.Deadline()
			if got != tt.warned || at.After(due) != tt.holds || at.Before(due) {
				t.Errorf("added %s: priority %d: the timer moves from %s to %s, warned %q, want %q", added, tt.priority, due.Sub(begin), at.Sub(begin), got, tt.warned)
			}
			due = at
		}
		if c := n.Status(begin).Instances[0].Routers[0].Notices["early"]; c == nil || c.Count != 3 {
			t.Errorf("added %s: counted %+v", added, c)
		}
	}
}

// TestMemoryOutlivesARemovedInstance, for as long as what was caught could be played.
func TestMemoryOutlivesARemovedInstance(t *testing.T) {
	n := signedNode(authOf(vrrp.Enforce))
	var signer vrrp.Authenticator
	caught := from(t, &signer, begin, 0)
	n.Step(begin, caught)
	n.Step(begin, Reconfigured{Config{Name: "lb1"}})
	if len(n.byMember) != 0 {
		t.Fatal("the instance is still there")
	}
	if got := n.Memory(begin); len(got) != 1 || len(got[0].Marks) != 1 {
		t.Errorf("remembered %+v", got)
	}
	n.Step(begin, Reconfigured{signedConfig(authOf(vrrp.Enforce))})
	n.Step(begin, caught)
	if c := n.Status(begin).Instances[0].Routers[0].Refused["auth-replay"]; c == nil || c.Count != 1 {
		t.Error("the caught advert is accepted by the instance that came back")
	}
	n.Step(begin, Reconfigured{Config{Name: "lb1"}})
	if got := n.Memory(begin.Add(memoryFor + time.Second)); len(got) != 0 {
		t.Errorf("remembered for ever: %+v", got)
	}
}

// TestAdmittedAcrossAnExchange: what was refused before its sender became a peer is early for a process that goes on here, too.
func TestAdmittedAcrossAnExchange(t *testing.T) {
	with := func(peer string) Config {
		cfg := signedConfig(authOf(vrrp.Enforce))
		cfg.Instances[0].Peers, cfg.Instances[0].MinTTL = []Peer{{IP: netip.MustParseAddr(peer)}}, vrrp.HopLimit
		return cfg
	}
	n := New(with("10.0.0.3"), begin)
	own := netip.MustParseAddr("10.0.0.1")
	n.Step(begin, LinkChanged{Link{Name: "eth0", Up: true, Source4: own}})
	now := begin.Add(time.Second)
	n.Step(now, Reconfigured{with("10.0.0.2")})
	sealed := n.Seal(now)
	next, _, err := Restore(&sealed, now)
	if err != nil {
		t.Fatal(err)
	}
	var signer vrrp.Authenticator
	caught := from(t, &signer, begin.Add(-500*time.Millisecond), 0)
	caught.To = own
	next.Step(now, caught)
	if c := next.Status(now).Instances[0].Routers[0].Notices["early"]; c == nil || c.Count != 1 {
		t.Errorf("counted %+v", c)
	}
}

// TestNothingLeavesWithoutAKey: a key that could not be read keeps the host silent, and says so.
func TestNothingLeavesWithoutAKey(t *testing.T) {
	auth := authOf(vrrp.Enforce)
	auth.Keys[0].Secret = vrrp.Secret{}
	n := signedNode(auth)
	now := begin
	for range 20 {
		if at, ok := n.Deadline(); ok {
			now = at
		}
		for _, a := range n.Step(now, Elapsed{}) {
			if s, ok := a.(Send); ok {
				t.Fatalf("sent %x", s.Payload)
			}
		}
	}
	if got := n.Status(now).Instances[0].Routers[0].SendError; got != vrrp.ErrNoKey.Error() {
		t.Errorf("send error %q", got)
	}
}

// TestWithoutAuthenticationNothingIsRemembered.
func TestWithoutAuthenticationNothingIsRemembered(t *testing.T) {
	n := signedNode(nil)
	var signer vrrp.Authenticator
	n.Step(begin, from(t, &signer, begin, 150))
	if c := n.Status(begin).Instances[0].Routers[0].Refused["auth-unexpected"]; c == nil || n.MemoryVersion() != 0 || len(n.Memory(begin)) > 0 {
		t.Error("a signature means something to a node without keys")
	}
}
