package door

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/notify"
)

func TestATransitionArrivesAsItWasSent(t *testing.T) {
	all := become(notify.Contention)
	all.MemberOf, all.Reassert = "edge", true
	all.Peer, all.PeerMAC = netip.MustParseAddr("fe80::1%eth0"), "02:00:00:00:00:01"
	group := notify.Transition{Group: true, Instance: "edge", State: notify.Stop, Node: "lb1"}
	for _, want := range []notify.Transition{all, group} {
		r := asked()
		r.Transition = toldFrom(want)
		got, err := readRequest(frame(t, r))
		if err != nil || got.judge() != nil {
			t.Fatalf("%v, %v", err, got.judge())
		}
		if diff := cmp.Diff(want, got.Transition.told(), compareAddr); diff != "" {
			t.Errorf("(-sent +told):\n%s", diff)
		}
	}
}

func TestTheLongestTransitionFits(t *testing.T) {
	long := become(notify.Master)
	long.Reason = strings.Repeat("\x01<€", 1<<16)
	long.Addresses = slices.Repeat([]netip.Addr{netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666")}, 5000)
	r := asked()
	r.Transition = toldFrom(long)
	got, err := readRequest(frame(t, r))
	if err != nil || got.judge() != nil {
		t.Errorf("%v, %v", err, got.judge())
	}
	if n, m := len(got.Transition.Reason), len(got.Transition.Addresses); n < maxReason-4 || m != maxAddresses {
		t.Errorf("a reason of %d bytes and %d addresses", n, m)
	}
}

func TestAReasonOfLinesIsSentInOne(t *testing.T) {
	lines := become(notify.Master)
	lines.Reason = "check nginx: one\r\ntwo\x00"
	r := asked()
	r.Transition = toldFrom(lines)
	if got := r.Transition.Reason; got != "check nginx: one  two " || r.judge() != nil {
		t.Errorf("sent as %q: %v", got, r.judge())
	}
}

func TestWhatNoDaemonWouldAsk(t *testing.T) {
	long := strings.Repeat("x", 65)
	tests := []struct {
		name   string
		change func(*request, *transition)
		want   string
	}{
		{"nothing", func(r *request, _ *transition) { r.Hook = "" }, "it must name one hook or one check"},
		{"both", func(r *request, _ *transition) { r.Check = "backends" }, "it must name one hook or one check"},
		{"a run and a word", func(r *request, _ *transition) { r.Remember = true }, "what is to be remembered is the configuration alone"},
		{"a path", func(r *request, _ *transition) { r.Hook = "../../bin/sh" }, `"../../bin/sh" is no name of a hook or a check`},
		{"a name that is too long", func(r *request, _ *transition) { r.Hook = long }, `"` + long[:64] + `" is no name of a hook or a check`},
		{"a hook without a transition", func(r *request, _ *transition) { r.Transition = nil }, "a hook has a transition, and a check has none"},
		{"a check with one", func(r *request, _ *transition) { r.Hook, r.Check = "", "backends" }, "a hook has a transition, and a check has none"},
		{"no time", func(r *request, _ *transition) { r.TimeoutMS = 0 }, "timeout 0 ms; allowed: 1..86400000"},
		{"for ever", func(r *request, _ *transition) { r.TimeoutMS = 1 << 62 }, "timeout 4611686018427387904 ms; allowed: 1..86400000"},
		{"an instance with a line feed", func(_ *request, t *transition) { t.Instance = "web\nLD_PRELOAD=x" }, `"web\nLD_PRELOAD=x" is no name of an instance or a group`},
		{"no instance", func(_ *request, t *transition) { t.Instance = "" }, `"" is no name of an instance or a group`},
		{"a group with a blank", func(_ *request, t *transition) { t.MemberOf = "a b" }, `"a b" is no name of a group`},
		{"no state", func(_ *request, t *transition) { t.State = "" }, `"" is no state`},
		{"a state of the election that no hook sees", func(_ *request, t *transition) { t.State = "leaving" }, `"leaving" is no state`},
		{"a previous state that there is not", func(_ *request, t *transition) { t.Previous = "dead" }, `"dead" is no previous state`},
		{"a priority above", func(_ *request, t *transition) { t.Priority = 256 }, "priority 256; allowed: 0..255"},
		{"a priority below", func(_ *request, t *transition) { t.Priority = -1 }, "priority -1; allowed: 0..255"},
		{"a reason that is too long", func(_ *request, t *transition) { t.Reason = strings.Repeat("x", maxReason+1) }, "a reason of 16385 bytes; allowed: at most 16384"},
		{"a reason of two lines", func(_ *request, t *transition) { t.Reason = "ill\nLD_PRELOAD=x" }, `"ill\nLD_PRELOAD=x" is no reason: it has control characters`},
		{"a reason with a NUL", func(_ *request, t *transition) { t.Reason = "ill\x00" }, `"ill\x00" is no reason: it has control characters`},
		{"no node", func(_ *request, t *transition) { t.Node = "" }, `"" is no name of a node`},
		{"an interface with a slash", func(_ *request, t *transition) { t.Interface = "../eth0" }, `"../eth0" is no name of an interface`},
		{"an interface that is too long", func(_ *request, t *transition) { t.Interface = "eth0123456789abc" }, `"eth0123456789abc" is no name of an interface`},
		{"an interface of bytes", func(_ *request, t *transition) { t.Interface = "eth\xff" }, `"eth\xff" is no name of an interface`},
		{"too many addresses", func(_ *request, t *transition) { t.Addresses = make([]netip.Addr, maxAddresses+1) }, "1001 addresses; allowed: at most 1000"},
		{"an address that is none", func(_ *request, t *transition) { t.Addresses = make([]netip.Addr, 1) }, `"invalid IP" is no virtual address`},
		{"an address with a zone", func(_ *request, t *transition) { t.Addresses = []netip.Addr{netip.MustParseAddr("fe80::1%a")} }, `"fe80::1%a" is no virtual address`},
		{"a peer with a zone of words", func(_ *request, t *transition) { t.Peer = netip.MustParseAddr("fe80::1%a b\nc") }, `"fe80::1%a b\nc" is no address of a peer`},
		{"a MAC address that is none", func(_ *request, t *transition) { t.PeerMAC = "$(reboot)" }, `"$(reboot)" is no MAC address`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := asked()
			tt.change(&r, r.Transition)
			if err := r.judge(); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	if err := asked().judge(); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
