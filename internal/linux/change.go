package linux

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// renews reports whether the want is what its owner has already, on the interfaces that have the names now, so that only the lifetimes
// start again. A want without lifetime is no renewal: it is made to find out, and to mend what is not so.
func (a *Addresses) renews(w Want, index func(ifName string) int) bool {
	of := a.held.owners[w.Owner]
	return w.Lifetime > 0 && len(of) == len(w.Addresses) && !slices.ContainsFunc(w.Addresses, func(x Address) bool {
		r := of[site{w.on(x), x.IP}]
		return r == nil || !r.sure || r.Network != x.Network || r.Index != index(r.Interface)
	})
}

// renew starts the lifetimes again, and returns the wants that need more than that.
func (a *Addresses) renew(wants []Want) (lapsed []Want) {
	var list []request
	for _, w := range wants {
		for _, x := range w.Addresses {
			r := a.held.owners[w.Owner][site{w.on(x), x.IP}]
			list = append(list, request{place: r.at(), lifetime: w.Lifetime})
		}
	}
	a.requests.do(list)
	for _, w := range wants {
		mine := list[:len(w.Addresses)]
		list = list[len(w.Addresses):]
		if slices.ContainsFunc(mine, func(q request) bool { return q.err != nil }) {
			lapsed = append(lapsed, w)
		}
	}
	return lapsed
}

// target is an address that is to be set.
type target struct {
	Held
	request request
	there   bool // ours already
	done    bool // there, and nothing about it has to change
}

// change does what the wants need, with a look at what is there.
func (a *Addresses) change(wants []Want) []AddressError {
	if len(wants) == 0 {
		return nil
	}
	targets, failed := a.targets(wants)
	failed = append(failed, a.leave(targets)...)
	for _, t := range targets {
		a.held.put(t.Held)
	}
	a.save()
	failed = append(failed, a.add(targets)...)
	failed = append(failed, a.speak(targets)...)
	stale := a.stale(wants)
	routes := slices.ContainsFunc(stale, func(r *record) bool { return r.Network.IsValid() })
	a.dropTraffic(stale)
	failed = append(failed, a.remove(stale)...)
	if routes || len(a.held.networks) > 0 {
		failed = append(failed, a.setRoutes(wants)...)
	}
	a.save()
	return failed
}

// targets finds out what has to be set, and what cannot be.
func (a *Addresses) targets(wants []Want) (targets []target, failed []AddressError) {
	if !slices.ContainsFunc(wants, func(w Want) bool { return len(w.Addresses) > 0 }) {
		return nil, nil
	}
	links := newIndices(a)
	for _, w := range wants {
		for _, x := range w.Addresses {
			links.make(x.Device) // before the look at what is there
		}
	}
	present, wrong := a.present()
	for _, w := range wants {
		for _, x := range w.Addresses {
			t, err := a.target(w, x, links, present, wrong)
			if err != nil {
				failed = append(failed, AddressError{Owner: w.Owner, IP: x.IP, Err: err})
				continue
			}
			targets = append(targets, t)
		}
	}
	return targets, failed
}

// target looks at one address; wrong is what stands in the way of all addresses.
func (a *Addresses) target(w Want, x Address, links *indices, present map[place]address, wrong error) (target, error) {
	base, baseErr := links.of(w.Interface)
	index, err := links.of(w.on(x))
	if wrong = cmp.Or(wrong, baseErr, err); wrong != nil {
		return target{}, fmt.Errorf("set %s on %q: %w", x.IP, w.on(x), wrong)
	}
	if found, there := present[place{base, x.IP}]; there && !a.ours(found) {
		return target{}, a.foreign(w.Interface, found)
	}
	p := place{index, x.IP}
	found, there := present[p]
	if there && !a.ours(found) {
		return target{}, a.foreign(w.on(x), found)
	}
	held := Held{Owner: w.Owner, Interface: w.on(x), Index: index, IP: x.IP, Network: x.Network}
	if index != base {
		held.Parent, held.ParentIndex = w.Interface, base
	}
	return target{
		Held:    held,
		request: request{place: p, lifetime: w.Lifetime, exclusive: !there},
		there:   there,
		done:    there && w.Lifetime <= 0 && found.valid == forever,
	}, nil
}

// foreign says who has an address that is not ours. It serves where it is: nothing is said that would cut it off.
func (a *Addresses) foreign(ifName string, x address) error {
	return fmt.Errorf("%s is on %s already and %w: %s", x.prefix.Addr(), ifName, ErrForeign, a.holders.likely(x))
}

