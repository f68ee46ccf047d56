package linux

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

const (
	etherTypeIPv6  = 0x86dd
	etherTypeARP   = 0x0806
	ipv6HeaderSize = 40
	nextICMPv6     = 58
	hopsND         = 255 // RFC 4861 section 7.1: anything less came through a router
)

// allNodes is where everybody on the link listens.
var allNodes = netip.MustParseAddr("ff02::1")

// arpFrame is a broadcast ARP frame about ip. In an announcement the sender and the target are ip; a probe (RFC 5227)
// has no sender. The target's hardware address is the broadcast address in an announcement's request, ours in its reply.
func arpFrame(op arp.Operation, mac net.HardwareAddr, sender, target netip.Addr, targetMAC net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(op, mac, sender, targetMAC, target)
	if err != nil {
		return nil, err
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	f := ethernet.Frame{Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: payload}
	return f.MarshalBinary()
}

// ndFrame is an Ethernet frame with a neighbour discovery message in an IPv6 packet to a multicast address.
func ndFrame(m ndp.Message, mac net.HardwareAddr, source, destination netip.Addr) ([]byte, error) {
	body, err := ndp.MarshalMessageChecksum(m, source, destination)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, ipv6HeaderSize, ipv6HeaderSize+len(body))
	packet[0] = 6 << 4
	binary.BigEndian.PutUint16(packet[4:], uint16(len(body)))
	packet[6], packet[7] = nextICMPv6, hopsND
	copy(packet[8:], source.AsSlice())
	copy(packet[24:], destination.AsSlice())
	f := ethernet.Frame{Destination: multicastMAC(destination), Source: mac, EtherType: ethernet.EtherTypeIPv6, Payload: append(packet, body...)}
	return f.MarshalBinary()
}

// multicastMAC is the Ethernet address of an IPv6 group (RFC 2464 section 7).
func multicastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// announcements are the frames that tell the link where ip now is: for IPv4 both the request and the reply form, since
// some hosts heed only the one and some only the other; for IPv6 an unsolicited neighbour advertisement.
//
// The advertisement comes from ip itself. It may come from any address of the interface (RFC 4861 section 4.4); a
// link-local one can be missing, or tentative just when the link comes up and the announcement matters most.
func announcements(mac net.HardwareAddr, ip netip.Addr, router bool) ([][]byte, error) {
	if ip.Is4() {
		request, err := arpFrame(arp.OperationRequest, mac, ip, ip, ethernet.Broadcast)
		if err != nil {
			return nil, err
		}
		reply, err := arpFrame(arp.OperationReply, mac, ip, ip, mac)
		if err != nil {
			return nil, err
		}
		return [][]byte{request, reply}, nil
	}
	frame, err := ndFrame(&ndp.NeighborAdvertisement{
		Router:        router,
		Override:      true,
		TargetAddress: ip,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, mac, ip, allNodes)
	if err != nil {
		return nil, err
	}
	return [][]byte{frame}, nil
}

// probe is the frame that asks who has ip and claims nothing of it: an ARP probe (RFC 5227), or a neighbour solicitation
// from source, an address of the host.
//
// The solicitation of duplicate address detection needs no source, but it is also a claim: a host on which ip is still
// tentative, as it is for an instant on every host that has just taken it, even without detection, would give it up.
// So it is sent only where the host has no source.
func probe(mac net.HardwareAddr, ip, source netip.Addr) ([]byte, error) {
	if ip.Is4() {
		return arpFrame(arp.OperationRequest, mac, netip.IPv4Unspecified(), ip, make(net.HardwareAddr, 6))
	}
	group, err := ndp.SolicitedNodeMulticast(ip)
	if err != nil {
		return nil, fmt.Errorf("solicited-node group of %s: %w", ip, err)
	}
	if !source.Is6() {
		return ndFrame(&ndp.NeighborSolicitation{TargetAddress: ip}, mac, netip.IPv6Unspecified(), group)
	}
	return ndFrame(&ndp.NeighborSolicitation{
		TargetAddress: ip,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}},
	}, mac, source, group)
}
