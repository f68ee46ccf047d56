package linux

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// deliverBound is how long the kernel may take until it delivers to a new IPv6 address. It is waited for no longer:
	// on a link that is down it may never.
	deliverBound = 250 * time.Millisecond
	deliverPoll  = 500 * time.Microsecond
)

// awaitDelivery waits until packets to the new IPv6 addresses are delivered. The kernel says that it has set one before
// they are: also with IFA_F_NODAD it leaves the entry in the local table to a thread, which has to wait for the lock over
// all interfaces. What comes until then is lost without a word, so that no such address may be announced: measured on
// Linux 6.18 while other namespaces came and went, it was a few milliseconds late now and then, and up to 125.
func (a *Addresses) awaitDelivery(list []request) {
	deadline := time.Now().Add(deliverBound)
	for _, q := range list {
		if q.err != nil || !q.exclusive || q.ip.Is4() {
			continue
		}
		for !a.delivered(q.ip) && time.Now().Before(deadline) {
			time.Sleep(deliverPoll)
		}
	}
}

// delivered reports whether the kernel takes packets to the address for its own.
func (a *Addresses) delivered(ip netip.Addr) bool {
	routes, err := a.kernel.handle.RouteGet(ip.AsSlice())
	return err == nil && slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Type == unix.RTN_LOCAL })
}