// Foreign lists those of the wants' addresses that are there and that something else set: to set them would fail. It changes nothing.
func (a *Addresses) Foreign(wants ...Want) ([]AddressError, error) {
	present, err := a.present()
	if err != nil {
		return nil, err
	}
	var list []AddressError
	links := newIndices(a)
	for _, w := range wants {
		for _, x := range w.Addresses {
			for _, name := range slices.Compact([]string{w.Interface, w.on(x)}) {
				index, err := links.of(name)
				if err != nil {
					continue // where there is no interface there is no address
				}
				if found, there := present[place{index, x.IP}]; there && !a.ours(found) {
					list = append(list, AddressError{Owner: w.Owner, IP: x.IP, Err: a.foreign(name, found)})
					break
				}
			}
		}
	}
	return list, nil
}

// leave removes addresses from what had a target's interface's name before. It is gone, and they with it, or was only renamed: then
// nobody would know of them any more.
func (a *Addresses) leave(targets []target) (failed []AddressError) {
	var moved []*record
	for _, t := range targets {
		if r := a.held.owners[t.Owner][site{t.Interface, t.IP}]; r != nil && r.Index != t.Index {
			r.stale = true
			moved = append(moved, r)
		}
	}
	moved = slices.DeleteFunc(moved, func(r *record) bool { return a.held.wanted(r.at()) })
	list := make([]request, len(moved))
	for n, r := range moved {
		list[n] = request{place: r.at(), remove: true}
	}
	a.requests.do(list)
	for n, r := range moved {
		if q := list[n]; q.err != nil && !gone(q.err) {
			failed = append(failed, AddressError{Owner: r.Owner, IP: r.IP, Err: fmt.Errorf("remove %s from what was %q before: %w", r.IP, r.Interface, netlinkErrors.explain(q.err))})
		}
	}
	return failed
}

// add sets the targets, each place once, and forgets those that the kernel refused.
func (a *Addresses) add(targets []target) []AddressError {
	asked := make(map[place]int, len(targets))
	var list []request
	for _, t := range targets {
		if _, twice := asked[t.at()]; twice || t.done {
			continue
		}
		asked[t.at()] = len(list)
		list = append(list, t.request)
	}
	a.requests.do(list)
	a.awaitDelivery(list)
	var failed []AddressError
	for _, t := range targets {
		r := a.held.owners[t.Owner][site{t.Interface, t.IP}]
		if r == nil {
			continue // wanted twice, and refused already
		}
		i, was := asked[t.at()]
		if !was || list[i].err == nil {
			r.sure = true
			continue
		}
		failed = append(failed, AddressError{Owner: t.Owner, IP: t.IP, Err: refused(t.Held, list[i].err)})
		r.sure = false
		if !t.there {
			a.held.drop(r)
		}
	}
	return failed
}

// refused says why an address could not be set.
func refused(h Held, err error) error {
	if errors.Is(err, unix.EEXIST) {
		// It came between our look and our hand, or is tentative on another way in: the next Set sees what it is.
		return fmt.Errorf("%s is on %s already and %w (it came just now)", h.IP, h.Interface, ErrForeign)
	}
	if h.IP.Is6() && errors.Is(err, unix.EACCES) {
		return fmt.Errorf("set %s on %q: %w (IPv6 is off on it: %w)", h.IP, h.Interface, err, remedy(confKey6(h.Interface, "disable_ipv6"), 0))
	}
	return fmt.Errorf("set %s on %q: %w", h.IP, h.Interface, netlinkErrors.explain(err))
}

// stale lists and marks what the wants' owners hold and do not want.
func (a *Addresses) stale(wants []Want) []*record {
	var stale []*record
	for _, w := range wants {
		wanted := make(map[site]bool, len(w.Addresses))
		for _, x := range w.Addresses {
			wanted[site{w.on(x), x.IP}] = true
		}
		for _, r := range a.held.of(w.Owner) {
			if !wanted[site{r.Interface, r.IP}] {
				r.stale = true
				stale = append(stale, r)
			}
		}
	}
	return stale
}

// remove takes stale records' addresses away, each unless another owner wants it, and the records with them. The kernel
// removes only what is alone in its network: no address of the host, whatever took our place.
func (a *Addresses) remove(stale []*record) []AddressError {
	var list []request
	for _, r := range stale {
		if !a.held.wanted(r.at()) {
			list = append(list, request{place: r.at(), remove: true})
		}
	}
	a.requests.do(list)
	refused := make(map[place]error)
	for _, q := range list {
		if q.err != nil && !gone(q.err) {
			refused[q.place] = q.err
		}
	}
	var failed []AddressError
	for _, r := range stale {
		if err := refused[r.at()]; err != nil {
			failed = append(failed, AddressError{Owner: r.Owner, IP: r.IP, Err: fmt.Errorf("remove %s from %q: %w", r.IP, r.Interface, netlinkErrors.explain(err))})
			r.stale, r.sure = false, false
			continue
		}
		a.held.drop(r)
	}
	return failed
}
