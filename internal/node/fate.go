package node

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// fate is what is decided once for several instances: those of a group, or the one that is in no group. They rise, hand
// over, step down and come back as one. What is done about the addresses is each instance's own business.
//
// While a fate takes part in the election its instances do, but for two kinds: one whose interface fell away cannot even hand
// over, so it lets go at once (fault) while the others hand over for all; and one that a reload added, of which too little is
// known yet, waits (init). Both join as soon as they can: a backup as backup, a master as master, for which one that was added
// listens first (see newcomer).
type fate struct {
	group     string // its name; empty: the one instance is in none
	instances []*instance
	standing  standing

	state      State
	why        string
	since      time.Time
	mastered   time.Time // see mastery
	generation uint64
	told       State // the state that the group's hooks were told last
	lastChange Change

	recheck recheck
	ticking bool      // this step is its Elapsed: the sockets were read dry, so what it waited for is over
	probed  time.Time // when the answers to a probe before it rises are in; zero: none is out
	unheard string    // what was told of a host that answered, and that is not heard
	// answerer is the MAC address that was last seen to answer for an address that is held.
	answerer string
	leave    *leave
	linger   *linger
	witness  witness
	offers   offers
	woken    time.Time // it slept, and has not looked yet who is master now
	removed  bool      // no longer configured: it hands over and ends
	partial  bool      // what it was a part of lives on; see remove

	due   time.Time // the deadline that the schedule knows
	place int       // in the schedule, or unplanned
}

// running says whether the fate takes part in the election.
func (f *fate) running() bool { return f.state.takesPart() }

