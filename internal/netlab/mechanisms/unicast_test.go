package mechanisms

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestUnicastPair tells of a pair on a network that carries no multicast: a stop and a return that nobody notices, a daemon that is
// killed, a cut and its end. Nothing goes to the group.
func TestUnicastPair(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name, address, peers, drop string
		vip                        netip.Addr
	}{
		{"IPv4", `"10.0.0.100"`, `peers = ["10.0.0.11", "10.0.0.12"]`, "ip daddr 224.0.0.0/4", web4},
		{"IPv6", `"fd00::100"`, `peers = ["fd00::11", "fd00::12"]`, "ip6 daddr ff02::12", web6},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, []string{"lb1", "lb2"}, instanceOf(story.address, story.peers)+page, story.vip)
			for _, h := range c.Hosts {
				pairtest.Step(t, func() error { return h.Firewall(t.Context(), netlab.DropIn(story.drop)) }) // what is sent is seen
			}
			wire := captureWith(t, c.Get("lb2").Host, "proto 112 or ip6 proto 112", "-vttlnn") // with -v it verifies checksums
			begin(t, c)
			lb1 := c.Get("lb1")

			from := pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGTERM) })
			c.Only(t, "lb2", moveBound)
			c.Planned(t, from, "lb2")
			<-lb1.Daemon.Done()
			from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
			c.Settled(t, "lb1")
			c.Planned(t, from, "lb1")

			from = pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGKILL) })
			c.Only(t, "lb2", down+moveBound)
			c.Outage(t, story.vip, from, down+noise, "lb2")
			lb1.Start(t)
			c.Settled(t, "lb1")
			from = pairtest.Step(t, func() error { return lb1.Daemon.Signal(syscall.SIGKILL) })
			<-lb1.Daemon.Done()
			lb1.Does(t, 0, "cleanup")
			c.Only(t, "lb2", time.Millisecond)
			c.Outage(t, story.vip, from, noise, "lb2")
			lb1.Start(t)
			c.Settled(t, "lb1")

			from = pairtest.Step(t, lb1.Cut)
			labtest.Eventually(t, down+moveBound, func() (bool, string) {
				owners := c.Owners.Owners(story.vip)
				return len(owners) == 2, fmt.Sprintf("owners of %v are %v", story.vip, owners)
			})
			c.Outage(t, story.vip, from, down+noise, "lb2")
			healed := pairtest.Step(t, lb1.Heal)
			c.Settled(t, "lb1")
			c.Overlap(t, story.vip, healed, time.Second+pairtest.Lingers)
			c.Reaches(t, story.vip, "lb1", time.Second)

			addressed(t, wire.Output(), lb1, c.Get("lb2"))
		})
	}
}

// advertised matches an advert as tcpdump -v prints it: its source, its destination, and whatever is wrong with its checksum.
var advertised = regexp.MustCompile(`(?m)(\S+) > (\S+): VRRPv[23],.*$`)

// addressed asserts that all that two hosts sent went to the other one, with a checksum that is right for it, and that both sent.
func addressed(t *testing.T, saw string, one, other *pairtest.Server) {
	t.Helper()
	peers := map[netip.Addr]*pairtest.Server{}
	for _, h := range []*pairtest.Server{one, other} {
		for _, own := range h.Addresses() {
			peers[own.Addr()] = h
		}
	}
	sent := map[*pairtest.Server]int{}
	for _, m := range advertised.FindAllStringSubmatch(saw, -1) {
		from, to := peers[netip.MustParseAddr(m[1])], peers[netip.MustParseAddr(m[2])]
		if from == nil || to == nil || from == to || strings.Contains(m[0], "bad vrrp cksum") {
			t.Errorf("an advert goes elsewhere than to the other host, or has a wrong checksum: %s", m[0])
			return
		}
		sent[from]++
	}
	if sent[one] == 0 || sent[other] == 0 || strings.Count(saw, "VRRP (112)") != sent[one]+sent[other] {
		t.Errorf("of %d packets %d and %d are understood as adverts of the two hosts", strings.Count(saw, "VRRP (112)"), sent[one], sent[other])
	}
}

