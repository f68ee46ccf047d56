package node

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// instance is a group of addresses, with a virtual router for each family: its members. What it is to be is its fate's
// decision; what that means for its addresses, their announcements and their lease is done here.
type instance struct {
	cfg      *Instance
	fate     *fate
	checks   []string // names, in order: they are gone through at every step
	members  []*member
	standing standing

	state      State
	why        string
	since      time.Time
	mastered   time.Time // see mastery
	generation uint64
	told       State // the state that the hooks were told last

	linkReady  time.Time     // when link_delay is over
	rising     time.Time     // until when it waits for its addresses before it says that it is master; zero: it does not
	advertised time.Time     // when this host sent its last advert
	formerDead time.Duration // the dead interval with which that one was sent, if a reload made another; see deadInterval
	holding    bool          // the addresses are wanted on the interface
	request    uint64        // the last one for them; see SetAddresses
	confirmed  bool          // the kernel has them
	muted      time.Time     // since when the device of its virtual MAC loses what is sent, until they are on it; zero: it does not
	announcer  announcer
	heralds    map[netip.Addr]sighting // when another host announced an address that this one holds last
	renewal    time.Time               // when the lease is renewed next
	failure    failure
	wary       wary
	newcomer   newcomer
	mute       mute
	repair     repair
	leftover   *Leftover // nil: its last release left nothing
	lookedUp   time.Time // when it wanted its peers' names looked up last
	remnant    remnant

	adopting bool // what a dead daemon held is to be adopted
	unproven bool // it was, and not every check has spoken yet

	lastChange Change
	letGo      LetGo
	calm       time.Time // when a contention without further evidence is over
	stirred    stir
	contention *Contention
	reruns     reruns
	clash      *clash
	compared   comparison // a shadow's
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

// newInstance starts in Init, with a fate of its own.
func newInstance(now time.Time, cfg *Instance) *instance {
	i := &instance{cfg: cfg, state: Init, since: now, why: "starting"}
	i.checks = slices.Sorted(maps.Keys(cfg.Checks))
	i.announcer.cfg = cfg.Announce
	for _, f := range cfg.Families() {
		i.members = append(i.members, newMember(i, f))
	}
	i.fate = &fate{instances: []*instance{i}, state: i.state, since: i.since, why: i.why, place: unplanned}
	return i
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

// deadline is the earliest instant at which the instance itself has something to do.
func (i *instance) deadline() time.Time {
	var d time.Time
	for _, m := range i.members {
		if at, ok := m.machine.Deadline(); ok {
			d = earliest(d, at)
		}
	}
	for _, at := range []time.Time{i.linkReady, i.rising, i.announcer.deadline(), i.renewal, i.remnant.renew, i.remnant.named, i.remnant.grant, i.repair.at, i.repair.until, i.mute.at, i.wary.at, i.listensUntil(), i.calm, i.reruns.at, i.compared.at} {
		d = earliest(d, at)
	}
	return d
}

// tickInstance does what is due for one instance.
func (n *Node) tickInstance(now time.Time, i *instance) {
	if due(now, i.linkReady) {
		i.linkReady = time.Time{}
	}
	if due(now, i.failure.retry) && i.fate.state != Leaving { // first it is gone
		i.failure.clear()
	}
	n.reassert(now, i)
	n.tickMute(now, i)
	n.tickWary(now, i)
	i.tickNewcomer(now)
	n.tickAddresses(now, i)
	n.tickRemnant(now, i)
}

// shutdown ends the instance's part at once: its priority 0 was sent, or cannot be. The addresses go.
func (n *Node) shutdown(now time.Time, i *instance, why string) {
	l := n.links[i.cfg.Interface]
	for _, m := range i.members {
		m.machine.Step(now, vrrp.Shutdown{Why: why})
		if l != nil && !n.sourceOn(m, &l.Link).IsValid() {
			m.source = netip.Addr{} // it is waited for only as long as the instance takes part; see assessLink
		}
	}
	n.release(now, i, i.successor())
}

// change changes an instance's state, and tells the log and the hooks. The same state with another reason only keeps the
// reason. A quiet change is a repetition, and none for status.
func (n *Node) change(now time.Time, i *instance, to State, why string, quiet bool) {
	from := i.state
	i.why = why
	if from == to {
		return
	}
	if !quiet {
		i.lastChange = Change{From: from, To: to, Why: why, At: now}
		if from == Leaving {
			i.lastChange.Took = now.Sub(i.since)
		}
	}
	i.mastered = mastery(now, i.mastered, from, to)
	i.state, i.since = to, now
	if to != Leaving && (from != Leaving || to != Master) { // an offer that nobody takes does not end it
		i.reruns.at = time.Time{}
	}
	if from == Master && !i.renewal.IsZero() {
		i.renewal = earliest(i.renewal, now.Add(keepGap))
		if i.lease() > minLifetime {
			i.renewal = now // it is cut short: another host may come at once
		}
	}
	n.do(Changed{i.cfg.Name, from, to, why, i.fate.standing.priority(), quiet, i.fate.group})
	// Master is told once the addresses are there; leaving is on its way to something else.
	if to == Backup || to == Fault || to == Stopped {
		n.tell(now, i, to)
	}
}

// tell queues the hooks of a state that they have not been told yet. After the end there is nothing more to hear, also of what
// another instance has the name of by now.
func (n *Node) tell(now time.Time, i *instance, state State) {
	if i.told == state || i.told == Stopped || state == Backup && n.servedFor(i) {
		return
	}
	previous := cmp.Or(i.told, Init)
	i.told = state
	n.notify(now, i, state, previous, false)
}

// notify queues hooks.
func (n *Node) notify(now time.Time, i *instance, state, previous State, reassert bool) {
	i.generation++
	peer, mac := i.relief(now)
	n.do(Notify{
		Instance: i.cfg.Name, Group: i.fate.group, Interface: i.cfg.Interface, State: state, Previous: previous,
		Priority: i.fate.standing.priority(), Why: i.why, Addresses: i.ips(), Generation: i.generation, At: now, Reassert: reassert,
		Peer: peer, PeerMAC: mac,
	})
}
