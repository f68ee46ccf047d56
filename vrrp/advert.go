package vrrp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Sizes of a message's parts (RFC 9568 section 5.1, RFC 3768 section 5.1).
const (
	headerLen   = 8
	authDataLen = 8 // VRRPv2's authentication data, always present
	typeAdvert  = 1
	// MaxAddresses is the most addresses that one advert can carry: the count has one byte.
	MaxAddresses = 255
)

// Advert is one VRRP advertisement.
type Advert struct {
	Version  Version
	VRID     uint8
	Priority uint8
	// Interval is Max Advertise Interval in VRRPv3 (centiseconds on the wire), Adver Int in VRRPv2 (seconds).
	Interval time.Duration
	// Addresses are of the family that carries the advert.
	Addresses []netip.Addr
	// AuthType is VRRPv2's authentication type: 0 is none, 1 the Password.
	AuthType uint8
	Password Secret
}

// authPassword is VRRPv2's "simple text password" (RFC 2338 section 5.3.6), which RFC 3768 took back.
const authPassword = 1

// String prints the advert in one line, as the traces and the debug log show it.
func (a Advert) String() string {
	return fmt.Sprintf("v%d vrid %d priority %d interval %s addresses %v", a.Version, a.VRID, a.Priority, a.Interval, a.Addresses)
}

// Append marshals the advert behind b, with the checksum for a packet from source to destination. form matters only for
// VRRPv3 over IPv4.
func (a Advert) Append(b []byte, source, destination netip.Addr, form ChecksumForm) ([]byte, error) {
	return a.AppendSealed(b, source, destination, form, nil)
}

// AppendSealed is Append with the trailer that an Authenticator made.
func (a Advert) AppendSealed(b []byte, source, destination netip.Addr, form ChecksumForm, trailer []byte) ([]byte, error) {
	start := len(b)
	b, err := a.appendMessage(b, source)
	if err != nil {
		return b, err
	}
	end := len(b)
	b = append(b, trailer...)
	if FamilyOf(source) == IPv6 {
		end = len(b) // as a kernel sums it: all that follows the IP header
	}
	binary.BigEndian.PutUint16(b[start+6:], ^checksum(b[start:end], source, destination, formOf(a.Version, FamilyOf(source), form)))
	return b, nil
}

// appendMessage marshals the advert with a checksum of zero.
func (a Advert) appendMessage(b []byte, source netip.Addr) ([]byte, error) {
	if err := a.marshallable(FamilyOf(source)); err != nil {
		return b, err
	}
	b = slices.Grow(b, messageLen(a.Version, FamilyOf(source), len(a.Addresses))+TrailerLen)
	b = append(b, byte(a.Version)<<4|typeAdvert, a.VRID, a.Priority, byte(len(a.Addresses)))
	if a.Version == V2 {
		b = append(b, a.AuthType, byte(a.Interval/time.Second), 0, 0)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(a.Interval/centisecond))
		b = append(b, 0, 0)
	}
	for _, ip := range a.Addresses {
		b = append(b, ip.Unmap().AsSlice()...)
	}
	if a.Version == V2 {
		var data [authDataLen]byte
		copy(data[:], a.Password.reveal())
		b = append(b, data[:]...)
	}
	return b, nil
}

// marshallable says what of the advert the wire cannot carry.
func (a Advert) marshallable(f Family) error {
	switch {
	case a.Version != V2 && a.Version != V3:
		return fmt.Errorf("marshal advert: version %d does not exist", a.Version)
	case a.Version == V2 && f == IPv6:
		return fmt.Errorf("marshal advert: VRRPv2 carries no IPv6 addresses")
	case a.VRID == 0:
		return fmt.Errorf("marshal advert: VRID 0 does not exist")
	case len(a.Addresses) == 0 || len(a.Addresses) > MaxAddresses:
		return fmt.Errorf("marshal advert: %d addresses, 1 to %d fit", len(a.Addresses), MaxAddresses)
	}
	if err := CheckInterval(a.Version, a.Interval); err != nil {
		return fmt.Errorf("marshal advert: %w", err)
	}
	for _, ip := range a.Addresses {
		if !ip.IsValid() || FamilyOf(ip) != f {
			return fmt.Errorf("marshal advert: address %s in an advert over %s", ip, f)
		}
	}
	return nil
}

// CheckInterval says whether an Advertisement_Interval fits the version's field: whole seconds up to 255 in VRRPv2, whole
// centiseconds up to 40.95 s in VRRPv3.
func CheckInterval(v Version, d time.Duration) error {
	if v == V2 {
		if d < MinIntervalV2 || d > MaxIntervalV2 || d%time.Second != 0 {
			return fmt.Errorf("interval %s: VRRPv2 carries whole seconds from 1s to 255s", d)
		}
		return nil
	}
	if d < MinInterval || d > MaxIntervalV3 || d%centisecond != 0 {
		return fmt.Errorf("interval %s: VRRPv3 carries steps of 10ms from 10ms to 40.95s", d)
	}
	return nil
}

