package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of a host whose adverts do not leave it (an egress firewall).
const (
	muteRetry  = 5 * time.Second
	muteAnswer = 10 * time.Millisecond // a failed send is known long before
)

// errNoSource is why an advert cannot be sent at all.
var errNoSource = errors.New("the interface has no address of its own to send it from")

// mute is a fault: this host's adverts do not leave, and another master is heard.
type mute struct {
	why    string
	master netip.Addr // the other one
	at     time.Time  // the next try, or when a try's outcome is looked at
	tried  bool
}

// silenced looks, when an advert did not leave, whether none has for so long that the other master which is heard cannot know
// of this one: then the other is right.
func (n *Node) silenced(now time.Time, m *member) {
	i, other := m.of, m.machine.Peer()
	long := i.cfg.DeadInterval()
	since, why := m.silent()
	if i.state != Master || since.IsZero() || now.Sub(since) < long || other.Priority == vrrp.PriorityRelease || now.Sub(other.Heard) >= long {
		return
	}
	i.mute = mute{
		why:    fmt.Sprintf("adverts over %s do not leave this host (%s), and %s is master", m.family, why, other.Address),
		master: other.Address,
		at:     now.Add(muteRetry),
	}
	n.settle(now, i.fate)
}

// tickMute tries an advert of priority 0, which moves nobody; one that leaves ends the fault.
func (n *Node) tickMute(now time.Time, i *instance) {
	if !due(now, i.mute.at) {
		return
	}
	if i.mute.tried && !i.anyFailed() || i.state == Stopped { // who stopped has had its last word
		i.mute = mute{}
		return
	}
	if i.mute.tried {
		i.mute.tried, i.mute.at = false, now.Add(muteRetry)
		return
	}
	if !i.anySource() {
		i.mute.at = now.Add(muteRetry) // the interface is away: nothing can be tried
		return
	}
	i.mute.tried, i.mute.at = true, now.Add(muteAnswer)
	for _, m := range i.members {
		c := m.machine.Config()
		n.send(now, m, vrrp.Send{
			Advert: vrrp.Advert{Version: c.Version, VRID: c.VRID, Priority: vrrp.PriorityRelease, Interval: c.Interval, Addresses: c.Addresses},
			Until:  now.Add(muteAnswer),
		})
	}
}

// anySource says whether a member has an address to send from.
func (i *instance) anySource() bool {
	return slices.ContainsFunc(i.members, func(m *member) bool { return m.source.IsValid() })
}

// anyFailed says whether a member's last advert left for no destination at all.
func (i *instance) anyFailed() bool {
	return slices.ContainsFunc(i.members, func(m *member) bool {
		return len(m.outlets) > 0 && !slices.ContainsFunc(m.outlets, func(o *outlet) bool { return !o.failed })
	})
}
