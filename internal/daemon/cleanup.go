package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// cleanupBound is what a cleanup may take in all, whatever hangs: lastHandover, and the release of what is left after that. The unit's
// TimeoutStopSec is longer.
const cleanupBound = lastHandover + 3*time.Second

// errKernelHangs says that the kernel does not come back from a request about addresses.
var errKernelHangs = errors.New("the kernel does not answer")

// stays is what a cleanup leaves that cannot release.
const stays = "addresses that are left stay until their lease ends, or until a daemon is started"

// Cleanup hands over what a daemon that died still holds. Where nothing is left it sends nothing. It returns what it did,
// in words. The caller has the lock of the runtime directory, and a daemon HasRun with it, or All is wanted.
//
// Where it fails, and where ctx ends, it releases what is left. Killed, it leaves that for a lease of 2 s, as a daemon does.
func Cleanup(ctx context.Context, o Options) (string, error) {
	until := time.Now().Add(cleanupBound)
	ctx, cancel := context.WithTimeoutCause(ctx, lastHandover, fmt.Errorf("the handover has not ended within %s", lastHandover))
	defer cancel()
	saved, unknown := loadInstances(o.RuntimeDir)
	d := newDaemon(&config.Config{Node: saved.Name, Instances: saved.Instances, Groups: saved.Groups}, o)
	d.until = until
	var done string
	var err error
	whole := inTime(time.Until(until), func() {
		if done, err = d.cleanUp(ctx, saved.Instances, unknown); err != nil {
			err = d.letGo(err)
		}
		if !errors.Is(err, errKernelHangs) { // else it is in use still, until the process ends
			d.groups.clear()
			d.close()
		}
	})
	if !whole {
		return "", fmt.Errorf("it has not ended within %s; %s", cleanupBound, stays)
	}
	return done, err
}

// cleanUp does it. What to say to the other hosts is not known if the list of instances could not be read.
func (d *Daemon) cleanUp(ctx context.Context, known []node.Instance, unknown error) (string, error) {
	for _, open := range []func(*config.Config) error{d.rights, d.lockInstances, d.openAddresses, d.openKernel} {
		if err := open(d.cfg.Load()); err != nil {
			return "", err
		}
	}
	if unknown != nil {
		return "", fmt.Errorf("which instances the daemon ran: %w", unknown)
	}
	var err error
	if d.remembered, err = d.memory.load(); err != nil {
		d.log.Warn("what authentication remembered is lost", "error", err)
	}
	d.recalled = d.names.recall()
	known = slices.DeleteFunc(slices.Clone(known), func(i node.Instance) bool { return d.bars.othersRun(&i) }) // it is not dead
	speaking, mute := d.withSecrets(known)
	if d.left, err = d.remains(speaking); err != nil {
		return "", err
	}
	held := slices.DeleteFunc(slices.Clone(speaking), func(i node.Instance) bool { return len(d.left[i.Name]) == 0 })
	switch {
	case len(held) == 0 && len(mute) > 0:
		return "addresses that were left behind are released, and nothing could be said to the other hosts: " + strings.Join(mute, "; "), nil
	case len(held) == 0:
		return "no address was left behind", nil
	}
	if err := d.relinquish(ctx, held); err != nil {
		return "", err
	}
	stay, err := d.remains(held)
	if err != nil || len(stay) == 0 {
		return "every address that was left behind has gone to another host, or with its lease, or was removed", err
	}
	u := unclaimed{Until: time.Now().Add(unclaimedFor), Instances: slices.Sorted(maps.Keys(stay))}
	if err := writeJSON(filepath.Join(d.opts.RuntimeDir, unclaimedFile), u); err != nil {
		return "", err
	}
	return fmt.Sprintf("nobody took %v: the addresses stay for %s", u.Instances, unclaimedFor), nil
}

// letGo releases what is left, because of a failure, to which it adds what came of that.
func (d *Daemon) letGo(failure error) error {
	if d.kernel == nil || errors.Is(failure, errKernelHangs) {
		return fmt.Errorf("%w; %s", failure, stays)
	}
	var released []linux.Held
	var err error
	if !inTime(d.releaseTime(), func() { released, err = d.kernel.Sweep(d.strange, d.opts.All) }) {
		return fmt.Errorf("%w; release what is left: %w; %s", failure, errKernelHangs, stays)
	}
	if err != nil {
		return fmt.Errorf("%w; release what is left: %w; %s", failure, err, stays)
	}
	var owners []string
	for _, h := range released {
		owners = append(owners, h.Owner)
	}
	slices.Sort(owners)
	if owners = slices.Compact(owners); len(owners) == 0 {
		return fmt.Errorf("%w; no address is left", failure)
	}
	return fmt.Errorf("%w; the addresses of %v are released", failure, owners)
}

