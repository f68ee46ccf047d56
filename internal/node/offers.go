package node

import (
	"cmp"
	"time"
)

// offers paces the handovers that an unhealthy master repeats.
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

// offerAgain has unhealthy masters offer their addresses at once, whenever they did so last: who drains waits for the answer.
func (n *Node) offerAgain(now time.Time) {
	for _, f := range n.fates {
		if f.state == Master && !f.offers.at.IsZero() && !f.doubtful(now) {
			n.offer(now, f)
			n.plan(f)
		}
	}
}
