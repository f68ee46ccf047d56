package node

import (
	"net/netip"
	"slices"
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
	f := i.fate
	switch i.state {
	case Backup:
		f.probed = time.Time{}
		for _, m := range i.members {
			n.perform(now, m, m.machine.Step(now, vrrp.Witnessed{Why: why}))
		}
		if f.linger == nil && f.holding() { // a linger that is on was not for an instance that has let go already
			n.lingerFor(now, i.members[0], netip.Addr{})
		}
	case Master:
		// Not at once: where the other's advert is heard the adverts decide, or both would let go for each other.
		if f.witness.at.IsZero() {
			f.witness = witness{now.Add(probeWait), why}
		}
	case Leaving:
		if m := i.members[0]; i.allSeen(f.leave.seen) {
			n.perform(now, m, m.machine.Step(now, vrrp.StepDown{Why: why}))
		}
	}
}

// allSeen says whether another host was seen to announce every address.
func (i *instance) allSeen(seen claims) bool {
	return !slices.ContainsFunc(i.ips(), func(ip netip.Addr) bool { return seen[ip] == "" })
}

// believe lets go for the host that was seen, if this one is deaf to it.
func (n *Node) believe(now time.Time, f *fate) {
	why := f.witness.why
	f.witness = witness{}
	for m := range f.members() {
		if heard := m.machine.Peer().Heard; now.Sub(heard) <= m.of.cfg.Interval+probeWait {
			return
		}
	}
	for m := range f.members() {
		// The first member that steps down takes the others with it.
		n.perform(now, m, m.machine.Step(now, vrrp.Witnessed{Why: why}))
	}
}
