package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// resolver asks the name service as net.Resolver does. Strict: while a search domain cannot be asked, the answer of the next is no truth.
type resolver func(ctx context.Context, network, name string) ([]netip.Addr, error)

var strict resolver = (&net.Resolver{StrictErrors: true}).LookupNetIP

// find looks a name up in each of the families by itself: where the name service fails for one, the addresses of the other count, and do
// not pass for all that there are. The error says why more may not be known, or why nothing is.
func (r resolver) find(ctx context.Context, text string, families []vrrp.Family) node.Resolved {
	found := node.Resolved{Name: text}
	ips, errs := make([][]netip.Addr, len(families)), make([]error, len(families))
	var queries sync.WaitGroup
	for k, f := range families {
		queries.Go(func() { ips[k], errs[k] = r(ctx, fmt.Sprintf("ip%d", f), text) })
	}
	queries.Wait()
	found.Addresses = plain(slices.Concat(ips...))
	var none error
	for k, err := range errs {
		switch {
		case err == nil:
		case isNone(err):
			none = err
		case found.Err == nil:
			found.Err = fmt.Errorf("%s: %w", families[k], err)
		}
	}
	if len(found.Addresses) > 0 || found.Err != nil {
		return found
	}
	found.Err = none
	if len(families) == 1 { // Debian gives a host's own name an IPv4 address alone: the node can tell that it is this host's
		if other, err := r(ctx, "ip", text); err == nil {
			found.Addresses, found.Err = plain(other), nil
		}
	}
	return found
}

// isNone says whether a look-up failed because there is no such address, as far as the name service knows: not because it could not tell.
func isNone(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound
	}
	_, other := errors.AsType[*net.AddrError](err) // the name has addresses of the other family
	return other
}
