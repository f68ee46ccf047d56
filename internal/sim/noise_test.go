package sim

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// flaw is the one thing that is wrong with a better master's advert.
type flaw struct {
	name string
	only func(node.Instance) bool // where it is one; nil: everywhere
	do   func(*noise, dice)
}

// noise is a packet that is being made.
type noise struct {
	advert   vrrp.Advert
	instance node.Instance
	own      netip.Addr // the host's that it is for
	from, to netip.Addr
	hops     int
	payload  []byte // what is sent; nil: the advert as it is
}

// bend changes what was a good advert once it has its checksum.
func bend(do func(b []byte)) func(*noise, dice) {
	return func(n *noise, d dice) {
		n.seal()
		do(n.payload)
	}
}

// reflection is the flaw of an advert that the host sent itself.
const reflection = "reflection"

// flaws are all others.
var flaws = []flaw{
	{"hop limit", nil, func(n *noise, _ dice) { n.hops = 254 }},
	{"checksum", nil, bend(func(b []byte) { b[len(b)-1] ^= 1 })},
	{"short", nil, func(n *noise, d dice) {
		n.seal()
		n.payload = n.payload[:len(n.payload)-1-d.IntN(8)]
	}},
	{"another VRID", nil, func(n *noise, _ dice) { n.advert.VRID = 200 }},
	{"type", nil, bend(func(b []byte) { b[0] = b[0]&0xf0 | 2 })},
	{"VRID 0", nil, bend(func(b []byte) { b[1] = 0 })},
	{"version", nil, bend(func(b []byte) { b[0] = b[0]&0x0f | 4<<4 })},
	{"from nobody's peer", unicast, func(n *noise, d dice) { n.from = stranger(vrrp.FamilyOf(n.from)) }},
	{"to the group", unicast, func(n *noise, _ dice) { n.to = vrrp.FamilyOf(n.from).Group() }},
	{"to the host alone", multicast, func(n *noise, _ dice) { n.to = n.own }},
	{"another interval", func(i node.Instance) bool { return i.Version == vrrp.V2 }, func(n *noise, _ dice) { n.advert.Interval += time.Second }},
}

func unicast(i node.Instance) bool { return len(i.Peers) > 0 }

func multicast(i node.Instance) bool { return !unicast(i) }

// stranger is a host that is not of the cluster.
func stranger(f vrrp.Family) netip.Addr {
	if f == vrrp.IPv6 {
		return netip.MustParseAddr("fe80::99")
	}
	return netip.MustParseAddr("10.0.0.99")
}

// sourceOn is a host's own address on a link.
func sourceOn(h *Host, link string, f vrrp.Family) netip.Addr {
	if f == vrrp.IPv6 {
		return h.LinkOn(link).Source6
	}
	return h.LinkOn(link).Source4
}

// seal makes the packet.
func (n *noise) seal() {
	b, err := n.advert.Append(nil, n.from, n.to, n.instance.Checksum)
	if err != nil {
		panic(err)
	}
	n.payload = b
}

// damage sends a host one: a better master's advert, but for one thing. It comes from another host of the cluster, from one that is
// none of it, or was sent by the host itself.
func (s *scenario) damage(d dice, h *Host) {
	x := s.plights[h]
	if x.absent || len(h.cfg.Instances) == 0 || !sound(h) {
		return
	}
	i := pick(d, h.cfg.Instances...)
	family, other := pick(d, i.Families()...), pick(d, s.c.hosts...)
	n := &noise{
		advert:   vrrp.Advert{Version: i.Version, VRID: i.VRID, Priority: pick[uint8](d, 255, 254, 0), Interval: i.Interval},
		instance: i, own: sourceOn(h, i.Interface, family), from: sourceOn(other, i.Interface, family), to: family.Group(), hops: vrrp.HopLimit,
	}
	if !n.from.IsValid() || d.chance(0.5) {
		n.from = stranger(family)
	}
	if unicast(i) {
		n.to = n.own
	}
	for _, w := range i.Addresses {
		if vrrp.FamilyOf(w.IP) == family {
			n.advert.Addresses = append(n.advert.Addresses, w.IP)
		}
	}
	wrong := pick(d, slices.DeleteFunc(slices.Clone(flaws), func(f flaw) bool { return f.only != nil && !f.only(i) })...)
	if d.chance(0.1) {
		n.from, wrong = n.own, flaw{name: reflection, do: func(*noise, dice) {}}
	}
	if wrong.do(n, d); n.payload == nil {
		n.seal()
	}
	s.noises[wrong.name]++
	h.Intrude(i.Interface, n.payload, n.from, n.to, n.hops)
}

// TestNoiseIsMade holds that the random runs make every kind of it, on hosts with peers and without.
func TestNoiseIsMade(t *testing.T) {
	want := []string{reflection}
	for _, f := range flaws {
		want = append(want, f.name)
	}
	made, missing := map[string]int{}, want
	for s := *seed; s < *seed+400 && len(missing) > 0; s++ {
		for name, n := range play(s, single, false, nil).noises {
			made[name] += n
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return made[name] > 0 })
	}
	if len(missing) > 0 {
		t.Errorf("in 400 seeds no noise of %v", missing)
	}
}
