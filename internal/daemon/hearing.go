package daemon

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
)

const (
	// A sender's adverts are dropped on this host if the lookout saw so many of them in a row, over this time at least, and the VRRP socket
	// was given none meanwhile. The two are read in turn, and one of them may be late: what was seen right after the socket was given it
	// counts, and of a burst, such as that of a host which comes back, no more than one does.
	dropProof = 3
	dropTime  = 1500 * time.Millisecond
	dropBurst = 250 * time.Millisecond
	// dropAgain is how often that is told while it lasts.
	dropAgain = time.Second
)

// hearing compares what reaches an interface in a family with what its VRRP socket is given: a packet socket sees what arrives
// before the host's firewall and its source validation do, a raw one after them.
type hearing struct {
	mu     sync.Mutex // guards what follows
	unsaid map[netip.Addr]*unsaid
}

// unsaid is what was seen of a sender since something of it was given to the socket last.
type unsaid struct {
	since, last, told time.Time
	adverts           int // those of a burst are one
}

func newHearing() *hearing { return &hearing{unsaid: map[netip.Addr]*unsaid{}} }

// given takes note of a packet that the socket was given.
func (h *hearing) given(from netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unsaid, from)
}

// saw takes note of one that the socket should be given. It says whether the loop is to be told that they are dropped.
func (h *hearing) saw(at time.Time, from netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.unsaid[from]
	if u == nil {
		if len(h.unsaid) >= maxKnown {
			clear(h.unsaid)
		}
		u = &unsaid{since: at}
		h.unsaid[from] = u
	}
	if at.Sub(u.last) < dropBurst {
		return false
	}
	u.last = at
	u.adverts++
	if u.adverts < dropProof || at.Sub(u.since) < dropTime || at.Sub(u.told) < dropAgain {
		return false
	}
	u.told = at
	return true
}

// expects says whether the VRRP socket is given a packet unless the host drops it.
func (b *base) expects(s linux.Sighting) bool {
	own := b.own.Load()
	return b.reads(s) && (s.Destination.IsMulticast() || own != nil && slices.Contains(*own, s.Destination))
}
