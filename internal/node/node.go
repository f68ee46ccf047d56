package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Node decides for one host: it owns its instances and their virtual routers. Step feeds it; Deadline says when it wants
// an Elapsed. It is not safe for concurrent use.
type Node struct {
	cfg       Config
	instances []*instance
	fates     []*fate
	byMember  map[memberKey]*member
	links     map[string]*link
	checks    map[string]*verdict
	drains    map[string]bool
	names     map[string]*resolved // the peers' names
	bars      map[string]string    // instance -> what else on this host stands in its way
	stopping  bool
	parting   bool // this step parts what hands over alone from what lives on
	removing  bool // a fate that is no longer configured hands over
	schedule  schedule
	index     index
	around    map[string]*around // interface -> what else speaks VRRP there
	memory    memory
	news      allowance // of lines about senders
	requests  uint64    // for addresses; see SetAddresses
	out       []Action  // what the current step asks for
}

// memberKey is a virtual router's identity on this host.
type memberKey struct {
	Interface string
	VRID      uint8
	Family    vrrp.Family
}

// link is an interface with the instant since when it is up.
type link struct {
	Link
	since time.Time
	bare  time.Time // since when it lacks an address of its own that it had; zero: it lost none since it came up
}

// verdict is a check's.
type verdict struct {
	healthy bool
	reason  string
}

// New returns a node. Nothing is master, and nothing is sent, before the events say what the host is like.
func New(cfg Config, now time.Time) *Node {
	n := &Node{
		cfg:      cfg,
		byMember: map[memberKey]*member{},
		links:    map[string]*link{},
		checks:   map[string]*verdict{},
		drains:   map[string]bool{},
		names:    map[string]*resolved{},
		bars:     map[string]string{},
		around:   map[string]*around{},
		memory:   memory{gone: map[memberKey]vrrp.Memory{}},
	}
	for k := range cfg.Instances {
		n.instances = append(n.instances, n.add(now, &cfg.Instances[k]))
	}
	n.regroup(now)
	for _, f := range n.fates {
		n.assess(now, f) // a status may be asked for before any event
	}
	n.reindex()
	return n
}

// add makes an instance.
func (n *Node) add(now time.Time, cfg *Instance) *instance {
	i := newInstance(now, cfg)
	for _, m := range i.members {
		n.register(now, m)
		n.aim(now, m) // a reload may add it to an interface that is known
	}
	return i
}

// Step feeds one event at an instant and returns what is to be done, in order.
func (n *Node) Step(now time.Time, ev Event) []Action {
	n.out = nil
	switch ev := ev.(type) {
	case Heard:
		n.heard(now, ev)
	case OwnAdvert:
		n.ownAdvert(now, ev)
	case Refused:
		n.refused(now, ev)
	case Seen:
		n.seen(ev)
		n.sight(now, ev)
	case Dropped:
		n.dropped(now, ev)
	case Claimed:
		n.claimed(now, ev)
	case Overlooked:
		n.aroundOf(ev.Interface).overlooked += ev.Packets
	case SendFailed:
		n.sendFailed(now, ev)
	case CheckChanged:
		if n.configured(ev.Check) { // else it was on its way when a reload removed the check
			n.checks[ev.Check] = &verdict{ev.Healthy, ev.Reason}
			n.settleAll(now, func(i *instance) bool { _, ok := i.cfg.Checks[ev.Check]; return ok })
		}
	case Rechecked:
		n.rechecked(now, ev)
	case LinkChanged:
		n.linkChanged(now, ev.Link)
	case AddressLost:
		n.owners(ev.Interface, ev.IP, func(i *instance) { n.addressGone(now, i, ev) })
	case AddressesSet:
		n.named(ev.Instance, func(i *instance) { n.addressesSet(now, i, ev.Request) })
	case AddressFailed:
		n.named(ev.Instance, func(i *instance) { n.addressRefused(now, i, ev) })
	case Stays:
		n.named(ev.Instance, func(i *instance) { i.stays(ev) })
	case Barred:
		n.barred(now, ev)
	case Announced:
		n.owners(ev.Interface, ev.IP, func(i *instance) { n.announced(now, i, ev) })
	case Resolved:
		n.resolved(now, ev)
	case Adopt:
		n.named(ev.Instance, func(i *instance) { n.adopt(now, i, ev.Left) })
	case Drain:
		n.drain(now, ev)
	case Remembered:
		n.remembered(now, ev)
	case Stop:
		n.stopping = true
		n.settleAll(now, everyInstance)
	case Reconfigured:
		n.reconfigure(now, ev.Config)
		n.tellHeirs(now)
	case Woke:
		n.woke(now, ev.Gap)
	case Elapsed:
		n.elapsed(now)
	default:
		panic(fmt.Sprintf("node: unhandled %T", ev))
	}
	if n.removing {
		n.reap()
		n.tellHeirs(now)
	}
	return n.out
}

