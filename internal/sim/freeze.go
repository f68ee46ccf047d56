package sim

import (
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// Pause is how a host that stood still learns of it.
type Pause string

// The pauses. A hypervisor that stops a guest may hide it from the guest's clocks or catch them up; a suspended machine
// knows it from the boot clock alone.
const (
	Hidden    Pause = "hidden from its clocks"
	Caught    Pause = "seen by its clocks"
	Suspended Pause = "seen by its boot clock"
)

// maxStalled is how many packets wait for a host that stands still; a socket's buffer holds no more.
const maxStalled = 256

// Frozen says whether the host stands still.
func (h *Host) Frozen() bool { return h.frozen }

// Freeze stops the whole host, kernel and process: it answers nobody, and its addresses serve nobody. With deaf the
// packets of the meantime are lost.
func (h *Host) Freeze(deaf bool) {
	if h.frozen {
		return
	}
	h.frozen, h.deaf, h.froze = true, deaf, h.c.now
	for _, ip := range h.kernel.list() {
		h.c.Owners.change(h.c.now, ip, h.Name, false)
	}
}

// Thaw lets it go on. First comes what the clocks tell, then the packets that waited, then what is due by then.
func (h *Host) Thaw(p Pause) {
	if !h.frozen {
		return
	}
	h.frozen, h.resumed = false, h.c.now
	gap := h.c.now.Sub(h.froze)
	if p != Caught {
		stood := gap + time.Duration(int64(gap)*h.clock.drift/1_000_000)
		h.clock.hidden += stood
		if p == Suspended {
			h.clock.set += stood // the machine's other clock, which its battery feeds, went on
		}
	}
	for _, ip := range h.kernel.list() {
		h.c.Owners.change(h.c.now, ip, h.Name, true)
	}
	if p == Suspended {
		h.feed(node.Woke{Gap: gap})
	}
	stalled := h.stalled
	h.stalled = nil
	for _, do := range stalled {
		do()
	}
	h.replan()
}

// hears says whether a packet on a link reaches the host: it is up, and if it stands still the packet can wait.
func (h *Host) hears(link string) bool {
	return h.link(link).Up && !(h.frozen && (h.deaf || len(h.stalled) >= maxStalled))
}
