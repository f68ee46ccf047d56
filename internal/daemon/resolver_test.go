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

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/understudy-ha/understudy/internal/config"
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
		{"the one that is needed has none, and the other fails", nil, []string{"ip4"}, six, "[] lookup lb2: no such host"},
		{"the one that is needed has none", []string{"10.0.0.12"}, nil, six, "[] it has no IPv6 address"},
		{"the other has this host's loopback", []string{"127.0.1.1"}, nil, six, "[127.0.1.1] <nil>"},
		{"the other has an address of this host", []string{"10.0.0.11"}, nil, six, "[127.0.0.1] <nil>"},
		{"the other has an IPv6 address of this host", []string{"fe80::11"}, nil, four, "[::1] <nil>"},
		{"one has an address of this host", []string{"10.0.0.11"}, nil, both, "[10.0.0.11 127.0.0.1] <nil>"},
		{"one has this host's loopback", []string{"127.0.1.1"}, nil, both, "[127.0.1.1] <nil>"},
		{"both have one of this host", []string{"10.0.0.11", "fe80::11"}, nil, both, "[10.0.0.11 fe80::11] <nil>"},
		{"the next domain has one", []string{}, []string{"ip4", "ip6"}, both, "[10.0.0.22] IPv4: lookup lb2: server misbehaving"},
		{"many", append(many, "fe80::12"), nil, both, fmt.Sprintf("[%s fe80::12] <nil>", strings.Join(sorted(many)[:maxNameAddresses], " "))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z := &zone{ips: map[string][]netip.Addr{}}
			z.set("lb2", tt.ips...)
			if tt.ips != nil {
				z.set("lb2.next", "10.0.0.22")
			}
			for k := range tt.fails {
				tt.fails[k] += " lb2"
			}
			z.fail(tt.fails...)
			r := z.resolver(time.Now()).find(t.Context(), "lb2", tt.families, nil)
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

// TestNamesBehindADeadDomain: a name that was never found while the name service could tell is found, and followed, in the next search
// domain. One that was stays where it led.
func TestNamesBehindADeadDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t, "lb2")
		n.z.fail("ip4 lb2")
		n.z.set("lb2.next", "10.0.0.12")
		stop := n.run(t)
		defer stop()
		equal(t, "at start", []string{"lb2 [10.0.0.12] IPv4: lookup lb2: server misbehaving"}, n.told())
		n.z.set("lb2.next", "10.0.0.22")
		time.Sleep(maxLookupGap)
		equal(t, "another address", []string{"lb2 [10.0.0.22] IPv4: lookup lb2: server misbehaving"}, n.told())
		n.z.fail()
		n.z.set("lb2", "10.0.0.32")
		time.Sleep(maxLookupGap)
		equal(t, "after the failure", []string{"lb2 [10.0.0.32] <nil>"}, n.told())
		n.z.fail("ip4 lb2")
		time.Sleep(maxLookupGap)
		equal(t, "another failure", []string{"lb2 [] IPv4: lookup lb2: server misbehaving"}, n.told())
		if got := n.d.found("lb2"); fmt.Sprint(got) != "[10.0.0.32]" {
			t.Errorf("the sockets know %v", got)
		}
	})
}

