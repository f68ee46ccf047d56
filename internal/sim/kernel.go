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
	h     *Host
	addrs map[netip.Addr]*leased
	wants map[string]uint64 // the newest request of each instance
	busy  time.Time         // one request after the other
	seq   uint64
	// refuses are addresses that cannot be set, and why.
	refuses map[netip.Addr]string
}

// leased is an address that the kernel has.
type leased struct {
	instance string
	iface    string
	expires  time.Time // zero: never
}

func newKernel(h *Host) *kernel {
	return &kernel{h: h, addrs: map[netip.Addr]*leased{}, wants: map[string]uint64{}, refuses: map[netip.Addr]string{}}
}

func (k *kernel) has(ip netip.Addr) bool { return k.addrs[ip] != nil }

// set performs a request after the time that the kernel needs, unless a newer one replaced it.
func (k *kernel) set(a node.SetAddresses) {
	c := k.h.c
	k.seq++
	seq := k.seq
	k.wants[a.Instance] = seq
	done := c.now.Add(c.cfg.Kernel + k.h.Lag)
	if done.Before(k.busy) {
		done = k.busy
	}
	k.busy = done
	c.at(done, func() {
		if k.wants[a.Instance] == seq && (a.Until.IsZero() || !c.now.After(a.Until)) {
			k.apply(a)
		}
	})
}

// apply makes the instance's addresses what the request says: adds before it deletes.
func (k *kernel) apply(a node.SetAddresses) {
	var added, removed []netip.Addr
	for _, want := range a.Addresses {
		if why := k.refuses[want.IP]; why != "" {
			k.note("has", added)
			k.h.feed(node.AddressFailed{Instance: a.Instance, IP: want.IP, Err: errors.New(why)})
			return
		}
		if k.add(a.Instance, want.IP, a.Lifetime) {
			added = append(added, want.IP)
		}
		k.addrs[want.IP].iface = a.Interface
	}
	k.note("has", added)
	for _, ip := range k.list() {
		isWanted := slices.ContainsFunc(a.Addresses, func(w node.Address) bool { return w.IP == ip })
		if k.addrs[ip].instance == a.Instance && !isWanted {
			k.drop(ip)
			removed = append(removed, ip)
		}
	}
	k.note("no longer has", removed)
	if len(a.Addresses) > 0 {
		k.h.feed(node.AddressesSet{Instance: a.Instance})
	}
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
	l := &leased{instance: instance}
	if lifetime > 0 {
		l.expires = c.now.Add(lifetime)
		c.at(l.expires, func() {
			if k.addrs[ip] == l {
				k.drop(ip)
				c.Note("%s no longer has %s: its lease ran out", k.h.Name, ip)
				k.h.feed(node.AddressLost{Interface: l.iface, IP: ip, Expired: true})
			}
		})
	}
	isNew := k.addrs[ip] == nil
	k.addrs[ip] = l
	if isNew {
		c.Owners.change(c.now, ip, k.h.Name, true)
	}
	return isNew
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

// forget drops the requests of a process that died.
func (k *kernel) forget() { clear(k.wants) }

// clear is a host that goes down.
func (k *kernel) clear() {
	k.forget()
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
