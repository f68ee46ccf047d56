package daemon

import (
	"cmp"
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

// lookup asks the name service as net.Resolver does.
type lookup func(ctx context.Context, network, name string) ([]netip.Addr, error)

// resolver finds where the peers' names lead.
type resolver struct {
	strict  lookup                // while a search domain cannot be asked, the answer of the next is no truth
	lenient lookup                // it is better than none
	ours    func(netip.Addr) bool // whether this host has an address
}

func newResolver(d *Daemon) resolver {
	return resolver{(&net.Resolver{StrictErrors: true}).LookupNetIP, net.DefaultResolver.LookupNetIP, d.ours}
}

// answer is what came of a question.
type answer struct {
	ips []netip.Addr
	err error
}

func (l lookup) ask(ctx context.Context, network, text string) answer {
	ips, err := l(ctx, network, text)
	return answer{plain(ips), err}
}

// find looks a name up. What is found for both families at once counts, if the name service can tell it: that is one name of the search
// list, where a question for one family goes on to another host, of which the next domain has such an address.
//
// Where it fails, each of the families that are needed counts by itself, so that the addresses of the other do not pass for all that there
// are: of a name that was found before without a failure, as sure, in no other family than then. A name that never was leads where a
// lenient look-up ends, at one name, too: a search domain may be dead for good. The error says why more may not be known, or nothing is.
func (r resolver) find(ctx context.Context, text string, families []vrrp.Family, sure []netip.Addr) node.Resolved {
	var both, guess answer
	each := make([]answer, len(families))
	var questions sync.WaitGroup // at once: one that nobody answers leaves no time for another
	questions.Go(func() { both = r.strict.ask(ctx, "ip", text) })
	for k, f := range families {
		questions.Go(func() { each[k] = r.strict.ask(ctx, fmt.Sprintf("ip%d", f), text) })
	}
	if len(sure) == 0 {
		questions.Go(func() { guess = r.lenient.ask(ctx, "ip", text) })
	}
	questions.Wait()
	if both.err == nil || isNone(both.err) {
		ips, err := r.needed(both.ips, families)
		return node.Resolved{Name: text, Addresses: ips, Err: cmp.Or(both.err, err)}
	}
	var found []netip.Addr
	var failed, none error
	for k, f := range families {
		if len(sure) == 0 || has(sure, f) {
			found = append(found, each[k].ips...)
		}
		switch err := each[k].err; {
		case err == nil:
		case isNone(err):
			none = err
		case failed == nil:
			failed = fmt.Errorf("%s: %w", f, err)
		}
	}
	if len(guess.ips) > 0 {
		found = guess.ips
	}
	ips, err := r.needed(found, families)
	if len(ips) == 0 {
		err = cmp.Or(err, none, both.err)
	}
	return node.Resolved{Name: text, Addresses: ips, Err: cmp.Or(failed, err)}
}

// needed leaves the addresses of the families that are needed. Where one has none, the others can still tell that the name is this host's
// own, to which Debian gives an IPv4 address alone. A loopback says so: of the host's addresses the node knows its interfaces' only.
func (r resolver) needed(ips []netip.Addr, families []vrrp.Family) ([]netip.Addr, error) {
	needed := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return !slices.Contains(families, vrrp.FamilyOf(ip)) })
	if !slices.ContainsFunc(families, func(f vrrp.Family) bool { return !has(needed, f) }) {
		return needed, nil
	}
	if k := slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.IsLoopback() || r.ours(ip) }); k >= 0 {
		needed = plain(append(needed, loopback(ips[k])))
	}
	if len(needed) == 0 && len(ips) > 0 {
		return nil, fmt.Errorf("it has no %s address", families[0])
	}
	return needed, nil
}

// has says whether there is an address of a family.
func has(ips []netip.Addr, f vrrp.Family) bool {
	return slices.ContainsFunc(ips, func(ip netip.Addr) bool { return vrrp.FamilyOf(ip) == f })
}

// loopback is one in an address's family: what is known in the other stays.
func loopback(ip netip.Addr) netip.Addr {
	switch {
	case ip.IsLoopback():
		return ip
	case ip.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		return netip.IPv6Loopback()
	}
}

// ours says whether an interface of this host has an address that is not a virtual one: those come and go.
func (d *Daemon) ours(ip netip.Addr) bool {
	all, _ := net.InterfaceAddrs() // an address that is not seen makes the host wary, no more
	return !d.virtual(ip) && slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == ip
	})
}

// isNone says whether a look-up failed because there is no such address, as far as the name service knows: not because it could not tell.
func isNone(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}
