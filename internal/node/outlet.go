package node

import (
	"fmt"
	"net/netip"
	"time"
)

// outlet is one destination of a virtual router's adverts: the group, or a peer, and then also what is heard of it.
type outlet struct {
	to   netip.Addr
	name string // the peer's, as configured

	former bool // it is of before a reload; see await

	failed  bool      // the last advert to it did not leave
	failing time.Time // since when none has; zero: the last one did
	why     string    // the last one did not leave

	heard    time.Time // the last advert from it
	priority uint8     // in that
}

// sending takes note of a new advert: if the one before did not fail, it left.
func (o *outlet) sending() {
	if !o.failed {
		o.failing, o.why = time.Time{}, ""
	}
	o.failed = false
}

// sendFailed takes note that an advert to one destination did not leave, or to all of them; the reason is shown.
func (m *member) sendFailed(n *Node, now time.Time, to netip.Addr, err error) {
	m.counters.SendFailures++
	for _, o := range m.outlets {
		if to.IsValid() && o.to != to {
			continue
		}
		o.failed = true
		if o.failing.IsZero() {
			o.failing = now
		}
		if o.why != err.Error() {
			o.why = err.Error()
			n.do(Warned{m.of.cfg.Name, fmt.Sprintf("the advert %s did not leave: %v", m.path(o), err)})
		}
		if to.IsValid() && o.name != "" {
			n.lookUp(now, m.of)
		}
	}
}

// path says in words how an advert goes.
func (m *member) path(o *outlet) string {
	if o.to.IsMulticast() {
		return "over " + m.family.String()
	}
	return "to " + o.to.String()
}

// silent says since when no advert has left, to any destination, and why; zero and empty where one does.
func (m *member) silent() (since time.Time, why string) {
	for _, o := range m.outlets {
		if o.failing.IsZero() {
			return time.Time{}, ""
		}
		if since.IsZero() || o.failing.After(since) {
			since, why = o.failing, o.why
		}
	}
	return since, why
}

// heard takes note of an accepted advert of a peer.
func (m *member) heard(now time.Time, from netip.Addr, priority uint8) {
	for _, o := range m.outlets {
		if o.to == from.Unmap().WithZone("") {
			o.heard, o.priority = now, priority
		}
	}
}