// releaseTime is how long the kernel may still take.
func (d *Daemon) releaseTime() time.Duration { return min(releaseBound, time.Until(d.until)) }

// inTime waits for what asks the kernel, and says whether it came back. A request that hangs cannot be ended, so that what does
// not come back goes on until the process ends.
func inTime(most time.Duration, ask func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); ask() }()
	select {
	case <-done:
		return true
	case <-time.After(most):
		return false
	}
}

// withSecrets reads the keys again, which the list of instances does not hold. An instance whose keys cannot be had must not
// speak: its addresses are released without a word. It returns who can speak, and of the others why not.
func (d *Daemon) withSecrets(known []node.Instance) (speaking []node.Instance, mute []string) {
	for _, i := range known {
		if i.Auth != nil {
			if err := readSecrets(i.Auth); err != nil {
				d.log.Warn("its addresses are released, and not handed over", "instance", i.Name, "error", err)
				mute = append(mute, fmt.Sprintf("%s: %v", i.Name, err))
				continue
			}
		}
		speaking = append(speaking, i)
	}
	return speaking, mute
}

// strange says of an address that only the kernel's tag shows to be an understudy's whether it may be another one's: no
// instance that this one knows has it, or another daemon runs that instance.
func (d *Daemon) strange(h linux.Held) bool {
	return !d.opts.All && (h.Owner == "" && !d.virtual(h.IP) || d.othersHave(h.IP))
}

// othersHave says whether an address is one that another daemon of this host has, by itself or with the virtual router that it is in here.
func (d *Daemon) othersHave(ip netip.Addr) bool {
	return slices.ContainsFunc(d.cfg.Load().Instances, func(i node.Instance) bool {
		return slices.Contains(ipsOf(&i), ip) && (d.bars.othersRun(&i) || d.bars.isTaken(linux.Place{Interface: i.Interface, IP: ip}))
	})
}

// remains lists which addresses the kernel still has of each instance; what belongs to none of them is removed.
func (d *Daemon) remains(known []node.Instance) (map[string][]netip.Addr, error) {
	on, left := map[string]string{}, map[string][]netip.Addr{}
	for _, i := range known {
		on[i.Name] = i.Interface
	}
	_, err := d.kernel.Sweep(func(h linux.Held) bool {
		if d.strange(h) {
			return true
		}
		if on[h.Owner] != h.Base() {
			return false
		}
		left[h.Owner] = append(left[h.Owner], h.IP)
		return true
	}, d.opts.All)
	if err != nil && len(left) == 0 {
		return nil, fmt.Errorf("look for addresses of the dead daemon: %w", err)
	}
	if err != nil { // that is no reason not to hand over the rest
		d.log.Error("something that the dead daemon left cannot be removed", "error", err)
	}
	return left, nil
}

// relinquish adopts the instances and leaves them at once, as a daemon that stops would.
func (d *Daemon) relinquish(ctx context.Context, held []node.Instance) error {
	for k := range held {
		held[k].Checks = nil // their verdicts died with the daemon
		d.adopt = append(d.adopt, held[k].Name)
	}
	d.cfg.Store(&config.Config{Node: d.cfg.Load().Node, Instances: held, Groups: groupsOf(d.cfg.Load().Groups, held)})
	d.unclaimed = unclaimedFor
	d.notifier = notify.New(nil, d.hookEnded)

	work, end := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	for _, task := range []func(context.Context) error{d.timer.Run, d.addresses.run, d.announcer.run, d.runPorts, d.names.run} {
		tasks.Go(func() {
			if err := task(work); err != nil && work.Err() == nil {
				d.broke(err)
			}
		})
	}
	failure := d.loop(ctx, work)
	close(d.ended)
	d.addresses.drain(ctx)
	end()
	if !inTime(d.releaseTime(), tasks.Wait) {
		return errKernelHangs
	}
	return cmp.Or(failure, context.Cause(ctx))
}

// groupsOf are the groups as far as they are of these instances.
func groupsOf(all []node.Group, held []node.Instance) (groups []node.Group) {
	for _, g := range all {
		names := slices.DeleteFunc(slices.Clone(g.Instances), func(name string) bool {
			return !slices.ContainsFunc(held, func(i node.Instance) bool { return i.Name == name })
		})
		if len(names) > 0 {
			groups = append(groups, node.Group{Name: g.Name, Instances: names})
		}
	}
	return groups
}
