package sim

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// kernel is what a host's kernel knows of virtual addresses.
type kernel struct {
	h      *Host
	addrs  map[netip.Addr]*leased
	wants  map[string]node.SetAddresses // the newest request of each instance that waits
	order  []string                     // those instances
	busy   bool                         // it is at work, or about to
	began  int                          // counts the processes; what one asked for is nothing to the next
	obeyed bool                         // the process of now had something of what it asked for done
	// refuses are addresses that cannot be set, and why.
	refuses map[netip.Addr]string
	// untold are addresses that something else deleted while the process or the host stood still: it cannot know yet.
	untold map[netip.Addr]bool
}

// leased is an address that the kernel has.
type leased struct {
	owners  []string // instances that want it
	iface   string
	expires time.Time // by the host's clock; zero: never
	left    time.Time // until when a cleanup that came to its end asked for it; zero: somebody else set it last
	looked  time.Time // when somebody looks whether it has expired; zero: nobody does
}

func newKernel(h *Host) *kernel {
	return &kernel{h: h, addrs: map[netip.Addr]*leased{}, wants: map[string]node.SetAddresses{}, refuses: map[netip.Addr]string{}, untold: map[netip.Addr]bool{}}
}

func (k *kernel) has(ip netip.Addr) bool { return k.addrs[ip] != nil }

// set takes a request. One that waits is replaced by a newer one of its instance; what is being done is done. A renewal does
// not make a request that waits stale.
func (k *kernel) set(a node.SetAddresses) {
	old, waits := k.wants[a.Instance]
	if !waits {
		k.order = append(k.order, a.Instance)
	} else if old.Until.IsZero() && len(old.Addresses) > 0 {
		a.Until = time.Time{}
	}
	k.wants[a.Instance] = a
	if !k.busy {
		k.busy = true
		k.h.after(k.h.Lag, k.worker())
	}
}

// worker is the work of the process of now.
func (k *kernel) worker() func() {
	began := k.began
	return func() {
		if k.began == began {
			k.work()
		}
	}
}

// work performs what waits in one go, in the time that the kernel needs, and then what came meanwhile.
func (k *kernel) work() {
	c := k.h.c
	var batch []node.SetAddresses
	for _, name := range k.order {
		if a := k.wants[name]; a.Until.IsZero() || !k.h.now().After(a.Until) {
			batch = append(batch, a)
		}
	}
	k.forget()
	if len(batch) == 0 {
		k.busy = false
		return
	}
	began := k.began
	k.h.after(c.cfg.Kernel+c.between(0, c.cfg.KernelMore), func() {
		if k.began != began {
			return
		}
		k.apply(batch)
		if k.busy = len(k.order) > 0; k.busy {
			k.h.after(k.h.Lag, k.worker())
		}
	})
}

// apply makes each instance's addresses what its request says: all that are new are there before others are gone. Then it says so.
func (k *kernel) apply(batch []node.SetAddresses) {
	done := make([]node.Event, len(batch))
	for i, a := range batch {
		done[i] = k.grant(a)
		if _, failed := done[i].(node.AddressFailed); !failed {
			k.obeyed = true
		}
	}
	for i, a := range batch {
		if _, failed := done[i].(node.AddressFailed); !failed {
			k.revoke(a)
		}
	}
	for i, a := range batch {
		if len(a.Addresses) > 0 {
			k.h.feed(done[i])
		}
	}
}

// grant adds an instance's addresses, up to one that it cannot, and returns what it has to say.
func (k *kernel) grant(a node.SetAddresses) node.Event {
	var added []netip.Addr
	defer func() { k.note("has", added) }()
	for _, want := range a.Addresses {
		if why := k.refuses[want.IP]; why != "" {
			return node.AddressFailed{Instance: a.Instance, IP: want.IP, Err: errors.New(why)}
		}
		if k.add(a.Instance, want.IP, a.Lifetime) {
			added = append(added, want.IP)
		}
		k.addrs[want.IP].iface = a.Interface
	}
	return node.AddressesSet{Instance: a.Instance, Request: a.Request}
}

// revoke removes what an instance does not want any more.
func (k *kernel) revoke(a node.SetAddresses) {
	var unwanted, removed []netip.Addr
	for ip, l := range k.addrs {
		if l.of(a.Instance) && !slices.ContainsFunc(a.Addresses, func(w node.Address) bool { return w.IP == ip }) {
			unwanted = append(unwanted, ip)
		}
	}
	slices.SortFunc(unwanted, netip.Addr.Compare)
	for _, ip := range unwanted {
		if k.disown(ip, a.Instance) {
			removed = append(removed, ip)
		}
	}
	k.note("no longer has", removed)
}

