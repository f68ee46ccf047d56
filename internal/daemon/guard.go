package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// guard refuses a reload that would stop an instance which runs, since this host lacks what it would need then: a slip in the name of an
// interface, a family that it has no address for, a virtual MAC address that a setting keeps from working. With the same file on all
// hosts it would stop everywhere. What is in fault for such a reason already is no worse off, and what is new stops nothing.
func guard(o Options, from, to *config.Config, h host) error {
	changes := config.Diff(from, to)
	if i, g := changes.Instances, changes.Groups; len(i.Added)+len(i.Changed)+len(changes.Renamed)+len(g.Added)+len(g.Changed) == 0 {
		return nil
	}
	// The virtual addresses that are here now are none to send from, also where the configuration lacks them.
	now := virtualsOf(from).ips
	after, err := wouldFault(o, to, now, h)
	if err != nil || len(after) == 0 {
		return err
	}
	before, err := wouldFault(o, from, now, h)
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range to.Instances {
		if after[i.Name] == "" {
			continue
		}
		at := slices.IndexFunc(from.Instances, func(old node.Instance) bool { return before[old.Name] == "" && continues(changes, &old, &i) })
		if at >= 0 {
			errs = append(errs, fmt.Errorf("instance %q would be in fault, and what %q serves on %q would be nowhere with the same file on all hosts; first put right: %s",
				i.Name, from.Instances[at].Name, from.Instances[at].Interface, after[i.Name]))
		}
	}
	return errors.Join(errs...)
}

// wouldFault says which instances of a configuration cannot run on a host as it is now, and why.
func wouldFault(o Options, cfg *config.Config, virtual map[netip.Addr]bool, h host) (whys map[string]string, err error) {
	d := newDaemon(cfg, Options{RuntimeDir: o.RuntimeDir, Shadow: o.Shadow, Log: hclog.NewNullLogger()})
	links, err := h.look(d.wanted(), func(ip netip.Addr) bool { return virtual[ip] || d.virtual(ip) })
	if err == nil {
		whys, err = d.faults(cfg, links, h)
	}
	if err != nil {
		return nil, fmt.Errorf("look whether the instances could run: %w", err)
	}
	return whys, nil
}

// continues says whether a new instance goes on with what an old one serves: as the same virtual router, under its name elsewhere, or
// with an address of it, on the same interface or where the old one has ended.
func continues(changes config.Changes, old, new *node.Instance) bool {
	is := func(p config.Pair[node.Instance]) bool { return p.Old.Name == old.Name }
	if at := slices.IndexFunc(changes.Renamed, is); at >= 0 && changes.Renamed[at].New.Name == new.Name {
		return true
	} else if at < 0 && old.Name == new.Name {
		return true
	}
	ended := slices.ContainsFunc(changes.Instances.Removed, func(i node.Instance) bool { return i.Name == old.Name })
	return (ended || old.Interface == new.Interface) && slices.ContainsFunc(ipsOf(new), func(ip netip.Addr) bool { return slices.Contains(ipsOf(old), ip) })
}
