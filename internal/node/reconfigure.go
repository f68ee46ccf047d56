package node

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// reconfigure brings the node from its configuration to another. What did not change is not touched; an instance is the
// same one as before where its interface and VRID are; one that is gone hands over.
func (n *Node) reconfigure(now time.Time, cfg Config) {
	n.cfg = cfg
	lives := n.predecessors(cfg)
	gone := slices.DeleteFunc(slices.Clone(n.instances), func(i *instance) bool { return slices.Contains(lives, i) })
	n.retire(now, gone) // first: what lives on may get the name of one that is gone
	n.makeWay(now, lives)
	for k, i := range lives {
		if i != nil {
			gone = append(gone, n.adapt(now, i, &cfg.Instances[k])...)
		}
	}
	n.instances = nil
	for k := range cfg.Instances {
		i := lives[k]
		if i == nil {
			i, gone = n.begin(now, &cfg.Instances[k], gone)
		}
		n.instances = append(n.instances, i)
	}
	n.instances = append(n.instances, gone...)
	n.forgetChecks()
	n.forgetNames()
	n.forgetBars()
	n.forgetOwn()
	n.regroup(now)
	n.dropReplaced(now)
	n.reindex()
	n.settleAll(now, everyInstance)
	if n.parting {
		n.parting = false
		n.assertMasters(now)
	}
}

// begin makes an instance that continues none, unless it has the only family that another one just parted with.
func (n *Node) begin(now time.Time, c *Instance, gone []*instance) (i *instance, rest []*instance) {
	at := slices.IndexFunc(gone, func(i *instance) bool { return i.continuedBy(c) })
	if at < 0 {
		i = n.add(now, c)
		i.beWary(n.index)
		return i, gone
	}
	i = gone[at]
	return i, append(slices.Delete(gone, at, at+1), n.adapt(now, i, c)...)
}

// dropReplaced ends what is left of removed virtual routers that are configured again in another instance. They hear nothing any
// more, and what they say would be taken for the new one's; but where that one is not master, somebody else must be.
func (n *Node) dropReplaced(now time.Time) {
	for _, i := range n.instances[len(n.cfg.Instances):] {
		members := len(i.members)
		i.members = slices.DeleteFunc(i.members, func(m *member) bool {
			heir := n.byMember[m.key()]
			if heir == m {
				return false
			}
			if heir.machine.State() != vrrp.Master {
				n.perform(now, m, m.machine.Step(now, vrrp.Shutdown{Why: continued}))
			}
			n.unawait(m)
			return true
		})
		if members == 0 || len(i.members) > 0 {
			continue
		}
		n.release(now, i, "")
		i.fate.forget(i)
		if !slices.ContainsFunc(i.fate.instances, func(i *instance) bool { return len(i.members) > 0 }) {
			n.quit(now, i.fate, continued)
		}
	}
}

// continued is why a removed virtual router ends without a handover.
const continued = "configured again in another instance"

// retire gives removed instances whose name is another's now a name of their own: what their end releases, and what their hooks
// would hear, is not the other's. Then whoever slept looks who is master now: nothing is set anew before it knows that it may.
func (n *Node) retire(now time.Time, gone []*instance) {
	type former struct {
		*instance
		was string
	}
	var held []former
	for _, i := range gone {
		was := i.cfg.Name
		if !slices.ContainsFunc(n.cfg.Instances, func(c Instance) bool { return c.Name == was }) {
			continue
		}
		c := *i.cfg
		c.Name = n.spareName(fmt.Sprintf("%s/%d", was, c.VRID))
		i.cfg, i.told = &c, Stopped
		if i.holding {
			held = append(held, former{i, was})
		}
	}
	for _, f := range n.fates {
		if !f.doubtful(now) {
			continue
		}
		if slices.ContainsFunc(f.instances, func(i *instance) bool { return !slices.Contains(gone, i) }) {
			f.removed = false // it is configured again: it does not end here
		}
		n.wake(now, f)
	}
	for _, i := range held {
		n.renamed(now, i.instance, i.was)
	}
}