// do adds actions to the step's result, but for those that a shadow keeps to itself.
func (n *Node) do(as ...Action) {
	for _, a := range as {
		if !n.cfg.Shadow || !silent(a) {
			n.out = append(n.out, a)
		}
	}
}

// Stopped says whether, after Stop, no instance holds or serves anything any more.
func (n *Node) Stopped() bool {
	return n.stopping && !slices.ContainsFunc(n.instances, func(i *instance) bool { return i.state != Stopped })
}

// heard gives an advert to the virtual router that it is for.
func (n *Node) heard(now time.Time, ev Heard) {
	n.delivered(ev.Interface, ev.From)
	m := n.byMember[memberKey{ev.Interface, ev.Advert.VRID, vrrp.FamilyOf(ev.From)}]
	if m == nil {
		n.strayed(now, ev.Interface, Refused{VRID: ev.VRID, From: ev.From, Err: vrrp.ErrUnknownVRID})
		if ev.HopLimit == vrrp.HopLimit && ev.Advert.Priority != vrrp.PriorityRelease {
			n.claimed(now, Claimed{ev.Interface, ev.Advert.VRID, ev.From, ev.Advert.Interval, ev.Advert.Addresses})
		}
		return
	}
	cfg, priority := m.machine.Config(), m.machine.Priority()
	var proof vrrp.Proof
	if err := cfg.Refuse(ev.Received, n.ownFor(m, ev.From), priority, m.verifier(n, now, &proof)); err != nil {
		m.refuse(n, now, Refused{Interface: ev.Interface, From: ev.From, Err: m.detail(n, now, err, ev.Received)}, ev.Interval)
		if err == error(vrrp.ErrNotPeer) {
			n.lookUp(now, m.of)
		}
		return
	}
	m.accepted(n, now, ev, cfg.Notices(ev.Advert, priority))
	m.proven(n, now, ev.From, proof)
	if proof.Early { // nor does it say where its sender is
		n.early(now, m, ev)
		return
	}
	m.accepts(ev.Received)
	m.heard(now, ev.From, ev.Advert.Priority)
	n.cameTo(now, m, ev.To)
	if m.machine.State() == vrrp.Initialize {
		n.trust(now, m.of)
		n.newcomerHears(now, m, ev, false)
		return
	}
	f := m.of.fate
	if m.of.doubtful(now) { // an answer to priority 0 would be an advert of a master that others have given up
		who, to := fmt.Sprintf("%s is master (priority %d)", ev.From, ev.Advert.Priority), ev.From.String()
		if ev.Advert.Priority == vrrp.PriorityRelease {
			who, to = fmt.Sprintf("%s was master meanwhile", ev.From), ""
		}
		n.listen(now, f, "woke late: "+who, to)
	}
	n.perform(now, m, m.machine.Step(now, vrrp.Heard{Advert: ev.Advert, From: ev.From}))
	n.afterHeard(now, m, ev)
	if ev.Advert.Priority != vrrp.PriorityRelease {
		n.rival(now, m, ev)
		n.yields(now, m, ev)
	}
	n.settle(now, f)
	n.plan(f)
}

