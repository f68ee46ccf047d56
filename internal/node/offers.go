package node

import (
	"cmp"
	"slices"
	"time"
)

// offers paces the handovers that an unhealthy master repeats. What it hears calls for none: only masters advertise. A healthy one relieves
// it with its first advert, one at priority 1 is no better, and priority 0 must have an advert for its answer (RFC 9568 section 6.4.3),
// by which two masters that go would not keep each other going, and by which a cleanup knows that it may release. A backup that could
// take over is silent, so that only time finds it, or another link: a new MAC address is one, and a link that comes up was a fault, with
// which the pace begins anew.
type offers struct {
	at  time.Time
	gap time.Duration
}

func (o *offers) reset() { *o = offers{} }

// later plans the next offer after 1, 2, 4 .. 60 s.
func (o *offers) later(now time.Time) {
	o.gap = min(max(2*o.gap, time.Second), maxOfferGap)
	o.at = now.Add(o.gap)
}

// now makes an offer that is planned due at once.
func (o *offers) now(now time.Time) {
	if !o.at.IsZero() {
		o.at = now
	}
}

// offer hands over once more, for what makes the master unhealthy by now.
func (n *Node) offer(now time.Time, f *fate) {
	n.handOver(now, f, cmp.Or(f.standing.illness(), f.why), true)
}

// offerAgain has unhealthy masters offer their addresses at once, whenever they did so last: who drains waits for the answer. One that has no
// addresses yet has just taken them as the last resort: whom it relieves goes on, and goes, without having heard that this host serves.
func (n *Node) offerAgain(now time.Time) {
	bare := func(i *instance) bool { return !i.holding || !i.confirmed }
	for _, f := range n.fates {
		if f.state == Master && !f.offers.at.IsZero() && !f.doubtful(now) && !slices.ContainsFunc(f.instances, bare) {
			n.offer(now, f)
			n.plan(f)
		}
	}
}
