package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// connected is a network that is reached directly through an interface.
type connected struct {
	index   int
	network netip.Prefix
}

// route is what matters here of a route in the main table.
type route struct {
	connected
	marked  bool // as an understudy's
	metric  int  // whose, if it is marked; see metricOf
	gateway bool
}

// route is this daemon's to a network. That of another daemon of this host stands beside it.
func (a *Addresses) route(c connected) route {
	return route{connected: c, marked: true, metric: a.metric}
}

// setRoutes makes our connected routes those that the held addresses want and the host does not have by itself, and
// returns what failed for the wants' owners. A route of ours gives way when it is found that the host has its own.
//
// No route ends with the lease of its address. IPv4 routes have no lifetime; and the kernel makes one itself, and removes it at the end,
// only for an address with the network's mask, which may be primary to one that the host gets later, and take that along when it goes.
// So a daemon that is killed leaves its routes, behind any of the host's own to the same network, to the cleanup or the next daemon.
func (a *Addresses) setRoutes(wants []Want) []AddressError {
	errs := a.reconcileRoutes(false)
	if len(errs) == 0 {
		return nil
	}
	var failed []AddressError
	for _, w := range wants {
		for _, r := range a.held.of(w.Owner) {
			if err := errs[r.route()]; r.Network.IsValid() && err != nil {
				failed = append(failed, AddressError{Owner: r.Owner, IP: r.IP, Err: err})
			}
		}
	}
	return failed
}

// reconcileRoutes does the work of setRoutes and returns what failed for each route. all: the routes of the other daemons of this
// host go, too.
func (a *Addresses) reconcileRoutes(all bool) map[connected]error {
	a.routed = time.Now()
	errs := make(map[connected]error)
	note := func(c connected, err error) {
		if err != nil {
			errs[c] = err
		}
	}
	wanted := a.held.networks
	routes, err := a.kernel.routes()
	if err != nil {
		for c := range wanted {
			note(c, err)
		}
		if all {
			note(connected{}, err)
		}
		return errs
	}
	for c := range wanted {
		if !hostRoute(routes, c) && !slices.Contains(routes, a.route(c)) {
			note(c, a.kernel.addRoute(a.route(c)))
		}
	}
	for _, r := range routes {
		own := r == a.route(r.connected)
		unneeded := own && (wanted[r.connected] == 0 || hostRoute(routes, r.connected))
		nobodys := r.marked && r.metric < firstMetric // of a release that did not tell the daemons apart
		if unneeded || nobodys || all && r.marked && !own {
			note(r.connected, a.kernel.deleteRoute(r))
		}
	}
	return errs
}

// hostRoute reports whether the host reaches the network without us: by a route to exactly that network, or directly
// on the same interface as part of a larger one.
func hostRoute(routes []route, c connected) bool {
	return slices.ContainsFunc(routes, func(r route) bool {
		if r.marked {
			return false
		}
		within := r.network.Bits() < c.network.Bits() && r.network.Contains(c.network.Addr())
		return r.network == c.network || within && r.index == c.index && !r.gateway
	})
}

// routes lists the main table of both families without the default routes. While it changes all the time, as that of a router
// may, an entry can be in it twice.
func (r *rtnetlink) routes() (list []route, err error) {
	_, err = untilWhole(func() error {
		var found []route
		err := r.handle.RouteListFilteredIter(unix.AF_UNSPEC, &netlink.Route{}, 0, func(x netlink.Route) bool {
			if parsed, ok := parseRoute(x); ok {
				found = append(found, parsed)
			}
			return true
		})
		if err == nil {
			list = nil // those that were interrupted are not needed any more
		}
		list = append(list, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return list, nil
}

func parseRoute(x netlink.Route) (route, bool) {
	if x.Dst == nil || x.Type != unix.RTN_UNICAST {
		return route{}, false
	}
	ip, ok := netip.AddrFromSlice(x.Dst.IP)
	if !ok {
		return route{}, false
	}
	// The library gives IPv4 in 4 or in 16 bytes; the mask tells the family.
	bits, size := x.Dst.Mask.Size()
	if size == 32 {
		ip = ip.Unmap()
	}
	return route{
		connected: connected{x.LinkIndex, netip.PrefixFrom(ip, bits).Masked()},
		marked:    x.Protocol == protocolTag,
		metric:    x.Priority,
		gateway:   x.Gw != nil || x.Via != nil || len(x.MultiPath) > 0,
	}, bits > 0
}

// netlinkRoute is an understudy's route. Without a preferred source: that is the host's, if it has one there.
func netlinkRoute(r route) *netlink.Route {
	return &netlink.Route{
		LinkIndex: r.index,
		Dst:       &net.IPNet{IP: r.network.Addr().AsSlice(), Mask: net.CIDRMask(r.network.Bits(), r.network.Addr().BitLen())},
		Priority:  r.metric,
		Scope:     netlink.SCOPE_LINK,
		Protocol:  protocolTag,
		Table:     unix.RT_TABLE_MAIN,
	}
}

func (r *rtnetlink) addRoute(x route) error {
	err := r.handle.RouteAdd(netlinkRoute(x))
	if err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return fmt.Errorf("add route to %s: %w", x.network, netlinkErrors.explain(err))
}

func (r *rtnetlink) deleteRoute(x route) error {
	err := r.handle.RouteDel(netlinkRoute(x))
	if err == nil || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove route to %s: %w", x.network, netlinkErrors.explain(err))
}
