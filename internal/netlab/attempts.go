package netlab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Prompt is how fast an answer must come to count as no outage.
const Prompt = 100 * time.Millisecond

// Attempt is one connection of a client.
type Attempt struct {
	Start       time.Time
	Established time.Duration // until the TCP connection was, as this end knows it; 0 when it never was
	Took        time.Duration // until the answer was read whole, or the error
	Server      string        // the host that answered; empty when none did
	Err         error
}

// prompt says whether the attempt was answered at once.
func (a Attempt) prompt() bool { return a.Err == nil && a.Took <= Prompt }

// Attempts is a client's connections that were started between two instants, in that order.
type Attempts struct {
	From, To time.Time
	List     []Attempt
}

// Outage is the longest time between the starts of two successive connections that were answered within Prompt. The instants
// at both ends count like such starts, so that an outage that begins or ends outside is counted as far as it is inside.
func (a Attempts) Outage() time.Duration {
	return a.longest(Attempt.prompt)
}

// Stall is the longest time between the starts of any two successive connections: what the machine did, not the network. An
// outage is known no better than that.
func (a Attempts) Stall() time.Duration {
	return a.longest(func(Attempt) bool { return true })
}

func (a Attempts) longest(counts func(Attempt) bool) time.Duration {
	last, longest := a.From, time.Duration(0)
	for _, t := range a.List {
		if counts(t) {
			longest = max(longest, t.Start.Sub(last))
			last = t.Start
		}
	}
	return max(longest, a.To.Sub(last))
}

// Failed lists the connections that had no answer.
func (a Attempts) Failed() []Attempt {
	return slices.DeleteFunc(slices.Clone(a.List), func(t Attempt) bool { return t.Err == nil })
}

// Delayed lists the connections that were answered, but later than Prompt.
func (a Attempts) Delayed() []Attempt {
	return slices.DeleteFunc(slices.Clone(a.List), func(t Attempt) bool { return t.Err != nil || t.prompt() })
}

// Servers counts the answers of each host.
func (a Attempts) Servers() map[string]int {
	servers := make(map[string]int)
	for _, t := range a.List {
		if t.Err == nil {
			servers[t.Server]++
		}
	}
	return servers
}

// LastServer is the host that answered the last answered connection.
func (a Attempts) LastServer() string {
	for _, t := range slices.Backward(a.List) {
		if t.Err == nil {
			return t.Server
		}
	}
	return ""
}

// String sums the connections up in one line.
func (a Attempts) String() string {
	var parts []string
	servers := a.Servers()
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, servers[name]))
	}
	causes := make(map[string]int)
	for _, t := range a.Failed() {
		causes[t.Err.Error()]++
	}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		parts = append(parts, fmt.Sprintf("failed %d (%s)", causes[cause], cause))
	}
	return fmt.Sprintf("%d connections, outage %v, stall %v, delayed %d: %s", len(a.List), a.Outage().Round(time.Millisecond/10),
		a.Stall().Round(time.Millisecond/10), len(a.Delayed()), strings.Join(parts, ", "))
}