// members are the virtual routers of all instances. The first decides ties: on every host it must be the same one.
func (f *fate) members() iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for _, i := range f.instances {
			for _, m := range i.members {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// advertises is the priority that the members advertise, or would.
func (f *fate) advertises() uint8 {
	for m := range f.members() {
		if m.machine.State() != vrrp.Initialize {
			return m.machine.Priority()
		}
	}
	return f.standing.priority()
}

// holding says whether any addresses are wanted here.
func (f *fate) holding() bool {
	return slices.ContainsFunc(f.instances, func(i *instance) bool { return i.holding })
}

// held counts the addresses that are wanted here.
func (f *fate) held() (count int) {
	for _, i := range f.instances {
		if i.holding {
			count += i.cfg.count()
		}
	}
	return count
}

// preemptDelay is the longest of the instances'.
func (f *fate) preemptDelay() (longest time.Duration) {
	for _, i := range f.instances {
		longest = max(longest, i.cfg.PreemptDelay)
	}
	return longest
}

// deadline is the earliest instant at which the fate has something to do.
func (f *fate) deadline() time.Time {
	d := earliest(f.witness.at, earliest(f.offers.at, earliest(f.probed, f.woken)))
	d = earliest(d, f.recheck.ends)
	for _, i := range f.instances {
		d = earliest(d, i.deadline())
		if f.state != Leaving {
			d = earliest(d, i.failure.retry)
		}
	}
	if f.leave != nil {
		d = earliest(d, f.leave.offerAt)
	}
	switch {
	case f.linger != nil:
		d = earliest(earliest(d, f.linger.until), f.linger.parting.at)
	case f.leave != nil:
		d = earliest(d, f.leave.until)
	}
	return d
}

// tick does what is due.
func (n *Node) tick(now time.Time, f *fate) {
	f.woken, f.ticking = time.Time{}, true
	if f.doubtful(now) {
		n.wake(now, f)
	}
	for m := range f.members() {
		n.perform(now, m, m.machine.Step(now, vrrp.Elapsed{}))
	}
	for _, i := range f.instances {
		n.tickInstance(now, i)
	}
	n.tickHandover(now, f)
	n.settle(now, f)
	f.ticking = false
}

// due says whether an instant has come; zero never comes.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// settle brings a fate to where its standing says it should be. It is level triggered: calling it twice does no more than
// calling it once.
func (n *Node) settle(now time.Time, f *fate) {
	n.assess(now, f)
	if f.running() {
		n.letGoOf(now, f)
		n.join(now, f)
	}
	switch f.state {
	case Init, Fault:
		n.settleOut(now, f)
	case Backup:
		n.settleBackup(now, f)
	case Master:
		n.settleMaster(now, f)
	case Leaving:
		n.settleLeaving(now, f)
	}
	for _, i := range f.instances {
		n.compare(now, i)
	}
}

// settleOut is a fate that does not take part.
func (n *Node) settleOut(now time.Time, f *fate) {
	s := &f.standing
	switch {
	case n.adoptable(f):
		n.adoptNow(now, f)
	case n.ends(f) && !f.adopting():
		why, _ := n.departs(f)
		n.enter(now, f, Stopped, why)
	case s.cannot != "":
		if f.adopting() {
			n.forgo(now, f)
			n.settle(now, f)
			return
		}
		n.enter(now, f, Fault, s.cannot)
	case s.pending != "":
		n.enter(now, f, Init, s.pending)
	default:
		f.offers.reset()
		for m := range f.members() {
			n.startup(now, m, s.priority())
		}
		n.enter(now, f, Backup, f.describe("listening"))
		n.rise(now, f)
	}
}

// startup lets a virtual router take part.
func (n *Node) startup(now time.Time, m *member, priority uint8) {
	n.perform(now, m, m.machine.Step(now, vrrp.HoldPreempt{Until: now.Add(m.of.fate.preemptDelay())}))
	n.perform(now, m, m.machine.Step(now, vrrp.Startup{Priority: priority, Source: m.source}))
}

// letGoOf ends the part of instances from whose interface nothing can be sent, while the others still can hand over.
func (n *Node) letGoOf(now time.Time, f *fate) {
	if f.standing.voiceless {
		return
	}
	for _, i := range f.instances {
		if i.state.takesPart() && i.standing.voiceless {
			n.shutdown(now, i, i.standing.cannot)
			f.forget(i)
			n.change(now, i, Fault, i.standing.cannot, false)
		}
	}
}

// forget drops what a handover has of an instance: its addresses are no longer waited for, and it has no last word.
func (f *fate) forget(i *instance) {
	if f.linger != nil && f.linger.parting.of != nil && f.linger.parting.of.of == i {
		f.linger.parting = parting{}
	}
	for _, ip := range i.ips() {
		if f.leave != nil {
			delete(f.leave.seen, ip)
		}
		if f.linger != nil {
			delete(f.linger.seen, ip)
		}
	}
}

// join lets an instance take part that was out of it while the fate took part; see fate.
func (n *Node) join(now time.Time, f *fate) {
	if _, departs := n.departs(f); departs || f.state == Leaving || f.doubtful(now) {
		return
	}
	for m := range f.members() {
		n.enlist(now, m)
	}
	for _, i := range f.instances {
		if i.state.takesPart() || i.standing.cannot != "" || i.standing.pending != "" {
			continue
		}
		i.newcomer = newcomer{}
		for _, m := range i.members {
			n.startup(now, m, f.advertises())
			if f.state == Master {
				n.perform(now, m, m.machine.Step(now, vrrp.Promote{Why: joined}))
			}
		}
		if f.state == Backup {
			n.change(now, i, Backup, "listening", false)
			continue
		}
		n.change(now, i, Master, joined, false)
		n.take(now, i)
	}
}

// joined is why an instance or a family is master without a wait for its own timer.
const joined = "added to a running master"

// settleBackup is a fate that waits; it may still hold the addresses that it hands to another master.
func (n *Node) settleBackup(now time.Time, f *fate) {
	if why, departs := n.departs(f); departs {
		f.probed, f.recheck = time.Time{}, recheck{}
		if f.linger == nil || f.standing.voiceless {
			n.quit(now, f, why)
		}
		return
	}
	n.setPriority(now, f)
	n.rise(now, f)
}

// setPriority tells the members their effective priority. Preemption waits again after an illness.
func (n *Node) setPriority(now time.Time, f *fate) {
	p := f.standing.priority()
	for m := range f.members() {
		if was := m.machine.Priority(); was == vrrp.PriorityIll && p > was {
			m.machine.Step(now, vrrp.HoldPreempt{Until: now.Add(f.preemptDelay())})
		}
		n.perform(now, m, m.machine.Step(now, vrrp.SetPriority{Priority: p}))
	}
}

// settleMaster is a fate that holds the addresses.
func (n *Node) settleMaster(now time.Time, f *fate) {
	why, departs := n.departs(f)
	switch ill := f.advertises() == vrrp.PriorityIll; {
	case f.standing.voiceless:
		n.quit(now, f, why)
	case f.doubtful(now):
		// The Elapsed that is due looks first.
	case departs:
		n.handOver(now, f, why, false)
	case len(f.standing.ill) > 0 && !ill:
		n.handOver(now, f, f.standing.illness(), false)
	default:
		if len(f.standing.ill) == 0 {
			f.offers.reset()
			if ill {
				f.explain("healthy again; nobody took over")
			}
		}
		n.setPriority(now, f)
	}
}

// quit leaves at once: what can no longer be sent is not sent, the addresses go.
func (n *Node) quit(now time.Time, f *fate, why string) {
	for _, i := range f.instances {
		n.shutdown(now, i, why)
	}
	f.leave, f.linger, f.probed = nil, nil, time.Time{}
	f.offers.reset()
	if n.ends(f) {
		n.enter(now, f, Stopped, why)
		return
	}
	n.enter(now, f, Fault, why)
}

// enter changes the state of the fate and of its instances; the same state with another reason only keeps the reason. One
// that is out of it while the fate takes part stays what it is.
func (n *Node) enter(now time.Time, f *fate, to State, why string) {
	from := f.state
	f.why = why
	// An unhealthy master that nobody relieves offers again and again: that is no news.
	quiet := f.leave != nil && f.leave.repeated && (to == Leaving || from == Leaving && to == Master)
	if from != to {
		f.mastered = mastery(now, f.mastered, from, to)
		f.state, f.since, f.witness, f.recheck, f.unheard = to, now, witness{}, recheck{}, ""
		if !quiet {
			f.lastChange = Change{From: from, To: to, Why: why, At: now}
		}
	}
	for _, i := range f.instances {
		if i.state.takesPart() || !from.takesPart() || !to.takesPart() {
			n.change(now, i, to, why, quiet)
		}
	}
	n.tellGroup(now, f)
}

// mastery is since when a master is one, after a change of state. It serves on while it offers its addresses, so that an offer that
// nobody took is no end of it.
func mastery(now, since time.Time, from, to State) time.Time {
	if to == Master && from != Leaving {
		return now
	}
	return since
}

// lasting is since when a state lasts, as status has it.
func lasting(s State, since, mastered time.Time) time.Time {
	if s == Master {
		return mastered
	}
	return since
}

// explain keeps another reason for the same state.
func (f *fate) explain(why string) {
	f.why = why
	for _, i := range f.instances {
		if i.state == f.state {
			i.why = why
		}
	}
}

// describe adds the reason of an illness to a reason.
func (f *fate) describe(why string) string {
	if len(f.standing.ill) == 0 {
		return why
	}
	return fmt.Sprintf("%s; unhealthy: %s", why, f.standing.illness())
}
