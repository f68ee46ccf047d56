package sim

import (
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// maxLinger is how long an old holder serves at most although another host is master (DESIGN.md section 4, Handover).
const maxLinger = 250 * time.Millisecond

// watch looks at every step of every node for what may never happen.
type watch struct {
	c     *Cluster
	slack time.Duration // what the kernel and the clock's jitter need
	hosts map[string]*watched
	steps int
	// changes are the lines that are worth a person's eye, since the last reset.
	changes int
	quiet   int
}

// watched is one host's.
type watched struct {
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
		w.hosts[h.Name] = &watched{}
	}
	c.Observe = w.step
	return w
}

// step checks one step.
func (w *watch) step(h *Host, ev node.Event, actions []node.Action) {
	w.steps++
	x := w.hosts[h.Name]
	if x.node != h.node {
		*x = watched{node: h.node, state: node.Init, told: node.Init}
	}
	if heard, ok := ev.(node.Heard); ok && heard.Advert.Priority == vrrp.PriorityRelease {
		x.gaveUp = w.c.now
	}
	before, sent := x.state, false
	defer func() {
		if x.state != before {
			x.idle = time.Time{} // each state has its own bound
		}
		w.holding(h, x)
	}()
	for _, a := range actions {
		switch a := a.(type) {
		case node.Changed:
			w.changed(h, x, a)
		case node.Notify:
			w.notified(h, x, a)
		case node.Send:
			sent = true
		}
	}
	if sent && !serves(before) && !serves(x.state) {
		w.c.Fault("%s sends an advert in state %s", h.Name, x.state)
	}
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
	if a.Quiet {
		w.quiet++
	} else {
		w.changes++
	}
}

// notified checks that the hooks hear each state once, and connected.
func (w *watch) notified(h *Host, x *watched, a node.Notify) {
	if a.State == x.told || a.Previous != x.told {
		w.c.Fault("%s tells the hooks %s after %s, but told %s before", h.Name, a.State, a.Previous, x.told)
	}
	if a.State == node.Master && !w.hasAll(h) {
		w.c.Fault("%s tells the hooks master without its addresses", h.Name)
	}
	x.told = a.State
}

func (w *watch) hasAll(h *Host) bool {
	for _, ip := range h.addresses() {
		if !h.Has(ip) {
			return false
		}
	}
	return true
}

// holding checks that a host has addresses only as master or leaving, and while it lingers. A successor that gave up
// does not count: a backup whose successor said priority 0 goes on holding until its own timer decides, which is a last
// resort's Master_Down_Interval and probe at most.
func (w *watch) holding(h *Host, x *watched) {
	has := false
	for _, ip := range h.addresses() {
		has = has || h.Has(ip)
	}
	if !has || serves(x.state) || h.paused {
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
			bound += lastResort(h.cfg.Instances[0]) + maxLinger
		}
	}
	if held := w.c.now.Sub(x.idle); held > bound && !x.reported {
		x.reported = true
		w.c.Fault("%s has its addresses for %s in state %s", h.Name, held, x.state)
	}
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
