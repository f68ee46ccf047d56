package node

import (
	"net/netip"
	"slices"
)

// Stays says which addresses an instance has given up and the kernel would not remove, and why not the first of them; none: it has
// removed them since.
type Stays struct {
	Instance string
	IPs      []netip.Addr
	Err      error
}

func (Stays) event() {}

// Leftover is what an instance has given up and could not remove: it is tried again until it is gone.
type Leftover struct {
	Addresses []netip.Addr `json:"addresses"`
	Why       string       `json:"why"`
}

// stays takes note of what a release left, or that it left nothing. An instance that wants its addresses again has none.
func (i *instance) stays(ev Stays) {
	i.leftover = nil
	if len(ev.IPs) > 0 && !i.holding {
		i.leftover = &Leftover{slices.Clone(ev.IPs), ev.Err.Error()}
	}
}
