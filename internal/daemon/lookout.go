package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// maxKnown bounds the senders whose MAC addresses the loop need not be told again,
	maxKnown = 256
	// and knownFor is for how long it need not.
	knownFor = time.Minute
	// Of which addresses the adverts for other virtual routers list the loop is told once in claimGap for each router and sender, and of
	// maxClaims of these.
	claimGap  = 3 * time.Second
	maxClaims = 64
)

// lookOut tells the loop who speaks VRRP on an interface, and what the VRRP socket's filter drops.
func (k *portKeeper) lookOut(ctx context.Context, b *base, ifName string, l *linux.Lookout, h *hearing, refused *refusals) error {
	known, claims := newAcquaintances(), newClaims()
	return l.Run(ctx, func(s linux.Sighting) {
		refused.flush(s.At)
		if vrid, trailer := b.sighted(s); vrid != 0 || known.learn(s.At, s.Source, s.MAC) {
			k.post(ctx, node.Seen{Interface: ifName, From: s.Source, MAC: s.MAC.String(), VRID: vrid, Trailer: trailer})
		}
		if b.expects(s) && h.saw(s.At, s.Source) {
			k.post(ctx, node.Dropped{Interface: ifName, VRID: s.Payload[1], From: s.Source})
		}
		if b.reads(s) {
			return
		}
		vrid, err := dropped(s)
		if err == error(vrrp.ErrUnknownVRID) && claims.areNews(s.At, s.Source, vrid) {
			if ev, ok := claimed(ifName, s); ok {
				k.post(ctx, ev)
			}
		}
		if s.Passed || err == nil { // who comes from our own address, is no peer, or has no key, is told of as any other
			k.judge(ctx, ifName, s.Packet, refused)
			return
		}
		refused.add(s.At, node.Refused{Interface: ifName, VRID: vrid, From: s.Source, MAC: s.MAC.String(), Err: err})
	}, func(packets uint64) {
		k.post(ctx, node.Overlooked{Interface: ifName, Packets: packets})
	})
}

// acquaintances are the senders whose MAC addresses a reader has told the loop of.
type acquaintances struct {
	macs  map[netip.Addr]string
	since time.Time
}

func newAcquaintances() *acquaintances { return &acquaintances{macs: map[netip.Addr]string{}} }

// learn takes note of a sender's MAC address. It says whether the loop is to be told.
func (a *acquaintances) learn(at time.Time, from netip.Addr, mac net.HardwareAddr) bool {
	if len(a.macs) >= maxKnown || at.Sub(a.since) >= knownFor {
		clear(a.macs)
		a.since = at
	}
	if a.macs[from] == string(mac) {
		return false
	}
	a.macs[from] = string(mac)
	return true
}

// claims are the adverts for other virtual routers of which the loop was told lately.
type claims struct {
	told  map[claimKey]bool
	since time.Time
}

type claimKey struct {
	from netip.Addr
	vrid uint8
}

func newClaims() *claims { return &claims{told: map[claimKey]bool{}} }

// areNews says whether the loop is to be told what an advert lists.
func (c *claims) areNews(at time.Time, from netip.Addr, vrid uint8) bool {
	if at.Sub(c.since) >= claimGap {
		clear(c.told)
		c.since = at
	}
	key := claimKey{from, vrid}
	if c.told[key] || len(c.told) >= maxClaims {
		return false
	}
	c.told[key] = true
	return true
}

// claimed is what a valid advert for another virtual router lists. One of priority 0 claims nothing any more.
func claimed(ifName string, s linux.Sighting) (node.Claimed, bool) {
	r, err := vrrp.Parse(s.Payload, s.Source, s.Destination, s.TTL)
	return node.Claimed{Interface: ifName, VRID: r.VRID, From: s.Source, Interval: r.Interval, IPs: r.Addresses}, err == nil && r.Priority != vrrp.PriorityRelease
}

// share says which virtual routers have a MAC address of their own.
func (b *base) share(list []linux.Macvlan) {
	keys := make([]deviceKey, len(list))
	for k, m := range list {
		keys[k] = keyOf(m)
	}
	b.shared.Store(&keys)
}

// sighted is the virtual router that an advert is for, where that has a MAC address of its own: from where each of its adverts comes
// matters. Else it is 0. The trailer tells it from one that is not signed, or not rightly.
func (b *base) sighted(s linux.Sighting) (vrid uint8, trailer string) {
	shared := b.shared.Load()
	if !s.Passed || shared == nil || !slices.Contains(*shared, deviceKey{s.Payload[1], vrrp.FamilyOf(s.Source)}) {
		return 0, ""
	}
	r, err := vrrp.Parse(s.Payload, s.Source, s.Destination, s.TTL)
	if err != nil {
		return 0, ""
	}
	return r.VRID, r.Trailer()
}

// reads says whether the VRRP socket's reader has a packet too. The kernel gives no socket what comes over IPv4 from an address of
// this host.
func (b *base) reads(s linux.Sighting) bool {
	own := b.own.Load()
	return s.Passed && !(s.Source.Is4() && own != nil && slices.Contains(*own, s.Source))
}

// dropped says why the VRRP socket's filter drops a packet: it looks no further than these. Where that is only because of what the
// instance wants, there is no error: the node knows more about that.
func dropped(s linux.Sighting) (vrid uint8, err error) {
	r, err := vrrp.Parse(s.Payload, s.Source, s.Destination, s.TTL)
	for _, first := range []error{vrrp.ErrCARP, vrrp.ErrType, vrrp.ErrVRID} {
		if errors.Is(err, first) {
			return r.VRID, err
		}
	}
	const header = 8 // RFC 9568 section 5.1
	switch {
	case len(s.Payload) < header:
		return r.VRID, vrrp.ErrShort
	case errors.Is(err, vrrp.ErrVersion):
		return r.VRID, vrrp.ErrVersion.Because("it is of VRRP version %d, which does not exist over %s", r.Version, vrrp.FamilyOf(s.Source))
	case s.Misfit:
		return r.VRID, err
	case s.TTL != vrrp.HopLimit:
		return r.VRID, vrrp.ErrHopLimit.Because("its TTL or hop limit is %d, not 255: it was forwarded by a router, or forged; VRRP works on one link only", s.TTL)
	default:
		return r.VRID, vrrp.ErrUnknownVRID
	}
}
