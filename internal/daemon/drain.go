package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
)

// parted is how a drain ended for an instance.
type parted int

const (
	moved   parted = iota // it has let go
	kept                  // this host serves on, because nobody took over
	dead                  // it is leaving since what serves has ended
	removed               // it has let go, and a reload has removed it
)

// partedPoll is how often a drain looks whether what serves still runs: a verdict that changes nothing publishes nothing.
const partedPoll = 20 * time.Millisecond

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

// partAll waits for the end of a drain, for each instance that had its addresses before.
func (d *Daemon) partAll(ctx context.Context, before *node.Status) (out node.Drained, err error) {
	for _, was := range before.Instances {
		if !was.Holding {
			continue
		}
		how, err := d.part(ctx, &was)
		if err != nil {
			return out, fmt.Errorf("wait for %s to be taken over: %w", was.Name, err)
		}
		switch how {
		case moved:
			out.Moved = append(out.Moved, was.Name)
		case kept:
			out.Kept = append(out.Kept, was.Name)
		case dead:
			out.Dead = append(out.Dead, was.Name)
		case removed:
			out.Removed = append(out.Removed, was.Name)
		}
	}
	return out, nil
}

// part waits until an instance has let go, or serves on because nobody took over, or serves nothing: who drains is then on the way
// to start what ended, and must not be kept from it for as long as others may come.
func (d *Daemon) part(ctx context.Context, was *node.InstanceStatus) (parted, error) {
	poll := time.NewTicker(partedPoll)
	defer poll.Stop()
	for {
		next := *d.published.Load()
		if how, ok := d.outcome(d.snapshot.Load(), was); ok {
			return how, nil
		}
		select {
		case <-next:
		case <-poll.C:
		case <-d.ended:
			return 0, errStopping
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// outcome is how the drain of an instance has ended, if it has. A reload may give its addresses to another instance of this host
// meanwhile, one of another name or VRID: as long as this host has them, nobody took over.
func (d *Daemon) outcome(s *node.Status, was *node.InstanceStatus) (how parted, ok bool) {
	isIt := func(i node.InstanceStatus) bool { return i.Name == was.Name }
	at := slices.IndexFunc(s.Instances, func(i node.InstanceStatus) bool {
		return i.Holding && (isIt(i) || i.Interface == was.Interface && slices.ContainsFunc(i.Addresses, func(ip netip.Addr) bool {
			return slices.Contains(was.Addresses, ip)
		}))
	})
	switch {
	case at < 0 && !slices.ContainsFunc(s.Instances, isIt):
		return removed, true
	case at < 0:
		return moved, true
	case s.Instances[at].State == node.Master:
		return kept, true
	}
	return dead, s.Instances[at].State == node.Leaving && d.lifeless(was, s.Instances)
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
