package linux

import (
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// modes is what is known of the devices' modes, and how many there are: a takeover waits for nobody who makes one.
//
// A device that is mute has the mode VEPA: in private mode the kernel hands every frame that has its MAC as the source to it alone, so that
// the parent would hear none of the other hosts' adverts and announcements; in bridge mode what a container's macvlan on the same parent sends
// to the master, on another host, would end in the backup's device.
//
// One that speaks has the mode bridge, so that such macvlans reach it: with VEPA both ways lead over the wire, and back only from a switch
// that reflects (hairpin). But in bridge mode a copy of each broadcast that it sends goes to every other one first: hundreds cannot announce
// their addresses at once so, and stay in VEPA.
type modes struct {
	mu      sync.Mutex // guards what follows; nothing waits while it is held
	known   map[int]uint32
	devices map[string]int // how many are listed, by parent
}

// count notes how many devices the book lists.
func (k *modes) count(b *macvlanBook) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.devices = map[string]int{}
	for _, m := range b.Devices {
		k.devices[m.Parent]++
	}
}

// speaking is the mode of a device that speaks.
func (k *modes) speaking(parent string) uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.devices[parent] > maxDirect {
		return nl.MACVLAN_MODE_VEPA
	}
	return nl.MACVLAN_MODE_BRIDGE
}

// is says whether a device is known to have a mode.
func (k *modes) is(index int, mode uint32) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[index] == mode
}

func (k *modes) note(index int, mode uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[int]uint32{}
	}
	k.known[index] = mode
}

// forget drops what is known of a device that goes.
func (k *modes) forget(index int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, index)
}

// set gives a device a mode, with what is on it, unless it is known to have it. One that could not be given it works all the same.
func (k *modes) set(r *rtnetlink, index int, mode uint32) {
	if k.is(index, mode) {
		return
	}
	if r.setMacvlan(index, nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(mode)) == nil {
		k.note(index, mode)
	}
}

// hasMode says whether a device has a mode that it may have, and has one that is mute in VEPA: an earlier build made all in bridge mode.
func (s *Macvlans) hasMode(v *netlink.Macvlan) (bool, error) {
	if v.Mode != netlink.MACVLAN_MODE_BRIDGE {
		return v.Mode == netlink.MACVLAN_MODE_VEPA, nil
	}
	s.whole.Lock() // else it may be about to speak
	defer s.whole.Unlock()
	if mute, err := s.kernel.mute(v); err != nil || !mute {
		return true, err
	}
	index := v.Attrs().Index
	s.modes.note(index, nl.MACVLAN_MODE_BRIDGE)
	s.modes.set(s.kernel, index, nl.MACVLAN_MODE_VEPA)
	return s.modes.is(index, nl.MACVLAN_MODE_VEPA), nil
}

// letSpeak lets a macvlan hear and send. One that is being made may have been found by its name already, and have got its address: its
// maker makes it mute and deaf yet, and nobody would undo that. So it is waited for; a takeover at another time waits for nothing.
func (a *Addresses) letSpeak(h Held) error {
	a.macvlans.whole.Lock()
	defer a.macvlans.whole.Unlock()
	if err := a.kernel.passIngress(h.Index); err != nil {
		return err
	}
	a.macvlans.modes.set(a.kernel, h.Index, a.macvlans.modes.speaking(h.Parent))
	return a.kernel.passEgress(h.Index)
}
