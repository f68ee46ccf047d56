package node

import (
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// probeWait is how long who asks the link waits for another host's answer before it takes the addresses.
const probeWait = 100 * time.Millisecond

// rise makes the fate master once every member's wait is over.
func (n *Node) rise(now time.Time, f *fate) {
	why, cause, ok := f.ready()
	if !ok {
		f.probed = time.Time{}
		f.endRecheck()
		n.riseLater(now, f)
		return
	}
	if silent := f.outranked(); silent.IsZero() {
		f.endRecheck()
	} else if !f.rising() && n.unsure(now, f, why, silent) {
		return
	}
	// Silence can be our own deafness: an unhealthy host asks the link first, and one that cannot name its peers.
	if cause == vrrp.Silence && !f.rising() && (f.standing.priority() == vrrp.PriorityIll || n.deaf(now, f)) {
		if f.probed.IsZero() {
			f.probed = now.Add(probeWait)
			for _, i := range f.instances {
				n.do(Probe{i.cfg.Interface, i.ips(), n.links[i.cfg.Interface].Source6})
			}
		}
		if now.Before(f.probed) || !f.ticking {
			return
		}
	}
	if n.awaitAddresses(now, f) {
		return
	}
	if cause == vrrp.Silence {
		why += f.unbelieved(now)
	}
	f.probed, f.leave, f.linger = time.Time{}, nil, nil
	for m := range f.members() {
		n.perform(now, m, m.machine.Step(now, vrrp.Promote{Why: why}))
	}
	n.enter(now, f, Master, f.describe(why))
	for _, i := range f.instances {
		n.serveFirst(now, i)
	}
	f.offers.reset()
	if f.standing.priority() == vrrp.PriorityIll {
		f.offers.later(now)
	}
}

// pushesOn says whether the fate waits for its addresses, and is to rise still.
func (f *fate) pushesOn() bool {
	_, _, ready := f.ready()
	return ready && f.rising()
}

// serveFirst sets the addresses of an instance that has just become master, or announces those that are there already.
func (n *Node) serveFirst(now time.Time, i *instance) {
	waited := !i.rising.IsZero()
	began := i.rising.Add(-riseWait)
	i.rising = time.Time{}
	if waited && !i.confirmed { // they are being set still: the word about that counts
		n.setAddresses(now, i, now.Add(staleRenewal))
		return
	}
	if !i.confirmed || !waited && !i.cfg.VirtualMAC {
		n.take(now, i)
		return
	}
	if waited {
		i.lastChange.Took = now.Sub(began)
	}
	i.announcer.start(now)
	n.announce(now, i)
	n.serving(now, i)
}

// ready says whether all members are, and why the last of them.
func (f *fate) ready() (why string, cause vrrp.Cause, ok bool) {
	var whys []string
	cause = vrrp.Owner
	for m := range f.members() {
		c, w, ok := m.machine.Ready()
		if !ok {
			return "", 0, false
		}
		if c < cause {
			cause = c
		}
		if !slices.Contains(whys, w) {
			whys = append(whys, w)
		}
	}
	return strings.Join(whys, "; "), cause, true
}
