package sim

import (
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// least is the shortest lease there is: what a cleanup that is killed leaves.
const least = 2 * time.Second

// haunt makes the cluster look at every step for addresses that a process left for longer than it may.
func (s *scenario) haunt() {
	observe, told := s.c.Observe, map[*Host]time.Time{}
	s.c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		observe(h, ev, actions)
		for _, h := range s.c.hosts {
			if !s.haunted(h) || h.frozen || told[h].Equal(h.ended) {
				continue
			}
			if left, most := h.now().Sub(h.ended), s.mayStay(h); left > most {
				told[h] = h.ended
				s.c.Fault("%s has %v for %s without a process, want at most %s", h.Name, h.kernel.list(), left, most)
			}
		}
	}
}

// haunted says whether a host without a process has addresses.
func (s *scenario) haunted(h *Host) bool { return h.node == nil && len(h.kernel.addrs) > 0 }

// mayStay is for how long a host may have addresses after its last process. Killed, a daemon leaves what it had for its lease, and a
// cleanup for the least one; where there is no lease, for as long as it might have worked. What it found nobody for stays longer.
func (s *scenario) mayStay(h *Host) time.Duration {
	lease := max(least, time.Duration(s.common.DeadAdverts)*s.widest-time.Second)
	switch {
	case !h.remains.until.IsZero():
		lease = unclaimedFor
	case h.cleaning:
		lease = least
		for _, i := range h.begun.Instances {
			if b := boundsOf(slowestOf(h.begun.Instances), 0, 0); !i.Lease {
				lease = least + 50*time.Millisecond + 2*b.leave + longestLinger
			}
		}
	}
	return s.bounds().drift(lease + s.c.cfg.LeaseLate)
}

// longestLinger is how long an old holder serves at most beside another master, however many addresses there are.
const longestLinger = 2 * time.Second
