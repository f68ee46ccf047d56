package linux

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestSetAddressesAreDeliveredTo sets IPv6 addresses while something else holds the kernel's lock over all interfaces again
// and again, and looks whether the kernel takes packets to them for its own once Set has returned.
func TestSetAddressesAreDeliveredTo(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	a := openAddresses(t, t.TempDir())
	busy := must(netlink.NewHandleAt(peer.ns, unix.NETLINK_ROUTE))
	defer busy.Close()
	end := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			veth := netlink.NewVeth(netlink.LinkAttrs{Name: "x0"})
			veth.PeerName = "x1"
			if busy.LinkAdd(veth) == nil {
				_ = busy.LinkDel(veth)
			}
		}
	})
	defer others.Wait()
	defer close(end)
	const rounds = 20
	early := 0
	for range rounds {
		mustSet(t, a, want(0, "2001:db8::100", "2001:db8::101"))
		for _, ip := range ips("2001:db8::100", "2001:db8::101") {
			if !a.delivered(ip) {
				early++
			}
		}
		mustSet(t, a, want(0))
	}
	if early > 0 {
		t.Errorf("%d of %d addresses were not delivered to when they were said to be set", early, 2*rounds)
	}
	if a.delivered(netip.MustParseAddr("2001:db8::100")) {
		t.Error("delivered to after its release")
	}
}
