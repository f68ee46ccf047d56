package node

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// maxDropped bounds the senders on an interface whose dropped adverts are remembered.
const maxDropped = 16

// Dropped says that adverts of another host reach an interface, for a virtual router of ours, and that of the last ones the VRRP socket
// was given none. It comes again as long as that goes on; what is given ends it.
type Dropped struct {
	Interface string
	VRID      uint8
	From      netip.Addr
}

func (Dropped) event() {}

// DroppedStatus is a host whose adverts this one drops before they are heard.
type DroppedStatus struct {
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac,omitempty"`
	At      time.Time  `json:"at"`   // when the last one was seen
	Text    string     `json:"text"` // what to do
}

// dropped takes note of adverts that this host's own firewall drops, or its source validation.
func (n *Node) dropped(now time.Time, ev Dropped) {
	a := n.aroundOf(ev.Interface)
	_, known := a.dropped[ev.From]
	if !known && len(a.dropped) >= maxDropped {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(a.dropped)), func(x, y netip.Addr) int {
			return cmp.Or(a.dropped[x].Compare(a.dropped[y]), x.Compare(y))
		})
		delete(a.dropped, oldest)
	}
	a.dropped[ev.From] = now
	if m := n.byMember[memberKey{ev.Interface, ev.VRID, vrrp.FamilyOf(ev.From)}]; m != nil && !known && n.news.any(now, maxHostNews) {
		n.news.left--
		n.do(Warned{m.of.cfg.Name, dropsOf(ev.From, ev.Interface)})
	}
}

// delivered takes note that a packet of a host was not dropped.
func (n *Node) delivered(ifName string, from netip.Addr) {
	if a := n.around[ifName]; a != nil {
		delete(a.dropped, from)
	}
}

// dropsOf says where to look.
func dropsOf(from netip.Addr, ifName string) string {
	text := fmt.Sprintf("adverts of %s reach %s and are dropped on this host: look at its firewall (INPUT, protocol 112)", from, ifName)
	if from.Is4() {
		text += " and rp_filter" // there is none for IPv6
	}
	return text
}

// droppedOn adds to the evidence of a second master that its adverts do arrive.
func (n *Node) droppedOn(ifName string) (more string) {
	for _, d := range n.around[ifName].droppedStatuses(ifName) {
		more += "; " + d.Text
	}
	return more
}

// droppedStatuses lists them by address.
func (a *around) droppedStatuses(ifName string) []DroppedStatus {
	if a == nil {
		return nil
	}
	var out []DroppedStatus
	for _, from := range slices.SortedFunc(maps.Keys(a.dropped), netip.Addr.Compare) {
		out = append(out, DroppedStatus{from, a.macs[from].last, a.dropped[from], dropsOf(from, ifName)})
	}
	return out
}
