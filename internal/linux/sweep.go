package linux

import (
	"errors"
	"fmt"
)

// Sweep removes what a dead process left behind: the addresses that held.json lists and those that carry our tag, and
// our routes and macvlans; but not what keep wants kept, which the next Set of its owner adopts. all: no understudy is to be on
// this host any more, so the routes and macvlans of others go, too, which have another runtime directory. It returns the addresses
// that it removed. It runs at start, before any Set.
func (a *Addresses) Sweep(keep func(Held) bool, all bool) ([]Held, error) {
	present, err := a.kernel.addresses()
	if err != nil {
		return nil, fmt.Errorf("sweep addresses: %w", err)
	}
	survives := make(map[place]bool)
	var left []Held
	var list []request
	names := make(map[int]string)
	for _, x := range present {
		if !a.ours(x) {
			continue
		}
		if h := a.describe(x, names); keep(h) {
			survives[x.at()] = true
		} else {
			left = append(left, h)
			list = append(list, request{place: x.at(), remove: true})
		}
	}
	for _, h := range left {
		if h.ParentIndex != 0 {
			_ = a.kernel.dropEgress(h.Index) // the removal must not be told in the name of the virtual MAC
		}
	}
	a.requests.do(list)
	var removed []Held
	var errs []error
	for i, h := range left {
		if err := list[i].err; err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("remove %s from %q: %w", h.IP, h.Interface, netlinkErrors.explain(err)))
			survives[h.at()] = true
			continue
		}
		removed = append(removed, h)
	}
	for _, r := range a.held.all() {
		if !survives[r.at()] {
			a.held.drop(r)
		}
	}
	for _, err := range a.reconcileRoutes(all) {
		errs = append(errs, err)
	}
	if _, err := a.macvlans.sweep(a.holds, all); err != nil {
		errs = append(errs, err)
	}
	a.save()
	return removed, errors.Join(errs...)
}

// describe finds the record of an address of ours, or makes one for an address that only its tag shows to be ours. names
// keeps the interfaces' names.
func (a *Addresses) describe(x address, names map[int]string) Held {
	if records := a.held.places[x.at()]; len(records) > 0 {
		return records[0].Held
	}
	name, known := names[x.index]
	if !known {
		name = a.nameOf(x.index)
		names[x.index] = name
	}
	return Held{Index: x.index, IP: x.prefix.Addr(), Interface: name}
}

// nameOf is the name of an interface; of one that is gone it is its number.
func (a *Addresses) nameOf(index int) string {
	link, err := a.kernel.handle.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("#%d", index)
	}
	return link.Attrs().Name
}
