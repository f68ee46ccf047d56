package sim

import (
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Network is how the link carries packets. Packets with different delays overtake each other.
type Network struct {
	MinDelay, MaxDelay time.Duration
	Loss, Duplicates   float64 // probabilities, for each packet and receiver
	InOrder            bool    // packets from one host to another do not overtake each other
}

// Traffic is a kind of packets.
type Traffic string

// The kinds of packets.
const (
	Everything    Traffic = "everything"
	AdvertsIPv4   Traffic = "ipv4"
	AdvertsIPv6   Traffic = "ipv6"
	Announcements Traffic = "announcements" // ARP and neighbour discovery
)

// Cut is what the link does not carry from one host to another; an empty name is every host.
type Cut struct {
	From, To string
	What     Traffic
}

// Cut stops some traffic.
func (c *Cluster) Cut(cut Cut) { c.cuts = append(c.cuts, cut) }

// Heal lets everything pass again, once; links that are down stay down.
func (c *Cluster) Heal() { c.cuts = nil }

// passes says whether the link carries anything of a kind.
func (c *Cluster) passes(from, to *Host, what Traffic) bool {
	if from == to || from.frozen || !from.link.Up || !to.link.Up {
		return false
	}
	for _, cut := range c.cuts {
		if (cut.From == "" || cut.From == from.Name) && (cut.To == "" || cut.To == to.Name) && (cut.What == Everything || cut.What == what) {
			return false
		}
	}
	return true
}

// carry delivers one packet from one host to another, if the link lets it.
func (c *Cluster) carry(from, to *Host, what Traffic, deliver func()) {
	if !c.passes(from, to, what) || c.chance(c.Network.Loss) {
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
		c.at(at, func() {
			if to.hears() {
				to.when(deliver)
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
	if from.mute(a.VirtualMAC, a.Family) {
		return
	}
	c.teach(from, a.VirtualMAC, a.Family)
	for _, to := range c.hosts {
		if a.Destination.IsMulticast() || a.Destination == to.link.Source4 || a.Destination == to.link.Source6 {
			c.carry(from, to, what, func() { to.receive(a.Payload, a.Source, a.Destination) })
		}
	}
}

// receive parses a packet, as the daemon's reader does.
func (h *Host) receive(payload []byte, source, destination netip.Addr) {
	received, err := vrrp.Parse(payload, source, destination, vrrp.HopLimit)
	if err != nil {
		h.feed(node.Refused{Interface: Interface, VRID: received.VRID, From: source, Err: err})
		return
	}
	h.feed(node.Heard{Interface: Interface, Received: received})
}

// carryAnnouncements broadcasts ARP and neighbour advertisements.
func (c *Cluster) carryAnnouncements(from *Host, a node.Announce) {
	for _, ip := range a.IPs {
		c.teach(from, a.VirtualMAC, vrrp.FamilyOf(ip))
	}
	for _, to := range c.hosts {
		for _, ip := range a.IPs {
			mac := from.mac(a.VirtualMAC, vrrp.FamilyOf(ip))
			c.carry(from, to, Announcements, func() {
				to.feed(node.Announced{Interface: Interface, IP: ip, MAC: mac})
			})
		}
	}
}

// carryProbe asks who has the addresses; each kernel that has one answers, whatever its process does.
func (c *Cluster) carryProbe(from *Host, ips []netip.Addr) {
	for _, to := range c.hosts {
		for _, ip := range ips {
			c.carry(from, to, Announcements, func() {
				if !to.kernel.has(ip) {
					return
				}
				mac := to.answersFrom(ip)
				c.carry(to, from, Announcements, func() {
					from.feed(node.Announced{Interface: Interface, IP: ip, MAC: mac})
				})
			})
		}
	}
}
