package node

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// A second master that answers for the addresses is not silent where its adverts are refused. What is wrong with them is then why there
// are two, and the contention says so, and whose they are, instead of guessing.

// turned is why the last advert of a sender was turned away. This host's own advert that came back is none.
type turned struct {
	why  error         // nil: it was accepted
	pace time.Duration // its interval, as far as that could be read
	at   time.Time
}

// turnAway takes note of an advert that is refused.
func (s *sender) turnAway(now time.Time, err error, pace time.Duration) {
	if s.refused = vrrp.ReasonOf(err); s.refused != vrrp.ErrOwnAdvert.Reason() {
		s.turned = turned{err, pace, now}
	}
}

func (t turned) seal() SealedTurned {
	if t.why == nil {
		return SealedTurned{}
	}
	return SealedTurned{t.why.Error(), t.pace, t.at}
}

func (s SealedTurned) restore() turned {
	if s.Why == "" {
		return turned{}
	}
	return turned{errors.New(s.Why), s.Pace, s.At}
}

// forgive forgets what was refused by rules that are not these any more. What they refuse too is told with the next advert.
func (m *member) forgive() {
	for _, s := range m.senders {
		s.turned = turned{}
	}
}

// explains says whether that may be why there are two masters since an instant: whose advert it was had not been silent for so long then that
// it was no master. What it sends since may be nothing: keepalived's master falls silent where it hears what it refuses itself.
func (t turned) explains(m *member, began time.Time) bool {
	return t.why != nil && began.Sub(t.at) <= m.masterDown(max(t.pace, m.machine.Config().Interval))
}

// suspect is a sender of refused adverts that may be the host which answers.
type suspect struct {
	turned
	from netip.Addr
	fit  fit
}

// fit is how well a sender's MAC address fits the one that answers.
type fit int

const (
	misfit fit = iota
	mayFit     // one of both is a virtual router's, which is whoever's that is master; or the sender's was not seen
	surely     // it sends from that very one
)

// fitOf compares the MAC addresses that a host sends from with another one.
func (n *Node) fitOf(ifName string, from netip.Addr, mac string) fit {
	switch known := n.aroundOf(ifName).macs[from]; {
	case mac == known.last, mac == known.before:
		return surely
	case known.last == "", strings.HasPrefix(known.last, sharedMAC), strings.HasPrefix(mac, sharedMAC):
		return mayFit
	}
	return misfit
}

// compare says which of two fits better: the MAC address says most, then the last advert.
func (s suspect) compare(o suspect) int {
	return cmp.Or(cmp.Compare(s.fit, o.fit), s.at.Compare(o.at), o.from.Compare(s.from))
}

// ascribe names the host that answers, where its adverts are refused. Else what was known of it before stays.
func (n *Node) ascribe(i *instance, c *Contention) {
	if c.MAC == "" {
		return
	}
	var best suspect
	for _, m := range i.members {
		for from, s := range m.senders {
			if !s.turned.explains(m, c.Began) {
				continue
			}
			if x := (suspect{s.turned, from, n.fitOf(i.cfg.Interface, from, c.MAC)}); x.fit > misfit && x.compare(best) > 0 {
				best = x
			}
		}
	}
	if best.fit > misfit {
		c.Refused, c.Why = best.from, best.why.Error()
	}
}

// Bounds of what status says of refused adverts: a packet that nobody proved must not say for how long.
const (
	// roseFor is how long what was refused before a master rose counts: then somebody has looked, or the other host is long gone.
	roseFor = 10 * time.Minute
	// comesFor is the same of what comes while it is master, where the next one takes longer.
	comesFor = time.Minute
)

// mistakes are the refusals that a setting of a peer can be the cause of. What is refused otherwise is damaged, forged, or another cluster's.
var mistakes = []*vrrp.Refusal{
	vrrp.ErrSameAddress, vrrp.ErrUnicast, vrrp.ErrMulticast, vrrp.ErrNotPeer, vrrp.ErrMinTTL, vrrp.ErrVersionMismatch, vrrp.ErrIntervalMismatch,
	vrrp.ErrAuthType, vrrp.ErrTrailer, vrrp.ErrAuthMissing, vrrp.ErrAuthMalformed, vrrp.ErrAuthStale, vrrp.ErrAuthKey, vrrp.ErrAuthMAC, vrrp.ErrAuthReplay,
	vrrp.ErrPasswordMissing, vrrp.ErrPasswordWrong, vrrp.ErrStrictOwner, vrrp.ErrStrictAddresses, vrrp.ErrStrictLinkLocal,
}

// unheeded says whose adverts a master refuses, or refused when it rose: keepalived's master falls silent then, and answers nobody. What came
// twice around when it rose is what a former master sent, and not one that lives.
func (n *Node) unheeded(now time.Time, i *instance) string {
	if i.state != Master {
		return ""
	}
	var newest suspect
	for _, m := range i.members {
		for from, s := range m.senders {
			if !slices.ContainsFunc(mistakes, func(r *vrrp.Refusal) bool { return r.Reason() == s.refused }) {
				continue
			}
			first := i.mastered // from when on what comes is of one that lives
			if s.refused == vrrp.ErrAuthReplay.Reason() {
				first = first.Add(m.masterDown(m.machine.Config().Interval))
			}
			rose := first.Equal(i.mastered) && now.Sub(i.mastered) < roseFor && !s.turned.at.After(i.mastered) && s.turned.explains(m, i.mastered)
			comes := s.turned.at.After(first) && s.turned.explains(m, now) && now.Sub(s.turned.at) < comesFor
			if x := (suspect{s.turned, from, surely}); (rose || comes) && x.compare(newest) > 0 {
				newest = x
			}
		}
	}
	if newest.why == nil {
		return ""
	}
	return n.describeTurned(i, newest.from, newest.why.Error())
}

// describeRefused says whose adverts are refused, and why; empty: nobody's that answers.
func (n *Node) describeRefused(i *instance, c *Contention) string {
	if !c.Refused.IsValid() {
		return ""
	}
	return n.describeTurned(i, c.Refused, c.Why)
}

// describeTurned says whose adverts are refused, and why.
func (n *Node) describeTurned(i *instance, from netip.Addr, why string) string {
	who := from.String()
	if known := n.aroundOf(i.cfg.Interface).macs[from]; known.last != "" {
		who = fmt.Sprintf("%s (%s)", who, known)
	}
	return fmt.Sprintf("adverts from %s are refused: %s", who, why)
}
