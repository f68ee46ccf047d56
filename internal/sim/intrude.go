package sim

import (
	"net/netip"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Intrude gives the host a packet that no node may act upon, whoever sends it, on a link: it is counted, perhaps told, and that is
// all.
func (h *Host) Intrude(link string, payload []byte, from, to netip.Addr, hopLimit int) {
	if h.node == nil || h.paused || h.frozen || !h.LinkOn(link).Up {
		return
	}
	var ev node.Event
	received, err := vrrp.Parse(payload, from, to, hopLimit)
	if err != nil {
		ev = node.Refused{Interface: link, VRID: received.VRID, From: from, Err: err}
	} else {
		ev = node.Heard{Interface: link, Received: received}
	}
	before, _ := h.node.Deadline()
	actions := h.node.Step(h.now(), ev)
	for _, a := range actions {
		if _, ok := a.(node.Warned); !ok {
			h.c.Fault("%s answers a packet from %s that is to be refused with %T", h.Name, from, a)
		}
		h.record(a)
	}
	if after, _ := h.node.Deadline(); !after.Equal(before) {
		h.c.Fault("%s moves its timer from %s to %s for a packet from %s that is to be refused", h.Name, before, after, from)
	}
}