// TestUnicastThreeHosts tells of three hosts with one list, in which names stand too: one that is this host's own on each, and one
// that has no address. The best that is there has the address.
func TestUnicastThreeHosts(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2", "lb3"}, instance(`peers = ["10.0.0.11", "10.0.0.12", "10.0.0.13", "localhost", "nobody.invalid"]`)+page)
	begin(t, c)
	lb1, lb2, lb3 := c.Get("lb1"), c.Get("lb2"), c.Get("lb3")
	for _, h := range c.Hosts {
		h.Says(t, `a peer's name cannot be resolved: peer=nobody\.invalid`, moveBound)
	}
	i := await(t, lb3, moveBound, func(i node.InstanceStatus) bool { return !i.Routers[0].Peers[0].Heard.IsZero() })
	peers := i.Routers[0].Peers
	if len(peers) != 3 || peers[0].Address.String() != "10.0.0.11" || peers[0].Priority != 150 || !peers[1].Heard.IsZero() || peers[2].Name != "nobody.invalid" || peers[2].Problem == "" {
		t.Errorf("lb3 knows the peers %+v", peers)
	}
	if out := lb3.Does(t, 3, "status", "web"); !strings.Contains(out, "nobody.invalid IS MISSING") || !strings.Contains(out, "10.0.0.11 heard ") {
		t.Errorf("status says\n%s", out)
	}
	for _, step := range []struct {
		leaves *pairtest.Server
		to     string
	}{{lb1, "lb2"}, {lb2, "lb3"}} {
		from := pairtest.Step(t, func() error { return step.leaves.Daemon.Signal(syscall.SIGTERM) })
		c.Only(t, step.to, moveBound)
		c.Planned(t, from, step.to)
		<-step.leaves.Daemon.Done()
	}
	from := pairtest.Step(t, func() error { lb1.Start(t); lb2.Start(t); return nil })
	c.Settled(t, "lb1")
	c.Reaches(t, web4, "lb1", time.Second)
	c.Outage(t, web4, from, noise, "lb1")
}

// TestUnicastReload tells of a list that changes while everything runs: nothing moves.
func TestUnicastReload(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`peers = ["10.0.0.11", "10.0.0.12"]`)+page)
	from := time.Now()
	for _, h := range c.Hosts {
		h.Configure(t, instance(`peers = ["10.0.0.13", "10.0.0.12", "10.0.0.11"]
  source = { lb1 = "10.0.0.11", lb2 = "10.0.0.12" }[hostname]`)+page)
		h.Says(t, "configuration reloaded", moveBound)
	}
	c.Rests(t, from, time.Now().Add(2*time.Second))
	lb1 := c.Get("lb1")
	lb1.Configure(t, instance(`source = "10.0.0.77"`)+page)
	lb1.Says(t, `configuration rejected.*does not have 10\.0\.0\.77`, moveBound)
	c.Rests(t, from, time.Now().Add(time.Second))
}

// TestReloadToNames tells of a master that is given names which nobody knows, in the place of addresses and of the group. The other host is
// not told of it: it goes on hearing the master, and the master hears it when it is to take over.
func TestReloadToNames(t *testing.T) {
	t.Parallel()
	const names = `peers = ["lb1.invalid", "lb2.invalid"]`
	for name, tt := range map[string]struct{ before, to, shown string }{
		"addresses": {`peers = ["10.0.0.11", "10.0.0.12"]`, `10\.0\.0\.12`, "counts on from before the reload"},
		"the group": {"", `224\.0\.0\.18`, "MULTICAST, as before the reload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pair(t, instance(tt.before)+page)
			lb1, lb2 := c.Get("lb1"), c.Get("lb2")
			from := time.Now()
			lb1.Configure(t, instance(names)+page)
			lb1.Says(t, `the peer .*lb2\.invalid.* is not known .*: until it is, adverts go to `+tt.to+` as before the reload`, moveBound)
			c.Rests(t, from, time.Now().Add(down+time.Second))
			if out := lb1.Does(t, 0, "status", "web"); !strings.Contains(out, "lb2.invalid IS MISSING") || !strings.Contains(out, tt.shown) {
				t.Errorf("status says\n%s", out)
			}
			from = time.Now()
			lb2.Configure(t, strings.Replace(instance(tt.before), "lb2 = 100", "lb2 = 200", 1)+page)
			c.Only(t, "lb2", down+moveBound)
			c.Outage(t, web4, from, noise, "lb2")
		})
	}
}

