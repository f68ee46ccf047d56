package node

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of a handover.
const (
	// afterAnnounced is how long the old holder goes on serving once the successor was seen to announce every address.
	afterAnnounced = 10 * time.Millisecond
	// Where announcements are not seen, it goes on for this long after the successor's advert. A busy host was measured to have
	// its addresses 37 to 48 ms after its advert; letting go before that would leave nobody.
	lingerBase       = 80 * time.Millisecond
	lingerPerAddress = 250 * time.Microsecond
	maxLinger        = 250 * time.Millisecond
	// A master that steps down says so again every partingGap while it lingers, at most maxPartings times, until its successor
	// was seen to announce every address: the advert that makes the successor do so may be lost.
	partingGap  = 10 * time.Millisecond
	maxPartings = 8
	// unanswered is how long a repeated handover waits before it says more than priority 0.
	unanswered  = 50 * time.Millisecond
	maxOfferGap = time.Minute
)

// leave is a handover under way, until the successor is known to serve.
type leave struct {
	until    time.Time           // nobody came by then
	offerAt  time.Time           // zero: the offer was sent
	repeated bool                // an unhealthy master offers again
	retried  bool                // the second try of one that goes for good
	seen     map[netip.Addr]bool // announced by another host before its advert came
}

// linger is the time in which the old holder still serves although another is master.
type linger struct {
	by    netip.Addr // who is to serve: of several who advertised, the one that the others give way to
	prio  uint8      // that one's priority
	heard time.Time
	seen  map[netip.Addr]bool // announced by another host
	until time.Time
	parting
}

// clone is the same handover for a family that goes its own way from here on.
func (l *leave) clone() *leave {
	if l == nil {
		return nil
	}
	c := *l
	c.seen = maps.Clone(l.seen)
	return &c
}

// clone is the same wait for a family that goes its own way from here on, with the parting advert if it was that family's.
func (l *linger) clone(m *member) *linger {
	if l == nil {
		return nil
	}
	c := *l
	c.seen = maps.Clone(l.seen)
	if l.parting.of == m {
		l.parting = parting{}
	} else {
		c.parting = parting{}
	}
	return &c
}

// parting is the last advert of a master that stepped down for a better one, repeated.
type parting struct {
	of   *member
	at   time.Time // zero: it is not repeated (any more)
	left int
}

// quitter is who sent priority 0 last.
type quitter struct {
	who netip.Addr
	at  time.Time
}

// offers paces the handovers that an unhealthy master repeats.
type offers struct {
	at  time.Time
	gap time.Duration
}

func (o *offers) reset() { *o = offers{} }

// later plans the next offer after 1, 2, 4 .. 60 s.
func (o *offers) later(now time.Time) {
	o.gap = min(max(2*o.gap, time.Second), maxOfferGap)
	o.at = now.Add(o.gap)
}

// now makes an offer that is planned due at once.
func (o *offers) now(now time.Time) {
	if !o.at.IsZero() {
		o.at = now
	}
}

// handOver begins to leave: all members in one batch.
func (n *Node) handOver(now time.Time, i *instance, why string, repeated bool) {
	offer := i.members[0].machine.Priority()
	if offer == vrrp.PriorityIll {
		offer = i.standing.healthy
	}
	i.leave = &leave{until: now.Add(i.leaveWait()), repeated: repeated, seen: map[netip.Addr]bool{}}
	if repeated {
		offer = 0
		i.leave.offerAt = now.Add(unanswered)
	}
	i.announcer.stop()
	i.offers.at = time.Time{}
	for _, m := range i.members {
		n.perform(now, m, m.machine.Step(now, vrrp.Leave{Offer: offer, Why: why}))
	}
	n.setPriority(now, i)
	n.enter(now, i, Leaving, why)
}

// leaveWait is how long the instance waits for a successor.
func (i *instance) leaveWait() time.Duration { return i.members[0].machine.Config().LeaveWait() }

// settleLeaving takes note of what happens meanwhile: it changes the end, and nothing is sent for it.
func (n *Node) settleLeaving(now time.Time, i *instance) {
	if i.standing.linkDown {
		n.quit(now, i, i.standing.cannot)
		return
	}
	n.setPriority(now, i)
}

// relieved is a leaving member that heard its successor, which counts for all members.
func (n *Node) relieved(now time.Time, m *member, why string) {
	i := m.of
	i.stepDownOthers(now, m, why)
	i.lingerFor(now, m.machine.Peer().Address)
	i.leave.offerAt = time.Time{}
	if _, departs := n.departs(i); departs {
		i.why = why
		return
	}
	n.enter(now, i, Backup, why)
}

