package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestFind: each family by itself, as far as it is needed.
func TestFind(t *testing.T) {
	both, four, six := []vrrp.Family{vrrp.IPv4, vrrp.IPv6}, []vrrp.Family{vrrp.IPv4}, []vrrp.Family{vrrp.IPv6}
	var many []string
	for k := range 2 * maxNameAddresses {
		many = append(many, fmt.Sprintf("10.0.1.%d", k))
	}
	tests := []struct {
		name     string
		ips      []string
		fails    []string
		families []vrrp.Family
		want     string
	}{
		{"both", []string{"fe80::12%eth0", "10.0.0.12", "::ffff:10.0.0.12"}, nil, both, "[10.0.0.12 fe80::12] <nil>"},
		{"one fails", []string{"10.0.0.12", "fe80::12"}, []string{"ip6"}, both, "[10.0.0.12] IPv6: lookup lb2: server misbehaving"},
		{"the other fails", []string{"10.0.0.12", "fe80::12"}, []string{"ip4"}, both, "[fe80::12] IPv4: lookup lb2: server misbehaving"},
		{"both fail", nil, []string{"ip4", "ip6"}, both, "[] IPv4: lookup lb2: server misbehaving"},
		{"one has none", []string{"10.0.0.12"}, nil, both, "[10.0.0.12] <nil>"},
		{"there are none", nil, nil, both, "[] lookup lb2: no such host"},
		{"one fails and the other has none", nil, []string{"ip6"}, both, "[] IPv6: lookup lb2: server misbehaving"},
		{"one fails that nobody needs", []string{"10.0.0.12"}, []string{"ip6"}, four, "[10.0.0.12] <nil>"},
		{"the one that is needed fails", []string{"10.0.0.12"}, []string{"ip6"}, six, "[] IPv6: lookup lb2: server misbehaving"},
		{"the one that is needed has none", []string{"127.0.1.1"}, nil, six, "[127.0.1.1] <nil>"},
		{"neither has any", nil, []string{"ip"}, six, "[] lookup lb2: no such host"},
		{"many", append(many, "fe80::12"), nil, both, fmt.Sprintf("[%s fe80::12] <nil>", strings.Join(sorted(many)[:maxNameAddresses], " "))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z := &zone{ips: map[string][]netip.Addr{}}
			z.set("lb2", tt.ips...)
			for k := range tt.fails {
				tt.fails[k] += " lb2"
			}
			z.fail(tt.fails...)
			r := z.lookup(time.Now()).find(t.Context(), "lb2", tt.families)
			if got := fmt.Sprint(r.Addresses, r.Err); got != tt.want {
				t.Errorf("find() = %s, want %s", got, tt.want)
			}
		})
	}
}

// sorted returns addresses in their order.
func sorted(texts []string) []string {
	return slices.SortedFunc(slices.Values(texts), func(a, b string) int {
		return netip.MustParseAddr(a).Compare(netip.MustParseAddr(b))
	})
}

// TestNamesKeepAFamily: one family's failure, or its end, takes no address away; it is told, and a cleanup knows the address, too.
func TestNamesKeepAFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t, "lb2")
		cfg := withPeers("lb2")
		cfg.Instances[0].Addresses = append(cfg.Instances[0].Addresses, node.Address{IP: netip.MustParseAddr("2001:db8::10")})
		n.z.set("lb2", "10.0.0.12", "fe80::12")
		stop := n.run(t)
		defer stop()
		equal(t, "while IPv4 is all that is needed", []string{"lb2 [10.0.0.12] <nil>"}, n.told())
		n.d.cfg.Store(cfg)
		n.d.names.changed()
		equal(t, "at once, when a reload brings IPv6", []string{"lb2 [10.0.0.12 fe80::12] <nil>"}, n.told())
		keeps := func(when string) {
			t.Helper()
			led, err := loadNames(n.d.opts.RuntimeDir)
			if got := fmt.Sprint(n.d.found("lb2"), led["lb2"].IPs, err); got != "[10.0.0.12 fe80::12] [10.0.0.12 fe80::12] <nil>" {
				t.Errorf("%s the sockets and a cleanup know %s", when, got)
			}
		}
		n.z.fail("ip6 lb2")
		time.Sleep(maxLookupGap)
		equal(t, "a failure", []string{"lb2 [10.0.0.12] IPv6: lookup lb2: server misbehaving"}, n.told())
		keeps("after a failure")
		time.Sleep(time.Hour)
		equal(t, "a failure that lasts", nil, n.told())
		n.z.fail()
		n.z.set("lb2", "10.0.0.12")
		time.Sleep(maxLookupGap)
		equal(t, "no address of the family any more", []string{"lb2 [10.0.0.12] <nil>"}, n.told())
		keeps("after it has gone")
		n.z.set("lb2", "10.0.0.22")
		n.z.fail("ip6 lb2")
		time.Sleep(maxLookupGap)
		equal(t, "another address beside a failure", []string{"lb2 [10.0.0.22] IPv6: lookup lb2: server misbehaving"}, n.told())
		if got := fmt.Sprint(n.d.found("lb2")); got != "[10.0.0.22 fe80::12]" {
			t.Errorf("the sockets know %s", got)
		}
	})
}

// TestFindAsksANameServer: what net.Resolver makes of a server that answers for IPv4 alone.
func TestFindAsksANameServer(t *testing.T) {
	server := serveDNS(t, func(q dnsmessage.Question) (dnsmessage.RCode, bool) {
		switch name := q.Name.String(); {
		case name == "nobody.test.":
			return dnsmessage.RCodeNameError, false
		case name == "lb2.test." && q.Type == dnsmessage.TypeAAAA:
			return dnsmessage.RCodeServerFailure, false
		default:
			return dnsmessage.RCodeSuccess, q.Type == dnsmessage.TypeA
		}
	})
	r := resolver((&net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", server)
	}}).LookupNetIP)
	both, six := []vrrp.Family{vrrp.IPv4, vrrp.IPv6}, []vrrp.Family{vrrp.IPv6}
	for _, tt := range []struct {
		name      string
		families  []vrrp.Family
		addresses string
		err       string
	}{
		{"lb2.test.", both, "[10.0.0.12]", "IPv6: lookup lb2.test. on "},
		{"lb2.test.", six, "[]", "IPv6: lookup lb2.test. on "},
		{"lb3.test.", both, "[10.0.0.12]", "<nil>"},
		{"lb3.test.", six, "[10.0.0.12]", "<nil>"}, // the node says that it has no IPv6 address
		{"nobody.test.", both, "[]", "lookup nobody.test. on "},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), lookupTimeout)
		found := r.find(ctx, tt.name, tt.families)
		cancel()
		if fmt.Sprint(found.Addresses) != tt.addresses || !strings.HasPrefix(fmt.Sprint(found.Err), tt.err) {
			t.Errorf("for %v %s leads to %v, %v; want %s, %s", tt.families, tt.name, found.Addresses, found.Err, tt.addresses, tt.err)
		}
	}
}

// serveDNS answers on loopback until the test ends: with a code, and with 10.0.0.12 if it has an address.
func serveDNS(t *testing.T, answer func(dnsmessage.Question) (dnsmessage.RCode, bool)) string {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			rcode, has := answer(q)
			m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: rcode}
			m.Additionals = nil
			if has {
				m.RCode = dnsmessage.RCodeSuccess
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte{10, 0, 0, 12}},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}
