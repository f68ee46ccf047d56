package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// watch looks at every step of every node for what may never happen. What may not happen for long, and needs to know how the
// whole cluster is, is in promises.
type watch struct {
	c     *Cluster
	slack time.Duration // what the kernel and the clock's jitter need
	hosts map[*Host]*watchedHost
	steps int
	// changes are the lines that are worth a person's eye, since the last reset.
	changes int
	quiet   int
	masters int // how often somebody became master, not counting those that only offered their addresses
	// moved, if set, is told of each change of a state.
	moved func(h *Host, instance string)
}

// watchedHost is what is remembered of a host's process.
type watchedHost struct {
	node      *node.Node // the process that the rest is about
	cfg       node.Config
	instances map[string]*watched
	former    []string         // names that instances had before this step, which go on under another one
	stirred   bool             // this step changes a state, or brings an instance
	said      map[saying]uint8 // the priority of the last advert
}

// watched is one instance of one host.
type watched struct {
	name     string
	renamed  bool           // by the last reload: the log says what the instance of that name is
	cfg      *node.Instance // nil: not configured, it only ends
	last     *node.Instance // what it was configured with last
	state    node.State
	before   node.State    // before the step that sends
	lingers  bool          // before that step it did, and so may have said once more that it stepped down
	was      node.State    // before the step
	patience time.Duration // how long it may be silent; a reload that shortens it is no silence
	spoke    time.Time     // when it sent its last advert, by the host's clock
	alone    bool          // it has had nobody to send one to since then; it did something last when spoke says
	stepped  bool          // it served before
	since    time.Time
	joined   time.Time // since when it takes part
	widened  time.Time // when a reload brought it a family
	told     node.State
	ended    bool      // a reload that has the instance again begins anew
	gaveUp   time.Time // another host sent priority 0, or fell
	quit     time.Time // the same by the host's clock
	relapsed bool      // when it came to its state, that was a moment ago by this one: who is heard again is believed at the next advert
	idle     time.Time // since when the host has addresses although it is neither master nor leaving; zero: it has none
	reported bool
	whole    *watched // what it was a part of before this step; nil: it was no part
}

// watchOver makes the cluster tell its steps.
func watchOver(c *Cluster) *watch {
	w := &watch{c: c, slack: slackOf(c.cfg), hosts: map[*Host]*watchedHost{}}
	c.Observe, c.Exchanged = w.step, w.exchanged
	return w
}

// slackOf is what a few steps of a move take beyond what timers say.
func slackOf(cfg Config) time.Duration {
	return 3*(cfg.Kernel+cfg.KernelMore+cfg.Jitter+cfg.Network.MaxDelay) + 2*time.Millisecond
}

// host returns what is known of a host, anew for each process and configuration.
func (w *watch) host(h *Host) *watchedHost {
	x := w.hosts[h]
	if x == nil || x.node != h.node {
		x = &watchedHost{node: h.node, instances: map[string]*watched{}}
		w.hosts[h] = x
		x.configure(h.begun, w.c.now)
	}
	return x
}

// configure takes note of a configuration. What is gone from it still ends, under another name where something else has its
// name now; what comes back meanwhile goes on. It may have both names in this step: whoever woke late looks who is master before it is
// renamed.
func (x *watchedHost) configure(cfg node.Config, at time.Time) {
	x.cfg, x.stirred = cfg, true
	lives := map[string]*watched{}
	for k := range cfg.Instances {
		lives[cfg.Instances[k].Name] = x.predecessor(&cfg.Instances[k])
	}
	for _, i := range x.instances {
		i.cfg = nil
	}
	for k := range cfg.Instances {
		i := &cfg.Instances[k]
		if was := x.instances[i.Name]; was != nil && was != lives[i.Name] && !was.ended {
			was.name = x.spareName(fmt.Sprintf("%s/%d", i.Name, was.last.VRID))
			x.instances[was.name] = was
		}
	}
	for k := range cfg.Instances {
		i := &cfg.Instances[k]
		now := lives[i.Name]
		switch {
		case now == nil:
			now = &watched{state: node.Init, told: node.Init}
		case now.name != i.Name:
			now.told, now.renamed = node.Init, true
			x.former = append(x.former, now.name)
		}
		x.part(now.last, i, now)
		if now.last != nil && slices.ContainsFunc(i.Families(), func(f vrrp.Family) bool { return !slices.Contains(now.last.Families(), f) }) {
			now.widened = at
		}
		now.name, now.cfg, now.last = i.Name, i, i
		now.patience = max(now.patience, deadInterval(i))
		x.instances[i.Name] = now
	}
}

