package vrrp

import (
	"encoding/binary"
	"net/netip"
)

// formOf narrows a wished form to what the version and family allow: VRRPv2 has no pseudo-header, IPv6 always one.
func formOf(v Version, f Family, wished ChecksumForm) ChecksumForm {
	switch {
	case v == V2:
		return ChecksumMessage
	case f == IPv6:
		return ChecksumPseudoHeader
	default:
		return wished
	}
}

// verify says whether the checksum of a message is right, and in which form.
func verify(b []byte, v Version, source, destination netip.Addr) (ChecksumForm, bool) {
	form := formOf(v, FamilyOf(source), ChecksumPseudoHeader)
	if checksum(b, source, destination, form) == 0xffff {
		return form, true
	}
	if other := formOf(v, FamilyOf(source), ChecksumMessage); other != form && checksum(b, source, destination, other) == 0xffff {
		return other, true
	}
	return 0, false
}

// checksum is the one's complement sum of RFC 1071, not yet inverted: 0xffff over a message with a right checksum.
func checksum(msg []byte, source, destination netip.Addr, form ChecksumForm) uint16 {
	var sum uint32
	if form == ChecksumPseudoHeader {
		// RFC 8200 section 8.1 and RFC 793 differ in layout, not in the sum: addresses, protocol and length.
		sum = add(sum, source.AsSlice())
		sum = add(sum, destination.AsSlice())
		sum += ProtocolNumber + uint32(len(msg))
	}
	sum = add(sum, msg)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// add adds b's 16-bit words to the sum; a last odd byte counts as the word's upper half. 64 KiB cannot overflow it.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
