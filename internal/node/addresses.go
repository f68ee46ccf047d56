package node

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Bounds of what is done about addresses.
const (
	// An address that cannot be set is tried again after 5, 10, 20 .. 300 s; holding it this long forgets that. What may have mended
	// it brings the next try forward, but not to within leastRetry of the failure.
	firstRetry  = 5 * time.Second
	maxRetry    = 5 * time.Minute
	leastRetry  = time.Second
	retryForget = time.Minute
	// An address that something deletes this often within the window is handed over for a while.
	maxLosses  = 5
	lossWindow = 10 * time.Second
	// What is lost within this time was lost at once: all addresses of an interface are flushed in several goes.
	lossAtOnce = 50 * time.Millisecond
	yieldFor   = time.Minute
	slowRepair = time.Second
)

// failure is an address that could not be set.
type failure struct {
	why   string
	ip    netip.Addr // invalid: another process knew
	since time.Time
	retry time.Time
	gap   time.Duration
}

// clear lets the instance try again; the gap is remembered.
func (f *failure) clear() { *f = failure{gap: f.gap} }

// freed is an address that is gone. If it is the one that could not be set, it was somebody else's, unless it was here for a lease.
func (f *failure) freed(now time.Time, ip netip.Addr, lapsed bool) {
	if !lapsed && (ip == f.ip || !f.ip.IsValid()) {
		f.hasten(now)
	}
}

// hasten brings the next try forward: what stood in the way may be gone. Whatever comes and goes there again and again does not
// make it try without a pause.
func (f *failure) hasten(now time.Time) {
	if f.why == "" {
		return
	}
	soonest := now
	if rested := f.since.Add(leastRetry); rested.After(now) {
		soonest = rested
	}
	f.retry = earliest(f.retry, soonest)
}

// repair remembers how often something else deleted the instance's addresses.
type repair struct {
	losses []time.Time
	until  time.Time // yields till then
	at     time.Time // the next slow repair
}

// yields says whether the deletions are too many to hold the addresses here.
func (r *repair) yields(now time.Time) bool { return now.Before(r.until) }

// lost takes note of a deletion, and says whether to set the address again at once.
func (r *repair) lost(now time.Time) (atOnce bool) {
	if last := len(r.losses) - 1; last < 0 || now.Sub(r.losses[last]) > lossAtOnce {
		r.losses = append(r.losses, now)
	}
	if len(r.losses) > maxLosses {
		r.losses = r.losses[1:]
	}
	if len(r.losses) == maxLosses && now.Sub(r.losses[0]) <= lossWindow {
		r.until = now.Add(yieldFor)
	}
	if r.yields(now) {
		if r.at.IsZero() { // one loss after the other does not put it off
			r.at = now.Add(slowRepair)
		}
		return false
	}
	return true
}

// take sets the addresses.
func (n *Node) take(now time.Time, i *instance) {
	if !i.holding {
		i.muted = now
	}
	i.holding, i.confirmed, i.leftover = true, false, nil
	i.announcer.stop() // until they are there
	i.announcer.silent = true
	n.setAddresses(now, i, time.Time{})
}

// setAddresses asks for the addresses, and plans the lease's renewal.
func (n *Node) setAddresses(now time.Time, i *instance, until time.Time) {
	want := append(append([]Address(nil), i.cfg.Addresses...), i.cfg.Unadvertised...)
	lifetime, planned := i.lifetime(now), i.renewal
	if until.IsZero() { // it is no renewal
		planned = time.Time{}
		n.requests++
		i.request = n.requests
	}
	n.do(SetAddresses{i.cfg.Name, i.cfg.Interface, want, lifetime, until, i.virtualMAC(), i.request})
	i.renewal = time.Time{}
	if lifetime > 0 {
		i.renewal = n.nextRenewal(now, i, planned)
	}
}

// release removes the addresses; to is who is known to have taken over.
func (n *Node) release(now time.Time, i *instance, to string) {
	i.announcer.stop()
	i.renewal, i.repair.at, i.rising, i.muted = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if i.holding {
		n.do(SetAddresses{Instance: i.cfg.Name, Interface: i.cfg.Interface})
		i.letGo = LetGo{now, to}
	}
	i.holding, i.confirmed = false, false
}

