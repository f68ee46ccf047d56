package node

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// regroup gives every instance the fate that the configuration wants for it.
//
// A fate whose instances and name are what they were goes on untouched. Any other is made anew from the one of its instances
// that is nearest to master, and goes on in the state of that one; what was under way there (a handover, a linger) goes on
// too. An instance that comes to it in another state begins anew and joins (see fate), and one that leaves a group goes on
// alone in the state that it is in. What is removed hands over alone, or as the group that it was when all of it is removed.
func (n *Node) regroup(now time.Time) {
	fates, wanted := n.wantedFates(), map[*instance]bool{}
	for _, w := range fates {
		for _, i := range w.instances {
			wanted[i] = true
		}
	}
	for _, f := range n.fates {
		n.endGroup(now, f, wanted)
	}
	n.fates = nil
	for _, w := range fates {
		n.fates = append(n.fates, n.fateOf(now, w))
	}
	for _, i := range n.instances {
		if !wanted[i] {
			n.remove(i, wanted)
		}
	}
	n.removing = slices.ContainsFunc(n.fates, func(f *fate) bool { return f.removed })
}

// endGroup tells the hooks of a group that is gone while instances of it live on.
func (n *Node) endGroup(now time.Time, f *fate, wanted map[*instance]bool) {
	isLeft := slices.ContainsFunc(n.cfg.Groups, func(g Group) bool { return g.Name == f.group })
	lives := slices.ContainsFunc(f.instances, func(i *instance) bool { return wanted[i] })
	if !isLeft && lives && f.told != "" && f.told != Stopped {
		f.why = "the group is no longer configured"
		n.notifyGroup(now, f, Stopped)
	}
}

// wantedFate is a fate of the configuration.
type wantedFate struct {
	group     string
	instances []*instance
}

// wantedFates lists the groups, and the instances that are in none.
func (n *Node) wantedFates() (wanted []wantedFate) {
	configured := n.instances[:len(n.cfg.Instances)] // those that are removed come behind them
	grouped := map[string]bool{}
	for _, g := range n.cfg.Groups {
		w := wantedFate{group: g.Name}
		for _, name := range g.Instances {
			grouped[name] = true
			at := slices.IndexFunc(configured, func(i *instance) bool { return i.cfg.Name == name })
			w.instances = append(w.instances, configured[at])
		}
		wanted = append(wanted, w)
	}
	for _, i := range configured {
		if !grouped[i.cfg.Name] {
			wanted = append(wanted, wantedFate{instances: []*instance{i}})
		}
	}
	return wanted
}

// fateOf finds or makes the fate.
func (n *Node) fateOf(now time.Time, w wantedFate) *fate {
	first := slices.MinFunc(w.instances, func(a, b *instance) int { return a.state.distance() - b.state.distance() })
	was := first.fate
	if was.group == w.group && slices.Equal(was.instances, w.instances) {
		was.removed, was.partial = false, false
		n.orderTies(now, was)
		return was
	}
	f := was.apart(first)
	f.removed, f.partial = false, false
	if f.group != w.group {
		f.group, f.told, f.generation = w.group, "", 0
	}
	f.instances = w.instances
	var joins []*instance
	for _, i := range w.instances {
		if i.fate != was && n.moveTo(now, i, f) {
			joins = append(joins, i)
		}
		i.fate = f
	}
	n.orderTies(now, f)
	n.assess(now, f)
	n.heed(now, f, joins)
	n.tellGroup(now, f)
	return f
}

// orderTies has the first member decide between equal priorities, and the others be patient; see vrrp.Config.
func (n *Node) orderTies(now time.Time, f *fate) {
	first := true
	for m := range f.members() {
		if m.patient == first {
			m.patient = !first
			n.perform(now, m, m.machine.Step(now, vrrp.Reconfigure{Config: m.routerConfig()}))
		}
		first = false
	}
}

// distance orders the states by how far from master they are.
func (s State) distance() int {
	return slices.Index([]State{Master, Leaving, Backup, Fault, Init, Stopped}, s)
}

// apart makes the fate of one instance alone, which goes on where this one is.
func (f *fate) apart(i *instance) *fate {
	alone := *f
	alone.instances, alone.state, alone.why, alone.place = []*instance{i}, i.state, i.why, unplanned
	alone.since, alone.mastered, alone.lastChange = i.since, i.mastered, i.lastChange
	alone.standing, alone.witness, alone.recheck = i.standing, witness{}, recheck{}
	alone.leave, alone.linger = nil, nil
	if !i.state.takesPart() {
		alone.offers = offers{}
		return &alone
	}
	others := func(ip netip.Addr, _ string) bool { return !i.owns(ip) }
	if f.leave != nil {
		l := *f.leave
		l.seen = maps.Clone(l.seen)
		maps.DeleteFunc(l.seen, others)
		alone.leave = &l
	}
	if f.linger != nil {
		l := *f.linger
		l.seen = maps.Clone(l.seen)
		maps.DeleteFunc(l.seen, others)
		if l.parting.of != nil && l.parting.of.of != i {
			l.parting = parting{}
		}
		alone.linger = &l
	}
	return &alone
}

