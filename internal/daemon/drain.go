package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// parted is how a drain ended for an instance.
type parted int

const (
	waits    parted = iota // it has not ended yet
	moved                  // another host has taken over
	kept                   // this host serves on, because nobody took over
	unheard                // it has let go, and listens: nobody is known to have taken over yet
	orphaned               // it has let go, and nobody is known to have taken over
	dead                   // it is leaving since what serves has ended
	removed                // it has let go, and a reload has removed it
)

// Bounds of a drain.
const (
	// partedPoll is how often it looks whether what serves still runs, and who is heard: what changes nothing else publishes nothing.
	partedPoll = 20 * time.Millisecond
	// unheardBound is how long it waits for word of another host where this one has let go without: within an interval and 100 ms it
	// hears one, or serves again. Nothing is served here meanwhile, so that little is lost with an interval that is longer.
	unheardBound = 1500 * time.Millisecond
)

// Drain yields every instance, and waits until each has left or turned out to be nobody else's.
func (d *Daemon) Drain(ctx context.Context, name string) (node.Drained, error) {
	before, save, err := d.steerDrain(ctx, node.Drain{Who: name, On: true})
	var out node.Drained
	if err == nil {
		d.log.Info("drained", "name", name)
		out, err = d.partAll(ctx, before)
	}
	if err := save.result(); err != nil {
		out.Unsaved = err.Error()
		d.log.Error("the drain will not outlive this daemon", "name", name, "error", err)
	}
	return out, err
}

// Undrain lifts a drain.
func (d *Daemon) Undrain(ctx context.Context, name string) error {
	_, save, err := d.steerDrain(ctx, node.Drain{Who: name})
	if err == nil {
		d.log.Info("undrained", "name", name)
	}
	saveErr := save.result()
	if saveErr != nil {
		d.log.Error("the drain comes back with the next start", "name", name, "error", saveErr)
	}
	return cmp.Or(err, saveErr)
}

// partAll waits for the end of a drain, for each instance that had its addresses before.
func (d *Daemon) partAll(ctx context.Context, before *node.Status) (out node.Drained, err error) {
	for _, was := range before.Instances {
		if !was.Holding {
			continue
		}
		how, words, err := d.part(ctx, &was)
		if err != nil {
			return out, fmt.Errorf("wait for %s to be taken over: %w", was.Name, err)
		}
		switch how {
		case moved:
			out.Moved = append(out.Moved, was.Name)
			out.To = with(out.To, was.Name, words)
		case kept:
			out.Kept = append(out.Kept, was.Name)
		case orphaned:
			out.Dropped = append(out.Dropped, was.Name)
			out.Why = with(out.Why, was.Name, words)
			d.log.Warn("drained, and nobody was heard to take over", "instance", was.Name, "why", words)
		case dead:
			out.Dead = append(out.Dead, was.Name)
		case removed:
			out.Removed = append(out.Removed, was.Name)
		}
	}
	return out, nil
}

// with adds a word to words that there may be none of yet.
func with(words map[string]string, name, word string) map[string]string {
	if words == nil {
		words = map[string]string{}
	}
	words[name] = word
	return words
}

// part waits until another host has taken an instance over, or this one serves on because none did, or has let go all the same, or
// serves nothing: who drains is then on the way to start what ended, and must not be kept from it for as long as others may come. It
// says who has it, or why it was let go of.
func (d *Daemon) part(ctx context.Context, was *node.InstanceStatus) (how parted, words string, err error) {
	poll := time.NewTicker(partedPoll)
	defer poll.Stop()
	var late <-chan time.Time
	for {
		next := *d.published.Load()
		switch how, words = d.outcome(d.snapshot.Load(), was); how {
		case waits:
			late = nil
		case unheard:
			if late == nil {
				late = time.After(unheardBound)
			}
		default:
			return how, words, nil
		}
		select {
		case <-next:
		case <-poll.C:
			if late != nil {
				_, _ = d.steer(ctx, nil) // for a snapshot: an advert that is heard makes none
			}
		case <-late:
			return orphaned, words, nil
		case <-d.ended:
			return waits, "", errStopping
		case <-ctx.Done():
			return waits, "", ctx.Err()
		}
	}
}

// outcome is how the drain of an instance has ended, as far as it has, and who has it now, or why this host let go. A reload may give
// its addresses to another instance of this host meanwhile, one of another name or VRID: as long as this host has them, nobody took over.
func (d *Daemon) outcome(s *node.Status, was *node.InstanceStatus) (how parted, words string) {
	isIt := func(i node.InstanceStatus) bool { return i.Name == was.Name }
	at := slices.IndexFunc(s.Instances, func(i node.InstanceStatus) bool {
		return i.Holding && (isIt(i) || i.Interface == was.Interface && slices.ContainsFunc(i.Addresses, func(ip netip.Addr) bool {
			return slices.Contains(was.Addresses, ip)
		}))
	})
	if at >= 0 {
		switch state := s.Instances[at].State; {
		case state == node.Master:
			return kept, ""
		case state == node.Leaving && d.lifeless(was, s.Instances):
			return dead, ""
		}
		return waits, ""
	}
	at = slices.IndexFunc(s.Instances, isIt)
	if at < 0 {
		return removed, ""
	}
	return gone(&s.Instances[at])
}

// gone is what is known of an instance that this host has no longer.
func gone(i *node.InstanceStatus) (how parted, words string) {
	if i.LetGo.To != "" {
		return moved, i.LetGo.To
	}
	for _, r := range i.Routers {
		if r.PeerPrio != vrrp.PriorityRelease && !r.Heard.IsZero() && !r.Heard.Before(i.LetGo.At) {
			return moved, r.Peer.String()
		}
	}
	words = fmt.Sprintf("%s: %s", i.State, i.Why)
	if i.State == node.Fault || i.State == node.Stopped {
		return orphaned, words // it hears nobody any more
	}
	return unheard, words
}

// lifeless says whether a process has ended without which the instance, or one of its group, may not be master. Another check that
// fails says less: a page that is wrong is served, and a connection that comes meanwhile would be lost.
func (d *Daemon) lifeless(instance *node.InstanceStatus, all []node.InstanceStatus) bool {
	cfg := d.cfg.Load()
	shares := func(name string) bool {
		return name == instance.Name || instance.Group != "" && slices.ContainsFunc(all, func(i node.InstanceStatus) bool {
			return i.Name == name && i.Group == instance.Group
		})
	}
	for _, c := range cfg.Checks {
		last, known := d.monitors.results.Load(c.Name)
		if c.Kind != "process" || !known || last.(checks.Result).Healthy || c.Effect.OnFailure == node.Weigh {
			continue
		}
		if slices.ContainsFunc(cfg.Instances, func(i node.Instance) bool {
			_, applies := i.Checks[c.Name]
			return applies && shares(i.Name)
		}) {
			return true
		}
	}
	return false
}