// part takes note that an instance goes on without a family, which ends as an instance of its own.
func (x *watchedHost) part(was, is *node.Instance, from *watched) {
	if was == nil {
		return
	}
	for _, f := range was.Families() {
		if slices.Contains(is.Families(), f) {
			continue
		}
		i, left := *from, *was
		left.Addresses = slices.DeleteFunc(slices.Clone(was.Addresses), func(a node.Address) bool { return vrrp.FamilyOf(a.IP) != f })
		i.name, i.cfg, i.last, i.told, i.whole = x.spareName(was.Name+"/"+f.String()), nil, &left, node.Stopped, from
		x.instances[i.name] = &i
	}
}

// predecessor finds what a configured instance goes on with, if there is anything.
func (x *watchedHost) predecessor(cfg *node.Instance) *watched {
	if i := x.instances[cfg.Name]; i != nil && !i.ended && i.continuedBy(cfg) {
		return i
	}
	for _, name := range slices.Sorted(maps.Keys(x.instances)) {
		if i := x.instances[name]; !i.ended && i.cfg == nil && i.last != nil && i.continuedBy(cfg) {
			return i
		}
	}
	return nil
}

// spareName makes a name that nothing has which still ends.
func (x *watchedHost) spareName(name string) string {
	spare := name
	for k := 2; x.instances[spare] != nil && !x.instances[spare].ended; k++ {
		spare = fmt.Sprintf("%s/%d", name, k)
	}
	return spare
}

// continuedBy says whether an instance is the same one under a new configuration.
func (i *watched) continuedBy(cfg *node.Instance) bool {
	families := i.last.Families()
	return i.last.VRID == cfg.VRID && slices.ContainsFunc(cfg.Families(), func(f vrrp.Family) bool { return slices.Contains(families, f) })
}

// state says where an instance of a host stands and since when.
func (w *watch) state(h *Host, instance string) (node.State, time.Time) {
	if h.node == nil {
		return "", time.Time{}
	}
	if i := w.host(h).instances[instance]; i != nil && i.cfg != nil {
		return i.state, i.since
	}
	return "", time.Time{}
}

// leaves says whether an instance is leaving that has an address, or had it before a reload.
func (x *watchedHost) leaves(ip netip.Addr) bool {
	for _, i := range x.instances {
		if i.state == node.Leaving && i.last != nil && slices.ContainsFunc(i.last.Addresses, func(a node.Address) bool { return a.IP == ip }) {
			return true
		}
	}
	return false
}

// joined says since when an instance of a host takes part; now if it does not.
func (w *watch) joined(h *Host, instance string) time.Time {
	if state, _ := w.state(h, instance); state != node.Backup && !serves(state) {
		return w.c.now
	}
	return w.host(h).instances[instance].joined
}

// step checks one step.
func (w *watch) step(h *Host, ev node.Event, actions []node.Action) {
	w.steps++
	x := w.host(h)
	switch ev := ev.(type) {
	case node.Reconfigured:
		x.configure(ev.Config, w.c.now)
	case node.Woke:
		for _, i := range x.instances {
			i.spoke, i.quit = i.spoke.Add(-ev.Gap), i.quit.Add(-ev.Gap)
		}
	case node.Heard:
		if ev.Advert.Priority == vrrp.PriorityRelease || x.fell(ev) {
			x.released(ev.Advert.VRID, w.c.now, h.now())
		}
	}
	for _, a := range actions {
		if a, ok := a.(node.Send); ok && x.instances[a.Instance] != nil {
			i := x.instances[a.Instance]
			i.before = i.state
			i.lingers = i.state == node.Backup && i.stepped && w.c.now.Sub(later(i.since, h.resumed)) <= maxLinger
		}
	}
	for _, a := range actions {
		switch a := a.(type) {
		case node.Changed:
			w.changed(h, x, a)
		case node.Notify:
			w.notified(h, x, a)
		case node.Announce:
			w.stale(h, a.Until, 500*time.Millisecond, "announcement")
		case node.SetAddresses:
			if !a.Until.IsZero() {
				w.stale(h, a.Until, 500*time.Millisecond, "renewal")
			}
		}
	}
	for k := range x.cfg.Instances {
		w.holding(h, x, x.instances[x.cfg.Instances[k].Name])
	}
	w.waking(h, x, actions)
	for _, a := range actions {
		if a, ok := a.(node.Send); ok {
			w.sent(h, x, a) // now it is known what the step made of the instance
		}
	}
}

