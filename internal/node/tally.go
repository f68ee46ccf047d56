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
	asked time.Time  // when that was asked for
}

// freshText is how old a tally's text may be that the same sender is not asked for again.
const freshText = time.Second

// add counts packets of one sender, at least one. What was wrong is asked for once a second: a flood only counts.
func (t Tally) add(reason string, now Count, text func() string) {
	c := t[reason]
	if c == nil {
		c = &Count{}
		t[reason] = c
	}
	now.Count = c.Count + max(now.Count, 1)
	now.Text = c.Text
	if now.Last != c.Last || now.VRID != c.VRID || now.At.Sub(c.asked) >= freshText {
		now.Text, c.asked = text(), now.At
	}
	now.asked = c.asked
	*c = now
}

// clone copies the tally for a snapshot.
func (t Tally) clone() Tally {
	out := make(Tally, len(t))
	for reason, c := range t {
		out[reason] = new(*c)
	}
	return out
}
