package linux

import (
	"net/netip"
	"testing"
	"time"
)

// TestConnDeadPeersHoldUpNone: what is for two hosts that are gone waits in the kernel for their MAC addresses, for up to 3 s; at the
// shortest interval nothing that is for a living one is refused for that, and each of it arrives.
func TestConnDeadPeersHoldUpNone(t *testing.T) {
	const interval, lasts = 10 * time.Millisecond, 4 * time.Second
	onWiresAtOnce(t, func(t *testing.T, w wire, peer *host) {
		dead := ips("10.9.0.66", "10.9.0.67")
		if w.v6 {
			dead = ips("fe80::66", "fe80::67")
		}
		var got <-chan Packet
		peer.do(func() {
			c := open(t, "v1", w.v6)
			if err := c.Accept([]Accept{{VRID: 7, Unicast: true, Peers: []netip.Addr{w.self}, MinTTL: 255}}); err != nil {
				t.Fatal(err)
			}
			got = collect(t, c)
		})
		self := open(t, "v0", w.v6)
		arrived := make(chan int)
		begin := time.Now()
		go func() { // ends once nothing has come for a while
			n := 0
			for {
				select {
				case <-got:
					n++
				case <-time.After(time.Second):
					arrived <- n
					return
				}
			}
		}()
		sent, failed := 0, 0
		var first error
		for next := begin; next.Before(begin.Add(lasts)); next = next.Add(interval) {
			time.Sleep(time.Until(next))
			for _, to := range dead {
				_ = self.Send(advert(0x31, 7), w.self, to) // what becomes of it is not the point
			}
			sent++
			if err := self.Send(advert(0x31, 7), w.self, w.peer); err != nil {
				failed++
				if first == nil {
					first = err
				}
			}
		}
		if n := <-arrived; failed > 0 || n != sent {
			t.Errorf("of %d adverts to the living peer %d could not be sent, the first: %v; and %d arrived", sent, failed, first, n)
		}
	})
}