// moveTo makes an instance fit for another fate: one that takes part in another state than that begins anew. It says whether that one
// knows who is master: a backup does, and who was relieved. One that nobody relieved was master itself, and whom it heard before gave way to it.
func (n *Node) moveTo(now time.Time, i *instance, f *fate) (knows bool) {
	i.newcomer.offered, i.newcomer.known = false, false // another one has offered, and what it knew is old
	n.mended(now, i, f)
	if !i.state.takesPart() || i.state == f.state && i.fate.linger == nil {
		return false
	}
	knows = i.state == Backup || i.fate.linger != nil
	// A backup that began a moment ago knows no more than a newcomer, unless nobody can have missed its own adverts yet.
	listened := now.Sub(i.since) >= i.cfg.Interval+newcomerMargin || now.Sub(i.advertised) < i.deadInterval(i.cfg)
	known := i.state != Backup || i.fate.linger != nil || listened
	n.shutdown(now, i, joining)
	i.fate = f
	n.change(now, i, Init, joining, false)
	i.newcomer = newcomer{known: known}
	return knows
}

// mended has an instance that was in fault, and whose reason a reload takes away with its fate, listen like any newcomer: it has heard nobody.
func (n *Node) mended(now time.Time, i *instance, f *fate) {
	if i.state != Fault || f.state != Master && f.state != Leaving {
		return
	}
	i.fate = f
	if n.assessInstance(now, i); i.standing.cannot == "" {
		n.change(now, i, Init, joining, false)
	}
}

// joining is why an instance begins anew.
const joining = "it has another fate now"

// remove makes an instance hand over and end: with what was its group if all of that is removed, else alone.
//
// Alone, it must not take the rest with it: a backup whose group is still whole counts a handover heard on one member for all,
// unless an advert arrives later. So it says priority 0 alone, which leaves the backup its full skew, and the masters of this
// host advertise at once (see assertMasters).
func (n *Node) remove(i *instance, wanted map[*instance]bool) {
	if slices.ContainsFunc(i.fate.instances, func(other *instance) bool { return wanted[other] }) {
		i.fate = i.fate.apart(i)
		i.fate.group, i.fate.partial, n.parting = "", true, true
	}
	if slices.ContainsFunc(n.cfg.Groups, func(g Group) bool { return g.Name == i.fate.group }) {
		i.fate.group = "" // another one has the name now
	}
	i.fate.removed = true
	if !slices.Contains(n.fates, i.fate) {
		n.fates = append(n.fates, i.fate)
	}
}

// assertMasters has every master of this host advertise at once, after a part of one handed over alone; see remove.
func (n *Node) assertMasters(now time.Time) {
	for _, f := range n.fates {
		if f.state != Master || f.doubtful(now) {
			continue
		}
		for m := range f.members() {
			n.perform(now, m, m.machine.Step(now, vrrp.Assert{}))
		}
		n.plan(f)
	}
}

// tellGroup queues the group's hooks of its state, if they have not been told yet. Master is told once every instance serves.
func (n *Node) tellGroup(now time.Time, f *fate) {
	serves := !slices.ContainsFunc(f.instances, func(i *instance) bool { return i.told != Master })
	switch {
	case f.group == "" || f.told == f.state || f.state == Backup && slices.ContainsFunc(f.instances, n.servedFor):
	case f.state == Backup, f.state == Fault, f.state == Stopped, f.state == Master && serves:
		n.notifyGroup(now, f, f.state)
	}
}

// notifyGroup queues the group's own hooks.
func (n *Node) notifyGroup(now time.Time, f *fate, state State) {
	previous := cmp.Or(f.told, Init)
	f.told = state
	f.generation++
	note := Notify{Group: f.group, State: state, Previous: previous, Priority: f.standing.priority(), Why: f.why, Generation: f.generation, At: now}
	for _, i := range f.instances {
		note.Addresses = append(note.Addresses, i.ips()...)
		peer, mac := i.relief(now)
		note.Peer, note.PeerMAC = cmp.Or(note.Peer, peer), cmp.Or(note.PeerMAC, mac)
	}
	n.do(note)
}
