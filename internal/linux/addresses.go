package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrForeign says that an address is there already and was not set by us: it is left alone.
var ErrForeign = errors.New("not ours")

// Address is one virtual address.
type Address struct {
	IP netip.Addr
	// Network, if valid, wants a connected route to it on the interface wherever the host has none. The route comes
	// and goes with the address.
	Network netip.Prefix
}

// Want is all that one owner wants to have on one interface.
type Want struct {
	Owner     string // the instance
	Interface string
	Addresses []Address
	// Lifetime is after how long the kernel removes the addresses by itself, unless they are set again; it counts in
	// whole seconds. 0 is never.
	Lifetime time.Duration
}

// AddressError says that the address IP could not be set, removed or announced, and why.
type AddressError struct {
	IP  netip.Addr
	Err error
}

// Error names the address too.
func (e AddressError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e AddressError) Unwrap() error { return e.Err }

// Addresses sets the virtual addresses. One goroutine uses it.
//
// An address is ours if it is alone in its network (/32 or /128) and either listed in held.json or tagged by the
// kernel. Ours are never primary to, promoted over, or chosen as a source before an address of the host.
type Addresses struct {
	file   *heldFile
	kernel *rtnetlink
	held   []Held
	notice error
}

// OpenAddresses reads which addresses an earlier daemon left, from held.json in runtimeDir, which it makes if it is
// missing. It changes nothing in the kernel.
func OpenAddresses(runtimeDir string) (*Addresses, error) {
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return nil, fmt.Errorf("make runtime directory: %w", err)
	}
	file := newHeldFile(runtimeDir)
	held, notice, err := file.load()
	if err != nil {
		return nil, fmt.Errorf("load held addresses: %w", err)
	}
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	return &Addresses{file: file, kernel: kernel, held: held, notice: notice}, nil
}

// Close releases the sockets; the addresses stay.
func (a *Addresses) Close() error {
	a.kernel.close()
	return nil
}

// Notice says what is wrong with held.json, damaged when it was opened or not writable at the last Set; nil if nothing
// is. Addresses are set all the same: a full disk is no reason to leave a service without its address.
func (a *Addresses) Notice() error { return a.notice }

// Present reports whether the interface has the address, whoever set it.
func (a *Addresses) Present(ifName string, ip netip.Addr) (bool, error) {
	index, err := a.index(ifName)
	if err != nil {
		return false, err
	}
	list, err := a.kernel.addresses()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(x address) bool { return x.index == index && x.prefix.Addr() == ip }), nil
}

// Set makes the addresses of w.Owner exactly those of w: it adds and renews first, then removes the owner's others,
// also those on another interface. It is the same call for taking, renewing, repairing and releasing. An address that
// another owner holds too stays. What could not be done is returned, the rest is done.
func (a *Addresses) Set(w Want) []AddressError {
	stale := slices.DeleteFunc(slices.Clone(a.held), func(h Held) bool { return h.Owner != w.Owner || w.wants(h) })
	present, err := a.kernel.addresses()
	if err != nil {
		return a.all(w, stale, err)
	}
	index, err := a.index(w.Interface)
	var failed []AddressError
	if err != nil {
		failed = a.all(w, nil, err)
	} else {
		failed = a.add(w, index, present)
	}
	failed = append(failed, a.remove(stale, present)...)
	failed = append(failed, a.setRoutes(w.Owner, stale)...)
	a.save()
	return failed
}

func (w Want) wants(h Held) bool {
	return h.Interface == w.Interface && slices.ContainsFunc(w.Addresses, func(x Address) bool { return x.IP == h.IP })
}

// all is one error for everything that a Set should have done.
func (a *Addresses) all(w Want, stale []Held, err error) []AddressError {
	var failed []AddressError
	for _, x := range w.Addresses {
		failed = append(failed, AddressError{x.IP, fmt.Errorf("set %s on %q: %w", x.IP, w.Interface, err)})
	}
	for _, h := range stale {
		failed = append(failed, AddressError{h.IP, fmt.Errorf("remove %s from %q: %w", h.IP, h.Interface, err)})
	}
	return failed
}

// index finds the interface.
func (a *Addresses) index(ifName string) (int, error) {
	link, err := a.kernel.handle.LinkByName(ifName)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return 0, fmt.Errorf("interface %q does not exist: %w", ifName, unix.ENODEV)
	}
	if err != nil {
		return 0, fmt.Errorf("look up interface %q: %w", ifName, err)
	}
	return link.Attrs().Index, nil
}