// makeWay gives instances that live on under another name one of their own meanwhile, where a third one has theirs now: names may
// go round in a circle, and what a name wants last is all that it wants.
func (n *Node) makeWay(now time.Time, lives []*instance) {
	for k, i := range lives {
		if i == nil || !i.holding {
			continue
		}
		was := i.cfg.Name
		if at := slices.IndexFunc(n.cfg.Instances, func(c Instance) bool { return c.Name == was }); at < 0 || at == k {
			continue
		}
		c := *i.cfg
		c.Name = n.spareName(fmt.Sprintf("%s/%d", was, c.VRID))
		i.cfg = &c
		n.renamed(now, i, was)
	}
}

// renamed moves the addresses of an instance to its new name: one that two names want stays when one lets go.
func (n *Node) renamed(now time.Time, i *instance, was string) {
	if i.holding {
		n.take(now, i)
	}
	n.do(SetAddresses{Instance: was, Interface: i.cfg.Interface})
}

// spareName makes a name that no other instance has or gets: one that was removed before may still be handing over.
func (n *Node) spareName(name string) string {
	spare := name
	for k := 2; n.index.name[spare] != nil || slices.ContainsFunc(n.instances, func(i *instance) bool { return i.cfg.Name == spare }) ||
		slices.ContainsFunc(n.cfg.Instances, func(c Instance) bool { return c.Name == spare }); k++ {
		spare = fmt.Sprintf("%s/%d", name, k)
	}
	return spare
}

// predecessors finds the instance that each configured one continues: one of the same name first, since two instances may
// share a VRID, one for each family.
func (n *Node) predecessors(cfg Config) []*instance {
	lives := make([]*instance, len(cfg.Instances))
	for _, byName := range []bool{true, false} {
		for k := range cfg.Instances {
			c := &cfg.Instances[k]
			if lives[k] != nil {
				continue
			}
			at := slices.IndexFunc(n.instances, func(i *instance) bool {
				return i.continuedBy(c) && (!byName || i.cfg.Name == c.Name) && !slices.Contains(lives, i)
			})
			if at >= 0 {
				lives[k] = n.instances[at]
			}
		}
	}
	return lives
}

// continuedBy says whether a configuration has a virtual router of the instance.
func (i *instance) continuedBy(c *Instance) bool {
	return i.cfg.Interface == c.Interface && i.cfg.VRID == c.VRID && slices.ContainsFunc(c.Families(), func(f vrrp.Family) bool {
		return slices.ContainsFunc(i.members, func(m *member) bool { return m.family == f })
	})
}

// configured says whether the configuration has a check.
func (n *Node) configured(check string) bool {
	return slices.Contains(n.cfg.Checks, check) || slices.ContainsFunc(n.cfg.Instances, func(i Instance) bool { _, ok := i.Checks[check]; return ok })
}

// forgetChecks drops the verdicts of checks that are no more, and that no instance has which is still leaving.
func (n *Node) forgetChecks() {
	maps.DeleteFunc(n.checks, func(name string, _ *verdict) bool {
		return !n.configured(name) && !slices.ContainsFunc(n.instances, func(i *instance) bool { _, ok := i.cfg.Checks[name]; return ok })
	})
}

// adapt gives an instance another configuration in place. It returns the removed families, which hand over.
func (n *Node) adapt(now time.Time, i *instance, c *Instance) (parted []*instance) {
	if i.told == Stopped {
		i.told = "" // it was removed, and had lost its name
	}
	was := i.cfg
	if was.Name != c.Name && (i.state == Master || i.state == Backup || i.state == Fault) { // the log may say another state of that name
		n.do(Changed{c.Name, Init, i.state, i.why, i.fate.standing.priority(), false, i.fate.group})
	}
	i.formerDead = i.deadInterval(was) // the silence that a longer interval allowed is no sleep
	i.cfg = c
	i.announcer.reconfigure(now, c.Announce)
	i.checks = slices.Sorted(maps.Keys(c.Checks))
	parted = n.changeFamilies(now, i, was)
	brought := slices.DeleteFunc(c.peerNames(), was.names)
	for _, m := range i.members {
		m.await(brought)
		n.aim(now, m)
		for _, name := range brought {
			n.tellFormer(m, name)
		}
	}
	differ := was.VirtualMAC != c.VirtualMAC || !slices.Equal(was.Addresses, c.Addresses) || !slices.Equal(was.Unadvertised, c.Unadvertised)
	if differ || was.Lease != c.Lease {
		i.failure = failure{} // it was of what was wanted before
	}
	switch {
	case !i.holding:
	case was.Name != c.Name:
		n.renamed(now, i, was.Name)
	case differ:
		i.muted = now // the device may be a new one
		n.take(now, i)
	case was.Lease != c.Lease:
		n.setAddresses(now, i, time.Time{})
	}
	return parted
}