// TestUnicastStranger tells of a host that is none of the peers. Its first advert is told of. It floods both with adverts that would
// move everything if they were a peer's: nothing moves, and no advert of the master is late. A host that multicasts the same VRID
// changes nothing either.
func TestUnicastStranger(t *testing.T) {
	t.Parallel()
	const interval = 200 * time.Millisecond
	c := pair(t, instance(`advertise_interval = "200ms"
  peers = ["10.0.0.11", "10.0.0.12"]`)+page)
	wire := capture(t, c.Get("lb2").Host, "ip proto 112 and src 10.0.0.11")
	stranger := labtest.Host(t, c.Lab, "stranger", "10.0.0.66/24")
	from := time.Now()
	if n, err := flood(stranger, netip.MustParseAddr("10.0.0.11"), 254, 20, 100*time.Millisecond); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	c.Get("lb1").Says(t, `adverts from 10\.0\.0\.66 .*are refused: its sender is none of this instance's peers`, moveBound)
	sent := 0
	for _, to := range []netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12"), vrrp.GroupIPv4} {
		for _, priority := range []uint8{254, 0, 1} {
			n, err := flood(stranger, to, priority, 4000, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			sent += n
		}
	}
	until := time.Now()
	c.Rests(t, from, until.Add(time.Second))
	at := seen(t, wire, "> 10.0.0.12")
	worst, stall := time.Duration(0), c.Slack(from, until)
	for n := 1; n < len(at); n++ {
		if at[n-1].After(from) && at[n].Before(until) {
			worst = max(worst, at[n].Sub(at[n-1]))
		}
	}
	if limit := interval + 50*time.Millisecond + stall; worst > limit || between(at, from, until) < int(until.Sub(from)/interval)-2 {
		t.Errorf("of %d adverts two are %v apart in the flood, want at most %v", between(at, from, until), worst, limit)
	}
	t.Logf("%d forged adverts within %v; the master's are at most %v apart", sent, until.Sub(from), worst)
	for name, want := range map[string]node.State{"lb1": node.Master, "lb2": node.Backup} {
		i := status(t, c.Get(name))
		refused := i.Routers[0].Refused["not-a-peer"]
		if i.State != want || !i.Since.Before(from) {
			t.Errorf("%s is %s since %v: %s", name, i.State, i.Since, i.Why)
		}
		if refused == nil || refused.Count > uint64(sent)/16 {
			t.Errorf("%s refused %+v, want a sample of %d", name, refused, sent)
		}
		if n := c.Get(name).Logged(`adverts from 10\.0\.0\.66 .*are refused`); n < 1 || n > 2 {
			t.Errorf("%s told of the stranger %d times", name, n)
		}
	}
}

// flood sends adverts of one priority with right checksums from a host, so many a second, and returns how many those were.
func flood(h *netlab.Host, to netip.Addr, priority uint8, rate int, lasts time.Duration) (sent int, err error) {
	source := netip.MustParseAddr("10.0.0.66")
	advert := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: priority, Interval: 200 * time.Millisecond, Addresses: []netip.Addr{web4}}
	payload, err := advert.Append(nil, source, to, vrrp.ChecksumPseudoHeader)
	if err != nil {
		return 0, err
	}
	err = h.Do(func() error {
		conn, err := net.ListenPacket("ip4:112", source.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		link, err := net.InterfaceByName(netlab.Interface)
		if err != nil {
			return err
		}
		p := ipv4.NewPacketConn(conn)
		if err := p.SetMulticastInterface(link); err != nil {
			return err
		}
		for _, err := range []error{p.SetTTL(vrrp.HopLimit), p.SetMulticastTTL(vrrp.HopLimit)} {
			if err != nil {
				return err
			}
		}
		for begin := time.Now(); time.Since(begin) < lasts; time.Sleep(time.Millisecond) {
			for due := int(time.Since(begin).Seconds() * float64(rate)); sent < due; sent++ {
				if _, err := p.WriteTo(payload, nil, &net.IPAddr{IP: to.AsSlice()}); err != nil {
					return fmt.Errorf("send to %s: %w", to, err)
				}
			}
		}
		return nil
	})
	return sent, err
}