// lost is a master that heard a better one on one member: it steps down on all, and only the release waits.
func (n *Node) lost(now time.Time, m *member, why string) {
	i := m.of
	i.stepDownOthers(now, m, why)
	i.announcer.stop()
	i.offers.reset()
	if i.told == Master {
		i.lingerFor(now, m.machine.Peer().Address)
		if i.linger != nil && m.machine.Peer().Heard.Equal(now) && m.machine.Priority() != vrrp.PriorityIll {
			i.linger.parting = parting{m, now.Add(partingGap), maxPartings}
		}
	} else {
		n.release(i) // it never served: of two that rise together, this one must not answer for the addresses
	}
	n.enter(now, i, Backup, why)
}

// stepDownOthers makes the other members backup too.
func (i *instance) stepDownOthers(now time.Time, m *member, why string) {
	for _, other := range i.members {
		if other != m {
			other.machine.Step(now, vrrp.StepDown{Why: why})
		}
	}
}

// lingerFor starts to wait for a successor's announcements. One that gave up a moment ago is none: its adverts came in another
// order than it sent them, or two masters hand over to each other. Its next advert counts.
func (i *instance) lingerFor(now time.Time, by netip.Addr) {
	seen := map[netip.Addr]bool{}
	switch {
	case i.linger != nil:
		seen = i.linger.seen
	case i.leave != nil:
		seen = i.leave.seen
	}
	if i.quitter.who == by && by.IsValid() && now.Sub(i.quitter.at) < lingerBase && len(seen) < len(i.ips()) {
		i.linger = nil
		return
	}
	wait := min(lingerBase+time.Duration(len(i.ips()))*lingerPerAddress, maxLinger)
	if i.cfg.VirtualMAC {
		wait = 0 // what it sends would take the switch's port back
	}
	i.linger = &linger{by: by, heard: now, seen: seen, until: now.Add(wait)}
	i.linger.shorten(now, len(i.ips()))
}

// shorten ends the wait soon once every address was seen.
func (l *linger) shorten(now time.Time, addresses int) {
	if len(l.seen) >= addresses {
		l.until = earliest(l.until, now.Add(afterAnnounced))
		l.parting = parting{}
	}
}

// advertised takes note of who advertises: of several that rose together the others give way to one, and if that one gives up,
// nobody serves yet.
func (l *linger) advertised(ev Heard) {
	other := vrrp.FamilyOf(l.by) == vrrp.FamilyOf(ev.From) && cmp.Or(cmp.Compare(ev.Advert.Priority, l.prio), ev.From.Compare(l.by)) > 0
	if l.by == ev.From || other {
		l.by, l.prio = ev.From, ev.Advert.Priority
	}
}

// announced is another host that announced one of our addresses, or answered for it.
func (n *Node) announced(now time.Time, i *instance, ev Announced) {
	if !i.owns(ev.IP) {
		return
	}
	if i.wary.on {
		i.wary.answered = ev.MAC
		n.settle(now, i)
		return
	}
	if i.linger != nil {
		i.linger.seen[ev.IP] = true
		i.linger.shorten(now, len(i.ips()))
		return
	}
	if i.leave != nil {
		i.leave.seen[ev.IP] = true
	}
	if i.state == Master {
		n.contend(now, i, Contention{IP: ev.IP, MAC: ev.MAC})
		if i.standing.priority() != vrrp.PriorityIll {
			i.announcer.contradict(now)
		}
	}
	if i.standing.priority() == vrrp.PriorityIll {
		n.witnessed(now, i, fmt.Sprintf("%s answers for %s", ev.MAC, ev.IP))
	}
}

// afterHeard is what an advert means for the whole instance, beyond the member that it was for.
func (n *Node) afterHeard(now time.Time, m *member, ev Heard) {
	i := m.of
	if ev.Advert.Priority != vrrp.PriorityRelease {
		// Still holding, and nobody to hand to: this is whom.
		if i.holding && i.linger == nil && m.machine.State() == vrrp.Backup && (i.state == Backup || i.state == Leaving) {
			i.lingerFor(now, ev.From)
		}
		if i.linger != nil {
			i.linger.advertised(ev)
		}
		return
	}
	i.quitter = quitter{ev.From, now}
	if i.linger != nil && i.linger.by == ev.From && len(i.linger.seen) < len(i.ips()) {
		i.linger = nil // it gives up before it was seen to serve: it does not count
	}
	if p := m.machine.Peer(); m.machine.State() != vrrp.Backup || p.Priority != vrrp.PriorityRelease || !p.Heard.Equal(now) {
		return
	}
	for _, other := range i.members {
		if other != m {
			n.perform(now, other, other.machine.Step(now, vrrp.HandedOver{Why: fmt.Sprintf("handed over by %s", ev.From), Interval: m.machine.Learned()}))
		}
	}
}

