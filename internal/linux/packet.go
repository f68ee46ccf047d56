package linux

import (
	"encoding/binary"
	"net/netip"
	"syscall"

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

// header6 takes what a packet socket received of IPv6: the fixed header, then the message. Behind an extension header there
// is none.
func header6(b []byte) (Packet, bool) {
	if len(b) < ipv6HeaderSize || b[0]>>4 != ipv6.Version || b[6] != protocolVRRP {
		return Packet{}, false
	}
	total := ipv6HeaderSize + int(b[4])<<8 + int(b[5])
	if total > len(b) {
		return Packet{}, false
	}
	return Packet{
		Payload:     b[ipv6HeaderSize:total],
		Source:      netip.AddrFrom16([16]byte(b[8:24])),
		Destination: netip.AddrFrom16([16]byte(b[24:40])),
		TTL:         int(b[7]),
	}, true
}

// parse6 takes what a raw IPv6 socket received: the message, with hop limit and destination in control messages.
func parse6(b, oob []byte, from syscall.Sockaddr) (Packet, bool) {
	source, ok := from.(*syscall.SockaddrInet6)
	if !ok {
		return Packet{}, false
	}
	hops, destination, ok := controls6(oob)
	if !ok {
		return Packet{}, false
	}
	// No zone: the connection is the interface's, and addresses are compared with those of the configuration.
	return Packet{
		Payload:     b,
		Source:      netip.AddrFrom16(source.Addr),
		Destination: destination,
		TTL:         hops,
	}, true
}

// controls6 reads the hop limit and the destination from control messages. (The library's parser allocates for each.)
func controls6(oob []byte) (hops int, destination netip.Addr, ok bool) {
	hops = -1
	for len(oob) > 0 {
		if len(oob) < unix.SizeofCmsghdr {
			return 0, netip.Addr{}, false // the library reads a header before it looks at the length
		}
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0, netip.Addr{}, false
		}
		oob = rest
		switch {
		case header.Level != unix.IPPROTO_IPV6:
		case header.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			hops = int(int32(binary.NativeEndian.Uint32(data)))
		case header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			destination = netip.AddrFrom16([16]byte(data))
		}
	}
	return hops, destination, hops >= 0 && destination.IsValid()
}