// waking checks that a master that was silent for longer than the others wait, and for a second, does nothing before it has
// listened.
func (w *watch) waking(h *Host, x *watchedHost, actions []node.Action) {
	for _, a := range actions {
		name, speaks := "", false
		switch a := a.(type) {
		case node.Send:
			name, speaks = a.Instance, true
		case node.Announce:
			name = a.Instance
		case node.SetAddresses:
			if len(a.Addresses) == 0 {
				continue
			}
			name = a.Instance
		}
		i := x.instances[name]
		if i == nil || i.last == nil {
			continue
		}
		if i.was == node.Master && i.state == node.Master && i.late(h) {
			w.c.Fault("%s goes on with %T although it was silent for %s", h.Name, a, h.now().Sub(i.spoke))
		}
		if speaks {
			i.spoke, i.patience, i.alone = h.now(), deadInterval(i.last), false
		}
	}
	for _, i := range x.instances {
		if i.state == node.Master && alone(h, i.last) && !i.late(h) {
			i.spoke, i.alone = h.now(), true // its adverts are not seen: the last one was due by now
		}
	}
	if !x.stirred {
		return
	}
	x.stirred = false
	for _, name := range x.former {
		if x.instances[name].name != name {
			delete(x.instances, name)
		}
	}
	x.former = nil
	for _, i := range x.instances {
		i.whole = nil
		if i.was != i.state {
			i.was, i.spoke = i.state, h.now()
		}
	}
}

// late says whether a master was silent for so long that it must look first.
func (i *watched) late(h *Host) bool {
	silent := h.now().Sub(i.spoke)
	return silent > i.patience && silent >= time.Second
}

// deadInterval is how long others wait for the next advert of an instance.
func deadInterval(i *node.Instance) time.Duration { return time.Duration(i.DeadAdverts) * i.Interval }

// fell says whether an advert says less than its sender's before: a successor that falls before it was seen to serve may have given way
// again.
func (x *watchedHost) fell(ev node.Heard) bool {
	who := saying{ev.From, ev.Advert.VRID}
	before := x.said[who]
	if x.said == nil {
		x.said = map[saying]uint8{}
	}
	x.said[who] = ev.Advert.Priority
	return ev.Advert.Priority < before
}

// saying is whose adverts.
type saying struct {
	from netip.Addr
	vrid uint8
}

// released takes note of a priority 0, or of a successor that fell.
func (x *watchedHost) released(vrid uint8, now, own time.Time) {
	for k := range x.cfg.Instances {
		if i := &x.cfg.Instances[k]; i.VRID == vrid || len(x.cfg.Groups) > 0 { // in a group it counts for all
			x.instances[i.Name].gaveUp, x.instances[i.Name].quit = now, own
		}
	}
}

// changed checks that the lines of the log connect.
func (w *watch) changed(h *Host, x *watchedHost, a node.Changed) {
	i := x.instances[a.Instance]
	if i == nil || i.ended && i.cfg == nil { // the rest of an instance, which has another name
		i = &watched{name: a.Instance, state: a.From}
		x.instances[a.Instance] = i
	}
	x.stirred = true
	if i.renamed && a.From == node.Init && a.To == i.state {
		i.renamed = false
		return // the first line of that name, or the first since another had it
	}
	if a.From != i.state || a.From == a.To {
		w.c.Fault("%s changes from %s to %s, but was %s", h.Name, a.From, a.To, i.state)
	}
	if a.Why == "" {
		w.c.Fault("%s changes from %s to %s without a reason", h.Name, a.From, a.To)
	}
	if !serves(i.state) && i.state != node.Backup {
		i.joined = w.c.now
	}
	if a.To == node.Init {
		i.was = a.To // it begins anew: it joins a group, and does not go on
	}
	i.stepped, i.relapsed = serves(i.state), h.now().Sub(i.quit) <= maxLinger
	i.state, i.since, i.idle = a.To, w.c.now, time.Time{} // each state has its own bound
	i.ended = a.To == node.Stopped
	if serves(a.From) && (a.To == node.Backup || a.To == node.Fault && strings.Contains(a.Why, "woke late")) {
		x.takeAlong(i)
	}
	if a.Quiet {
		w.quiet++
	} else {
		w.changes++
		if a.To == node.Master {
			w.masters++
		}
	}
	if w.moved != nil {
		w.moved(h, a.Instance)
	}
}