// refused counts packets that were no adverts.
func (n *Node) refused(now time.Time, ev Refused) {
	if ev.MAC == "" { // it is the socket that had it
		n.delivered(ev.Interface, ev.From)
	} else {
		n.seen(Seen{Interface: ev.Interface, From: ev.From, MAC: ev.MAC})
	}
	if m := n.byMember[memberKey{ev.Interface, ev.VRID, vrrp.FamilyOf(ev.From)}]; m != nil {
		m.refuse(n, now, ev, 0)
		return
	}
	n.strayed(now, ev.Interface, ev)
}

// sendFailed takes note that an advert did not leave; the reason is shown.
func (n *Node) sendFailed(now time.Time, ev SendFailed) {
	n.named(ev.Instance, func(i *instance) {
		for _, m := range i.members {
			if m.family == ev.Family {
				m.sendFailed(n, now, ev.To, ev.Err)
				n.silenced(now, m)
			}
		}
	})
}

// linkChanged takes a new view of an interface. Instances see it at once.
func (n *Node) linkChanged(now time.Time, l Link) {
	old := n.links[l.Name]
	since := now
	if old != nil && old.Up == l.Up {
		since = old.since
	}
	cameUp := l.Up && (old == nil || !old.Up)
	moved := old != nil && old.MAC != l.MAC
	n.links[l.Name] = &link{l, since, bareSince(now, old, l)}
	n.onInterface(l.Name, func(i *instance) {
		for _, m := range i.members {
			if cameUp && old != nil {
				m.auth.Deaf(now, i.cfg.Auth)
			}
			n.aim(now, m)
			if l.Up && m.chooses(&l) && n.missesOwnPeer(m) && !n.sourceOn(m, &l).IsValid() {
				n.lookUp(now, i) // it may have another one, to which its name leads already; see bareGrace
			}
		}
		remade := i.remade(old, &l)
		if remade && !n.cleansUp() { // else what was on the old one is gone
			n.setAgain(now, i)
		}
		if cameUp || remade {
			i.failure.hasten(now)
		}
		if moved && i.state == Master {
			i.announcer.restart(now)
			i.fate.offers.now(now)
		}
	})
	// Only now: one that rises at once takes the others of its group along, and they need their sources.
	n.onInterface(l.Name, func(i *instance) { n.settle(now, i.fate) })
}

// bareSince says when a link that stays up lost an address of its own.
func bareSince(now time.Time, old *link, l Link) time.Time {
	switch {
	case old == nil || !old.Up || !l.Up:
		return time.Time{}
	case old.Source4.IsValid() && !l.owns(old.Source4), old.Source6.IsValid() && !l.owns(old.Source6),
		slices.ContainsFunc(old.Own, func(ip netip.Addr) bool { return !l.owns(ip) }):
		return now
	default:
		return old.bare
	}
}

// drain adds or lifts one name's drain.
func (n *Node) drain(now time.Time, ev Drain) {
	if ev.On {
		n.drains[ev.Who] = true
	} else {
		delete(n.drains, ev.Who)
	}
	n.settleAll(now, everyInstance)
	if ev.On {
		n.offerAgain(now)
	}
}

func everyInstance(*instance) bool { return true }

// settleAll settles the fates of the instances that a change touches.
func (n *Node) settleAll(now time.Time, touches func(*instance) bool) {
	for _, f := range n.fates {
		if slices.ContainsFunc(f.instances, touches) {
			n.settle(now, f)
			n.plan(f)
		}
	}
}

// earliest returns the earlier of two instants, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// addrs lists the addresses' IPs.
func addrs(as []Address) []netip.Addr {
	ips := make([]netip.Addr, len(as))
	for k, a := range as {
		ips[k] = a.IP
	}
	return ips
}
