package sim

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// maxLinger is how long an old holder serves at most although another host is master (DESIGN.md section 4, Handover).
const maxLinger = 250 * time.Millisecond

// watch looks at every step of every node for what may never happen.
type watch struct {
	c     *Cluster
	slack time.Duration       // what the kernel and the clock's jitter need
	hosts map[string]*watched // by host and instance
	steps int
	// changes are the lines that are worth a person's eye, since the last reset.
	changes int
	quiet   int
}

// watched is one instance of one host.
type watched struct {
	cfg      node.Instance
	node     *node.Node // the process that the rest is about
	state    node.State
	told     node.State
	gaveUp   time.Time // another host sent priority 0
	idle     time.Time // since when the host has addresses although it is neither master nor leaving; zero: it has none
	reported bool
}

// watchOver makes the cluster tell its steps.
func watchOver(c *Cluster) *watch {
	w := &watch{c: c, slack: c.cfg.Kernel + c.cfg.Jitter + time.Millisecond, hosts: map[string]*watched{}}
	for _, h := range c.hosts {
		for _, i := range h.cfg.Instances {
			w.hosts[h.Name+"/"+i.Name] = &watched{cfg: i}
		}
	}
	c.Observe = w.step
	return w
}

// step checks one step.
func (w *watch) step(h *Host, ev node.Event, actions []node.Action) {
	w.steps++
	for _, i := range w.c.cfg.Hosts[slices.Index(w.c.hosts, h)].Instances {
		w.instance(h, w.hosts[h.Name+"/"+i.Name], ev, actions)
	}
}

// instance checks what a step means for one instance.
func (w *watch) instance(h *Host, x *watched, ev node.Event, actions []node.Action) {
	if x.node != h.node {
		*x = watched{cfg: x.cfg, node: h.node, state: node.Init, told: node.Init}
	}
	if heard, ok := ev.(node.Heard); ok && heard.Advert.Priority == vrrp.PriorityRelease &&
		(heard.Advert.VRID == x.cfg.VRID || len(h.cfg.Groups) > 0) {
		x.gaveUp = w.c.now
	}
	before, sent := x.state, false
	for _, a := range actions {
		switch a := a.(type) {
		case node.Changed:
			if a.Instance == x.cfg.Name {
				w.changed(h, x, a)
			}
		case node.Notify:
			if a.Instance == x.cfg.Name {
				w.notified(h, x, a)
			}
		case node.Send:
			sent = sent || a.Instance == x.cfg.Name
		}
	}
	// A backup says that it stepped down while it still holds the addresses (the linger).
	if sent && !serves(before) && !serves(x.state) && !(x.state == node.Backup && x.has(h, 1)) {
		w.c.Fault("%s sends an advert in state %s", h.Name, x.state)
	}
	if x.state != before {
		x.idle = time.Time{} // each state has its own bound
	}
	w.holding(h, x)
}

// serves says whether a host in that state may have the addresses for good.
func serves(s node.State) bool { return s == node.Master || s == node.Leaving }

// changed checks that the lines of the log connect.
func (w *watch) changed(h *Host, x *watched, a node.Changed) {
	if a.From != x.state || a.From == a.To {
		w.c.Fault("%s changes from %s to %s, but was %s", h.Name, a.From, a.To, x.state)
	}
	if a.Why == "" {
		w.c.Fault("%s changes from %s to %s without a reason", h.Name, a.From, a.To)
	}
	x.state = a.To
	if a.To == node.Stopped { // a reload that has the instance again begins anew
		x.state = node.Init
	}
	if a.Quiet {
		w.quiet++
	} else {
		w.changes++
	}
}

// notified checks that the hooks hear each state once, and connected.
func (w *watch) notified(h *Host, x *watched, a node.Notify) {
	if a.State == node.Contended {
		if x.state != node.Master || a.Previous != node.Master {
			w.c.Fault("%s tells the hooks of a contention in state %s", h.Name, x.state)
		}
		return
	}
	if a.Reassert && a.State == x.told && a.Previous == x.told {
		return // a contention is over: once more
	}
	if a.Previous != x.told || a.State == x.told {
		w.c.Fault("%s tells the hooks %s after %s, but told %s before", h.Name, a.State, a.Previous, x.told)
	}
	if a.State == node.Master && !x.has(h, len(x.cfg.Addresses)) {
		w.c.Fault("%s tells the hooks master without its addresses", h.Name)
	}
	x.told = a.State
	if a.State == node.Stopped {
		x.told = node.Init
	}
}

// has says whether the host has at least so many of the instance's addresses.
func (x *watched) has(h *Host, atLeast int) bool {
	n := 0
	for _, a := range x.cfg.Addresses {
		if h.Has(a.IP) {
			n++
		}
	}
	return n >= atLeast
}

// holding checks that a host has addresses only as master or leaving, and while it lingers. A successor that gave up
// does not count: a backup whose successor said priority 0 goes on holding until its own timer decides, which is a last
// resort's Master_Down_Interval and probe at most.
func (w *watch) holding(h *Host, x *watched) {
	if !x.has(h, 1) || serves(x.state) || h.paused {
		x.idle, x.reported = time.Time{}, false
		return
	}
	if x.idle.IsZero() {
		x.idle = w.c.now
	}
	if x.idle.Before(h.resumed) {
		x.idle = h.resumed // a process that is stopped removes nothing
	}
	bound := w.slack
	if x.state == node.Backup {
		bound += maxLinger
		if !x.gaveUp.Before(x.idle.Add(-maxLinger)) {
			bound += slowestResort(h, x.cfg) + maxLinger
		}
	}
	if held := w.c.now.Sub(x.idle); held > bound && !x.reported {
		x.reported = true
		w.c.Fault("%s has its addresses for %s in state %s", h.Name, held, x.state)
	}
}

// slowestResort is that of the instance that its group waits for.
func slowestResort(h *Host, i node.Instance) time.Duration {
	longest := lastResort(i)
	if len(h.cfg.Groups) > 0 {
		for _, other := range h.cfg.Instances {
			longest = max(longest, lastResort(other))
		}
	}
	return longest
}

// lastResort is how long an unhealthy backup waits at most: Master_Down_Interval at priority 1, and the probe.
func lastResort(i node.Instance) time.Duration {
	return max(masterDown(i), i.Interval+200*time.Millisecond) + 100*time.Millisecond
}

// masterDown is the longest Master_Down_Interval that an instance can have: skew is less than one interval, in VRRPv2
// less than a second.
func masterDown(i node.Instance) time.Duration {
	skew := i.Interval
	if i.Version == vrrp.V2 {
		skew = time.Second
	}
	return time.Duration(i.DeadAdverts)*i.Interval + skew
}

// reset begins to count changes anew.
func (w *watch) reset() { w.changes, w.quiet, w.steps = 0, 0, 0 }
