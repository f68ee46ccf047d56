package sim

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// remembering is a host that has believed another one's adverts.
func remembering(t *testing.T) *Host {
	t.Helper()
	const interval = 100 * time.Millisecond
	s := signedPair(interval, interval, false)
	startAll(s.c)
	b := s.c.Host("b")
	if m := b.node.Seal(b.now()).Memory; len(m) != 1 || len(m[0].Memory.Marks) == 0 || len(s.c.Faults()) > 0 {
		t.Fatalf("b remembers %+v, faults %q", m, s.c.Faults())
	}
	return b
}

// TestDifferenceInMarks holds that whatever a refused packet changes of what is remembered of a sender is found; where the host sees with it that its
// clock was set, all but what that makes uncertain.
func TestDifferenceInMarks(t *testing.T) {
	b := remembering(t)
	seal := func() node.Sealed { return b.node.Seal(b.now()) }
	uncertain := map[string]bool{"Set": true, "Late": true, "Quick": true}
	mark := reflect.TypeFor[vrrp.Mark]()
	for k := range mark.NumField() {
		name := mark.Field(k).Name
		changed := seal()
		switch f := reflect.ValueOf(&changed.Memory[0].Memory.Marks[0]).Elem().Field(k).Addr().Interface().(type) {
		case *vrrp.Sequence:
			*f++
		case *time.Time:
			*f = f.Add(time.Second)
		case *time.Duration:
			*f += time.Second
		case *bool:
			*f = !*f
		case *uint8:
			*f++
		default:
			changed.Memory[0].Memory.Marks[0].Sender = b.Link().Source6
		}
		for _, sees := range []bool{false, true} {
			want := "Memory[0].Memory.Marks[0]." + name + " from "
			got := difference("", reflect.ValueOf(uncounted(seal(), sees)), reflect.ValueOf(uncounted(changed, sees)))
			if found := strings.HasPrefix(got, want); found != (!sees || !uncertain[name]) || !found && got != "" {
				t.Errorf("%s is another one, and the clock was set %t: found %q", name, sees, got)
			}
		}
	}
	for name, change := range map[string]func(*node.SealedMember){
		"Floors": func(m *node.SealedMember) { m.Floors.Others++ },
		"Keys":   func(m *node.SealedMember) { m.Keys = nil },
	} {
		changed := seal()
		change(&changed.Instances[0].Members[0])
		for _, sees := range []bool{false, true} {
			if got := difference("", reflect.ValueOf(uncounted(seal(), sees)), reflect.ValueOf(uncounted(changed, sees))); strings.Contains(got, "."+name) == sees {
				t.Errorf("%s are others, and the clock was set %t: found %q", name, sees, got)
			}
		}
	}
}

// TestIntrusionShowsTheClock holds that a packet that is to be refused may have a host see that its clock was set, and nothing else may change for it
// what the host knows of a sender.
func TestIntrusionShowsTheClock(t *testing.T) {
	for _, by := range []time.Duration{0, startSlack / 2, 3 * time.Second, -3 * time.Second} {
		b := remembering(t)
		b.SetWall(b.Ahead() + by)
		before := b.node.Seal(b.now())
		from := b.c.Host("a").Link().Source4
		a := vrrp.Advert{Version: vrrp.V3, VRID: 51, Priority: 200, Interval: time.Second, Addresses: ips(b.cfg.Instances[0])}
		var signer vrrp.Authenticator
		strange := vrrp.Auth{Active: 1, Keys: []vrrp.Key{{ID: 1, Secret: secret("another key")}}, Window: vrrp.DefaultWindow(time.Second)}
		trailer, err := signer.Sign(&strange, b.now(), &a, from)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := a.AppendSealed(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
		if err != nil {
			t.Fatal(err)
		}
		b.Intrude(Interface, payload, from, vrrp.GroupIPv4, vrrp.HopLimit)
		after := b.node.Seal(b.now())
		moved := difference("", reflect.ValueOf(before.Memory), reflect.ValueOf(after.Memory)) != ""
		if set := by.Abs() > startSlack; len(b.c.Faults()) > 0 || seesClock(before, after) != set || moved != set {
			t.Errorf("set by %s: it sees that %t, its memory changes %t, want both %t; faults %q", by, seesClock(before, after), moved, set, b.c.Faults())
		}
	}
}
