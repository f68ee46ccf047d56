package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// adopt takes over what a dead daemon of this host still holds. It happens as soon as the links are known; until then the
// fate waits as any other.
func (n *Node) adopt(now time.Time, i *instance, left []netip.Addr) {
	if i.fate.running() {
		return
	}
	i.adopting, i.holding = true, true
	if n.cleansUp() {
		i.remnant.left, i.remnant.named, i.remnant.grant = slices.Clone(left), now.Add(namesWait), now.Add(grantWait)
		if !n.retain(now, i, time.Time{}) {
			i.remnant.grant = time.Time{}
		}
	}
	if i.fate.allAdopting() { // the word about the others of a group comes next
		n.settle(now, i.fate)
	}
}

// allAdopting says whether the addresses of every instance are to be adopted.
func (f *fate) allAdopting() bool {
	return !slices.ContainsFunc(f.instances, func(i *instance) bool { return !i.adopting })
}

// adopting says whether the addresses of any instance are to be adopted.
func (f *fate) adopting() bool {
	return slices.ContainsFunc(f.instances, func(i *instance) bool { return i.adopting })
}

// forgo lets go of what was to be adopted.
func (n *Node) forgo(now time.Time, f *fate) {
	for _, i := range f.instances {
		i.adopting, i.remnant.grant = false, time.Time{}
		n.release(now, i, "")
	}
}

// adoptable says whether the fate can go on where the dead daemon was: whatever the checks will say. A node that only cleans up waits for
// the kernel first.
func (n *Node) adoptable(f *fate) bool {
	return f.adopting() && f.standing.cannot == "" && !slices.ContainsFunc(f.instances, func(i *instance) bool {
		return n.links[i.cfg.Interface] == nil || n.waitsForNames(i) || i.waitsForGrant()
	})
}

// adoptNow makes it master without having waited for anybody: nobody relieved the dead daemon. It is unhealthy until every
// check has spoken. A node that only cleans up says no more than it must: it leaves with priority 0 alone at first, which a
// living master answers.
//
// Of a group all instances must have been left: what nobody was asked about may be another host's.
func (n *Node) adoptNow(now time.Time, f *fate) {
	if !f.allAdopting() {
		n.forgo(now, f)
		n.settle(now, f)
		return
	}
	for _, i := range f.instances {
		i.adopting, i.unproven, i.remnant.named = false, true, time.Time{}
	}
	n.assess(now, f)
	const why = "adopted the addresses of a daemon of this host that died"
	for m := range f.members() {
		m.machine.Step(now, vrrp.Startup{Priority: vrrp.PriorityIll, Source: m.source})
		actions := m.machine.Step(now, vrrp.Promote{Why: why})
		if !n.stopping {
			n.perform(now, m, actions)
		}
	}
	for _, i := range f.instances {
		i.advertised = now
	}
	n.enter(now, f, Master, why)
	for _, i := range f.instances {
		if n.stopping {
			i.confirmed = true
			n.retain(now, i, time.Time{})
		} else {
			n.take(now, i)
		}
	}
	if n.stopping {
		n.handOver(now, f, "cleaning up after a daemon that died", true)
		return
	}
	f.offers.later(now)
}

// assessAdopted keeps an adopted master unhealthy until each of its checks has a verdict, and what is not adopted yet out.
func (n *Node) assessAdopted(i *instance, s *standing) {
	if i.waitsForGrant() && s.pending == "" {
		s.pending = "the kernel has not shortened the lease of what a dead daemon left yet"
	}
	if !i.unproven {
		return
	}
	for name := range i.cfg.Checks {
		if n.checks[name] == nil {
			s.ill = append(s.ill, "adopted, and not every check has a result yet")
			return
		}
	}
	i.unproven = false
}

// abandon ends a departure that nobody relieved: the addresses go, or stay for a while for the daemon that is started next.
func (n *Node) abandon(now time.Time, f *fate, why string) {
	stay := false
	for _, i := range f.instances {
		stay = n.leaveBehind(now, i) || stay
	}
	if stay {
		why += fmt.Sprintf("; the addresses stay for %s", n.cfg.Unclaimed)
	}
	n.quit(now, f, why)
}