// note tells the trace what changed.
func (k *kernel) note(what string, ips []netip.Addr) {
	if len(ips) > 0 {
		k.h.c.Note("%s %s %s", k.h.Name, what, list(ips))
	}
}

// add sets or renews an address, and says whether it is new.
func (k *kernel) add(instance string, ip netip.Addr, lifetime time.Duration) bool {
	c := k.h.c
	l := k.addrs[ip]
	isNew := l == nil
	if isNew {
		l = &leased{}
		k.addrs[ip] = l
		delete(k.untold, ip)
		c.Owners.change(c.now, ip, k.h.Name, true)
	}
	if !l.of(instance) {
		l.owners = append(l.owners, instance)
	}
	l.expires, l.left = time.Time{}, time.Time{}
	if k.h.left {
		l.left = k.h.now().Add(min(lifetime, unclaimedFor))
	}
	if lifetime > 0 {
		l.expires = k.h.now().Add(max(lifetime+c.between(-c.cfg.LeaseEarly, c.cfg.LeaseLate), 0))
		k.watch(ip, l)
	}
	return isNew
}

// watch looks whether a lease has run out when it is time. A shorter one than before has its own time.
func (k *kernel) watch(ip netip.Addr, l *leased) {
	if !l.looked.IsZero() && !l.expires.Before(l.looked) {
		return
	}
	at := l.expires
	l.looked = at
	k.h.after(at.Sub(k.h.now()), func() {
		if !l.looked.Equal(at) {
			return
		}
		l.looked = time.Time{}
		switch {
		case k.addrs[ip] != l || l.expires.IsZero():
		case l.expires.After(k.h.now()):
			k.watch(ip, l) // renewed
		default:
			k.drop(ip)
			k.h.c.Note("%s no longer has %s: its lease ran out", k.h.Name, ip)
			k.h.feed(node.AddressLost{Interface: l.iface, IP: ip, Expired: true})
		}
	})
}

// of says whether an instance wants the address.
func (l *leased) of(instance string) bool { return slices.Contains(l.owners, instance) }

// disown takes note that an instance no longer wants an address; one that nobody wants is removed.
func (k *kernel) disown(ip netip.Addr, instance string) (removed bool) {
	l := k.addrs[ip]
	if !l.of(instance) {
		return false
	}
	l.owners = slices.DeleteFunc(l.owners, func(o string) bool { return o == instance })
	if len(l.owners) == 0 {
		k.drop(ip)
	}
	return len(l.owners) == 0
}

// drop removes an address.
func (k *kernel) drop(ip netip.Addr) {
	delete(k.addrs, ip)
	k.h.c.Owners.change(k.h.c.now, ip, k.h.Name, false)
}

// list is every address, in order.
func (k *kernel) list() []netip.Addr {
	return slices.SortedFunc(maps.Keys(k.addrs), netip.Addr.Compare)
}

// renew is another process.
func (k *kernel) renew() {
	k.forget()
	k.busy, k.obeyed = false, false
	k.began++
}

// forget drops the requests of a process that died.
func (k *kernel) forget() {
	clear(k.wants)
	k.order = nil
}

// clear is a host that goes down.
func (k *kernel) clear() {
	k.renew()
	ips := k.list()
	for _, ip := range ips {
		k.drop(ip)
	}
	k.note("no longer has", ips)
}

// sweep removes what a dead process left.
func (k *kernel) sweep() { k.clear() }

// Delete removes an address behind the process's back.
func (h *Host) Delete(ip netip.Addr) {
	l := h.kernel.addrs[ip]
	if l == nil {
		return
	}
	h.kernel.drop(ip)
	h.c.Note("%s no longer has %s: something else deleted it", h.Name, ip)
	if (h.paused || h.frozen) && !h.Away() {
		h.kernel.untold[ip] = true
	}
	h.feed(node.AddressLost{Interface: l.iface, IP: ip})
}

// Refuse makes the kernel refuse an address with a reason; an empty reason makes it accept it again.
func (h *Host) Refuse(ip netip.Addr, why string) {
	if why == "" {
		delete(h.kernel.refuses, ip)
		return
	}
	h.kernel.refuses[ip] = why
}
