package sim

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// Reexec lets another process go on where the host's own is, and says whether that one is calm enough. In the time between nobody
// hears or sends anything, and timers elapse unnoticed; the addresses stay.
func (h *Host) Reexec(gap time.Duration) bool {
	if h.node == nil || h.paused || h.frozen || h.cleaning || h.Away() || h.Unrest() != "" {
		return false
	}
	text, err := pack(h.node.Seal(h.now()))
	if err != nil {
		h.c.Fault("%s: seal: %v", h.Name, err)
		return false
	}
	h.c.Note("%s is exchanged", h.Name)
	h.sealed, h.sealedAt = text, h.now()
	was := h.node
	h.after(gap, func() {
		if h.node == was { // else it was killed meanwhile
			h.Return()
		}
	})
	return true
}

// Unrest says why the host's process cannot be exchanged now; empty: it can, or there is none.
func (h *Host) Unrest() string {
	switch {
	case h.node == nil:
		return ""
	case h.kernel.busy:
		return "addresses are being set"
	}
	return h.node.Unrest(h.now())
}

// Away says whether the process is being exchanged.
func (h *Host) Away() bool { return h.sealed != nil }

// miss is an event while nobody is there. What somebody asks for waits in the socket, which the new process inherits.
func (h *Host) miss(ev node.Event) {
	switch ev.(type) {
	case node.Drain, node.Stop:
		h.waiting = append(h.waiting, ev)
	}
}

// Return lets the new process begin, if there is one to begin.
func (h *Host) Return() {
	if !h.Away() {
		return
	}
	text := h.sealed
	h.sealed = nil
	s, err := unpack(text, h.now(), h.now().Sub(h.sealedAt))
	if err != nil {
		h.c.Fault("%s: read the sealed state: %v", h.Name, err)
		return
	}
	n, actions, err := node.Restore(s, h.now())
	if err != nil {
		h.c.Fault("%s: %v", h.Name, err)
		return
	}
	h.c.Note("%s goes on", h.Name)
	if h.c.Exchanged != nil {
		h.c.Exchanged(h, n, actions)
	}
	h.node, h.elapsed, h.memorizedVer, h.remade, h.resumed = n, 0, 0, 0, h.c.now
	h.names = newNames(h, s.Names, h.cfg)
	if h.c.Observe != nil {
		h.c.Observe(h, node.Elapsed{}, actions)
	}
	for _, a := range actions {
		h.perform(a)
	}
	h.feed(node.Reconfigured{Config: h.cfg})
	h.look()
	for _, name := range slices.Sorted(maps.Keys(h.checks)) {
		if v := h.checks[name]; v != nil {
			h.feed(node.CheckChanged{Check: name, Healthy: v.Healthy, Reason: v.Reason})
		}
	}
	asked := h.waiting
	h.waiting = nil
	for _, ev := range asked {
		h.feed(ev)
	}
	h.replan()
}

// pack writes a sealed node, as the daemon does.
func pack(s node.Sealed) ([]byte, error) {
	node.ToWall(&s, s.At)
	return json.Marshal(s)
}

// unpack reads it after a time.
func unpack(text []byte, now time.Time, passed time.Duration) (*node.Sealed, error) {
	var s node.Sealed
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	node.FromWall(&s, s.At, now.Add(-passed))
	return &s, nil
}
