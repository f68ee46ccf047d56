package node

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// FuzzResolved lets a name service say whatever it likes: adverts go to other hosts alone, and a virtual router that has somebody to speak
// with keeps somebody, unless the name leads to this host now.
func FuzzResolved(f *testing.F) {
	var pool []netip.Addr
	for _, text := range []string{
		"10.0.0.2", "fe80::2", "10.0.0.3", "2001:db8::3", // other hosts
		"10.0.0.1", "fe80::1", "127.0.1.1", "::1", // this one
		"192.0.2.10", "2001:db8::10", "0.0.0.0", "ff02::12", // nobody
	} {
		pool = append(pool, netip.MustParseAddr(text))
	}
	others, mine, virtual := pool[:4], pool[4:8], pool[8:10]
	// An answer is the name, and two bytes with a bit for each address of the pool, and one for an error.
	f.Add(uint8(3), []byte("\x01\x03\x00\x01\x01\x80\x01\x02\x80")) // one family fails, then the other
	f.Add(uint8(2), []byte("\x01\x03\x00\x01\x01\x00\x00\x40\x00")) // there is none any more; this host's own
	f.Add(uint8(1), []byte("\x01\x01\x00\x01\x00\x01\x01\x10\x00")) // a virtual address, then this host's
	f.Fuzz(func(t *testing.T, families uint8, answers []byte) {
		web := Instance{
			Name: "web", Interface: "eth0", VRID: 71, Priority: 150, Version: vrrp.V3, Interval: time.Second, DeadAdverts: 3, MinTTL: vrrp.HopLimit,
			Peers: []Peer{{Name: "lb1"}, {Name: "lb2"}},
		}
		for k, ip := range virtual {
			if families&(1<<k) != 0 {
				web.Addresses = append(web.Addresses, Address{IP: ip})
			}
		}
		answers = answers[:min(len(answers), 3*32)]
		now := time.Unix(1000, 0)
		n := New(Config{Instances: []Instance{web}}, now)
		n.Step(now, LinkChanged{Link{Name: "eth0", Up: true, Source4: mine[0], Source6: mine[1]}})
		for ; len(answers) >= 3; answers = answers[3:] {
			ev, bits := Resolved{Name: web.Peers[answers[0]%2].Name}, int(answers[1])|int(answers[2])<<8
			for k, ip := range pool {
				if bits&(1<<k) != 0 {
					ev.Addresses = append(ev.Addresses, ip)
				}
			}
			if bits&(1<<15) != 0 {
				ev.Err = errors.New("server misbehaving")
			}
			spoke := map[*member]int{}
			for _, m := range n.instances[0].members {
				spoke[m] = len(m.outlets)
			}
			n.Step(now, ev)
			Pass(n, &now, 500*time.Millisecond, func() { n.Step(now, Elapsed{}) })
			for _, m := range n.instances[0].members {
				for _, o := range m.outlets {
					if vrrp.FamilyOf(o.to) != m.family || !slices.Contains(others, o.to) {
						t.Fatalf("after %+v %s adverts go to %s", ev, m.family, o.to)
					}
				}
				here := func(ip netip.Addr) bool { return vrrp.FamilyOf(ip) == m.family && slices.Contains(mine, ip) }
				if len(m.outlets) == 0 && spoke[m] > 0 && !slices.ContainsFunc(ev.Addresses, here) {
					t.Fatalf("after %+v %s adverts go to nobody", ev, m.family)
				}
			}
		}
	})
}