// add sets what is missing and renews what is there.
func (a *Addresses) add(w Want, index int, present []address) []AddressError {
	var failed []AddressError
	var todo []Address
	for _, x := range w.Addresses {
		if err := a.foreign(w.Interface, index, x.IP, present); err != nil {
			failed = append(failed, AddressError{x.IP, err})
			continue
		}
		todo = append(todo, x)
	}
	for _, x := range todo {
		a.record(Held{Owner: w.Owner, Interface: w.Interface, Index: index, IP: x.IP, Network: x.Network})
	}
	a.save()
	for _, x := range todo {
		if err := a.addOne(w, index, x.IP, present); err != nil {
			failed = append(failed, AddressError{x.IP, err})
		}
	}
	return failed
}

// addOne sets one address that is ours or missing.
func (a *Addresses) addOne(w Want, index int, ip netip.Addr, present []address) error {
	there := false
	for _, x := range present {
		if x.index != index || x.prefix.Addr() != ip {
			continue
		}
		there = true
		if w.Lifetime <= 0 && x.valid == forever {
			return nil
		}
	}
	err := a.kernel.setAddress(index, ip, w.Lifetime, !there)
	if err == nil {
		return nil
	}
	if !there {
		a.forget(Held{Owner: w.Owner, Interface: w.Interface, IP: ip})
	}
	if errors.Is(err, unix.EEXIST) {
		// It came between our look and our hand, or is tentative on another way in: the next Set sees what it is.
		return fmt.Errorf("%s is on %s already and %w (it came just now)", ip, w.Interface, ErrForeign)
	}
	return fmt.Errorf("set %s on %q: %w", ip, w.Interface, explain(err))
}

// foreign says who has the address on the interface, unless we do or nobody does.
func (a *Addresses) foreign(ifName string, index int, ip netip.Addr, present []address) error {
	for _, x := range present {
		if x.index != index || x.prefix.Addr() != ip || a.ours(x) {
			continue
		}
		kind := "permanent"
		if x.valid != forever {
			kind = fmt.Sprintf("valid for %d s", x.valid)
		}
		return fmt.Errorf("%s is on %s already and %w (%s, set by something else): remove it there, or with ip addr del %s dev %s",
			ip, ifName, ErrForeign, kind, x.prefix, ifName)
	}
	return nil
}

// ours reports whether we may change or remove the address.
func (a *Addresses) ours(x address) bool {
	if !x.host() {
		return false
	}
	return x.protocol == protocolTag || slices.ContainsFunc(a.held, func(h Held) bool {
		return h.Index == x.index && h.IP == x.prefix.Addr()
	})
}

// remove takes stale records' addresses away, each unless another owner wants it, and the records with them.
func (a *Addresses) remove(stale []Held, present []address) []AddressError {
	var failed []AddressError
	for _, h := range stale {
		shared := slices.ContainsFunc(a.held, func(o Held) bool {
			return o.key() != h.key() && o.Index == h.Index && o.IP == h.IP && !slices.Contains(stale, o)
		})
		if !shared && a.has(h, present) {
			if err := a.kernel.deleteAddress(h.Index, h.IP); err != nil {
				failed = append(failed, AddressError{h.IP, fmt.Errorf("remove %s from %q: %w", h.IP, h.Interface, explain(err))})
				continue
			}
		}
		a.forget(h)
	}
	return failed
}

// has reports whether the kernel has the record's address in the form in which we set it.
func (a *Addresses) has(h Held, present []address) bool {
	return slices.ContainsFunc(present, func(x address) bool {
		return x.index == h.Index && x.prefix.Addr() == h.IP && a.ours(x)
	})
}

// record notes that an address is, or is about to be, held.
func (a *Addresses) record(h Held) {
	a.forget(h)
	a.held = sortHeld(append(a.held, h))
}

// forget removes the record of h.
func (a *Addresses) forget(h Held) {
	a.held = slices.DeleteFunc(a.held, func(o Held) bool { return o.key() == h.key() })
}

// save writes held.json and keeps what went wrong for Notice.
func (a *Addresses) save() {
	err := a.file.save(a.held)
	switch {
	case err != nil:
		a.notice = fmt.Errorf("note the held addresses: %w", err)
	case len(a.held) > 0:
		a.notice = nil
	}
}
