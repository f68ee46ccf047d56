package vrrp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// TrailerLen is the size of keepalived's auth_hmac trailer, which follows an advert.
const TrailerLen = 28

// The trailer's parts: type, key, two reserved bytes and the sequence are its head, the MAC is the rest.
const (
	trailerType    = 1 // HMAC-SHA-256, truncated to 128 bits; there is no other
	trailerHeadLen = 12
	macLen         = TrailerLen - trailerHeadLen
)

// Sequence orders a sender's adverts, and says when each was sent: seconds since 1970 (32 bits), 65536ths of a second and
// a counter (16 bits each). It is compared serially (RFC 1982), so that it survives the year 2106.
type Sequence uint64

// SequenceAt returns the first sequence of an instant.
func SequenceAt(t time.Time) Sequence {
	return Sequence(uint32(t.Unix()))<<32 | Sequence(t.Nanosecond()<<16/int(time.Second))<<16
}

// stood says whether the sender's clock was not beyond this when it signed: it was set back, and the sender goes on after what it signed before.
func (s Sequence) stood() bool { return s&0xffff != 0 }

// After says whether s comes after another one of the same sender.
func (s Sequence) After(other Sequence) bool { return int64(s-other) > 0 }

// behind returns by how much s lies before an instant.
func (s Sequence) behind(now time.Time) time.Duration {
	ticks := int64(SequenceAt(now)>>16) - int64(s>>16) // the counter is no time
	ticks = ticks << 16 >> 16                          // serially, in 48 bits
	return time.Duration(ticks>>16)*time.Second + time.Duration(ticks&0xffff)*time.Second>>16
}

// within says whether s was sent at most a window before or after an instant, in whole seconds as the wire has them.
func (s Sequence) within(window time.Duration, now time.Time) bool {
	return s.near(SequenceAt(now), window)
}

// near says the same of two sequences.
func (s Sequence) near(other Sequence, window time.Duration) bool {
	seconds := int64(int32(uint32(other>>32) - uint32(s>>32)))
	return max(seconds, -seconds) <= int64(window/time.Second)
}

// add moves a sequence by a time.
func (s Sequence) add(d time.Duration) Sequence {
	ticks := int64(d/time.Second)<<16 + int64(d%time.Second)<<16/int64(time.Second)
	return s + Sequence(ticks<<16)
}

// trailer is what follows a signed advert.
type trailer struct {
	key      uint8
	sequence Sequence
	mac      [macLen]byte
}

// appendHead marshals all but the MAC.
func (t *trailer) appendHead(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, trailerType, t.key, 0, 0), uint64(t.sequence))
}

// append marshals the trailer.
func (t *trailer) append(b []byte) []byte { return append(t.appendHead(b), t.mac[:]...) }

// parseTrailer reads TrailerLen bytes; ok is false where they are no trailer that this package knows.
func parseTrailer(b []byte) (t trailer, ok bool) {
	if len(b) != TrailerLen || b[0] != trailerType || b[1] == 0 || b[2] != 0 || b[3] != 0 {
		return t, false
	}
	t.key, t.sequence = b[1], Sequence(binary.BigEndian.Uint64(b[4:]))
	copy(t.mac[:], b[trailerHeadLen:])
	return t, true
}

// sum computes the MAC of a message from a source. It covers neither the destination nor the TTL, so that every unicast
// peer gets the same, and counts the checksum as zero.
func (t *trailer) sum(key Secret, message []byte, source netip.Addr) [macLen]byte {
	source = plain(source)
	pseudo := [20]byte{0: byte(FamilyOf(source)), 1: message[0] >> 4, 2: message[1]}
	copy(pseudo[4:], source.AsSlice())
	h := hmac.New(sha256.New, key.reveal())
	h.Write(pseudo[:])
	h.Write(message[:6])
	h.Write([]byte{0, 0})
	h.Write(message[headerLen:])
	h.Write(t.appendHead(nil))
	h.Write(make([]byte, macLen))
	return [macLen]byte(h.Sum(nil))
}
