package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// dice is one source of what is drawn. Each fault has its own, so that leaving one out does not change the others.
type dice struct{ *rand.Rand }

// newDice are those of a stream of a seed.
func newDice(seed, stream uint64) dice { return dice{rand.New(rand.NewPCG(seed, stream))} }

func (d dice) chance(p float64) bool { return d.Float64() < p }

func (d dice) upTo(most time.Duration) time.Duration {
	return time.Duration(d.Int64N(int64(most) + 1))
}

// pick draws one of several.
func pick[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

// The checks of every host.
const (
	yields   = "yields"
	releases = "releases"
	weighs   = "weighs"
)

// options are what a run is like. They are drawn too (a swarm): a run with few kinds of faults reaches what one with all of
// them never does.
type options struct {
	hosts     int
	instances int
	kin       []kin // of a group: how the instances after the first differ from it
	ill       bool  // it ends with every host unhealthy
	absent    bool  // some hosts may be away at the end
	priority  []uint8
	drift     int // parts per million, either way
	chaos     time.Duration
	faults    int
	kinds     []kind
	network   Network
	lookout   time.Duration // how late a host sees whose MAC address an advert has; see Config
	naming    naming
	unplugs   bool // links are down for longer than clocks may differ
	rolls     bool // hosts get virtual MACs, or their own again, one after the other
	kernel    time.Duration
	busy      time.Duration // what the kernel may need beyond that
	jitter    time.Duration
}

// drawOptions draws everything but what happens when. Without kin it is no group.
func drawOptions(d dice, web node.Instance, kin []kin, keyed bool) options {
	o := options{hosts: 2 + d.IntN(4), instances: pick(d, 1, 1, 1, 2, 3), kin: kin, ill: d.chance(0.3), absent: d.chance(0.3), drift: pick(d, 0, 50, 1000)}
	if o.grouped() {
		o.instances = 1 + len(kin)
	}
	step := min(2*time.Millisecond, fastestOf(o.siblings(web)).Interval/10)
	o.kernel, o.jitter = d.upTo(2*time.Millisecond), d.upTo(step)
	o.busy = pick(d, 0, time.Millisecond, 40*time.Millisecond) // measured on a busy host: 37 to 48 ms
	o.network = Network{MinDelay: 50 * time.Microsecond, MaxDelay: 50*time.Microsecond + d.upTo(step), InOrder: d.chance(0.6)}
	o.chaos = 1500*time.Millisecond + time.Duration(5+d.IntN(30))*web.Interval
	o.faults = 1 + d.IntN(pick(d, 3, 8, 16, 30))
	o.priority = drawPriorities(d, o.hosts)
	planned := d.chance(0.3) // orderly administrators, and nothing that breaks
	share := pick(d, 0.2, 0.5, 1)
	for _, k := range kinds {
		if (!planned || k.unrest < hard) && o.has(k.only, keyed) && d.chance(share) {
			o.kinds = append(o.kinds, k)
		}
	}
	if keyed {
		o.drift = min(o.drift, 50) // the clocks must agree
	}
	if len(o.kinds) == 0 {
		o.kinds = kinds[:1]
	}
	if !planned && d.chance(0.4) {
		o.network.Loss, o.network.Duplicates = 0.3*d.Float64(), 0.1*d.Float64()
	}
	return o
}

// drawMACs draws what has to do with MAC addresses. It came later than the rest, and is drawn apart, so that nothing else of a seed is
// another than before.
func (o *options) drawMACs(d dice) {
	o.lookout, o.rolls = pick(d, 0, 0, 250*time.Millisecond), d.chance(0.5)
}

// has says whether a cluster has a trait.
func (o *options) has(t trait, keyed bool) bool {
	return t == anyOf || t == named && o.naming.named || t == unplugged && o.unplugs || t == grouped && o.grouped() || t == signed && keyed
}

// drawPriorities draws each host's base.
func drawPriorities(d dice, hosts int) []uint8 {
	close, equal, owner := d.chance(0.4), d.chance(0.1), d.chance(0.1)
	var ps []uint8
	for k := range hosts {
		p := uint8(2 + d.IntN(253))
		switch {
		case owner && k == 0:
			p = vrrp.PriorityOwner
		case equal && k > 0 && ps[k-1] != vrrp.PriorityOwner:
			p = ps[k-1]
		case close:
			p = uint8(100 + d.IntN(4))
		}
		ps = append(ps, p)
	}
	return ps
}

// drawInterval draws from the whole range, more often from what people use.
func drawInterval(d dice) time.Duration {
	ms := pick(d, 10, 10, 20, 30, 50, 100, 100, 250, 300, 500, 1000, 1000, 1000, 1000, 2000, 3000, 10000, 40950)
	return time.Duration(ms) * time.Millisecond
}

// drawInstance draws what the hosts have in common.
func drawInstance(d dice) node.Instance {
	i := node.Instance{
		Name: "web", Interface: Interface, VRID: 51, Version: vrrp.V3, DeadAdverts: pick(d, 3, 3, 3, 3, 2, 4, 6), Preempt: d.chance(0.7),
		Lease: d.chance(0.7), Interval: drawInterval(d), Announce: node.Announcing{Refresh: time.Minute},
		Checks: map[string]node.Effect{yields: {}, releases: {OnFailure: node.Release}},
	}
	if d.chance(0.2) {
		i.Version, i.Interval = vrrp.V2, time.Duration(1+d.IntN(3))*time.Second
	}
	i.Addresses = drawAddresses(d, i.Version)
	if d.chance(0.1) {
		i.Unadvertised = []node.Address{{IP: netip.MustParseAddr("198.51.100.7")}}
	}
	if i.Preempt && d.chance(0.5) {
		i.Checks[weighs] = node.Effect{OnFailure: node.Weigh, Weight: d.IntN(120) - 60}
	}
	if d.chance(0.2) {
		i.PreemptDelay = d.upTo(5 * i.Interval)
	}
	i.VirtualMAC = d.chance(0.3)
	if d.chance(0.1) {
		i.LinkDelay = d.upTo(2 * time.Second)
	}
	if d.chance(0.2) {
		i.Announce.Interval = d.upTo(20 * time.Millisecond)
	}
	return i
}

// drawAddresses draws one or two families with one to three addresses.
func drawAddresses(d dice, v vrrp.Version) []node.Address {
	var as []node.Address
	v4, v6 := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
	families := 1 + d.IntN(3)
	if v == vrrp.V2 {
		families = 1
	}
	for family, ip := range []netip.Addr{v4, v6} {
		if families&(family+1) == 0 {
			continue
		}
		for range pick(d, 1, 1, 2, 3) {
			as = append(as, node.Address{IP: ip})
			ip = ip.Next()
		}
	}
	return as
}

// siblings are the instances of a host: they differ in nothing but their identity, or, in a group, as kin does.
func (o *options) siblings(web node.Instance) []node.Instance {
	out := []node.Instance{web}
	for k := 1; k < o.instances; k++ {
		i := web
		i.Name, i.VRID, i.Addresses, i.Unadvertised = fmt.Sprintf("inside%d", k), web.VRID+uint8(k), nil, nil
		for _, a := range web.Addresses {
			ip := a.IP.As16()
			ip[14] += byte(k)
			i.Addresses = append(i.Addresses, node.Address{IP: netip.AddrFrom16(ip).Unmap()})
		}
		if o.grouped() {
			o.kin[k-1].become(&i, o.hosts)
		}
		out = append(out, i)
	}
	return out
}

// String describes a run for a failure.
func (s *scenario) String() string {
	var text strings.Builder
	i := s.common
	fmt.Fprintf(&text, "%d hosts, %d instances, v%d, interval %s, dead_adverts %d, preempt %t after %s, link_delay %s, lease %t, addresses %d, drift %d ppm, loss %.2f, all unhealthy at the end %t:",
		s.o.hosts, s.o.instances, i.Version, i.Interval, i.DeadAdverts, i.Preempt, i.PreemptDelay, i.LinkDelay, i.Lease, len(i.Addresses), s.o.drift, s.o.network.Loss, s.o.ill)
	for k, h := range s.c.hosts {
		fmt.Fprintf(&text, " %s %d", h.Name, s.o.priority[k])
	}
	if s.keys.signed {
		fmt.Fprintf(&text, "; signed, step %d, clocks up to %s apart", s.keys.step, s.keys.ahead)
	}
	if s.o.naming.named {
		fmt.Fprintf(&text, "; peers by name, found within %s", s.o.naming.answers)
	}
	for _, i := range s.o.siblings(s.common)[1:] {
		fmt.Fprintf(&text, "; %s on %s every %s with %d addresses", i.Name, i.Interface, i.Interval, len(ips(i)))
	}
	return text.String()
}
