package node

import (
	"fmt"
	"net/netip"
	"time"
)

// A virtual address can be in one virtual router only. Where two pairs have the same one by mistake, neither hears an advert that is its
// concern, and the master of each is rightly master. All that they see of each other are announcements, and each would contradict the
// other's at every refresh, for ever. But an advert lists addresses, also one for a VRID that nobody here has.

const (
	// clashTold is how long another virtual router must advertise an address of an instance until that is told. A pair whose VRID is
	// being changed, host by host, is mostly over it by then.
	clashTold = 10 * time.Second
	// clashFor is how long it is believed after an advert, beyond three of its intervals: adverts for others are looked at now and then.
	clashFor = 10 * time.Second
)

// Claimed says that an advert for a virtual router that is not this host's lists addresses. It need not come for each advert.
type Claimed struct {
	Interface string
	VRID      uint8
	From      netip.Addr
	Interval  time.Duration
	IPs       []netip.Addr
}

func (Claimed) event() {}

// clash is another virtual router that has an address of an instance. A process that goes on for this one sees it again by itself.
type clash struct {
	ip    netip.Addr
	vrid  uint8
	from  netip.Addr // whose advert says so
	began time.Time
	at    time.Time // the last one
	until time.Time // as long as this it is believed
	told  bool
	// silent says that its announcements are no longer contradicted.
	silent bool
}

// claimed takes note of instances whose addresses others have.
func (n *Node) claimed(now time.Time, ev Claimed) {
	for _, ip := range ev.IPs {
		n.owners(ev.Interface, ip, func(i *instance) {
			if known := i.clash != nil && i.clash.at.Equal(now); i.cfg.VRID != ev.VRID && !i.fate.removed && !known { // one address says it all
				n.clashed(now, i, ip, ev)
			}
		})
	}
}

// clashed keeps what was seen last, and tells it when it is time.
func (n *Node) clashed(now time.Time, i *instance, ip netip.Addr, ev Claimed) {
	c := &clash{ip: ip, vrid: ev.VRID, from: ev.From, began: now, at: now, until: now.Add(clashFor + 3*ev.Interval)}
	if old := i.clash; old != nil && old.vrid == c.vrid && now.Sub(old.at) < forgotten {
		c.told, c.silent = old.told, old.silent
		if now.Before(old.until) {
			c.began = old.began
		}
	}
	i.clash = c
	if now.Sub(c.began) >= clashTold {
		n.tellClash(i)
	}
}

// tellClash tells it once.
func (n *Node) tellClash(i *instance) {
	if i.clash.told {
		return
	}
	i.clash.told = true
	n.do(Warned{i.cfg.Name, n.describeClash(i)})
}

// describeClash is what was seen in words, with the remedy.
func (n *Node) describeClash(i *instance) string {
	who := i.clash.from.String()
	if mac := n.mac(i.cfg.Interface, i.clash.from); mac != "" {
		who = fmt.Sprintf("%s (%s)", who, mac)
	}
	return fmt.Sprintf("%s advertises %s for virtual router %d on this link, and here it is in virtual router %d: both may serve it at once; "+
		"an address can be in one virtual router only: take it out of one of the two, or, if they are meant to be one, write the same vrid on all hosts",
		who, i.clash.ip, i.clash.vrid, i.cfg.VRID)
}

// clashes says in words that another virtual router has an address, as long as that is believed; empty: no.
func (n *Node) clashes(now time.Time, i *instance) string {
	if i.clash == nil || !i.clash.told || !now.Before(i.clash.until) {
		return ""
	}
	return n.describeClash(i)
}

// explains says whether another virtual router explains what was seen of a second master: that is no split, there is nothing to wait for,
// and to contradict its announcements would never end.
func (n *Node) explains(now time.Time, i *instance, c *Contention) bool {
	if i.clash == nil || c.Advertiser.IsValid() {
		return false
	}
	switch {
	case !now.Before(i.clash.until) && i.clash.silent:
		i.clash.silent, i.announcer.answers = false, 0
		return false
	case !now.Before(i.clash.until):
		return false
	case i.clash.told || now.Sub(i.clash.began) >= contentionSeen:
		n.tellClash(i)
		if !i.clash.silent { // both serve it: somebody is to wake
			n.notifyContended(now, i, n.describeClash(i), i.clash.from, c.MAC)
		}
		i.clash.silent, i.announcer.answers = true, maxAnswers
	}
	return true
}
