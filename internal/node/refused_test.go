package node_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestRefusedIsDiscarded: an advert that fails one of the checks is counted, and does nothing to a master or a backup, whatever
// its priority is. The same advert without the flaw does something.
func TestRefusedIsDiscarded(t *testing.T) {
	var (
		multicast = func(*node.Instance) {}
		unicast   = func(i *node.Instance) { i.Peers, i.MinTTL = []node.Peer{{IP: self4}, {IP: other4}}, 64 }
		strict    = func(i *node.Instance) { v2(i); i.Strict = true }
		alone     = func(r *vrrp.Received) { r.To = self4 }
		nothing   = func(*vrrp.Received) {}
	)
	tests := []struct {
		name   string
		here   func(*node.Instance)
		good   func(*vrrp.Received) // what makes it one that this host heeds
		flaw   func(*vrrp.Received)
		reason string
	}{
		{"another hop limit", multicast, nothing, func(r *vrrp.Received) { r.HopLimit = 254 }, "ttl"},
		{"another version", multicast, nothing, func(r *vrrp.Received) { r.Version = vrrp.V2 }, "version-mismatch"},
		{"another interval in v2", v2, nothing, func(r *vrrp.Received) { r.Interval = 2 * time.Second }, "interval-mismatch"},
		{"other addresses, strictly in v2", strict, nothing, func(r *vrrp.Received) { r.Addresses = r.Addresses[:1] }, "strict-addresses"},
		{"this host's own address", multicast, nothing, func(r *vrrp.Received) { r.From = self4 }, "same-address"},
		{"to this host alone", multicast, nothing, alone, "unicast"},
		{"to the group", unicast, alone, func(r *vrrp.Received) { r.To = vrrp.GroupIPv4 }, "multicast"},
		{"of no peer", unicast, alone, func(r *vrrp.Received) { r.From = netip.MustParseAddr("10.0.0.66") }, "not-a-peer"},
		{"over too many routers", unicast, alone, func(r *vrrp.Received) { r.HopLimit = 63 }, "min-ttl"},
	}
	states := map[node.State]func(*listener){
		node.Master: func(l *listener) { l.run(4 * time.Second) },
		node.Backup: func(l *listener) { l.run(time.Second) },
	}
	for _, tt := range tests {
		for state, become := range states {
			for _, priority := range []uint8{254, 0} {
				// heard lets a listener in that state hear such an advert, and returns it as it was and is.
				heard := func(flaw func(*vrrp.Received)) (l *listener, actions []node.Action, before, after node.Sealed) {
					l = listen(tt.here)
					become(l)
					r := received(l.advert(func(a *vrrp.Advert) { a.Priority = priority }), other4)
					tt.good(&r)
					flaw(&r)
					before = l.Seal(l.now)
					actions = l.Step(l.now, node.Heard{Interface: "eth0", Received: r})
					return l, actions, before, l.Seal(l.now)
				}
				t.Run(tt.name+", "+string(state), func(t *testing.T) {
					l, actions, before, after := heard(tt.flaw)
					if is := before.Instances[0].State; is != state {
						t.Fatalf("it is %s", is)
					}
					if n := l.router().Refused[tt.reason]; n == nil || n.Count != 1 {
						t.Errorf("refused %+v, want one for %s", l.router().Refused, tt.reason)
					}
					for _, a := range actions {
						if _, ok := a.(node.Warned); !ok {
							t.Errorf("priority %d: it answers with %+v", priority, a)
						}
					}
					counted := cmpopts.IgnoreFields(node.SealedMember{}, "Counters", "Refusals", "Notices", "Senders", "NewsFrom", "NewsLeft")
					if diff := cmp.Diff(before.Instances, after.Instances, counted, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
						t.Errorf("priority %d changes (-before +after):\n%s", priority, diff)
					}
					if l, _, before, after := heard(func(*vrrp.Received) {}); len(l.router().Refused) > 0 || cmp.Equal(before.Instances[0].Members[0].Machine, after.Instances[0].Members[0].Machine, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
						t.Errorf("priority %d without the flaw does nothing; refused %v", priority, l.router().Refused)
					}
				})
			}
		}
	}
}
