package linux

import (
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// parse4 takes what a raw IPv4 socket received: the IP header, then the message. The header's own length and total
// length count, not what the buffer holds.
func parse4(b []byte) (Packet, bool) {
	if len(b) < ipv4.HeaderLen || b[0]>>4 != ipv4.Version {
		return Packet{}, false
	}
	header := int(b[0]&0x0f) << 2
	total := int(b[2])<<8 | int(b[3])
	if header < ipv4.HeaderLen || total < header || total > len(b) {
		return Packet{}, false
	}
	return Packet{
		Payload:     b[header:total],
		Source:      netip.AddrFrom4([4]byte(b[12:16])),
		Destination: netip.AddrFrom4([4]byte(b[16:20])),
		TTL:         int(b[8]),
	}, true
}

// parse6 takes what a raw IPv6 socket received: the message, with hop limit and destination in control messages.
func parse6(b, oob []byte, from unix.Sockaddr) (Packet, bool) {
	source, ok := from.(*unix.SockaddrInet6)
	if !ok {
		return Packet{}, false
	}
	var cm ipv6.ControlMessage
	if err := cm.Parse(oob); err != nil {
		return Packet{}, false
	}
	destination, ok := netip.AddrFromSlice(cm.Dst)
	if !ok {
		return Packet{}, false
	}
	// No zone: the connection is the interface's, and addresses are compared with those of the configuration.
	return Packet{
		Payload:     b,
		Source:      netip.AddrFrom16(source.Addr),
		Destination: destination,
		TTL:         cm.HopLimit,
	}, true
}
