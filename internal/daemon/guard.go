package daemon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/vrrp"
)

// guard refuses a reload that would stop an instance which runs: a family added on an interface that has no address to send
// its adverts from. The families of an instance have one fate, so the other one would go too, and with the same file on all
// hosts everywhere.
func guard(changes config.Changes, hasSource func(ifName string, v6 bool) (bool, error)) error {
	var errs []error
	for _, pair := range append(slices.Clone(changes.Instances.Changed), changes.Renamed...) {
		before := pair.Old.Families()
		for _, f := range pair.New.Families() {
			if slices.Contains(before, f) || pair.New.VirtualMAC && f == vrrp.IPv6 {
				continue // or its device will have one
			}
			has, err := hasSource(pair.New.Interface, f == vrrp.IPv6)
			if err == nil && !has {
				err = fmt.Errorf("instance %q: interface %q has no %s address to send adverts from, so the addresses of that family cannot be added; give it one first", pair.New.Name, pair.New.Interface, source(f))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// source names the address that a family's adverts come from.
func source(f vrrp.Family) string {
	if f == vrrp.IPv6 {
		return "IPv6 link-local"
	}
	return "IPv4"
}
