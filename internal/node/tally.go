package node

import "net/netip"

// maxSenders bounds whose refusals are told one by one; a flood of forged senders is only counted.
const maxSenders = 64

// Tally counts what was refused, or was odd about what was accepted, by its short reason.
type Tally map[string]*Count

// Count is a tally's one reason.
type Count struct {
	Count uint64     `json:"count"`
	Last  netip.Addr `json:"last"` // who sent it last
	told  map[netip.Addr]bool
}

// add counts one, and says whether its sender and reason are news.
func (t Tally) add(from netip.Addr, reason string) (news bool) {
	c := t[reason]
	if c == nil {
		c = &Count{told: map[netip.Addr]bool{}}
		t[reason] = c
	}
	c.Count++
	c.Last = from
	if c.told[from] || len(c.told) >= maxSenders {
		return false
	}
	c.told[from] = true
	return true
}

// clone copies the tally for a snapshot.
func (t Tally) clone() Tally {
	out := make(Tally, len(t))
	for reason, c := range t {
		out[reason] = &Count{Count: c.Count, Last: c.Last}
	}
	return out
}
