package node

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// unbelieved is the newest refusal of a virtual router since an instant that says something of another master; nil: there is none.
func (m *member) unbelieved(since time.Time) (reason string, newest *Count) {
	for what, c := range m.refusals {
		if what == vrrp.ErrOwnAdvert.Reason() || c.At.Before(since) {
			continue
		}
		if newest == nil || c.At.After(newest.At) || c.At.Equal(newest.At) && what < reason {
			reason, newest = what, c
		}
	}
	return reason, newest
}

// unbelieved says whose adverts were refused while the fate heard nobody; empty: nobody's. Who reads only that nobody advertised looks
// for a dead host, and there may be a living one with another key, version or clock.
func (f *fate) unbelieved(now time.Time) string {
	for m := range f.members() {
		if reason, c := m.unbelieved(now.Add(-m.of.cfg.DeadInterval())); c != nil {
			return fmt.Sprintf("; adverts from %s were refused (%s)", c.Last, reason)
		}
	}
	return ""
}
