package node

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of a handover.
const (
	// afterAnnounced is how long the old holder goes on serving once the successor was seen to announce every address.
	afterAnnounced = 10 * time.Millisecond
	// Where announcements are not seen, it goes on for this long after the successor's advert. A busy host was measured to have
	// its addresses 37 to 48 ms after its advert; letting go before that would leave nobody. The successor may have to set every
	// address of the host: 4,080 took it 3 s, and its adverts come with them.
	lingerBase       = 80 * time.Millisecond
	lingerPerAddress = 500 * time.Microsecond
	maxLinger        = 2 * time.Second
	// A master that steps down says so again every partingGap while it lingers, at most maxPartings times, until its successor
	// was seen to announce every address: the advert that makes the successor do so may be lost.
	partingGap  = 10 * time.Millisecond
	maxPartings = 8
	// hearingMargin is by how much another router's advert may be late after its announcement, beyond an interval.
	hearingMargin = 200 * time.Millisecond
	// stayInterval is what the skew of a host that stays is made of, as after a handover's advert.
	stayInterval = 10 * time.Millisecond
	// unanswered is how long a repeated handover waits before it says more than priority 0.
	unanswered  = 50 * time.Millisecond
	maxOfferGap = time.Minute
)

// leave is a handover under way, until the successor is known to serve.
type leave struct {
	why      string
	began    time.Time
	until    time.Time   // nobody came by then
	offerAt  time.Time   // zero: the offer was sent
	repeated bool        // an unhealthy master offers again
	retried  bool        // the second try of one that goes for good
	seen     claims      // before its advert came
	heirs    []*instance // whom a removed fate keeps the addresses for; see keepForHeirs
}

