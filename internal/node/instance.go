package node

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// probeWait is how long a last resort waits for another host's answer before it takes the addresses.
const probeWait = 100 * time.Millisecond

// instance is a group of addresses with one fate: its members rise, hand over and step down as one.
type instance struct {
	cfg      *Instance
	checks   []string // names, in order: they are gone through at every step
	members  []*member
	standing standing

	state      State
	why        string
	since      time.Time
	generation uint64
	told       State // the state that the hooks were told last

	linkReady  time.Time // when link_delay is over
	probed     time.Time // when the probe of a last resort has been waited for; zero: none is out
	rising     time.Time // until when it waits for its addresses before it says that it is master; zero: it does not
	advertised time.Time // when this host sent its last advert
	holding    bool      // the addresses are wanted on the interface
	confirmed  bool      // the kernel has them
	leave      *leave
	linger     *linger
	quitter    quitter
	witness    witness
	offers     offers
	announcer  announcer
	renewal    time.Time // when the lease is renewed next
	failure    failure
	woken      time.Time // it slept, and has not looked yet who is master now
	wary       wary
	mute       mute
	repair     repair

	adopting bool // what a dead daemon held is to be adopted
	unproven bool // it was, and not every check has spoken yet
	removed  bool // no longer configured: it hands over and ends
	parted   bool // only a removed family of an instance that lives on

	due   time.Time // the deadline that the schedule knows
	place int       // in the schedule, or unplanned

	lastChange Change
	calm       time.Time // when a contention without further evidence is over
	contention *Contention
}

// Change is a change of state.
type Change struct {
	From State     `json:"from"`
	To   State     `json:"to"`
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
	// Took is how long it was in the making: a master's from the decision until the kernel had the addresses, a handover's from
	// its first advert until the successor served, a step-down's until the addresses were released. 0: not known (yet).
	Took time.Duration `json:"took_ns"`
}

// newInstance starts in Init.
func newInstance(now time.Time, cfg *Instance) *instance {
	i := &instance{cfg: cfg, place: unplanned, state: Init, since: now, why: "starting"}
	i.checks = slices.Sorted(maps.Keys(cfg.Checks))
	i.announcer.cfg = cfg.Announce
	for _, f := range cfg.Families() {
		i.members = append(i.members, newMember(i, f))
	}
	return i
}

// running says whether the instance takes part in the election.
func (i *instance) running() bool {
	return i.state == Backup || i.state == Master || i.state == Leaving
}

// ips are all addresses of the instance, the advertised first.
func (i *instance) ips() []netip.Addr {
	return append(addrs(i.cfg.Addresses), addrs(i.cfg.Unadvertised)...)
}

// owns says whether an address is the instance's.
func (i *instance) owns(ip netip.Addr) bool {
	is := func(a Address) bool { return a.IP == ip }
	return slices.ContainsFunc(i.cfg.Addresses, is) || slices.ContainsFunc(i.cfg.Unadvertised, is)
}

// deadline is the earliest instant at which the instance has something to do.
func (i *instance) deadline() time.Time {
	var d time.Time
	for _, m := range i.members {
		if at, ok := m.machine.Deadline(); ok {
			d = earliest(d, at)
		}
	}
	if i.leave != nil {
		d = earliest(d, i.leave.offerAt)
	}
	switch {
	case i.linger != nil:
		d = earliest(earliest(d, i.linger.until), i.linger.parting.at)
	case i.leave != nil:
		d = earliest(d, i.leave.until)
	}
	if i.state != Leaving {
		d = earliest(d, i.failure.retry)
	}
	for _, at := range []time.Time{i.linkReady, i.probed, i.rising, i.witness.at, i.offers.at, i.announcer.deadline(), i.renewal, i.repair.at, i.repair.until, i.mute.at, i.wary.at, i.woken, i.calm} {
		d = earliest(d, at)
	}
	return d
}

