package linux

import (
	"net"
	"net/netip"
)

// group is VRRP's multicast group of a family (RFC 9568 sections 5.1.1.2 and 5.1.2.2), and where that is on Ethernet.
type group struct {
	ip  netip.Addr
	mac net.HardwareAddr
}

var (
	group4 = group{netip.MustParseAddr("224.0.0.18"), net.HardwareAddr{0x01, 0x00, 0x5e, 0, 0, 0x12}} // RFC 1112 section 6.4
	group6 = group{netip.MustParseAddr("ff02::12"), net.HardwareAddr{0x33, 0x33, 0, 0, 0, 0x12}}      // RFC 2464 section 7
)

func groupOf(v6 bool) group {
	if v6 {
		return group6
	}
	return group4
}
