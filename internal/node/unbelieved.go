package node

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// unbelieved is the newest refusal of a virtual router since an instant that says something of another master; nil: there is none. Of
// mac alone, if that is not empty.
func (m *member) unbelieved(since time.Time, mac string) (reason string, newest *Count) {
	for what, c := range m.refusals {
		if what == vrrp.ErrOwnAdvert.Reason() || c.At.Before(since) || mac != "" && c.MAC != mac {
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
		if reason, c := m.unbelieved(now.Add(-m.of.cfg.DeadInterval()), ""); c != nil {
			return fmt.Sprintf("; adverts from %s were refused (%s)", c.Last, reason)
		}
	}
	return ""
}

// refused is why the adverts of the host that announces the addresses are not believed, in words; empty: none of it came.
func (c *Contention) refused(i *instance) string {
	mac := c.MAC
	if i.cfg.VirtualMAC {
		mac = "" // it is the same on all hosts
	}
	for _, m := range i.members {
		if _, r := m.unbelieved(c.At.Add(-i.cfg.DeadInterval()), mac); r != nil {
			return r.Text
		}
	}
	return ""
}