// linger is the time in which the old holder still serves although another is master.
type linger struct {
	by    netip.Addr // who is to serve: of several who advertised, the one that the others give way to
	prio  uint8      // that one's priority
	on    *member    // where its adverts are heard
	heard time.Time
	seen  claims
	spoke map[*member]netip.Addr // who has advertised on it
	until time.Time
	parting
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

// handOver begins to leave: all members in one batch.
func (n *Node) handOver(now time.Time, f *fate, why string, repeated bool) {
	offer := f.advertises()
	if offer == vrrp.PriorityIll {
		offer = f.standing.healthy
	}
	f.leave = &leave{why: why, began: now, until: now.Add(f.leaveWait()), repeated: repeated, seen: claims{}}
	if repeated {
		f.leave.offerAt = now.Add(unanswered)
	}
	if repeated || f.partial {
		offer = 0
	}
	f.stopAnnouncing()
	f.offers.at = time.Time{}
	for m := range f.members() {
		n.perform(now, m, m.machine.Step(now, vrrp.Leave{Offer: offer, Why: why}))
	}
	n.setPriority(now, f)
	n.enter(now, f, Leaving, why)
}

// leaveWait is how long the fate waits for a successor: as long as the slowest member.
func (f *fate) leaveWait() (longest time.Duration) {
	for m := range f.members() {
		longest = max(longest, m.machine.Config().LeaveWait())
	}
	return longest
}

// stopAnnouncing drops what is queued.
func (f *fate) stopAnnouncing() {
	for _, i := range f.instances {
		i.announcer.stop()
	}
}

// settleLeaving takes note of what happens meanwhile: it changes the end, and nothing is sent for it.
func (n *Node) settleLeaving(now time.Time, f *fate) {
	if f.standing.voiceless {
		n.quit(now, f, f.standing.cannot)
		return
	}
	n.disinherited(now, f)
	n.setPriority(now, f)
}

// relieved is a leaving member that heard its successor, which counts for all members.
func (n *Node) relieved(now time.Time, m *member, why string) {
	f := m.of.fate
	f.stepDownOthers(now, m, why)
	n.lingerFor(now, m, m.machine.Followed().Address)
	f.leave.offerAt = time.Time{}
	if _, departs := n.departs(f); departs {
		f.explain(why)
		return
	}
	n.enter(now, f, Backup, f.leave.why+"; "+why)
}

// lost is a master that heard a better one on one member: it steps down on all, and only the release waits.
func (n *Node) lost(now time.Time, m *member, why string) {
	f := m.of.fate
	why = f.standing.beneath(m.machine.Peer().Priority, why)
	f.stepDownOthers(now, m, why)
	f.stopAnnouncing()
	f.offers.reset()
	for _, i := range f.instances {
		if i.told != Master {
			n.release(now, i, f.named(m.machine.Followed().Address)) // it never served: of two that rise together, this one must not answer for the addresses
		}
	}
	if f.holding() {
		n.lingerFor(now, m, m.machine.Followed().Address)
		if f.linger != nil && m.of.holding && !m.of.cfg.VirtualMAC && m.machine.Peer().Heard.Equal(now) && m.machine.Priority() != vrrp.PriorityIll {
			f.linger.parting = parting{m, now.Add(partingGap), maxPartings}
		}
	}
	n.enter(now, f, Backup, why)
}

// stepDownOthers makes the other members backup too.
func (f *fate) stepDownOthers(now time.Time, m *member, why string) {
	for other := range f.members() {
		if other != m {
			other.machine.Step(now, vrrp.StepDown{Why: why})
		}
	}
}

// lingerFor starts to wait for a successor's announcements of every address that is held; with a virtual MAC, for its first
// frame from it (see turned).
//
// A successor that gave up a moment ago is none: its adverts came in another order than it sent them, or two masters hand over
// to each other. Its next advert counts.
func (n *Node) lingerFor(now time.Time, m *member, by netip.Addr) {
	f := m.of.fate
	seen := claims{}
	switch {
	case f.linger != nil:
		seen = f.linger.seen
	case f.leave != nil:
		seen = f.leave.seen
	default:
		f.heralded(now, seen)
	}
	if m.quitter.who == by && by.IsValid() && now.Sub(m.quitter.at) < lingerBase && len(seen) < f.held() {
		f.linger = nil
		return
	}
	wait := min(lingerBase+time.Duration(max(f.held(), n.index.addresses))*lingerPerAddress+f.pacing(), maxLinger)
	f.linger = &linger{by: by, on: m, heard: now, seen: seen, spoke: map[*member]netip.Addr{}, until: now.Add(wait)}
	for _, i := range f.instances {
		i.heralds = nil
	}
	n.turned(now, f)
}

// pacing is how long a successor takes to announce what is held, if it is configured like this host.
func (f *fate) pacing() (longest time.Duration) {
	for _, i := range f.instances {
		if i.holding {
			longest = max(longest, time.Duration(i.cfg.count()-1)*i.cfg.Announce.Interval)
		}
	}
	return longest
}

// heralded adds what a successor announced just before its advert was read: a busy host may read them in that order. Where this
// host announced since, the clients may have followed it.
func (f *fate) heralded(now time.Time, seen claims) {
	for _, i := range f.instances {
		for ip, h := range i.heralds {
			if i.holding && now.Sub(h.at) < lingerBase && i.announcer.emitted.Before(h.at) {
				seen[ip] = h.mac
			}
		}
	}
}

// shorten ends the wait soon once every address was seen, and at once where none is left.
func (l *linger) shorten(now time.Time, addresses int) {
	switch {
	case addresses == 0:
		l.until = earliest(l.until, now)
		l.parting = parting{}
	case len(l.seen) >= addresses:
		l.until = earliest(l.until, now.Add(afterAnnounced))
		l.parting = parting{}
	}
}

// advertised takes note of who advertises: of several that rose together the others give way to one, and if that one gives up,
// nobody serves yet.
func (l *linger) advertised(m *member, ev Heard) {
	l.spoke[m] = ev.From
	better := m == l.on && cmp.Or(cmp.Compare(ev.Advert.Priority, l.prio), ev.From.Compare(l.by)) > 0
	if l.by == ev.From || better {
		l.by, l.prio = ev.From, ev.Advert.Priority
	}
}

// announced is another host that announced one of our addresses, or answered for it.
func (n *Node) announced(now time.Time, i *instance, ev Announced) {
	if !i.owns(ev.IP) || len(i.members) == 0 { // replaced, and its group still hands over
		return
	}
	f := i.fate
	if i.holding {
		f.answerer = ev.MAC
	}
	if i.wary.on {
		i.wary.answered = ev.MAC
		n.settle(now, f)
		return
	}
	if f.linger != nil && i.holding {
		f.linger.seen[ev.IP] = ev.MAC
		n.turned(now, f)
		if f.probed.IsZero() {
			return
		} // else it answers who asks already whether to take them again
	}
	if f.leave != nil && i.holding {
		f.leave.seen[ev.IP] = ev.MAC
		n.disinherited(now, f)
	}
	if i.holding {
		if i.heralds == nil {
			i.heralds = map[netip.Addr]sighting{}
		}
		i.heralds[ev.IP] = sighting{mac: ev.MAC, at: now}
	}
	ill := f.standing.priority() == vrrp.PriorityIll
	if i.state == Master {
		n.contend(now, i, Contention{IP: ev.IP, MAC: ev.MAC})
		if !ill {
			i.announcer.contradict(now.Add(i.hearing(ev)))
		}
	}
	switch {
	case ill:
		n.witnessed(now, i, fmt.Sprintf("%s answers for %s", ev.MAC, ev.IP))
	case i.state == Backup && !f.probed.IsZero():
		n.answered(now, i, ev.MAC)
	}
}

// hearing is how long an announcement is left alone. FRR over IPv6 announces with the virtual router's MAC up to a second before
// its first advert, and never again: who contradicts it and then gives way leaves the clients with a host that serves no more.
// Where this host has that MAC too, an answer would take the switch's port back from a successor whose advert is not read yet.
func (i *instance) hearing(ev Announced) time.Duration {
	switch {
	case i.cfg.VirtualMAC:
		return answerGap
	case ev.MAC != i.routerMAC(vrrp.FamilyOf(ev.IP)):
		return 0
	}
	return i.cfg.Interval + hearingMargin
}

// afterHeard is what an advert means for the whole fate, beyond the member that it was for.
func (n *Node) afterHeard(now time.Time, m *member, ev Heard) {
	f := m.of.fate
	f.hearsAgain()
	if ev.Advert.Priority != vrrp.PriorityRelease {
		// Still holding, and nobody to hand to: this is whom. Not one that is about to be pushed aside: it is no reason to let go of
		// addresses that are being set, again and again where its interval is shorter than the kernel's time.
		if f.linger == nil && m.machine.State() == vrrp.Backup && (f.state == Backup || f.state == Leaving) && f.holding() && !f.pushesOn() {
			n.lingerFor(now, m, ev.From)
		}
		if f.linger != nil {
			fell := f.linger.by == ev.From && f.linger.prio >= m.machine.Priority() && ev.Advert.Priority < m.machine.Priority()
			f.linger.advertised(m, ev)
			n.turned(now, f)
			if fell {
				n.stay(now, m, ev)
			}
		}
		return
	}
	m.quitter = quitter{ev.From, now}
	for _, i := range f.instances {
		i.heralds = nil // whoever announced may be the one that gives up
	}
	if f.linger != nil && f.linger.by == ev.From && len(f.linger.seen) < f.held() {
		f.linger = nil // it gives up before it was seen to serve: it does not count
	}
	if p := m.machine.Peer(); m.machine.State() != vrrp.Backup || p.Priority != vrrp.PriorityRelease || !p.Heard.Equal(now) {
		return
	}
	over := vrrp.HandedOver{Why: fmt.Sprintf("handed over by %s", ev.From), Interval: m.machine.Learned(), Since: m.machine.Released()}
	for other := range f.members() {
		if other != m {
			n.perform(now, other, other.machine.Step(now, over))
		}
	}
}

// stay is a successor that falls below this host before it was seen to serve. It may have heard this host's last advert after that
// and given way, so that nobody is master: this host has the addresses still, and waits no longer than for a handover.
func (n *Node) stay(now time.Time, m *member, ev Heard) {
	f := m.of.fate
	if f.state != Backup || !m.of.cfg.Preempt || len(f.linger.seen) >= f.held() {
		return
	}
	f.linger = nil
	why := fmt.Sprintf("%s fell to priority %d before it was seen to serve, ours is %d", ev.From, ev.Advert.Priority, m.machine.Priority())
	for other := range f.members() {
		n.perform(now, other, other.machine.Step(now, vrrp.HandedOver{Why: why, Interval: stayInterval, Since: now}))
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
func (n *Node) tickHandover(now time.Time, f *fate) {
	if f.linger != nil && now.Before(f.linger.until) && due(now, f.linger.parting.at) {
		n.partAgain(now, &f.linger.parting)
	}
	if f.leave != nil && due(now, f.leave.offerAt) {
		f.leave.offerAt, f.leave.until = time.Time{}, now.Add(f.leaveWait())
		n.leaveAgain(now, f, f.standing.healthy)
	}
	switch {
	case f.linger != nil && !now.Before(f.linger.until):
		n.endLinger(now, f)
	case f.linger == nil && f.leave != nil && !now.Before(f.leave.until):
		n.endLeave(now, f)
	case f.state == Master && due(now, f.witness.at):
		n.believe(now, f)
	case f.state == Master && due(now, f.offers.at):
		n.offer(now, f)
	}
}

// leaveAgain repeats the adverts of a handover on the members that nobody relieved.
func (n *Node) leaveAgain(now time.Time, f *fate, offer uint8) {
	for m := range f.members() {
		if m.machine.State() == vrrp.Leaving {
			n.perform(now, m, m.machine.Step(now, vrrp.Leave{Offer: offer}))
		}
	}
}

// endLinger lets go of the addresses: the successor has them.
func (n *Node) endLinger(now time.Time, f *fate) {
	why := f.why
	if f.state == Leaving {
		reason, departs := n.departs(f)
		if departs {
			n.quit(now, f, reason+"; "+why)
			return
		}
		why = f.leave.why + "; " + why
	}
	for _, i := range f.instances {
		n.release(now, i, i.successor())
		if c := &i.lastChange; i.state == Backup && c.To == Backup && now.Sub(c.At) <= maxLinger { // else it only was about to rise
			c.Took += now.Sub(c.At) // with the linger
		}
	}
	f.linger, f.leave = nil, nil
	n.enter(now, f, Backup, why)
}

// endLeave is a handover that nobody took.
func (n *Node) endLeave(now time.Time, f *fate) {
	why, departs := n.departs(f)
	switch {
	case n.cfg.Shadow && departs:
		n.abandon(now, f, why)
	case n.cfg.Shadow && len(f.standing.ill) > 0:
		f.leave.until = now.Add(f.leaveWait()) // nobody could hear the offer: who would have come is not known
	case departs && !f.leave.retried:
		f.leave.retried = true
		f.leave.until = now.Add(f.secondWait(n.ends(f)))
		n.leaveAgain(now, f, 0)
	case departs && n.keepForHeirs(now, f):
	case departs:
		n.abandon(now, f, why+"; nobody took over")
	default:
		n.resume(now, f)
	}
}

// secondWait is how long a departure that nobody took waits once more. What of a group is well goes on serving for as long as
// the others may listen on the link that failed: keepalived's sync groups hear a handover on each link alone.
func (f *fate) secondWait(ends bool) (longest time.Duration) {
	longest = f.leaveWait()
	for _, i := range f.instances {
		if !ends && !i.state.takesPart() {
			longest = max(longest, time.Duration(i.cfg.DeadAdverts+1)*i.cfg.Interval)
		}
	}
	return longest
}

// resume makes a master that nobody relieved master again, at its effective priority, with an advert at once. One that
// was relieved by a host that gave up before it was seen to serve is a backup by then.
func (n *Node) resume(now time.Time, f *fate) {
	if late := now.Sub(f.leave.until); late >= shortSleep {
		n.listen(now, f, fmt.Sprintf("woke late: the handover was over %s ago, so another host may be master", late.Round(time.Millisecond)), "")
		return
	}
	n.setPriority(now, f)
	why := f.describe("nobody took over")
	other := len(f.leave.seen) > 0 // clients may have learned its MAC
	for m := range f.members() {
		switch m.machine.State() {
		case vrrp.Leaving:
			n.perform(now, m, m.machine.Step(now, vrrp.Resume{Why: why}))
		case vrrp.Backup:
			n.perform(now, m, m.machine.Step(now, vrrp.Promote{Why: why}))
			other = true
		}
	}
	n.enter(now, f, Master, why)
	f.leave, f.probed = nil, time.Time{}
	if f.standing.priority() == vrrp.PriorityIll {
		f.offers.later(now)
	}
	for _, i := range f.instances {
		n.serveOn(now, i, other)
	}
}

// serveOn has an instance that is master again announce its addresses where clients may have learned another MAC.
func (n *Node) serveOn(now time.Time, i *instance, other bool) {
	switch {
	case i.state != Master: // out of it; see fate
		return
	case !i.rising.IsZero(): // its own wait was over, too
		n.serveFirst(now, i)
		return
	case !i.confirmed:
		n.take(now, i)
		return
	case other || i.announcer.silent:
		i.announcer.start(now)
		n.announce(now, i)
	default:
		i.announcer.proceed(now)
	}
	n.serving(now, i)
}
