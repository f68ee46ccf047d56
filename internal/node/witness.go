package node

import (
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// witness is another host's announcement that an unhealthy master has seen and does not believe yet.
type witness struct {
	at  time.Time // when it believes it; zero: there is none
	why string
}

// witnessed is an unhealthy instance that sees another host serve its addresses. That counts like an advert, so that a
// deaf host does not hold on.
func (n *Node) witnessed(now time.Time, i *instance, why string) {
	switch i.state {
	case Backup:
		i.probed = time.Time{}
		for _, m := range i.members {
			n.perform(now, m, m.machine.Step(now, vrrp.Witnessed{Why: why}))
		}
		if i.holding {
			i.lingerFor(now, netip.Addr{})
		}
	case Master:
		// Not at once: where the other's advert is heard the adverts decide, or both would let go for each other.
		if i.witness.at.IsZero() {
			i.witness = witness{now.Add(probeWait), why}
		}
	case Leaving:
		if m := i.members[0]; len(i.leave.seen) >= len(i.ips()) {
			n.perform(now, m, m.machine.Step(now, vrrp.StepDown{Why: why}))
		}
	}
}

// believe lets go for the host that was seen, if this one is deaf to it.
func (n *Node) believe(now time.Time, i *instance) {
	why := i.witness.why
	i.witness = witness{}
	for _, m := range i.members {
		if heard := m.machine.Peer().Heard; now.Sub(heard) <= i.cfg.Interval+probeWait {
			return
		}
	}
	for _, m := range i.members {
		// The first member that steps down takes the others with it.
		n.perform(now, m, m.machine.Step(now, vrrp.Witnessed{Why: why}))
	}
}
