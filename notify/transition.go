package notify

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// State is what an instance or a group became, as it is written in `on`.
type State string

// The states that hooks are run for.
const (
	Master State = "master"
	Backup State = "backup"
	Fault  State = "fault"
	// Stop is not a state of the election: the daemon is about to end, and holds no address any more.
	Stop State = "stop"
	// Contention is no state either: another master was seen while this host is master, and stays.
	Contention State = "contention"
)

// States lists all of them, in the order in which people think of them.
var States = []State{Master, Backup, Fault, Stop, Contention}

// Transition is one change of state, or the end of a contention that left the state as it was.
type Transition struct {
	// Group says that Instance is the name of a group.
	Group    bool
	Instance string
	// MemberOf is the group that the instance is in, if any.
	MemberOf string
	State    State
	// Previous is the state before; it may also be "init" or "leaving". Where transitions were coalesced, hooks get the
	// state that was left first.
	Previous State
	// Priority is the effective priority, 1..255, of a group the lowest of its instances'.
	Priority int
	// Reason says in words why the state changed.
	Reason    string
	Addresses []netip.Addr
	Interface string
	Node      string
	// Generation grows with each transition of the instance, so that a hook can tell an old call from a new one.
	Generation uint64
	At         time.Time
	// Peer is who has taken over from this host, or the other master of a contention, where that is known. PeerMAC is the MAC address that
	// answers for the addresses, where that is known: of a contention besides, of who has taken over where Peer is not.
	Peer    netip.Addr
	PeerMAC string
	// Reassert says that a contention ended without a change of state: the hooks of the state run once more, because
	// another host may have undone what they did.
	Reassert bool
}

// subject is whom a transition is about. A contention is no state: it replaces none that waits, and none replaces it.
type subject struct {
	group      bool
	contention bool
	name       string
}

func (t Transition) subject() subject {
	return subject{group: t.Group, contention: t.State == Contention, name: t.Instance}
}

// arguments are the four that keepalived appends to the command of its `notify`, so that scripts written for it work.
func (t Transition) arguments() []string {
	form, priority := "INSTANCE", t.Priority
	if t.Group {
		form, priority = "GROUP", 0 // as keepalived has it
	}
	return []string{form, t.Instance, strings.ToUpper(string(t.State)), strconv.Itoa(priority)}
}

// Variable is one of the environment of a hook.
type Variable struct{ Name, Doc string }

// Variables are those that say what happened, in the order in which people think of them.
var Variables = []Variable{
	{"UNDERSTUDY_INSTANCE", "The instance; empty for a group."},
	{"UNDERSTUDY_GROUP", "The group, or the one that the instance is in."},
	{"UNDERSTUDY_STATE", "What it became: master, backup, fault, stop, or contention, which is no change of state."},
	{"UNDERSTUDY_PREVIOUS", "What it was before: also init or leaving."},
	{"UNDERSTUDY_PRIORITY", "The effective priority, 1 to 255; of a group the lowest of its instances'."},
	{"UNDERSTUDY_REASON", "Why, in the words of the log."},
	{"UNDERSTUDY_ADDRESSES", "The virtual addresses, with spaces between."},
	{"UNDERSTUDY_INTERFACE", "Their interface."},
	{"UNDERSTUDY_NODE", "This node's name."},
	{"UNDERSTUDY_GENERATION", "A number that grows with each change of the instance, to tell an old call from a new one."},
	{"UNDERSTUDY_PEER", "Who has taken over from this host, or the other master of a contention: the address that it advertises from, where that is known."},
	{"UNDERSTUDY_PEER_MAC", "The MAC address that answers for the addresses, where that is known: of a contention, or of who has taken over and is not heard."},
}

// environment adds the transition to an environment, and replaces what that has under the same names.
func (t Transition) environment(base []string) []string {
	addresses := make([]string, 0, len(t.Addresses))
	for _, a := range t.Addresses {
		addresses = append(addresses, a.String())
	}
	peer := ""
	if t.Peer.IsValid() {
		peer = t.Peer.String()
	}
	instance, group := t.Instance, t.MemberOf
	if t.Group {
		instance, group = "", t.Instance
	}
	values := [...]string{ // of Variables
		instance, group, string(t.State), string(t.Previous), strconv.Itoa(t.Priority), t.Reason, strings.Join(addresses, " "), t.Interface, t.Node,
		strconv.FormatUint(t.Generation, 10), peer, t.PeerMAC,
	}
	env := slices.Clone(base)
	for k, v := range Variables {
		env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, v.Name+"=") })
		env = append(env, v.Name+"="+oneLine(values[k]))
	}
	return env
}

// maxValue is how long a value in the environment may be, in bytes: above 128 KiB the kernel refuses to start the
// program. 1,000 IPv6 addresses still fit.
const maxValue = 64 << 10

// oneLine makes a text fit for the environment. A reason may end in a line that a check script or a server sent: a NUL
// byte in it would keep the hook from starting, a line feed would break scripts that read `env` line by line.
func oneLine(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
