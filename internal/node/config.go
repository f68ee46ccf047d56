package node

import (
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Config is everything that the node decides by. It is validated and complete: internal/config makes it, and no field
// of it is unset or impossible.
type Config struct {
	// Name is the node's name: --node, else the kernel's host name up to the first dot.
	Name string
	// Shadow makes the node a silent observer: it decides as always, and asks for nothing that speaks on the link. Another VRRP
	// daemon may run on this host, with which it compares itself.
	Shadow bool
	// Unclaimed is how long the addresses stay that nobody took from a stopping node; 0: they are released at once.
	Unclaimed time.Duration
	// Instances in the order of the configuration. Names and (interface, VRID, family) are unique.
	Instances []Instance
	// Groups of instances with one fate; an instance is in one at most.
	Groups []Group
	// Checks names all that run. Of those that no instance heeds the verdicts are kept too: the next configuration may have one heed
	// them, and a check that goes on does not speak again because of it.
	Checks []string
}

// Group is several instances with one fate: they rise, hand over and step down as one.
type Group struct {
	Name string
	// Instances by name, the same and in the same order on all hosts: the first decides between equal priorities.
	Instances []string
}

// Instance is a group of addresses with one fate. With addresses of both families it runs two virtual routers under
// one VRID.
type Instance struct {
	Name      string
	Interface string
	VRID      uint8
	// Priority is the base priority, 2..255.
	Priority uint8
	Version  vrrp.Version
	// Addresses are advertised, in the order written; at least one.
	Addresses []Address
	// Unadvertised addresses are set and announced with the instance, but are not in its adverts.
	Unadvertised []Address
	Interval     time.Duration
	DeadAdverts  int
	Preempt      bool
	PreemptDelay time.Duration
	LinkDelay    time.Duration
	// Strict refuses the adverts that the RFC says to refuse and that peers send all the same.
	Strict bool
	// Checksum is the form that is sent for VRRPv3 over IPv4; both are accepted.
	Checksum vrrp.ChecksumForm
	// VirtualMAC gives the addresses the virtual router's MAC address instead of the interface's.
	VirtualMAC bool
	Lease      bool
	// Auth is how adverts are signed and verified; nil: not at all.
	Auth     *vrrp.Auth
	Announce Announcing
	// Peers are the hosts of the instance, this one as well as the others; none: the adverts are multicast.
	Peers []Peer
	// MinTTL is the least TTL or hop limit that an advert of a peer may have.
	MinTTL uint8
	// Sources are where the adverts come from, at most one of a family. A family without one has the address of the
	// interface that is a peer, or its first.
	Sources []netip.Addr
	// Checks that apply to this instance, by name.
	Checks map[string]Effect
}

// Address is a virtual address. It is always installed as a host prefix (/32, /128).
type Address struct {
	IP netip.Addr
	// Network is valid where the configuration wrote a prefix (192.0.2.10/24): a connected route to it is wanted on the
	// interface if the host has none.
	Network netip.Prefix
}

// Peer is a host that adverts are sent to and accepted from: an address, or a name that has one.
type Peer struct {
	Name string // empty for an address
	IP   netip.Addr
}

// Announcing says how an instance's addresses are announced by ARP and neighbour advertisements.
type Announcing struct {
	Refresh  time.Duration // 0: never again after the first ones
	Interval time.Duration // least time between two frames; 0: none
}

// Effect is what an unhealthy check does to an instance.
type Effect struct {
	OnFailure OnFailure
	// Weight is added to the priority when OnFailure is Weigh: negative while unhealthy, positive while healthy.
	Weight int
}

// Adds is what it adds to the priority while its check is healthy, or while it is not.
func (e Effect) Adds(healthy bool) int {
	if e.OnFailure != Weigh || healthy != (e.Weight > 0) {
		return 0
	}
	return e.Weight
}

// Limits of an effective priority (weights never make an owner, and 1 has a meaning of its own).
const (
	minPriority = 2
	maxPriority = 254
)

// Effective is the priority that the sum of base and weights comes to; an owner (255) takes no weights.
func (i *Instance) Effective(sum int) uint8 {
	if i.Priority == vrrp.PriorityOwner {
		return i.Priority
	}
	return uint8(min(max(sum, minPriority), maxPriority))
}

// OnFailure names the effects.
type OnFailure uint8

// The effects of an unhealthy check.
const (
	// Yield hands over to any healthier host and keeps the addresses if there is none.
	Yield OnFailure = iota
	// Release leaves the election: no address here, whatever the others do.
	Release
	// Weigh changes the priority by the check's weight.
	Weigh
)

// DeadInterval is how long the others wait for its adverts, without their skew: a host of priority 254 has next to none.
func (i *Instance) DeadInterval() time.Duration { return time.Duration(i.DeadAdverts) * i.Interval }

// count is how many addresses the instance has.
func (i *Instance) count() int { return len(i.Addresses) + len(i.Unadvertised) }

// Families lists the families of the instance's advertised addresses, IPv4 first.
func (i *Instance) Families() []vrrp.Family {
	var has4, has6 bool
	for _, a := range i.Addresses {
		if a.IP.Is4() {
			has4 = true
		} else {
			has6 = true
		}
	}
	var fs []vrrp.Family
	if has4 {
		fs = append(fs, vrrp.IPv4)
	}
	if has6 {
		fs = append(fs, vrrp.IPv6)
	}
	return fs
}