// TestFindAsksANameServer: what net.Resolver makes of a name server, and of the domains a.test to c.test, in which lb2 to lb9 are searched.
func TestFindAsksANameServer(t *testing.T) {
	fails := netip.IPv4Unspecified()
	r := serveDNS(t, map[string]netip.Addr{
		"host.test. A":     netip.MustParseAddr("10.0.0.12"),
		"half.test. A":     netip.MustParseAddr("10.0.0.12"),
		"half.test. AAAA":  fails,
		"lb2.a.test. A":    netip.MustParseAddr("10.0.0.12"), // and others are
		"lb2.b.test. A":    netip.MustParseAddr("10.0.0.22"),
		"lb2.b.test. AAAA": netip.MustParseAddr("fe80::22"),
		"lb3.a.test. A":    netip.MustParseAddr("10.0.0.12"), // where the next domain is broken
		"lb3.b.test. AAAA": fails,
		"lb4.a.test. A":    fails, // the first is
		"lb4.a.test. AAAA": fails,
		"lb4.b.test. A":    netip.MustParseAddr("10.0.0.12"),
		"lb4.b.test. AAAA": netip.MustParseAddr("fe80::12"),
		"lb5.a.test. A":    fails, // for IPv4
		"lb5.b.test. AAAA": netip.MustParseAddr("fe80::22"),
		"lb6.b.test. A":    netip.MustParseAddr("10.0.0.12"), // in the next alone
		"lb6.b.test. AAAA": netip.MustParseAddr("fe80::12"),
		"lb7.a.test. A":    fails, // between a broken one and one with another host
		"lb7.b.test. A":    netip.MustParseAddr("10.0.0.12"),
		"lb7.c.test. AAAA": netip.MustParseAddr("fe80::22"),
	})
	both, six := []vrrp.Family{vrrp.IPv4, vrrp.IPv6}, []vrrp.Family{vrrp.IPv6}
	sure := []netip.Addr{netip.MustParseAddr("10.0.0.12")}
	for _, tt := range []struct {
		name      string
		families  []vrrp.Family
		sure      []netip.Addr
		addresses string
		err       string
	}{
		{"half.test.", both, nil, "[10.0.0.12]", "IPv6: lookup half.test. on "},
		{"half.test.", six, nil, "[]", "IPv6: lookup half.test. on "},
		{"host.test.", both, nil, "[10.0.0.12]", "<nil>"},
		{"host.test.", six, nil, "[]", "it has no IPv6 address"},
		{"nobody.test.", both, nil, "[]", "lookup nobody.test. on "},
		{"lb2", both, nil, "[10.0.0.12]", "<nil>"},
		{"lb2", six, nil, "[]", "it has no IPv6 address"},
		{"lb3", both, nil, "[10.0.0.12]", "<nil>"},
		{"lb4", both, nil, "[10.0.0.12 fe80::12]", "IPv4: lookup lb4.a.test. on "},
		{"lb4", six, nil, "[fe80::12]", "IPv6: lookup lb4.a.test. on "},
		{"lb4", both, sure, "[]", "IPv4: lookup lb4.a.test. on "},
		{"lb5", both, sure, "[]", "IPv4: lookup lb5.a.test. on "},
		{"lb6", both, nil, "[10.0.0.12 fe80::12]", "<nil>"},
		{"lb7", both, nil, "[10.0.0.12]", "IPv4: lookup lb7.a.test. on "},
		{"lb9", both, nil, "[]", "lookup lb9.c.test. on "},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), lookupTimeout)
		found := r.find(ctx, tt.name, tt.families, tt.sure)
		cancel()
		if fmt.Sprint(found.Addresses) != tt.addresses || !strings.HasPrefix(fmt.Sprint(found.Err), tt.err) {
			t.Errorf("for %v %s leads to %v, %v; want %s, %s", tt.families, tt.name, found.Addresses, found.Err, tt.addresses, tt.err)
		}
	}
}

// TestOurs: of an address that an interface has, unless it is a virtual one.
func TestOurs(t *testing.T) {
	for _, tt := range []struct {
		virtual, ip string
		want        bool
	}{{"192.0.2.10", "127.0.0.1", true}, {"192.0.2.10", "192.0.2.10", false}, {"127.0.0.1", "127.0.0.1", false}} {
		cfg := &config.Config{Node: "lb1", Instances: []node.Instance{on("web", "eth0", 71, tt.virtual)}}
		d := newDaemon(cfg, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
		if got := d.ours(netip.MustParseAddr(tt.ip)); got != tt.want {
			t.Errorf("where %s is virtual, %s is this host's: %v, want %v", tt.virtual, tt.ip, got, tt.want)
		}
	}
}

// serveDNS answers on loopback until the test ends: nothing of a domain that it has no address in, and with a failure for 0.0.0.0.
func serveDNS(t *testing.T, has map[string]netip.Addr) resolver {
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
			answerDNS(&m, has)
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	ask := func(strict bool) lookup {
		r := &net.Resolver{PreferGo: true, StrictErrors: strict, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp4", conn.LocalAddr().String())
		}}
		return search(r.LookupNetIP, strict)
	}
	return resolver{ask(true), ask(false), func(netip.Addr) bool { return false }}
}

// answerDNS turns a question into its answer.
func answerDNS(m *dnsmessage.Message, has map[string]netip.Addr) {
	q := m.Questions[0]
	ip := has[q.Name.String()+" "+strings.TrimPrefix(q.Type.String(), "Type")]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}
	m.Additionals = nil
	var body dnsmessage.ResourceBody
	switch {
	case !has[q.Name.String()+" A"].IsValid() && !has[q.Name.String()+" AAAA"].IsValid():
		m.RCode = dnsmessage.RCodeNameError
	case ip.IsUnspecified():
		m.RCode = dnsmessage.RCodeServerFailure
	case ip.Is4():
		body = &dnsmessage.AResource{A: ip.As4()}
	case ip.Is6():
		body = &dnsmessage.AAAAResource{AAAA: ip.As16()}
	}
	if body != nil {
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}, Body: body}}
	}
}

// search goes through a search list as net.Resolver does, which takes its own from /etc/resolv.conf alone.
func search(ask lookup, strict bool) lookup {
	return func(ctx context.Context, network, name string) (ips []netip.Addr, err error) {
		if strings.HasSuffix(name, ".") {
			return ask(ctx, network, name)
		}
		for _, domain := range []string{".a.test.", ".b.test.", ".c.test."} {
			if ips, err = ask(ctx, network, name+domain); err == nil || strict && !isNone(err) {
				break
			}
		}
		return ips, err
	}
}
