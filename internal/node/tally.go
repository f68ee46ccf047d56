package node

import (
	"net/netip"
	"time"
)

// Tally counts what was refused, or was odd about what was accepted, by its short reason.
type Tally map[string]*Count

// Count is a tally's one reason, with the last packet that it was for.
type Count struct {
	Count uint64     `json:"count"`
	Last  netip.Addr `json:"last"` // who sent it
	MAC   string     `json:"mac,omitempty"`
	VRID  uint8      `json:"vrid,omitempty"` // whose it would have been; only where it was nobody's
	At    time.Time  `json:"at"`
	Text  string     `json:"text,omitempty"` // what was wrong with it and what to do
}

// add counts what c says once more, or as often as c does.
func (t Tally) add(reason string, c Count) {
	c.Count = max(c.Count, 1)
	if old := t[reason]; old != nil {
		c.Count += old.Count
	}
	t[reason] = &c
}

// clone copies the tally for a snapshot.
func (t Tally) clone() Tally {
	out := make(Tally, len(t))
	for reason, c := range t {
		out[reason] = new(*c)
	}
	return out
}