// tick does what is due.
func (n *Node) tick(now time.Time, i *instance) {
	i.woken = time.Time{}
	if i.doubtful(now) {
		n.wake(now, i)
	}
	for _, m := range i.members {
		n.perform(now, m, m.machine.Step(now, vrrp.Elapsed{}))
	}
	if due(now, i.linkReady) {
		i.linkReady = time.Time{}
	}
	if due(now, i.failure.retry) && i.state != Leaving { // first it is gone
		i.failure.clear()
	}
	n.reassert(now, i)
	n.tickMute(now, i)
	n.tickWary(now, i)
	n.tickAddresses(now, i)
	n.tickHandover(now, i)
	n.settle(now, i)
}

// due says whether an instant has come; zero never comes.
func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// settle brings an instance to where its standing says it should be. It is level triggered: calling it twice does no
// more than calling it once.
func (n *Node) settle(now time.Time, i *instance) {
	n.assess(now, i)
	switch i.state {
	case Init, Fault:
		n.settleOut(now, i)
	case Backup:
		n.settleBackup(now, i)
	case Master:
		n.settleMaster(now, i)
	case Leaving:
		n.settleLeaving(now, i)
	}
}

// settleOut is an instance that does not take part.
func (n *Node) settleOut(now time.Time, i *instance) {
	s := &i.standing
	switch {
	case n.adoptable(i):
		n.adoptNow(now, i)
	case n.ends(i) && !i.adopting:
		why, _ := n.departs(i)
		n.enter(now, i, Stopped, why)
	case s.cannot != "":
		if i.adopting {
			i.adopting = false
			n.release(i)
			n.settle(now, i)
			return
		}
		n.enter(now, i, Fault, s.cannot)
	case s.pending != "":
		n.enter(now, i, Init, s.pending)
	default:
		i.offers.reset()
		for _, m := range i.members {
			n.perform(now, m, m.machine.Step(now, vrrp.HoldPreempt{Until: now.Add(i.cfg.PreemptDelay)}))
			n.perform(now, m, m.machine.Step(now, vrrp.Startup{Priority: s.priority(), Source: m.source}))
		}
		n.enter(now, i, Backup, i.describe("listening"))
		n.rise(now, i)
	}
}

// settleBackup is an instance that waits; it may still hold the addresses that it hands to another master.
func (n *Node) settleBackup(now time.Time, i *instance) {
	if why, departs := n.departs(i); departs {
		i.probed = time.Time{}
		if i.linger == nil || i.standing.linkDown {
			n.quit(now, i, why)
		}
		return
	}
	n.setPriority(now, i)
	n.rise(now, i)
}

// setPriority tells the members their effective priority. Preemption waits again after an illness.
func (n *Node) setPriority(now time.Time, i *instance) {
	p := i.standing.priority()
	for _, m := range i.members {
		if was := m.machine.Priority(); was == vrrp.PriorityIll && p > was {
			m.machine.Step(now, vrrp.HoldPreempt{Until: now.Add(i.cfg.PreemptDelay)})
		}
		n.perform(now, m, m.machine.Step(now, vrrp.SetPriority{Priority: p}))
	}
}

// rise makes the instance master once every member's wait is over.
func (n *Node) rise(now time.Time, i *instance) {
	why, cause, ok := i.ready()
	if !ok {
		i.probed = time.Time{}
		n.riseLater(now, i)
		return
	}
	// Silence can be our own deafness: an unhealthy host asks the link first.
	if i.standing.priority() == vrrp.PriorityIll && cause == vrrp.Silence && i.rising.IsZero() {
		if i.probed.IsZero() {
			i.probed = now.Add(probeWait)
			n.do(Probe{i.cfg.Interface, i.ips(), n.links[i.cfg.Interface].Source6})
		}
		if now.Before(i.probed) {
			return
		}
	}
	if n.awaitAddresses(now, i) {
		return
	}
	i.probed, i.rising, i.leave, i.linger = time.Time{}, time.Time{}, nil, nil
	for _, m := range i.members {
		n.perform(now, m, m.machine.Step(now, vrrp.Promote{Why: why}))
	}
	n.enter(now, i, Master, i.describe(why))
	if i.cfg.VirtualMAC && i.confirmed {
		i.announcer.start(now)
		n.announce(now, i)
		n.serving(now, i)
	} else {
		n.take(now, i)
	}
	i.offers.reset()
	if i.standing.priority() == vrrp.PriorityIll {
		i.offers.later(now)
	}
}