// changeFamilies parts with the virtual routers of families that are gone, and adds those of new ones.
func (n *Node) changeFamilies(now time.Time, i *instance, was *Instance) (parted []*instance) {
	families := i.cfg.Families()
	for _, m := range slices.Clone(i.members) {
		if !slices.Contains(families, m.family) {
			i.members = slices.DeleteFunc(i.members, func(x *member) bool { return x == m })
			parted = append(parted, n.part(now, i, was, m))
		}
	}
	for _, f := range families {
		if !slices.ContainsFunc(i.members, func(m *member) bool { return m.family == f }) {
			n.addFamily(now, i, f)
		}
	}
	slices.SortFunc(i.members, func(a, b *member) int { return int(a.family) - int(b.family) })
	return parted
}

// part makes a removed family an instance of its own for as long as it takes to hand it over.
func (n *Node) part(now time.Time, i *instance, was *Instance, m *member) *instance {
	c := *was
	c.Name = n.spareName(was.Name + "/" + m.family.String())
	c.Unadvertised = nil
	c.Addresses = slices.DeleteFunc(slices.Clone(was.Addresses), func(a Address) bool { return vrrp.FamilyOf(a.IP) != m.family })
	p := newInstance(now, &c)
	p.members = []*member{m}
	m.of = p
	p.state, p.why, p.standing, p.advertised, p.formerDead = i.state, i.why, i.standing, i.advertised, i.formerDead
	p.adopting = i.adopting
	p.fate = i.fate.apart(p)
	p.fate.group, p.fate.partial, n.parting = "", true, true
	i.fate.forget(p) // what was under way there goes on here
	p.told = Stopped // the instance itself lives on: its hooks have nothing to hear
	if i.holding {
		n.take(now, p)
	}
	return p
}

// addFamily adds a family to an instance: to a master, as master at once.
func (n *Node) addFamily(now time.Time, i *instance, f vrrp.Family) {
	m := newMember(i, f)
	i.members = append(i.members, m)
	n.register(now, m)
	n.aim(now, m)
	n.enlist(now, m)
}

// enlist lets a virtual router take part that was added to an instance that does: with a master as master at once, and as soon as
// its interface has an address to send from; with one that hands over once that is over, since its routers leave as one.
func (n *Node) enlist(now time.Time, m *member) {
	i := m.of
	if !i.state.takesPart() || i.state == Leaving || !m.source.IsValid() || m.machine.State() != vrrp.Initialize {
		return
	}
	n.perform(now, m, m.machine.Step(now, vrrp.Startup{Priority: i.fate.advertises(), Source: m.source}))
	if i.state == Master {
		n.perform(now, m, m.machine.Step(now, vrrp.Promote{Why: joined}))
	}
}

// reap forgets the removed fates that are done.
func (n *Node) reap() {
	before := len(n.instances)
	var names []string
	n.instances = slices.DeleteFunc(n.instances, func(i *instance) bool {
		if !i.fate.removed || i.fate.state != Stopped {
			return false
		}
		names = append(names, i.cfg.peerNames()...)
		for _, m := range i.members {
			n.unawait(m)
			if n.byMember[m.key()] == m {
				n.forget(m)
				delete(n.byMember, m.key())
			}
		}
		return true
	})
	if len(n.instances) == before {
		return
	}
	n.forgetChecks()
	for _, name := range names { // no others: what a reload brings may be found before the node hears of it
		n.forgetName(name)
	}
	n.fates = slices.DeleteFunc(n.fates, func(f *fate) bool { return f.removed && f.state == Stopped })
	n.removing = slices.ContainsFunc(n.fates, func(f *fate) bool { return f.removed })
	n.reindex()
}
