package linux

import (
	"fmt"
	"net/netip"
)

// What is here asks the kernel once, for a process that is no daemon. It needs no rights, and changes nothing.

// Look says what interfaces are, in order. virtual tells which addresses are virtual ones, and so no interface's own.
func Look(interfaces []string, virtual func(netip.Addr) bool) ([]Link, error) {
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	defer kernel.close()
	w := &Watcher{kernel: kernel, virtual: virtual}
	w.names.Store(&interfaces)
	links, _, err := w.look()
	return links, err
}

// Foreign lists those of the wants' addresses that are there and that are not set by the daemon with a runtime directory, as
// Addresses.Foreign does.
func Foreign(runtimeDir string, wants ...Want) ([]AddressError, error) {
	held, _, unreadable := newHeldFile(runtimeDir).read() // of a damaged one the daemon tells, which goes by the kernel's tag then, too
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	defer kernel.close()
	a := &Addresses{kernel: kernel, held: newLedger(held)}
	list, err := a.Foreign(wants...)
	if err == nil && len(list) > 0 && unreadable != nil {
		return nil, fmt.Errorf("look which addresses are the daemon's: %w", unreadable) // they may be
	}
	return list, err
}