// ready says whether all members are, and why the last of them.
func (i *instance) ready() (why string, cause vrrp.Cause, ok bool) {
	var whys []string
	cause = vrrp.Owner
	for _, m := range i.members {
		c, w, ok := m.machine.Ready()
		if !ok {
			return "", 0, false
		}
		if c < cause {
			cause = c
		}
		if !slices.Contains(whys, w) {
			whys = append(whys, w)
		}
	}
	return strings.Join(whys, "; "), cause, true
}

// settleMaster is an instance that holds the addresses.
func (n *Node) settleMaster(now time.Time, i *instance) {
	why, departs := n.departs(i)
	switch {
	case i.standing.linkDown:
		n.quit(now, i, why)
	case i.doubtful(now):
		// The Elapsed that is due looks first.
	case departs:
		n.handOver(now, i, why, false)
	case len(i.standing.ill) > 0 && i.members[0].machine.Priority() != vrrp.PriorityIll:
		n.handOver(now, i, strings.Join(i.standing.ill, "; "), false)
	default:
		if i.standing.priority() != vrrp.PriorityIll {
			i.offers.reset()
			if i.members[0].machine.Priority() == vrrp.PriorityIll {
				i.why = "healthy again; nobody took over"
			}
		}
		n.setPriority(now, i)
	}
}

// quit leaves at once: what can no longer be sent is not sent, the addresses go.
func (n *Node) quit(now time.Time, i *instance, why string) {
	for _, m := range i.members {
		m.machine.Step(now, vrrp.Shutdown{Why: why}) // its priority 0 was sent, or cannot be
	}
	n.release(i)
	i.leave, i.linger, i.probed = nil, nil, time.Time{}
	i.offers.reset()
	if n.ends(i) {
		n.enter(now, i, Stopped, why)
		return
	}
	n.enter(now, i, Fault, why)
}

// enter changes the state, and tells the log and the hooks. The same state with another reason only keeps the reason.
func (n *Node) enter(now time.Time, i *instance, to State, why string) {
	from := i.state
	i.why = why
	if from == to {
		return
	}
	i.lastChange = Change{From: from, To: to, Why: why, At: now}
	if from == Leaving {
		i.lastChange.Took = now.Sub(i.since)
	}
	i.state, i.since, i.witness = to, now, witness{}
	// An unhealthy master that nobody relieves offers again and again: that is no news.
	quiet := i.leave != nil && i.leave.repeated && (to == Leaving || to == Master)
	n.do(Changed{i.cfg.Name, from, to, why, i.standing.priority(), quiet})
	// Master is told once the addresses are there; leaving is on its way to something else.
	if to == Backup || to == Fault || to == Stopped {
		n.tell(now, i, to)
	}
}

// tell queues the hooks of a state that they have not been told yet. After the end there is nothing more to hear, also of what
// another instance has the name of by now.
func (n *Node) tell(now time.Time, i *instance, state State) {
	if i.told == state || i.told == Stopped {
		return
	}
	previous := i.told
	if previous == "" {
		previous = Init
	}
	i.told = state
	n.notify(now, i, state, previous, false)
}

// notify queues hooks.
func (n *Node) notify(now time.Time, i *instance, state, previous State, reassert bool) {
	i.generation++
	n.do(Notify{
		Instance: i.cfg.Name, Interface: i.cfg.Interface, State: state, Previous: previous, Priority: i.standing.priority(),
		Why: i.why, Addresses: i.ips(), Generation: i.generation, At: now, Reassert: reassert,
	})
}

// describe adds the reason of an illness to a reason.
func (i *instance) describe(why string) string {
	if len(i.standing.ill) == 0 {
		return why
	}
	return why + "; unhealthy: " + strings.Join(i.standing.ill, "; ")
}