// Received is an advert as it arrived, with what the receive rules look at beside it.
type Received struct {
	Advert
	// Form is the checksum's, where there are two.
	Form ChecksumForm
	// From is the sender, To the group or an address of this host.
	From, To netip.Addr
	// HopLimit is the packet's TTL or hop limit.
	HopLimit int
	// Sealed is a copy of the whole message where an authentication trailer follows the advert; nil otherwise.
	Sealed []byte
}

// Trailer is the authentication trailer as it came; empty where there is none.
func (r Received) Trailer() string {
	if r.Sealed == nil {
		return ""
	}
	return string(r.Sealed[len(r.Sealed)-TrailerLen:])
}

// Parse reads and checks one VRRP message: everything in RFC 9568 section 7.1 and RFC 3768 section 7.1 that needs no
// configuration; Config.Refuse does the rest. hopLimit is the packet's TTL or hop limit. For VRRPv3 over IPv4 both checksum
// forms are accepted. On an error, which is one of this package's Err values, the result holds what had been read by then,
// so that a refusal can be counted under its VRID.
func Parse(b []byte, source, destination netip.Addr, hopLimit int) (Received, error) {
	r := Received{From: source, To: destination, HopLimit: hopLimit}
	if len(b) > 1 {
		r.VRID = b[1]
	}
	if len(b) < headerLen {
		return r, ErrShort
	}
	family := FamilyOf(source)
	r.Version, r.Priority = Version(b[0]>>4), b[2]
	switch {
	case isCARP(b):
		return r, ErrCARP
	case r.Version != V3 && (r.Version != V2 || family == IPv6):
		return r, ErrVersion
	case b[0]&0x0f != typeAdvert:
		return r, ErrType
	case r.VRID == 0:
		return r, ErrVRID
	}
	size := messageLen(r.Version, family, int(b[3]))
	message, summed := b, b
	if len(b) == size+TrailerLen {
		message = b[:size]
		if family == IPv4 {
			summed = message // over IPv6 the sender's kernel sums all that follows the IP header
		}
	}
	var ok bool
	if r.Form, ok = verify(summed, r.Version, source, destination); !ok {
		return r, ErrChecksum
	}
	if err := r.parseBody(message, family); err != nil {
		return r, err
	}
	if len(message) < len(b) {
		r.Sealed = bytes.Clone(b)
	}
	return r, nil
}

// CARP shares VRRP's protocol number, groups and hop limit, and VRRPv2's first byte; its second byte is the VHID. What tells
// it apart is its length: as many addresses as its fourth byte claims would make it longer.
const (
	carpFirstByte = 0x21
	carpAuthLen   = 7 // the counter and the digest that follow the header, in words: where VRRP counts addresses
	carpLen       = headerLen + 4*carpAuthLen
)

// isCARP says whether a message is CARP's.
func isCARP(b []byte) bool { return len(b) == carpLen && b[0] == carpFirstByte && b[3] == carpAuthLen }

// messageLen is the length of an advert with so many addresses, without an authentication trailer.
func messageLen(v Version, f Family, count int) int {
	n := headerLen + count*f.addressLen()
	if v == V2 {
		n += authDataLen
	}
	return n
}

// parseBody reads what follows the first word, once the checksum is known to be right.
func (a *Advert) parseBody(b []byte, f Family) error {
	count, size := int(b[3]), f.addressLen()
	if a.Version == V2 {
		a.AuthType = b[4]
		a.Interval = time.Duration(b[5]) * time.Second
	} else {
		a.Interval = time.Duration(binary.BigEndian.Uint16(b[4:])&0x0fff) * centisecond
	}
	switch want := messageLen(a.Version, f, count); {
	case count == 0 && a.Version != V2: // RFC 3768 names no least number, and keepalived sends none if all are excluded
		return ErrNoAddresses
	case len(b) < want:
		return ErrShort
	case len(b) > want:
		return ErrExcess
	case a.AuthType > authPassword:
		return ErrAuthType
	case a.Interval == 0:
		return ErrInterval
	}
	if a.AuthType == authPassword {
		a.Password = NewSecret(b[len(b)-authDataLen:])
	}
	a.Addresses = make([]netip.Addr, count)
	for i := range a.Addresses {
		ip, _ := netip.AddrFromSlice(b[headerLen+i*size : headerLen+(i+1)*size])
		a.Addresses[i] = ip
	}
	return nil
}

// addressLen is the size of one address on the wire, in bytes.
func (f Family) addressLen() int {
	if f == IPv6 {
		return 16
	}
	return 4
}
