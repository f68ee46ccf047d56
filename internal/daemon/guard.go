package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// host is what a reload has to know of this machine.
type host struct {
	hasInterface func(name string) (bool, error)
	hasSource    func(ifName string, v6 bool) (bool, error)
	hasAddress   func(ifName string, ip netip.Addr) (bool, error)
}

var thisHost = host{linux.HasInterface, linux.HasSource, linux.HasAddress}

// guard refuses a reload that would stop an instance which runs: an interface that does not exist, a family added on an interface that has no address to send
// its adverts from, or a source that it does not have. The families of an instance have one fate, so the other one would go
// too, and with the same file on all hosts everywhere.
func guard(changes config.Changes, h host) error {
	errs := guardInterfaces(changes.Instances, h)
	for _, pair := range append(slices.Clone(changes.Instances.Changed), changes.Renamed...) {
		before, sources := pair.Old.Families(), pair.New.Sources
		for _, ip := range sources {
			if slices.Contains(pair.Old.Sources, ip) {
				continue
			}
			has, err := h.hasAddress(pair.New.Interface, ip)
			if err == nil && !has {
				err = fmt.Errorf("instance %q: interface %q does not have %s, so it cannot be the source of the adverts; give it to the interface first", pair.New.Name, pair.New.Interface, ip)
			}
			errs = append(errs, err)
		}
		for _, f := range pair.New.Families() {
			if slices.Contains(before, f) || pair.New.VirtualMAC && f == vrrp.IPv6 || slices.ContainsFunc(sources, func(ip netip.Addr) bool { return vrrp.FamilyOf(ip) == f }) {
				continue
			}
			has, err := h.hasSource(pair.New.Interface, f == vrrp.IPv6)
			if err == nil && !has {
				err = fmt.Errorf("instance %q: interface %q has no %s address to send adverts from, so the addresses of that family cannot be added; give it one first", pair.New.Name, pair.New.Interface, source(f))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// guardInterfaces refuses to move what an instance serves to an interface that does not exist: a slip in its name would take the
// addresses from every host that reads the file. An instance for an interface that is yet to come is no such move.
func guardInterfaces(instances config.Delta[node.Instance], h host) (errs []error) {
	for _, new := range instances.Added {
		at := slices.IndexFunc(instances.Removed, func(old node.Instance) bool {
			return old.Interface != new.Interface && (old.Name == new.Name || slices.ContainsFunc(new.Addresses, func(a node.Address) bool {
				return slices.ContainsFunc(old.Addresses, func(b node.Address) bool { return a.IP == b.IP })
			}))
		})
		if at < 0 {
			continue
		}
		has, err := h.hasInterface(new.Interface)
		if err == nil && !has {
			err = fmt.Errorf("instance %q: there is no interface %q on this host, and what %q serves on %q would be nowhere; mend the name, or make the interface first",
				new.Name, new.Interface, instances.Removed[at].Name, instances.Removed[at].Interface)
		}
		errs = append(errs, err)
	}
	return errs
}

// source names the address that a family's adverts come from.
func source(f vrrp.Family) string {
	if f == vrrp.IPv6 {
		return "IPv6 link-local"
	}
	return "IPv4"
}
