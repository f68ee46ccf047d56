package daemon

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// perform does what the node asks for, or gives it to the goroutine that does.
func (l *loop) perform(a node.Action) {
	switch a := a.(type) {
	case node.Send:
		l.send(a)
	case node.SetAddresses:
		l.addresses.set(a)
	case node.Announce:
		l.announcer.announce(l.ports[a.Interface], a)
	case node.Probe:
		l.announcer.probe(l.ports[a.Interface], a)
	case node.Notify:
		l.notify(a)
	case node.Changed:
		l.changed(a)
	case node.Compared:
		l.compared(a)
	case node.Warned:
		l.log.Warn(a.Why, "instance", a.Instance)
	case node.LookUp:
		l.names.ask(a.Names)
	case node.Recheck:
		l.monitors.ask(a.Checks)
	case node.Noted:
		l.log.Info(a.Why, "instance", a.Instance)
	default:
		panic(fmt.Sprintf("daemon: unhandled %T", a))
	}
}

// send writes an advert to its socket, which does not wait. One that is stale says what is no longer true.
func (l *loop) send(a node.Send) {
	if time.Now().After(a.Until) {
		return
	}
	var err error
	if p := l.ports[a.Interface]; p == nil || p.sender(a) == nil {
		err = fmt.Errorf("no VRRP socket on %q", a.Interface)
	} else {
		err = p.sender(a).Send(a.Payload, a.Source, a.Destination)
	}
	if err != nil {
		l.unsent = append(l.unsent, node.SendFailed{Instance: a.Instance, Family: a.Family, To: a.Destination, Err: err})
	}
}

// changed is the one line of a state change.
func (l *loop) changed(a node.Changed) {
	log := l.log.Info
	switch {
	case a.Quiet:
		log = l.log.Debug
	case a.To == node.Fault:
		log = l.log.Warn // this host protects nobody until it is mended
	}
	about := []any{"instance", a.Instance}
	if a.Group != "" {
		about = append(about, "group", a.Group)
	}
	what := "state changed"
	if l.opts.Shadow {
		what = "would become " + string(a.To)
	}
	log(what, append(about, "from", a.From, "to", a.To, "why", a.Why, "priority", a.Priority)...)
	if a.From == node.Master || a.From == node.Leaving {
		l.announcer.drop(a.Instance)
	}
	l.statuses[a.Instance] = string(a.To)
	l.systemd.status(l.summary())
}

// notify queues the hooks; those of `stop` wait for the release.
func (l *loop) notify(a node.Notify) {
	t := l.transition(a)
	if a.State == node.Stopped {
		l.addresses.then(func() { l.notifier.Notify(t) })
		return
	}
	l.notifier.Notify(t)
}

// transition is what the hooks are told.
func (l *loop) transition(a node.Notify) notify.Transition {
	name := a.Instance
	if name == "" {
		name = a.Group
	}
	return notify.Transition{
		Group: a.Instance == "", Instance: name, MemberOf: a.Group, State: notify.State(a.State), Previous: notify.State(a.Previous), Priority: int(a.Priority),
		Reason: a.Why, Addresses: a.Addresses, Interface: a.Interface, Node: l.cfg.Load().Node, Generation: a.Generation, At: a.At,
		Reassert: a.Reassert, Peer: a.Peer, PeerMAC: a.PeerMAC,
	}
}

// hookEnded logs a hook that ran, for whom else it did, and how many older transitions it stands for.
func (d *Daemon) hookEnded(r notify.Report) {
	d.hookRuns.add(r)
	log := d.log.Named("notify").With("hook", r.Hook, "instance", r.Instance, "state", r.Transition.State, "took", r.Took.Round(time.Millisecond))
	if len(r.Also) > 0 {
		log = log.With("also", r.Also)
	}
	if r.Skipped > 0 {
		log = log.With("skipped", r.Skipped)
	}
	if r.Err != nil {
		log.Error("hook failed", "error", r.Err, "output", r.Output)
		return
	}
	log.Debug("hook ran", "output", r.Output)
}
