package linux

import (
	"net"
	"net/netip"
	"slices"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

const (
	ethernetHeader    = 14
	typeAdvertisement = 136
)

// parseARP reads who claims which address in an ARP frame. A probe, which claims none, is not ok.
func parseARP(frame []byte) (Announcement, bool) {
	if len(frame) < ethernetHeader {
		return Announcement{}, false
	}
	var p arp.Packet
	if err := p.UnmarshalBinary(frame[ethernetHeader:]); err != nil {
		return Announcement{}, false
	}
	if !p.SenderIP.Is4() || p.SenderIP.IsUnspecified() || len(p.SenderHardwareAddr) != 6 {
		return Announcement{}, false
	}
	return Announcement{Address: p.SenderIP, MAC: slices.Clone(p.SenderHardwareAddr)}, true
}

// parseAdvertisement reads who claims which address in a neighbour advertisement: the option's MAC address, or the
// frame's where it has none.
func parseAdvertisement(frame []byte) (Announcement, bool) {
	const icmp = ethernetHeader + ipv6HeaderSize
	if len(frame) < icmp {
		return Announcement{}, false
	}
	end := icmp + (int(frame[ethernetHeader+4])<<8 | int(frame[ethernetHeader+5]))
	if len(frame) < end || frame[ethernetHeader+6] != nextICMPv6 || frame[ethernetHeader+7] != hopsND {
		return Announcement{}, false
	}
	source := netip.AddrFrom16([16]byte(frame[ethernetHeader+8 : ethernetHeader+24]))
	destination := netip.AddrFrom16([16]byte(frame[ethernetHeader+24 : ethernetHeader+40]))
	if !checksumMatches(frame[icmp:end], source, destination) {
		return Announcement{}, false
	}
	m, err := ndp.ParseMessage(frame[icmp:end])
	if err != nil {
		return Announcement{}, false
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok {
		return Announcement{}, false
	}
	mac := net.HardwareAddr(slices.Clone(frame[6:12]))
	for _, option := range na.Options {
		if lla, ok := option.(*ndp.LinkLayerAddress); ok && lla.Direction == ndp.Target && len(lla.Addr) == 6 {
			mac = slices.Clone(lla.Addr)
		}
	}
	return Announcement{Address: na.TargetAddress, MAC: mac}, true
}

// checksumMatches verifies an ICMPv6 message, as a packet socket's reader must do itself: the sum over it and the
// pseudo-header (RFC 8200 section 8.1) is all ones.
func checksumMatches(message []byte, source, destination netip.Addr) bool {
	sum := uint32(len(message)) + nextICMPv6
	add := func(b []byte) {
		for i, x := range b {
			sum += uint32(x) << (8 * (1 - i&1))
		}
	}
	add(source.AsSlice())
	add(destination.AsSlice())
	add(message)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return sum == 0xffff
}