// addressesSet is the kernel's word that they are there: now they can be announced, and the hooks be told. Of an earlier request it says
// nothing: what that one set may be gone by now.
func (n *Node) addressesSet(now time.Time, i *instance, request uint64) {
	if request != i.request {
		return
	}
	if i.waitsForGrant() {
		n.granted(now, i)
		return
	}
	// Who woke late does not know whether they are there still. Where their lease may be over, the word of the renewal that is due counts.
	if late := i.fate.doubtful(now) || due(now, i.rising) || i.mayLapse(now); late || !i.holding || i.confirmed {
		return
	}
	i.confirmed = true
	if c := &i.lastChange; c.To == Master && c.Took == 0 && i.told != Master {
		c.Took = now.Sub(c.At)
	}
	if i.state == Master {
		n.sayAgain(now, i)
		i.announcer.start(now)
		n.announce(now, i)
	}
	i.muted = time.Time{}
	n.serving(now, i)
	if !i.rising.IsZero() {
		n.settle(now, i.fate)
	}
}

// serving tells the hooks that this host is master, once the addresses are there.
func (n *Node) serving(now time.Time, i *instance) {
	if i.serves() {
		n.tell(now, i, Master)
		n.tellGroup(now, i.fate)
		n.inherited(now, i)
	}
}

// addressFailed gives the addresses up to another host, and tries again later.
func (n *Node) addressFailed(now time.Time, i *instance, ev AddressFailed) {
	if !i.holding || !i.owns(ev.IP) { // a reload may have taken it away since it was asked for
		return
	}
	f := &i.failure
	if i.state == Master && now.Sub(i.since) >= retryForget {
		f.gap = 0
	}
	if f.why == "" {
		f.gap = min(max(2*f.gap, firstRetry), maxRetry)
		f.since, f.retry = now, now.Add(f.gap)
	}
	f.ip = ev.IP
	f.why = fmt.Sprintf("cannot set %s on %q: %v", ev.IP, i.cfg.Interface, ev.Err)
	n.settle(now, i.fate)
}

// barred takes note of what stands in an instance's way, or no longer does. One that holds its addresses goes on, and says so.
func (n *Node) barred(now time.Time, ev Barred) {
	isNews := ev.Why != "" && n.bars[ev.Instance] != ev.Why
	if ev.Why == "" {
		delete(n.bars, ev.Instance)
	} else {
		n.bars[ev.Instance] = ev.Why
	}
	n.named(ev.Instance, func(i *instance) {
		if isNews && i.holding {
			n.do(Warned{i.cfg.Name, "it holds its addresses and goes on, but could not take part again: " + ev.Why})
		}
		n.settle(now, i.fate)
	})
}

// forgetBars drops what stands in the way of instances that are no longer configured.
func (n *Node) forgetBars() {
	maps.DeleteFunc(n.bars, func(name string, _ string) bool {
		return !slices.ContainsFunc(n.cfg.Instances, func(i Instance) bool { return i.Name == name })
	})
}

// addressLost sets an address again that something else removed.
func (n *Node) addressLost(now time.Time, i *instance, ev AddressLost) {
	if !i.owns(ev.IP) {
		return
	}
	i.failure.freed(now, ev.IP, i.holding && ev.Expired)
	if !i.holding {
		return
	}
	i.confirmed = false
	i.announcer.stop()
	if i.fate.doubtful(now) {
		return
	}
	if ev.Expired {
		n.do(Warned{i.cfg.Name, fmt.Sprintf("the lease of %s ran out before it was renewed; set again", ev.IP)})
		n.setAddresses(now, i, time.Time{})
		return
	}
	if i.repair.lost(now) {
		n.do(Warned{i.cfg.Name, fmt.Sprintf("something else deleted %s from %q; set again", ev.IP, i.cfg.Interface)})
		n.setAddresses(now, i, time.Time{})
		return
	}
	n.settle(now, i.fate)
}

// tickAddresses does what the addresses' timers want.
func (n *Node) tickAddresses(now time.Time, i *instance) {
	if due(now, i.repair.until) {
		i.repair.until, i.repair.losses = time.Time{}, nil
	}
	if i.holding && due(now, i.repair.at) {
		i.repair.at = time.Time{}
		n.setAddresses(now, i, time.Time{})
	}
	switch {
	case !i.holding || !due(now, i.renewal):
	case !i.repair.at.IsZero():
		i.renewal = i.repair.at // a renewal would bring back what is repaired slowly
	default:
		n.setAddresses(now, i, now.Add(staleRenewal))
	}
	if d := i.announcer.deadline(); due(now, d) {
		n.announce(now, i)
	}
}

// announce emits what the announcer has due.
func (n *Node) announce(now time.Time, i *instance) {
	if ips := i.announcer.take(now, i.ips()); len(ips) > 0 {
		n.do(Announce{i.cfg.Name, i.cfg.Interface, ips, now.Add(staleAnnouncement), i.virtualMAC()})
	}
}
