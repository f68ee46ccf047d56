package node

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// adopt takes over what a dead daemon of this host still holds. It happens as soon as the link is known; until then the
// instance waits as any other.
func (n *Node) adopt(now time.Time, i *instance) {
	if i.running() {
		return
	}
	i.adopting, i.holding = true, true
	n.settle(now, i)
}

// adoptable says whether the instance can go on where the dead daemon was: whatever the checks will say.
func (n *Node) adoptable(i *instance) bool {
	return i.adopting && i.standing.cannot == "" && n.links[i.cfg.Interface] != nil && n.unresolved(i) == ""
}

// adoptNow makes it master without having waited for anybody: nobody relieved the dead daemon. It is unhealthy until every
// check has spoken. A node that only cleans up says no more than it must: it leaves with priority 0 alone at first, which a
// living master answers.
func (n *Node) adoptNow(now time.Time, i *instance) {
	i.adopting = false
	i.unproven = true
	n.assess(now, i)
	const why = "adopted the addresses of a daemon of this host that died"
	for _, m := range i.members {
		m.machine.Step(now, vrrp.Startup{Priority: vrrp.PriorityIll, Source: m.source})
		actions := m.machine.Step(now, vrrp.Promote{Why: why})
		if !n.stopping {
			n.perform(now, m, actions)
		}
	}
	i.advertised = now
	n.enter(now, i, Master, why)
	if n.stopping {
		i.confirmed = true
		n.handOver(now, i, "cleaning up after a daemon that died", true)
		return
	}
	n.take(now, i)
	i.offers.later(now)
}

// assessAdopted keeps an adopted master unhealthy until each of its checks has a verdict.
func (n *Node) assessAdopted(i *instance, s *standing) {
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
func (n *Node) abandon(now time.Time, i *instance, why string) {
	if n.cfg.Unclaimed > 0 && i.holding {
		want := append(append([]Address(nil), i.cfg.Addresses...), i.cfg.Unadvertised...)
		n.do(SetAddresses{i.cfg.Name, i.cfg.Interface, want, n.cfg.Unclaimed, time.Time{}, i.virtualMAC()})
		i.holding, i.confirmed = false, false
		why += fmt.Sprintf("; the addresses stay for %s", n.cfg.Unclaimed)
	}
	n.quit(now, i, why)
}
