package notify

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var example = Transition{
	Instance: "web", State: Master, Previous: "init", Priority: 150, Reason: "no master was heard for 3.414s",
	Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
	Interface: "eth0", Node: "lb1", Generation: 7,
}

func TestArgumentsAreThoseOfKeepalived(t *testing.T) {
	tests := []struct {
		name string
		t    Transition
		want []string
	}{
		{"an instance", example, []string{"INSTANCE", "web", "MASTER", "150"}},
		{"a group", Transition{Group: true, Instance: "edge", State: Fault, Priority: 100}, []string{"GROUP", "edge", "FAULT", "0"}},
		{"the backup", Transition{Instance: "web", State: Backup, Priority: 1}, []string{"INSTANCE", "web", "BACKUP", "1"}},
		{"the stop", Transition{Instance: "web", State: Stop, Priority: 100}, []string{"INSTANCE", "web", "STOP", "100"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.t.arguments()); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvironmentTellsGroupAndInstanceApart(t *testing.T) {
	tests := []struct {
		name     string
		t        Transition
		instance string
		group    string
		priority string
	}{
		{"an instance of no group", Transition{Instance: "web", Priority: 150}, "web", "", "150"},
		{"an instance of a group", Transition{Instance: "web", MemberOf: "edge", Priority: 100}, "web", "edge", "100"},
		{"the group itself, with the priority that keepalived's argument has not", Transition{Group: true, Instance: "edge", MemberOf: "edge", Priority: 100}, "", "edge", "100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.t.environment(nil)
			for _, want := range []string{"UNDERSTUDY_INSTANCE=" + tt.instance, "UNDERSTUDY_GROUP=" + tt.group, "UNDERSTUDY_PRIORITY=" + tt.priority} {
				if !slices.Contains(got, want) {
					t.Errorf("environment %q has no %q", got, want)
				}
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	got := example.environment([]string{"PATH=/bin", "UNDERSTUDY_STATE=stale", "UNDERSTUDY_STATE_FILE=/x"})
	want := []string{
		"PATH=/bin", "UNDERSTUDY_STATE_FILE=/x",
		"UNDERSTUDY_INSTANCE=web", "UNDERSTUDY_GROUP=", "UNDERSTUDY_STATE=master", "UNDERSTUDY_PREVIOUS=init", "UNDERSTUDY_PRIORITY=150",
		"UNDERSTUDY_REASON=no master was heard for 3.414s", "UNDERSTUDY_ADDRESSES=192.0.2.10 2001:db8::10",
		"UNDERSTUDY_INTERFACE=eth0", "UNDERSTUDY_NODE=lb1", "UNDERSTUDY_GENERATION=7",
		"UNDERSTUDY_PEER=", "UNDERSTUDY_PEER_MAC=",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// TestContentionEnvironment: a contention's hook learns who the other master is.
func TestContentionEnvironment(t *testing.T) {
	transition := example
	transition.State, transition.Peer, transition.PeerMAC = Contention, netip.MustParseAddr("10.0.0.12"), "02:00:00:00:00:12"
	env := transition.environment(nil)
	for _, want := range []string{"UNDERSTUDY_STATE=contention", "UNDERSTUDY_PEER=10.0.0.12", "UNDERSTUDY_PEER_MAC=02:00:00:00:00:12"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in %q", want, env)
		}
	}
	if got := transition.arguments()[2]; got != "CONTENTION" {
		t.Errorf("third argument %q", got)
	}
}

func TestOneLine(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain text stays", "process nginx (pid 812) exited", "process nginx (pid 812) exited"},
		{"text of other languages stays", "nicht verfügbar", "nicht verfügbar"},
		{"a NUL byte becomes a space", "a\x00b", "a b"},
		{"line feeds become spaces", "a\r\nb", "a  b"},
		{"what is no UTF-8 becomes a question mark", "a\xffb", "a?b"},
		{"what the kernel would refuse is cut", strings.Repeat("x", 200<<10), strings.Repeat("x", maxValue)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oneLine(tt.in); got != tt.want {
				t.Errorf("oneLine(%.20q) = %.20q (%d bytes), want %.20q (%d bytes)", tt.in, got, len(got), tt.want, len(tt.want))
			}
		})
	}
}
