package vrrp

import (
	"net/netip"
	"time"
)

// ProtocolNumber is VRRP's IP protocol number (RFC 9568 section 5.1.1.4).
const ProtocolNumber = 112

// HopLimit is the only TTL or hop limit that an advert may have (RFC 9568 section 5.1.1.3): it was not forwarded.
const HopLimit = 255

// Priorities with a meaning of their own.
const (
	// PriorityRelease on the wire says that the master gives up (RFC 9568 section 5.2.4).
	PriorityRelease = 0
	// PriorityIll is understudy's own: the sender is unhealthy or drained and offers its addresses to anyone better.
	PriorityIll = 1
	// PriorityOwner is the address owner's (RFC 9568 section 5.2.4).
	PriorityOwner = 255
)

// The multicast groups of the adverts (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
var (
	GroupIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupIPv6 = netip.MustParseAddr("ff02::12")
)

// Version is the protocol's version.
type Version uint8

// The versions that exist on the wire.
const (
	V2 Version = 2
	V3 Version = 3
)

// Family is the IP version that a virtual router speaks over.
type Family uint8

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// Group returns the multicast group that adverts of the family go to.
func (f Family) Group() netip.Addr {
	if f == IPv6 {
		return GroupIPv6
	}
	return GroupIPv4
}

// FamilyOf returns the family of an address.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// plain returns an address as the wire knows it: without the zone and the IPv4-in-IPv6 form that a socket may give it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// ChecksumForm says what the checksum of a VRRPv3 advert over IPv4 covers. RFC 5798 was read as including a
// pseudo-header, RFC 9568 section 5.2.8 says without one; both are in use.
type ChecksumForm uint8

// The checksum forms of VRRPv3 over IPv4. VRRPv2 has only the message form, IPv6 only the pseudo-header form.
const (
	ChecksumPseudoHeader ChecksumForm = iota // keepalived, FRR: with the IPv4 pseudo-header
	ChecksumMessage                          // RFC 9568: the VRRP message alone
)

// String returns the form's name in the configuration.
func (c ChecksumForm) String() string {
	if c == ChecksumMessage {
		return "rfc9568"
	}
	return "pseudo-header"
}

// Limits of Advertisement_Interval. VRRPv3 carries centiseconds in 12 bits, VRRPv2 whole seconds in 8.
const (
	MinInterval   = 10 * time.Millisecond
	MaxIntervalV3 = 4095 * 10 * time.Millisecond
	MinIntervalV2 = time.Second
	MaxIntervalV2 = 255 * time.Second
)
