package door

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/notify"
)

// request names what is to be run. There is no word in it that the helper would take for a command, a path, a user or a
// variable's name.
type request struct {
	Hook  string `json:"hook,omitempty"`
	Check string `json:"check,omitempty"`
	// Remember says that the daemon goes by the configuration of now, and runs nothing.
	Remember bool `json:"remember,omitempty"`
	// Transition is what a hook is told.
	Transition *transition `json:"transition,omitempty"`
	// TimeoutMS is how long the daemon will wait, if that is less than the configuration allows.
	TimeoutMS int64 `json:"timeout_ms"`
}

// answer is how it went.
type answer struct {
	// Refused is why nothing was run.
	Refused string `json:"refused,omitempty"`
	// Error is why the run failed; with an empty Refused and Error it succeeded.
	Error string `json:"error,omitempty"`
	// Status is the command's exit status, -1 if it has none.
	Status int `json:"status"`
	// Word is what a check found, in short.
	Word   string `json:"word,omitempty"`
	Output string `json:"output,omitempty"`
	TookMS int64  `json:"took_ms"`
}

// transition is a notify.Transition as it is sent.
type transition struct {
	Group      bool         `json:"group,omitempty"`
	Instance   string       `json:"instance"`
	MemberOf   string       `json:"member_of,omitempty"`
	State      string       `json:"state"`
	Previous   string       `json:"previous,omitempty"`
	Priority   int          `json:"priority"`
	Reason     string       `json:"reason,omitempty"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
	Interface  string       `json:"interface,omitempty"`
	Node       string       `json:"node"`
	Generation uint64       `json:"generation"`
	Peer       netip.Addr   `json:"peer,omitzero"`
	PeerMAC    string       `json:"peer_mac,omitempty"`
	Reassert   bool         `json:"reassert,omitempty"`
}

// The bounds of a transition's values.
const (
	maxReason    = 16 << 10 // bytes; a reason of the daemon has hundreds
	maxAddresses = 1000
	maxInterface = 15 // IFNAMSIZ without the final zero
	maxPriority  = 255
	maxTimeout   = 24 * time.Hour // the longest interval of a check; a hook's timeout has a smaller bound
)

// toldFrom is what is sent of a transition. A reason that is too long loses its end, and one of several lines becomes one.
func toldFrom(t notify.Transition) *transition {
	return &transition{
		Group: t.Group, Instance: t.Instance, MemberOf: t.MemberOf, State: string(t.State), Previous: string(t.Previous), Priority: t.Priority,
		Reason: oneLine(strings.ToValidUTF8(t.Reason[:min(len(t.Reason), maxReason)], "")), Addresses: t.Addresses[:min(len(t.Addresses), maxAddresses)],
		Interface: t.Interface, Node: t.Node, Generation: t.Generation, Peer: t.Peer, PeerMAC: t.PeerMAC, Reassert: t.Reassert,
	}
}

// oneLine puts a blank in the place of each control character, as the environment of a hook has it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// told is the transition that was sent, once it is judged.
func (t transition) told() notify.Transition {
	return notify.Transition{
		Group: t.Group, Instance: t.Instance, MemberOf: t.MemberOf, State: notify.State(t.State), Previous: notify.State(t.Previous), Priority: t.Priority,
		Reason: t.Reason, Addresses: t.Addresses, Interface: t.Interface, Node: t.Node, Generation: t.Generation, Peer: t.Peer, PeerMAC: t.PeerMAC, Reassert: t.Reassert,
	}
}

// judge says what is wrong with a request, whoever sent it.
func (r request) judge() error {
	switch {
	case r.Remember && (r.Hook+r.Check != "" || r.Transition != nil):
		return errors.New("what is to be remembered is the configuration alone")
	case !r.Remember && (r.Hook == "") == (r.Check == ""):
		return errors.New("it must name one hook or one check")
	case !r.Remember && !config.ValidName(r.Hook+r.Check):
		return fmt.Errorf("%s is no name of a hook or a check", quote(r.Hook+r.Check))
	case (r.Hook == "") != (r.Transition == nil):
		return errors.New("a hook has a transition, and a check has none")
	case r.TimeoutMS <= 0 || r.TimeoutMS > maxTimeout.Milliseconds():
		return fmt.Errorf("timeout %d ms; allowed: 1..%d", r.TimeoutMS, maxTimeout.Milliseconds())
	case r.Transition != nil:
		return r.Transition.judge()
	}
	return nil
}

// judge wants of each value what the daemon itself would say: it becomes an argument or a variable of a program that runs as
// root.
func (t transition) judge() error {
	states := t.State != "" && slices.Contains(notify.States, notify.State(t.State))
	switch {
	case !config.ValidName(t.Instance):
		return fmt.Errorf("%s is no name of an instance or a group", quote(t.Instance))
	case t.MemberOf != "" && !config.ValidName(t.MemberOf):
		return fmt.Errorf("%s is no name of a group", quote(t.MemberOf))
	case !states:
		return fmt.Errorf("%s is no state", quote(t.State))
	case !slices.Contains([]string{"", "init", "backup", "master", "leaving", "fault", "stop"}, t.Previous):
		return fmt.Errorf("%s is no previous state", quote(t.Previous))
	case t.Priority < 0 || t.Priority > maxPriority:
		return fmt.Errorf("priority %d; allowed: 0..%d", t.Priority, maxPriority)
	case len(t.Reason) > maxReason:
		return fmt.Errorf("a reason of %d bytes; allowed: at most %d", len(t.Reason), maxReason)
	case oneLine(t.Reason) != t.Reason:
		return fmt.Errorf("%s is no reason: it has control characters", quote(t.Reason))
	case !config.ValidName(t.Node):
		return fmt.Errorf("%s is no name of a node", quote(t.Node))
	case !interfaceName(t.Interface):
		return fmt.Errorf("%s is no name of an interface", quote(t.Interface))
	}
	return t.judgeAddresses()
}

func (t transition) judgeAddresses() error {
	if len(t.Addresses) > maxAddresses {
		return fmt.Errorf("%d addresses; allowed: at most %d", len(t.Addresses), maxAddresses)
	}
	for _, a := range t.Addresses {
		if !a.IsValid() || a.Zone() != "" {
			return fmt.Errorf("%s is no virtual address", quote(a.String()))
		}
	}
	if zone := t.Peer.Zone(); zone != "" && !interfaceName(zone) {
		return fmt.Errorf("%s is no address of a peer", quote(t.Peer.String()))
	}
	if mac, err := net.ParseMAC(t.PeerMAC); t.PeerMAC != "" && (err != nil || mac.String() != t.PeerMAC) {
		return fmt.Errorf("%s is no MAC address", quote(t.PeerMAC))
	}
	return nil
}

// interfaceName says whether the kernel would call an interface so; a group has none.
func interfaceName(s string) bool {
	return len(s) <= maxInterface && s != "." && s != ".." && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// quote is a value for a message, of which an attacker may have chosen the length.
func quote(s string) string { return fmt.Sprintf("%.64q", s) }
