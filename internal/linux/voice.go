package linux

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
)

// indices finds interfaces by name, each once.
type indices struct {
	a     *Addresses
	known map[string]found
}

// found is what came of looking for an interface.
type found struct {
	index int
	err   error
}

func newIndices(a *Addresses) *indices { return &indices{a, map[string]found{}} }

// of is an interface's index.
func (l *indices) of(name string) (int, error) {
	f, known := l.known[name]
	if !known {
		f.index, f.err = l.a.index(name)
		l.known[name] = f
	}
	return f.index, f.err
}

// make sees to it that a device is there, unless it is none: something else may have deleted it.
func (l *indices) make(m Macvlan) {
	if m == (Macvlan{}) {
		return
	}
	if _, err := l.of(m.Name()); err == nil {
		return
	}
	state, err := l.a.macvlans.Ensure(m)
	l.known[m.Name()] = found{state.Index, err}
}

// speak lets the macvlans of the targets hear and send, now that their addresses are there: not before, or the switches would send
// what is for the addresses to a host that does not have them yet.
func (a *Addresses) speak(targets []target) (failed []AddressError) {
	for _, t := range targets {
		r := a.held.owners[t.Owner][site{t.Interface, t.IP}]
		if t.ParentIndex == 0 || r == nil || !r.sure || a.speaking[t.Index] {
			continue
		}
		if err := a.letSpeak(t.Held); err != nil {
			failed = append(failed, AddressError{Owner: t.Owner, IP: t.IP, Err: fmt.Errorf("set %s on %q: %w", t.IP, t.Interface, netlinkErrors.explain(err))})
			continue
		}
		a.speaking[t.Index] = true
	}
	return failed
}

// dropTraffic makes the macvlans mute and deaf that will have no address without the stale records. One that cannot be made so is no worse
// than before: the addresses go all the same.
func (a *Addresses) dropTraffic(stale []*record) {
	looked := map[int]bool{}
	for _, r := range stale {
		if r.ParentIndex == 0 || looked[r.Index] {
			continue
		}
		looked[r.Index] = true
		if !a.wantedOn(r.Index) {
			_ = a.kernel.dropEgress(r.Index) // gone with its interface, at most
			_ = a.kernel.dropIngress(r.Index)
			a.macvlans.modes.set(a.kernel, r.Index, nl.MACVLAN_MODE_VEPA)
			delete(a.speaking, r.Index)
		}
	}
}

// wantedOn says whether somebody wants an address on an interface.
func (a *Addresses) wantedOn(index int) bool {
	for p := range a.held.places {
		if p.index == index && a.held.wanted(p) {
			return true
		}
	}
	return false
}
