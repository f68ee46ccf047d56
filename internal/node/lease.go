package node

import (
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// The kernel counts a lease in whole seconds, and looks for what is over no more than once a second. Measured on a host with leases that
// were renewed at different times: an address with a lease of 2 s is gone 1.95 to 2.95 s after it was renewed.
const (
	minLifetime = 2 * time.Second
	leaseLate   = time.Second
	// A lease is renewed with each advert, and every renewGap after that, but not within the last renewRest before the next advert:
	// the others count from the advert, and a lease of 2 s that begins so late outlasts their wait. So two renewals are at most 1.5 s
	// apart, at the default interval a second, and one that is late by a third of a second finds the address still there.
	renewGap  = time.Second
	renewRest = 500 * time.Millisecond
	// keepGap is the time between two renewals of what is being handed over.
	keepGap = 500 * time.Millisecond
	// lateRenewal is how late a renewal may be before what it was to renew may be gone: that is 1.95 s after it was set, of which up to 1.5 s
	// and the goes were to pass.
	lateRenewal = 400 * time.Millisecond
	// staleRenewal is how late a renewal may be performed.
	staleRenewal = 500 * time.Millisecond
	// Up to maxTogether addresses are renewed at one instant. More are renewed in so many goes, by their VRIDs, a goGap apart: one
	// by one they cost twice as much, all at once they are a burst. The last go is early enough after the advert, too.
	maxTogether   = 64
	renewalGoes   = 16
	vridsTogether = 256 / renewalGoes
	goGap         = time.Millisecond
)

// lease is the longest lifetime that the instance's addresses get, which is with an advert; 0 is none.
func (i *instance) lease() time.Duration { return i.leaseWithin(i.cfg.DeadInterval()) }

// lifetime is the lease that the addresses get at an instant; 0 is none. Of a daemon that dies right then they must be gone before
// another host takes them, which it does when it misses the adverts. Where nobody would miss any, it may come at once.
func (i *instance) lifetime(now time.Time) time.Duration {
	if i.state != Master {
		return i.leaseWithin(0)
	}
	return i.leaseWithin(i.spoke().Add(i.cfg.DeadInterval()).Sub(now))
}

// leaseWithin is the longest lease that is over within a time, however late the kernel is: minLifetime at least. Of who never sent an advert
// the time is the least that there is.
func (i *instance) leaseWithin(d time.Duration) time.Duration {
	if !i.cfg.Lease {
		return 0
	}
	return max(minLifetime, (max(d, 0) - leaseLate).Truncate(time.Second))
}

// spoke is when a master sent its last advert; of two families that do not advertise at the same time, the one that is silent longer
// counts, since the other hosts may have made an instance of each.
func (i *instance) spoke() time.Time {
	at := i.advertised
	for _, m := range i.members {
		if last := len(m.sent) - 1; last >= 0 && m.machine.State() == vrrp.Master {
			at = earliest(at, m.sent[last].at)
		}
	}
	return at
}

// beat is when a master advertises next; zero: it is none.
func (i *instance) beat() (at time.Time) {
	for _, m := range i.members {
		if next, ok := m.machine.Deadline(); ok && m.machine.State() == vrrp.Master {
			at = earliest(at, next)
		}
	}
	return at
}

// nextRenewal is when the lease is renewed next. The one of now was planned for an instant, unless that is zero.
func (n *Node) nextRenewal(now time.Time, i *instance, planned time.Time) time.Time {
	gap := renewGap
	if i.state != Master {
		gap = keepGap
	}
	next := now.Add(n.renewalGap(i, gap, !planned.IsZero()))
	if then := planned.Add(gap); then.After(now) {
		next = then // a late one does not make the goes one
	}
	if beat := i.beat(); !beat.IsZero() && next.After(beat.Add(-renewRest)) {
		next = beat.Add(n.renewalGo(i))
	}
	return next
}

// mayLapse says whether the lease may be over, since a renewal should have been long ago.
func (i *instance) mayLapse(now time.Time) bool { return due(now.Add(-lateRenewal), i.renewal) }

// renewWith has the lease renewed with an advert that begins an interval before the one of now is over. One that only answers another
// host begins none, and may be one of many.
func (n *Node) renewWith(now time.Time, m *member) {
	i := m.of
	next, _ := m.machine.Deadline()
	if begins := m.machine.State() == vrrp.Master && next.Equal(now.Add(i.cfg.Interval)); begins && !i.renewal.IsZero() {
		i.renewal = earliest(i.renewal, now.Add(n.renewalGo(i)))
	}
}

// renewalGap is how long it is to the next renewal, between two adverts. Of many addresses that are set at once the first renewal comes
// at another time for each go.
func (n *Node) renewalGap(i *instance, gap time.Duration, again bool) time.Duration {
	if again {
		return gap
	}
	return gap + n.renewalGo(i)
}

// renewalGo is by how much an instance's go is later than the first one.
func (n *Node) renewalGo(i *instance) time.Duration {
	if n.index.addresses <= maxTogether {
		return 0
	}
	return time.Duration(i.cfg.VRID/vridsTogether) * goGap
}
