package linux

import (
	"errors"
	"fmt"
)

// Sweep removes what a dead process left behind: the addresses that held.json lists and those that carry our tag, and
// our routes; but not what keep wants kept, which the next Set of its owner adopts. It returns what it removed. It
// runs at start, before any Set.
func (a *Addresses) Sweep(keep func(Held) bool) ([]Held, error) {
	present, err := a.kernel.addresses()
	if err != nil {
		return nil, fmt.Errorf("sweep addresses: %w", err)
	}
	var removed []Held
	var errs []error
	for _, x := range present {
		if !a.ours(x) {
			continue
		}
		h := a.describe(x)
		if keep(h) {
			continue
		}
		if err := a.kernel.deleteAddress(x.index, h.IP); err != nil {
			errs = append(errs, fmt.Errorf("remove %s from %q: %w", h.IP, h.Interface, explain(err)))
			continue
		}
		removed = append(removed, h)
	}
	a.held = a.surviving(present, removed)
	for _, err := range a.reconcileRoutes() {
		errs = append(errs, err)
	}
	a.save()
	return removed, errors.Join(errs...)
}

// surviving is what is still held: the records whose address was there and was not removed.
func (a *Addresses) surviving(present []address, removed []Held) []Held {
	gone := make(map[place]bool)
	for _, h := range removed {
		gone[h.at()] = true
	}
	var held []Held
	for _, h := range a.held {
		if a.has(h, present) && !gone[h.at()] {
			held = append(held, h)
		}
	}
	return held
}

// describe finds the record of an address of ours, or makes one for an address that only its tag shows to be ours.
func (a *Addresses) describe(x address) Held {
	ip := x.prefix.Addr()
	for _, h := range a.held {
		if h.Index == x.index && h.IP == ip {
			return h
		}
	}
	h := Held{Index: x.index, IP: ip, Interface: fmt.Sprintf("#%d", x.index)}
	if link, err := a.kernel.handle.LinkByIndex(x.index); err == nil {
		h.Interface = link.Attrs().Name
	}
	return h
}
