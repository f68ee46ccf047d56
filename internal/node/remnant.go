package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// leaseEarly is by how much the kernel may be early with the end of a lease: measured is a tenth of that.
const leaseEarly = 600 * time.Millisecond

// namesWait is how long a cleanup waits for the names of peers that were never looked up: until then it has told nobody, and the
// others wait no longer for the dead daemon.
const namesWait = time.Second

// grantWait is how long a cleanup waits for the kernel's word that what is left has a short lease. Until then it says nothing: who is told
// takes over within milliseconds, and what the dead daemon left would be here for as long as that one's lease, or for ever.
const grantWait = 2 * time.Second

// remnant is what a dead daemon left of an instance's addresses. A node that cleans up keeps them until another host has them. It
// sets none that was not there, and brings none back.
type remnant struct {
	left  []netip.Addr // which; none: this node does not clean up, or nothing is left
	sure  time.Time    // until when the kernel has them, whatever else happens
	renew time.Time    // when their lease is renewed next; zero: it is not
	named time.Time    // until when the peers' names are waited for; zero: no longer
	grant time.Time    // until when the kernel's word is; zero: it has come, or nothing was asked
}

// cleansUp says whether this node only hands over what a dead daemon left.
func (n *Node) cleansUp() bool { return n.cfg.Unclaimed > 0 }

// retain gives what is left of an instance a lifetime. It may be killed at any instant, too, and must not leave more behind than a
// daemon that dies: so it is the shortest lease there is, whatever the interval, since the other hosts take over as soon as they were
// told. Without a lease nothing is renewed, it may be thousands of addresses: once, for as long as the others may take, is enough.
//
// It says whether anything is left.
func (n *Node) retain(now time.Time, i *instance, until time.Time) bool {
	lifetime := minLifetime
	if !i.cfg.Lease {
		lifetime += n.cleaning(i.fate)
	}
	i.remnant.renew = time.Time{}
	wanted := i.fate.running() || i.waitsForGrant() || n.waitsForNames(i) // it is kept no longer for hosts that do not know yet
	remains := n.remain(now, i, lifetime, until)
	if remains && i.cfg.Lease && wanted {
		i.remnant.renew = now.Add(n.renewalGap(i, keepGap, !until.IsZero()))
	}
	return remains
}

// waitsForNames says whether the names of an instance's peers may still be found before it says anything.
func (n *Node) waitsForNames(i *instance) bool {
	return n.unresolved(i) != "" && (!n.cleansUp() || !i.remnant.named.IsZero())
}

// waitsForGrant says whether the kernel may still say that what is left of an instance has a short lease.
func (i *instance) waitsForGrant() bool { return !i.remnant.grant.IsZero() }

// granted is the kernel's word for it: now the other hosts can be told.
func (n *Node) granted(now time.Time, i *instance) {
	if now.After(i.remnant.sure) { // the process stood still
		n.ungranted(now, i, "the kernel's word that the lease is short came too late")
		return
	}
	i.remnant.grant = time.Time{}
	n.settle(now, i.fate)
}

// ungranted lets go, without a word, of what has no short lease. The other hosts take over when they miss the adverts of the dead daemon,
// and by then the lease that it had set is over. Where it had set none nothing is better than to remove the addresses, and that is tried
// until it works, or the cleanup ends.
func (n *Node) ungranted(now time.Time, i *instance, why string) {
	n.do(Warned{i.cfg.Name, why + ": an address that may stay here for long is not offered to the other hosts; it is removed, and they take over when they miss the adverts"})
	n.forgo(now, i.fate)
	n.settle(now, i.fate)
}

// cleaning is how long a fate may need from the first priority 0 on: the answer to it, two waits for a successor, and its linger.
func (n *Node) cleaning(f *fate) time.Duration { return unanswered + 2*f.leaveWait() + maxLinger }

// remain asks the kernel for what is left of an instance's addresses, and says whether anything is.
func (n *Node) remain(now time.Time, i *instance, lifetime time.Duration, until time.Time) bool {
	r := &i.remnant
	if !r.sure.IsZero() && now.After(r.sure) { // it woke late: the kernel may have removed them, and another host may have them
		r.left = nil
	}
	want := slices.DeleteFunc(slices.Concat(i.cfg.Addresses, i.cfg.Unadvertised), func(a Address) bool { return !slices.Contains(r.left, a.IP) })
	if len(want) == 0 {
		return false
	}
	r.sure = now.Add(lifetime - leaseEarly)
	n.do(SetAddresses{i.cfg.Name, i.cfg.Interface, want, lifetime, until, i.virtualMAC(), i.request})
	return true
}

// tickRemnant renews the lease of what is left, and ends the wait for names.
func (n *Node) tickRemnant(now time.Time, i *instance) {
	r := &i.remnant
	if due(now, r.named) {
		r.named = time.Time{}
	}
	if due(now, r.grant) {
		n.ungranted(now, i, fmt.Sprintf("the kernel has not shortened the lease within %s", grantWait))
	}
	switch {
	case !due(now, r.renew):
	case !i.holding:
		r.renew = time.Time{}
	default:
		n.retain(now, i, now.Add(staleRenewal))
	}
}

// leaveBehind leaves what nobody took to the daemon that is started next, for a while. It says whether there is anything. Where a peer
// could not be named, somebody may have taken it unheard.
func (n *Node) leaveBehind(now time.Time, i *instance) bool {
	if !n.cleansUp() || !i.holding {
		return false
	}
	if why := n.unnamed(i); why != "" {
		n.do(Warned{i.cfg.Name, why + ": another host may have taken over unheard, so the addresses are released"})
		return false
	}
	if !n.remain(now, i, n.cfg.Unclaimed, time.Time{}) {
		return false
	}
	i.remnant.renew = time.Time{}
	i.holding, i.confirmed = false, false
	return true
}

// addressGone is an address that the kernel no longer has.
func (n *Node) addressGone(now time.Time, i *instance, ev AddressLost) {
	if !n.cleansUp() {
		n.addressLost(now, i, ev)
		return
	}
	i.remnant.left = slices.DeleteFunc(i.remnant.left, func(ip netip.Addr) bool { return ip == ev.IP })
}

// addressRefused is an address that the kernel did not set.
func (n *Node) addressRefused(now time.Time, i *instance, ev AddressFailed) {
	if !n.cleansUp() {
		n.addressFailed(now, i, ev)
		return
	}
	switch {
	case i.adopting:
		n.ungranted(now, i, fmt.Sprintf("cannot shorten the lease of %s: %v", ev.IP, ev.Err))
	case i.holding:
		n.do(Warned{i.cfg.Name, fmt.Sprintf("cannot keep %s until another host has it: %v", ev.IP, ev.Err)})
	}
}
