package node

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// maxAround bounds the MAC addresses that are remembered on an interface.
const maxAround = 256

// around is what is known of the other hosts that speak VRRP on an interface.
type around struct {
	macs       map[netip.Addr]macs
	awaited    map[netip.Addr]bool      // whose MAC address news wait for
	stray      Tally                    // packets that belong to no instance
	overlooked uint64                   // packets that were only counted
	dropped    map[netip.Addr]time.Time // whose adverts this host drops, and when that was seen last
	own        map[memberKey]bool       // what this host itself advertises and no instance has: it was told
}

// macs are the MAC addresses that a host sends from: the last one, and the one before it. A second one is a virtual router's,
// another host with the same address, or one who forges it.
type macs struct{ last, before string }

// String names them.
func (m macs) String() string {
	if m.before != "" {
		return m.last + " or " + m.before
	}
	return m.last
}

// aroundOf returns what is known around an interface.
func (n *Node) aroundOf(ifName string) *around {
	a := n.around[ifName]
	if a == nil {
		a = &around{macs: map[netip.Addr]macs{}, awaited: map[netip.Addr]bool{}, stray: Tally{}, own: map[memberKey]bool{}, dropped: map[netip.Addr]time.Time{}}
		n.around[ifName] = a
	}
	return a
}

// mac is the MAC address that a host sent from last, as far as it was seen.
func (n *Node) mac(ifName string, from netip.Addr) string {
	if a := n.around[ifName]; a != nil {
		return a.macs[from].last
	}
	return ""
}

// seen takes note of a sender's MAC address. What waits for it is told.
func (n *Node) seen(ev Seen) {
	a := n.aroundOf(ev.Interface)
	was, known := a.macs[ev.From]
	if !known && len(a.macs) >= maxAround {
		clear(a.macs) // who lives is seen again
	}
	if was.last != ev.MAC {
		a.macs[ev.From] = macs{ev.MAC, was.last}
	}
	if !a.awaited[ev.From] {
		return
	}
	delete(a.awaited, ev.From)
	n.onInterface(ev.Interface, func(i *instance) {
		for _, m := range i.members {
			if s := m.senders[ev.From]; s != nil {
				m.release(n, ev.From, s)
			}
		}
	})
}

// unawait ends the wait for the MAC addresses of hosts of which a virtual router had news that is gone now. Another one's news of them go
// with its next packet.
func (n *Node) unawait(m *member) {
	for from, s := range m.senders {
		if len(s.held) > 0 {
			delete(n.aroundOf(m.of.cfg.Interface).awaited, from)
		}
	}
}

// strayed counts a packet that belongs to no instance: that is nobody's fault.
func (n *Node) strayed(now time.Time, ifName string, ev Refused) {
	n.aroundOf(ifName).stray.add(vrrp.ReasonOf(ev.Err), Count{
		Count: ev.Count, Last: ev.From, MAC: n.mac(ifName, ev.From), VRID: ev.VRID, At: now,
	}, ev.Err.Error)
}

// sharedMAC begins the MAC addresses of virtual routers (RFC 9568 section 7.3), which several hosts use in turn.
const sharedMAC = "00:00:5e:00:0"

// ownFor is this host's own address that an advert from an address is to be compared with: any of the interface's own is.
func (n *Node) ownFor(m *member, from netip.Addr) netip.Addr {
	if l := n.links[m.of.cfg.Interface]; l != nil && l.owns(from) {
		return from
	}
	return m.source
}

// foreign says whether an advert from this host's own address is another host's: it comes from another MAC address, or it
// is none that this host sent lately.
func (n *Node) foreign(now time.Time, m *member, r vrrp.Received) bool {
	ifName := m.of.cfg.Interface
	if mac, l := n.mac(ifName, r.From), n.links[ifName]; mac != "" && l != nil && mac != l.MAC && !strings.HasPrefix(mac, sharedMAC) {
		return true
	}
	return !m.sentLately(now, r.Advert)
}

// LinkStatus is what is heard on an interface beside the instances' own peers.
type LinkStatus struct {
	Name       string `json:"name"`
	Stray      Tally  `json:"stray,omitempty"`      // packets that belong to no instance here
	Overlooked uint64 `json:"overlooked,omitempty"` // packets that were only counted, in a flood
	// Dropped are the hosts whose adverts reach the interface and are dropped by this very host.
	Dropped []DroppedStatus `json:"dropped,omitempty"`
}

// linkStatuses lists them by name.
func (n *Node) linkStatuses() []LinkStatus {
	var out []LinkStatus
	for _, name := range slices.Sorted(maps.Keys(n.around)) {
		a := n.around[name]
		if len(a.stray) > 0 || a.overlooked > 0 || len(a.dropped) > 0 {
			out = append(out, LinkStatus{Name: name, Stray: a.stray.clone(), Overlooked: a.overlooked, Dropped: a.droppedStatuses(name)})
		}
	}
	return out
}
