package sim

import (
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Network is how the links carry packets: the interfaces of one name are on one link. Packets with different delays overtake each other.
type Network struct {
	MinDelay, MaxDelay time.Duration
	Loss, Duplicates   float64 // probabilities, for each packet and receiver
	InOrder            bool    // packets from one host to another do not overtake each other
}

// missedSights is the part of the adverts that a lookout with a delay does not see.
const missedSights = 0.1

// Traffic is a kind of packets.
type Traffic string

// The kinds of packets.
const (
	Everything    Traffic = "everything"
	AdvertsIPv4   Traffic = "ipv4"
	AdvertsIPv6   Traffic = "ipv6"
	Announcements Traffic = "announcements" // ARP and neighbour discovery
)

// Cut is what a link does not carry from one host to another; an empty name is every host, and every link.
type Cut struct {
	From, To string
	What     Traffic
	Link     string
}

// Cut stops some traffic.
func (c *Cluster) Cut(cut Cut) { c.cuts = append(c.cuts, cut) }

// Heal lets everything pass again, once; links that are down stay down.
func (c *Cluster) Heal() { c.cuts = nil }

// passes says whether a link carries anything of a kind.
func (c *Cluster) passes(link string, from, to *Host, what Traffic) bool {
	if from == to || from.frozen || !from.link(link).Up || !to.link(link).Up {
		return false
	}
	for _, cut := range c.cuts {
		if (cut.Link == "" || cut.Link == link) && (cut.From == "" || cut.From == from.Name) && (cut.To == "" || cut.To == to.Name) && (cut.What == Everything || cut.What == what) {
			return false
		}
	}
	return true
}

// carry delivers one packet from one host to another, if the link lets it.
func (c *Cluster) carry(link string, from, to *Host, what Traffic, deliver func(to *Host)) {
	if !c.passes(link, from, to, what) || c.chance(c.Network.Loss) {
		return
	}
	copies := 1
	if c.chance(c.Network.Duplicates) {
		copies = 2
	}
	for range copies {
		at := c.now.Add(c.between(c.Network.MinDelay, c.Network.MaxDelay))
		if last := to.latest[from]; c.Network.InOrder && !at.After(last) {
			at = last.Add(time.Nanosecond)
		}
		to.latest[from] = at
		c.after(at.Sub(c.now), func() {
			switch {
			case !to.hears(link):
			case to.frozen:
				to.stalled = append(to.stalled, func() { deliver(to) })
			default:
				deliver(to)
			}
		})
	}
}

// carryAdvert carries an advert to everyone, or to the host that it is for.
func (c *Cluster) carryAdvert(from *Host, a node.Send) {
	what := AdvertsIPv4
	if a.Family == vrrp.IPv6 {
		what = AdvertsIPv6
	}
	if from.mute(a.Interface, a.VirtualMAC, a.Family) {
		return
	}
	c.teach(a.Interface, from, a.VirtualMAC, a.Family)
	mac := from.mac(a.Interface, a.VirtualMAC, a.Family)
	ev := read(a.Interface, a.Payload, a.Source, a.Destination, vrrp.HopLimit)
	seen := node.Seen{Interface: a.Interface, From: a.Source, MAC: mac, VRID: a.Payload[1]}
	if h, ok := ev.(node.Heard); ok {
		seen.Trailer = h.Trailer()
	}
	deliver := func(to *Host) {
		to.feed(ev)
		c.sighted(to, seen)
	}
	for _, to := range c.hosts {
		l := to.link(a.Interface)
		if !a.Destination.IsMulticast() && a.Destination != l.Source4 && a.Destination != l.Source6 && !slices.Contains(l.Own, a.Destination) {
			continue
		}
		c.carry(a.Interface, from, to, what, deliver)
	}
}

// sighted shows an advert to a host's lookout, which looks now and then, and not at everything.
func (c *Cluster) sighted(h *Host, ev node.Seen) {
	if c.cfg.Lookout == 0 {
		h.sight(ev)
		return
	}
	if c.lookouts.Float64() < missedSights {
		return
	}
	c.after(time.Duration(c.lookouts.Int64N(int64(c.cfg.Lookout))), func() {
		if h.hears(ev.Interface) {
			h.when(func() { h.sight(ev) })
		}
	})
}

// sight tells the node of a sender's MAC address, as the daemon's lookout does: once, and of each advert for a virtual router that has
// a MAC of its own here.
func (h *Host) sight(ev node.Seen) {
	isVirtual := h.isVirtual(ev.Interface, ev.VRID)
	if !isVirtual {
		ev.VRID = 0
	}
	if isVirtual || h.sighted[ev.From] != ev.MAC {
		h.sighted[ev.From] = ev.MAC
		h.feed(ev)
	}
}

// carryAnnouncements broadcasts ARP and neighbour advertisements.
func (c *Cluster) carryAnnouncements(from *Host, a node.Announce) {
	for _, ip := range a.IPs {
		c.teach(a.Interface, from, a.VirtualMAC, vrrp.FamilyOf(ip))
	}
	for _, to := range c.hosts {
		for _, ip := range a.IPs {
			mac := from.mac(a.Interface, a.VirtualMAC, vrrp.FamilyOf(ip))
			c.carry(a.Interface, from, to, Announcements, func(to *Host) {
				to.feed(node.Announced{Interface: a.Interface, IP: ip, MAC: mac})
			})
		}
	}
}

// carryProbe asks who has the addresses; each kernel that has one answers, whatever its process does.
func (c *Cluster) carryProbe(from *Host, link string, ips []netip.Addr) {
	for _, to := range c.hosts {
		for _, ip := range ips {
			c.carry(link, from, to, Announcements, func(to *Host) {
				if !to.kernel.has(ip) {
					return
				}
				mac := to.answersFrom(link, ip)
				c.carry(link, to, from, Announcements, func(from *Host) {
					from.feed(node.Announced{Interface: link, IP: ip, MAC: mac})
				})
			})
		}
	}
}