// takeAlong has the families with which an instance parts in this step step down with it. A reload that finds a master who woke late has
// it look who is master first, and part with a family then: of the family nothing is told but its end. Later in that step no master
// becomes backup. One that was handing over for a fault has that then.
func (x *watchedHost) takeAlong(whole *watched) {
	for _, i := range x.instances {
		if i.whole == whole {
			i.state, i.since, i.idle, i.stepped, i.relapsed = whole.state, whole.since, whole.idle, whole.stepped, whole.relapsed
		}
	}
}

// notified checks that the hooks hear each state once, and connected.
func (w *watch) notified(h *Host, x *watchedHost, a node.Notify) {
	if a.Instance == "" {
		return // a group's own
	}
	i := x.instances[a.Instance]
	if i == nil {
		w.c.Fault("%s tells the hooks %s of %q, which nobody configured", h.Name, a.State, a.Instance)
		return
	}
	if a.State == node.Contended {
		if i.state != node.Master || a.Previous != node.Master {
			w.c.Fault("%s tells the hooks of a contention in state %s", h.Name, i.state)
		}
		return
	}
	if a.Reassert && a.State == i.told && a.Previous == i.told {
		return // a contention is over: once more
	}
	if a.Previous != i.told || a.State == i.told {
		w.c.Fault("%s tells the hooks %s after %s, but told %s before", h.Name, a.State, a.Previous, i.told)
	}
	if a.State == node.Master && i.cfg != nil && !i.has(h, len(i.cfg.Addresses)-i.untold(h)) {
		w.c.Fault("%s tells the hooks master without its addresses", h.Name)
	}
	i.told = a.State
}

// has says whether the host has at least so many of the instance's addresses. What is left of another one may have the same.
func (i *watched) has(h *Host, atLeast int) bool {
	n := 0
	for _, a := range i.last.Addresses {
		if l := h.kernel.addrs[a.IP]; l != nil && l.of(i.name) {
			n++
		}
	}
	return n >= atLeast
}

// untold is how many of the instance's addresses something else deleted while the host stood still, after the kernel's word that they are
// there: no process can know before it hears of it, which it does next, and sets them again. Of a lease that ran out it can.
func (i *watched) untold(h *Host) (n int) {
	for _, a := range i.last.Addresses {
		if h.kernel.untold[a.IP] {
			n++
		}
	}
	return n
}

// holding checks that a host has addresses only as master or leaving, and while it lingers. A successor that gave up
// does not count.
func (w *watch) holding(h *Host, x *watchedHost, i *watched) {
	kept := h.cleaning && i.ended || i.state == node.Init && h.Unresolved() // for the daemon that is started next, which looks its peers up first
	if len(h.kernel.addrs) == 0 || serves(i.state) || kept || h.paused || h.Lag > 0 || !i.has(h, 1) {
		i.idle, i.reported = time.Time{}, false
		return
	}
	if i.idle.IsZero() {
		i.idle = w.c.now
	}
	if h.kernel.busy {
		return // the kernel is at it
	}
	if i.idle.Before(h.resumed) {
		i.idle = h.resumed // a process that is stopped removes nothing
	}
	slowest := *i.cfg
	if len(x.cfg.Groups) > 0 { // it waits for the timers of all
		slowest = slowestOf(x.cfg.Instances)
	}
	gaveUp, from := i.relapsed || !i.gaveUp.Before(i.since.Add(-maxLinger)), i.idle
	if gaveUp {
		from = later(from, i.gaveUp)      // it may have been heard once more, and given up once more: in a storm all comes late
		from = later(from, x.complete(i)) // who came meanwhile listens first
	}
	if held := w.c.now.Sub(from); held > boundsOf(slowest, 0, w.slack).holds(i.state, gaveUp) && !i.reported {
		i.reported = true
		w.c.Fault("%s has its addresses for %s in state %s", h.Name, held, i.state)
	}
}

// complete says when the last one came whose timer an instance waits for: another instance of its group, or a family that a reload brought.
func (x *watchedHost) complete(i *watched) (at time.Time) {
	at = i.widened
	if len(x.cfg.Groups) == 0 {
		return at
	}
	for k := range x.cfg.Instances {
		other := x.instances[x.cfg.Instances[k].Name]
		at = later(at, later(other.joined, other.widened))
	}
	return at
}

// slowestOf is the instance whose timers are the longest.
func slowestOf(instances []node.Instance) node.Instance {
	return slices.MaxFunc(instances, func(a, b node.Instance) int { return int(boundsOf(a, 0, 0).down - boundsOf(b, 0, 0).down) })
}

// reset begins to count changes anew.
func (w *watch) reset() { w.changes, w.quiet, w.steps, w.masters = 0, 0, 0, 0 }
