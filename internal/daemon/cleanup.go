package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of a cleanup.
const (
	// cleanupBound is what a cleanup may take in all: two waits for a successor, and something for the links.
	cleanupBound = 15 * time.Second
	// extension is how long the addresses stay while it is at work.
	extension = cleanupBound + 2*time.Second
)

// Cleanup hands over what a daemon that died still holds. Where nothing is left it sends nothing. It returns what it did,
// in words. The caller has the lock of the runtime directory, and a daemon HasRun with it, or All is wanted.
func Cleanup(ctx context.Context, o Options) (string, error) {
	saved, err := loadInstances(o.RuntimeDir)
	if err != nil {
		return "", fmt.Errorf("which instances the daemon ran: %w", err)
	}
	d := newDaemon(&config.Config{Node: saved.Name, Instances: saved.Instances, Groups: saved.Groups}, o)
	defer d.close()
	for _, open := range []func(*config.Config) error{d.rights, d.openKernel} {
		if err := open(d.cfg.Load()); err != nil {
			return "", err
		}
	}
	d.remembered, err = d.memory.load()
	if err != nil {
		d.log.Warn("what authentication remembered is lost", "error", err)
	}
	speaking := d.withSecrets(saved.Instances)
	held, err := d.remains(speaking)
	if err != nil || len(held) == 0 {
		if len(speaking) < len(saved.Instances) {
			return "addresses that were left behind are released; without keys nothing could be said to the other hosts", err
		}
		return "no address was left behind", err
	}
	left, err := d.relinquish(ctx, held)
	if err != nil || len(left) == 0 {
		return "every address that was left behind has gone to another host", err
	}
	u := unclaimed{Until: time.Now().Add(unclaimedFor), Instances: left}
	if err := writeJSON(filepath.Join(o.RuntimeDir, unclaimedFile), u); err != nil {
		return "", err
	}
	return fmt.Sprintf("nobody took %v: the addresses stay for %s", left, unclaimedFor), nil
}

// withSecrets reads the keys again, which the list of instances does not hold. An instance whose keys cannot be had must not
// speak: its addresses are released without a word.
func (d *Daemon) withSecrets(known []node.Instance) []node.Instance {
	return slices.DeleteFunc(slices.Clone(known), func(i node.Instance) bool {
		if i.Auth == nil {
			return false
		}
		err := config.ReadSecrets(i.Auth)
		if err == nil && i.Auth.Silent() {
			err = vrrp.ErrNoKey
		}
		if err != nil {
			d.log.Warn("its addresses are released, and not handed over", "instance", i.Name, "error", err)
		}
		return err != nil
	})
}

// strange says of an address that only the kernel's tag shows to be an understudy's whether it may be another one's: no
// instance that this one knows has it.
func (d *Daemon) strange(h linux.Held) bool { return !d.opts.All && h.Owner == "" && !d.virtual(h.IP) }

// remains finds the instances whose addresses the kernel still has; what belongs to none of them is removed.
func (d *Daemon) remains(known []node.Instance) ([]node.Instance, error) {
	var owners []string
	_, err := d.kernel.Sweep(func(h linux.Held) bool {
		if d.strange(h) {
			return true
		}
		owners = append(owners, h.Owner)
		return slices.ContainsFunc(known, func(i node.Instance) bool { return i.Name == h.Owner && i.Interface == h.Base() })
	})
	if err != nil {
		return nil, fmt.Errorf("look for addresses of the dead daemon: %w", err)
	}
	var held []node.Instance
	for _, i := range known {
		if slices.Contains(owners, i.Name) {
			held = append(held, i)
		}
	}
	return held, nil
}

// relinquish adopts the instances and leaves them at once, as a daemon that stops would. It returns those that nobody
// relieved.
func (d *Daemon) relinquish(ctx context.Context, held []node.Instance) ([]string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cleanupBound, fmt.Errorf("cleanup takes longer than %s", cleanupBound))
	defer cancel()
	for k := range held {
		held[k].Checks = nil // their verdicts died with the daemon
		w := linux.Want{Owner: held[k].Name, Interface: held[k].Interface, Lifetime: extension}
		for _, a := range append(slices.Clone(held[k].Addresses), held[k].Unadvertised...) {
			if there, err := d.kernel.Present(deviceOf(w.Interface, virtualMAC(held[k]), a.IP), a.IP); err == nil && there {
				w.Addresses = append(w.Addresses, linux.Address{
					IP: a.IP, Network: a.Network, Device: macvlanOf(w.Owner, w.Interface, virtualMAC(held[k]), vrrp.FamilyOf(a.IP)),
				})
			}
		}
		for _, failed := range d.kernel.Set(w) {
			d.log.Warn("keep an address until somebody has it", "error", failed)
		}
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
	_ = d.loop(ctx, work) // has logged what broke
	close(d.ended)
	d.addresses.drain(ctx)
	end()
	tasks.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return d.staying(held)
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

// staying lists the instances that still have an address here.
func (d *Daemon) staying(held []node.Instance) ([]string, error) {
	var names []string
	for _, i := range held {
		for _, a := range append(slices.Clone(i.Addresses), i.Unadvertised...) {
			there, err := d.kernel.Present(deviceOf(i.Interface, virtualMAC(i), a.IP), a.IP)
			if err != nil {
				return nil, err
			}
			if there && !slices.Contains(names, i.Name) {
				names = append(names, i.Name)
			}
		}
	}
	return names, nil
}
