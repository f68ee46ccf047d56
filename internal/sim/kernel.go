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
	for _, want := range a.Addresses {
		if why := k.refuses[want.IP]; why != "" {
			k.h.feed(node.AddressFailed{Instance: a.Instance, IP: want.IP, Err: errors.New(why)})
			return
		}
		k.add(a.Instance, want.IP, a.Lifetime)
	}
	for _, ip := range k.list() {
		isWanted := slices.ContainsFunc(a.Addresses, func(w node.Address) bool { return w.IP == ip })
		if k.addrs[ip].instance == a.Instance && !isWanted {
			k.drop(ip, "")
		}
	}
	if len(a.Addresses) > 0 {
		k.h.feed(node.AddressesSet{Instance: a.Instance})
	}
}

// add sets or renews an address.
func (k *kernel) add(instance string, ip netip.Addr, lifetime time.Duration) {
	c := k.h.c
	l := &leased{instance: instance}
	if lifetime > 0 {
		l.expires = c.now.Add(lifetime)
		c.at(l.expires, func() {
			if k.addrs[ip] == l {
				k.drop(ip, " (its lease ran out)")
				k.h.feed(node.AddressLost{Interface: Interface, IP: ip, Expired: true})
			}
		})
	}
	isNew := k.addrs[ip] == nil
	k.addrs[ip] = l
	if isNew {
		c.Note("%s has %s", k.h.Name, ip)
		c.Owners.change(c.now, ip, k.h.Name, true)
	}
}

// drop removes an address.
func (k *kernel) drop(ip netip.Addr, why string) {
	delete(k.addrs, ip)
	k.h.c.Note("%s has %s no more%s", k.h.Name, ip, why)
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
	for _, ip := range k.list() {
		k.drop(ip, "")
	}
}

// sweep removes what a dead process left.
func (k *kernel) sweep() { k.clear() }

// Delete removes an address behind the process's back.
func (h *Host) Delete(ip netip.Addr) {
	if !h.kernel.has(ip) {
		return
	}
	h.kernel.drop(ip, " (something else deleted it)")
	h.feed(node.AddressLost{Interface: Interface, IP: ip})
}

// Refuse makes the kernel refuse an address with a reason; an empty reason makes it accept it again.
func (h *Host) Refuse(ip netip.Addr, why string) {
	if why == "" {
		delete(h.kernel.refuses, ip)
		return
	}
	h.kernel.refuses[ip] = why
}
