package notify

import "context"

// Sealed is one queue of transitions whose hooks have not all run, for another process to go on with.
type Sealed struct {
	// Host says that it is the queue of the hooks that serve the whole host; else it is that of an instance, of a group, or of
	// the contentions of an instance, by name.
	Host, Group, Contention bool
	Name                    string
	Waiting, Current        []SealedTransition
	Left                    []string // the hooks still to be considered for Current
}

// SealedTransition is a transition that waits.
type SealedTransition struct {
	Transition
	Skipped int
}

// Hold begins no hook any more until Resume or Stop, and waits until none runs. An error says that ctx ended first; the hooks
// are held all the same.
func (n *Notifier) Hold(ctx context.Context) error {
	n.mu.Lock()
	if n.held == nil {
		n.held = make(chan struct{})
		n.checkQuiet()
	}
	quiet := n.held
	n.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkQuiet tells Hold that nothing runs any more; mu is held.
func (n *Notifier) checkQuiet() {
	if n.held == nil {
		return
	}
	for _, l := range n.lanes {
		if l.active {
			return
		}
	}
	select {
	case <-n.held:
	default:
		close(n.held)
	}
}

// Resume begins hooks again.
func (n *Notifier) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resume()
}

func (n *Notifier) resume() {
	n.held = nil
	n.poke()
}

// Seal returns the queues. The hooks must be held.
func (n *Notifier) Seal() []Sealed {
	n.mu.Lock()
	defer n.mu.Unlock()
	var queues []Sealed
	for k, l := range n.lanes {
		queues = append(queues, Sealed{
			Host: k.host, Group: k.group, Contention: k.contention, Name: k.name,
			Waiting: sealed(l.queue.waiting), Current: sealed(l.queue.current), Left: l.queue.left,
		})
	}
	return queues
}

func sealed(from []pending) (out []SealedTransition) {
	for _, p := range from {
		out = append(out, SealedTransition{p.Transition, p.skipped})
	}
	return out
}

// Restore goes on with the queues of another process. It is called before Run and Notify.
func (n *Notifier) Restore(queues []Sealed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range queues {
		k := key{host: s.Host, subject: subject{group: s.Group, contention: s.Contention, name: s.Name}}
		n.lanes[k] = &lane{key: k, queue: queue{waiting: restored(s.Waiting), current: restored(s.Current), left: s.Left}}
	}
	n.poke()
}

func restored(from []SealedTransition) (out []pending) {
	for _, t := range from {
		out = append(out, pending{t.Transition, t.Skipped})
	}
	return out
}
