package sim

import (
	"net/netip"
	"slices"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Intrude gives the host a packet that no node may act upon, whoever sends it, on a link: it is counted, perhaps told, and that is
// all.
func (h *Host) Intrude(link string, payload []byte, from, to netip.Addr, hopLimit int) {
	if h.node == nil || h.paused || h.frozen || h.Away() || !h.LinkOn(link).Up {
		return
	}
	ev := read(link, payload, from, to, hopLimit)
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

// Replay plays an advert with a good signature to the host, which it was not given when it was sent: it did not listen yet. It may make
// the host wait for its sender, or an unhealthy one let go. It makes nobody master, and nobody speak; a healthy master does not mind.
func (h *Host) Replay(link string, payload []byte, from, to netip.Addr) {
	if h.node == nil || h.paused || h.frozen || h.Away() || !h.LinkOn(link).Up {
		return
	}
	serving := map[string]bool{} // and healthy
	before, timed := h.node.Deadline()
	for _, i := range h.Status().Instances {
		serving[i.Name] = i.State == node.Master && len(i.Unhealthy) == 0
		over := func(r node.RouterStatus) bool { return r.Waiting != "" } // its timer may begin anew before another's elapses
		timed = timed && !slices.ContainsFunc(i.Routers, over)
	}
	observe := h.c.Observe
	h.c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		changes := false
		for _, a := range actions {
			changed, isChange := a.(node.Changed)
			_, speaks := a.(node.Send)
			if speaks || isChange && (changed.To == node.Master || serving[changed.Instance]) {
				h.c.Fault("%s answers an old advert of %s, which somebody played to it, with %T", h.Name, from, a)
			}
			changes = changes || isChange
		}
		if after, _ := h.node.Deadline(); timed && !changes && after.Before(before) {
			h.c.Fault("%s moves its timer from %s to %s for an old advert of %s, which somebody played to it", h.Name, before, after, from)
		}
		if observe != nil {
			observe(h, ev, actions)
		}
	}
	h.feed(read(link, payload, from, to, vrrp.HopLimit))
	h.c.Observe = observe
}

// read is what the daemon's reader makes of a packet.
func read(link string, payload []byte, from, to netip.Addr, hopLimit int) node.Event {
	received, err := vrrp.Parse(payload, from, to, hopLimit)
	if err != nil {
		return node.Refused{Interface: link, VRID: received.VRID, From: from, Err: err}
	}
	return node.Heard{Interface: link, Received: received}
}