// partAgain repeats the parting advert. What it says is true still: the member's priority, from the address that clients may know.
func (n *Node) partAgain(now time.Time, p *parting) {
	c := p.of.machine.Config()
	n.send(now, p.of, vrrp.Send{
		Advert: vrrp.Advert{Version: c.Version, VRID: c.VRID, Priority: p.of.machine.Priority(), Interval: c.Interval, Addresses: c.Addresses},
		Until:  now.Add(partingGap),
	})
	p.left--
	p.at = now.Add(partingGap)
	if p.left == 0 {
		p.at = time.Time{}
	}
}

// tickHandover does what a handover's timers want.
func (n *Node) tickHandover(now time.Time, i *instance) {
	if i.linger != nil && due(now, i.linger.parting.at) {
		n.partAgain(now, &i.linger.parting)
	}
	if i.leave != nil && due(now, i.leave.offerAt) {
		i.leave.offerAt, i.leave.until = time.Time{}, now.Add(i.leaveWait())
		n.leaveAgain(now, i, i.standing.healthy)
	}
	switch {
	case i.linger != nil && !now.Before(i.linger.until):
		n.endLinger(now, i)
	case i.linger == nil && i.leave != nil && !now.Before(i.leave.until):
		n.endLeave(now, i)
	case i.state == Master && due(now, i.witness.at):
		n.believe(now, i)
	case i.state == Master && due(now, i.offers.at):
		n.handOver(now, i, i.why, true)
	}
}

// leaveAgain repeats the adverts of a handover on the members that nobody relieved.
func (n *Node) leaveAgain(now time.Time, i *instance, offer uint8) {
	for _, m := range i.members {
		if m.machine.State() == vrrp.Leaving {
			n.perform(now, m, m.machine.Step(now, vrrp.Leave{Offer: offer}))
		}
	}
}

// endLinger lets go of the addresses: the successor has them.
func (n *Node) endLinger(now time.Time, i *instance) {
	i.linger, i.leave = nil, nil
	if why, departs := n.departs(i); departs && i.state == Leaving {
		n.quit(now, i, why+"; "+i.why)
		return
	}
	n.release(i)
	if c := &i.lastChange; i.state == Backup && c.To == Backup {
		c.Took += now.Sub(c.At) // with the linger
	}
	n.enter(now, i, Backup, i.why)
}

// endLeave is a handover that nobody took.
func (n *Node) endLeave(now time.Time, i *instance) {
	why, departs := n.departs(i)
	switch {
	case departs && !i.leave.retried:
		i.leave.retried = true
		i.leave.until = now.Add(i.leaveWait())
		n.leaveAgain(now, i, 0)
	case departs:
		n.abandon(now, i, why+"; nobody took over")
	default:
		n.resume(now, i)
	}
}

// resume makes a master that nobody relieved master again, at its effective priority, with an advert at once. One that
// was relieved by a host that gave up before it was seen to serve is a backup by then.
func (n *Node) resume(now time.Time, i *instance) {
	if late := now.Sub(i.leave.until); late >= shortSleep {
		n.listen(now, i, fmt.Sprintf("woke late: the handover was over %s ago, so another host may be master", late.Round(time.Millisecond)))
		return
	}
	n.setPriority(now, i)
	why := i.describe("nobody took over")
	other := len(i.leave.seen) > 0 || i.announcer.silent // clients may have learned another MAC
	for _, m := range i.members {
		if m.machine.State() == vrrp.Leaving {
			n.perform(now, m, m.machine.Step(now, vrrp.Resume{Why: why}))
		} else {
			n.perform(now, m, m.machine.Step(now, vrrp.Promote{Why: why}))
			other = true
		}
	}
	n.enter(now, i, Master, why)
	i.leave, i.probed = nil, time.Time{}
	if i.standing.priority() == vrrp.PriorityIll {
		i.offers.later(now)
	}
	if !i.confirmed {
		n.take(now, i)
		return
	}
	if other {
		i.announcer.start(now)
		n.announce(now, i)
	} else {
		i.announcer.proceed(now)
	}
	n.serving(now, i)
}
