package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// heirMargin is how long after its timer an heir may take until it serves: it may ask the link first, and waits for its addresses.
const heirMargin = 500 * time.Millisecond

// An instance that a reload gives another VRID is another virtual router: the old one hands over, which nobody may hear, and the new
// one listens for its Master_Down_Interval as any other would, since under the new VRID another host may be master already. In
// between nobody would have the addresses, although this host had them and will have them again. So a removed instance that nobody
// relieved keeps them while an heir of this host listens. It says nothing, as it did while it waited for a successor. It lets go when
// the heir serves, when the heir hears another master, when another MAC answered for an address, and when no heir is left.
//
// That the heir were master at once is no way: the other hosts are reloaded at another time. Until then the one that still has the old
// VRID takes the addresses, and two hosts would have them for all that time.

// keepForHeirs has a removed fate whose handover is over, and which nobody relieved, go on serving while its heirs listen. It says so
// if it does.
func (n *Node) keepForHeirs(now time.Time, f *fate) bool {
	if f.leave.heirs != nil || n.stopping || !f.removed || len(f.leave.seen) > 0 {
		return false // it has waited for them, or somebody else serves
	}
	if f.leave.heirs = n.heirsOf(f); f.leave.heirs == nil {
		return false
	}
	until := now
	for _, h := range f.leave.heirs {
		for m := range h.fate.members() {
			if at, ok := m.machine.Deadline(); ok && at.After(until) {
				until = at
			}
		}
	}
	f.leave.until = until.Add(heirMargin)
	why, _ := n.departs(f)
	f.explain(fmt.Sprintf("%s; nobody took over; it keeps the addresses while %s", why, listens(f.leave.heirs)))
	return true
}

// listens says who does.
func listens(heirs []*instance) string {
	var names []string
	for _, h := range heirs {
		names = append(names, h.described())
	}
	if len(names) == 1 {
		return names[0] + " listens"
	}
	return strings.Join(names, " and ") + " listen"
}

// described is the instance, and what tells it from a removed one that had its name.
func (i *instance) described() string { return fmt.Sprintf("%s (VRID %d)", i.cfg.Name, i.cfg.VRID) }

// heirsOf are the instances that will have the fate's addresses; nil: not each of these has one.
func (n *Node) heirsOf(f *fate) (heirs []*instance) {
	for _, i := range f.instances {
		for _, ip := range i.ips() {
			at := slices.IndexFunc(n.index.address[ip], func(h *instance) bool { return h.cfg.Interface == i.cfg.Interface && h.inherits(f) })
			switch {
			case !i.holding:
			case at < 0:
				return nil
			case !slices.Contains(heirs, n.index.address[ip][at]):
				heirs = append(heirs, n.index.address[ip][at])
			}
		}
	}
	return heirs
}

// inherits says whether an instance will be master where a fate leaves, as far as is known: it takes part, and nothing in its
// own fate has heard another master since.
func (i *instance) inherits(f *fate) bool {
	if i.fate == f || i.fate.removed || i.state != Backup {
		return false
	}
	for m := range i.fate.members() {
		if m.machine.Peer().Heard.After(f.since) {
			return false
		}
	}
	return true
}

// disinherited ends the wait of a fate that keeps its addresses for nobody any more.
func (n *Node) disinherited(now time.Time, f *fate) {
	if f.leave == nil || f.leave.heirs == nil {
		return
	}
	gone := func(h *instance) bool { return h.fate.removed || !h.state.takesPart() }
	if n.stopping || !f.removed || len(f.leave.seen) > 0 || slices.ContainsFunc(f.leave.heirs, gone) {
		f.leave.until = earliest(f.leave.until, now)
	}
}

// rival is another master that an heir hears: who kept the addresses for the heir hands them to that one.
func (n *Node) rival(now time.Time, m *member, ev Heard) {
	if !n.removing {
		return
	}
	for _, f := range n.fates {
		if f.leave == nil || f.linger != nil || !slices.Contains(f.leave.heirs, m.of) {
			continue
		}
		f.explain(fmt.Sprintf("%s is master of %s (priority %d)", ev.From, m.of.described(), ev.Advert.Priority))
		for old := range f.members() {
			n.lingerFor(now, old, ev.From)
			break
		}
		n.plan(f)
	}
}

// inherited ends what kept its addresses for an instance that has them now.
func (n *Node) inherited(now time.Time, heir *instance) {
	if !n.removing {
		return
	}
	for _, f := range n.fates {
		if f.leave == nil || !slices.Contains(f.leave.heirs, heir) || slices.ContainsFunc(f.leave.heirs, func(h *instance) bool { return !h.serves() }) {
			continue
		}
		why, _ := n.departs(f)
		var names []string
		for _, h := range f.leave.heirs {
			names = append(names, h.described())
		}
		n.quit(now, f, fmt.Sprintf("%s; nobody took over, and %s has its addresses now", why, strings.Join(names, " and ")))
		n.plan(f)
	}
}

// serves says whether it is master, and the kernel has its addresses.
func (i *instance) serves() bool { return i.state == Master && i.confirmed }

// servedFor says whether the hooks of an instance that just began would hear of a backup where its addresses are still here: a removed
// one has them, and may keep them for it.
func (n *Node) servedFor(i *instance) bool {
	if !n.removing || i.told != "" {
		return false
	}
	return slices.ContainsFunc(i.ips(), func(ip netip.Addr) bool {
		return slices.ContainsFunc(n.index.address[ip], func(old *instance) bool {
			return old.fate.removed && old.holding && old.cfg.Interface == i.cfg.Interface
		})
	})
}

// tellHeirs tells the hooks of instances what they have not heard, once the addresses have gone.
func (n *Node) tellHeirs(now time.Time) {
	for _, i := range n.instances {
		if i.state == Backup && i.told == "" {
			n.tell(now, i, Backup)
			n.tellGroup(now, i.fate)
		}
	}
}
