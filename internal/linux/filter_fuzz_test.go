package linux

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/understudy-ha/understudy/vrrp"
)

// FuzzFilter: what the kernel drops before anybody reads it is no advert that a router would take, over either family, by multicast or
// between peers, signed or not; and it drops what its twin for the lookout says.
func FuzzFilter(f *testing.F) {
	for _, first := range []byte{firstByteV2, firstByteV3} {
		four := long(first, 7, 1, 4)
		f.Add(header4(255, 112, four...), false)
		f.Add(header4(255, 112, append(four, make([]byte, dataV2)...)...), false)
		f.Add(header4(255, 112, append(four, make([]byte, trailer)...)...), false)
		f.Add(header4(255, 112, advert(first, 7)...), false)
	}
	f.Add(from4(255, "10.9.0.2"), false)
	f.Add(header6Bytes(255, long(firstByteV3, 7, 2, 32)...), true)
	f.Add(header6Bytes(255, long(firstByteV3, 7, 2, 32+trailer)...), true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		parse := parse4
		if v6 {
			parse = header6
		}
		_, ok := parse(b)
		if !ok || !v6 && b[9] != protocolVRRP {
			return
		}
		b = slices.Clone(b[:total(b, v6)])
		p, _ := parse(b)
		checkFilter(t, b, p, v6)
		sum(p)
		checkFilter(t, b, p, v6)
	})
}

// total is how long an IP packet says that it is.
func total(b []byte, v6 bool) int {
	if v6 {
		return ipv6HeaderSize + int(binary.BigEndian.Uint16(b[4:]))
	}
	return int(binary.BigEndian.Uint16(b[2:]))
}

// checkFilter compares the filters of the routers that a packet may be for with what vrrp says of it.
func checkFilter(t *testing.T, b []byte, p Packet, v6 bool) {
	t.Helper()
	r, err := vrrp.Parse(p.Payload, p.Source, p.Destination, p.TTL)
	if len(p.Payload) < 2 {
		return
	}
	for _, a := range []Accept{{}, {Version: 2}, {Version: 3}, {Signed: true}} {
		a.VRID = p.Payload[1]
		if a.Unicast = !toGroup(p.Destination); a.Unicast {
			a.Peers, a.MinTTL = []netip.Addr{p.Source}, uint8(p.TTL)
		}
		packet, program := b, vrrpFilter(v6, []Accept{a}, true)
		if v6 {
			packet, program = p.Payload, behind(program, b)
		}
		passed := passes(t, program, packet)
		if passed != a.passes(p, v6, true) {
			t.Errorf("%x passes for %+v: %t, and its twin says otherwise", b, a, passed)
		}
		wanted := err == nil && (a.Unicast || p.TTL == hopsVRRP) && (a.Version == 0 || a.Version == uint8(r.Version)) && (!a.Signed || r.Sealed != nil)
		if wanted && !passed {
			t.Errorf("%x is %s, and does not pass for %+v", b, r.Advert, a)
		}
	}
}

// behind gives a program of a raw IPv6 socket the header in front of its packet, which only the kernel reaches.
func behind(program []bpf.Instruction, header []byte) []bpf.Instruction {
	for at, in := range program {
		if load, ok := in.(bpf.LoadAbsolute); ok && load.Off >= networkHeader {
			var v uint32
			for _, x := range header[load.Off-networkHeader:][:load.Size] {
				v = v<<8 | uint32(x)
			}
			program[at] = bpf.LoadConstant{Dst: bpf.RegA, Val: v}
		}
	}
	return program
}

// sum puts the checksum into an advert that vrrp accepts: that of the message alone, over IPv6 with the pseudo-header too.
func sum(p Packet) {
	message := p.Payload
	if len(message) < fixedPart {
		return
	}
	if whole(message, p.Source.Is6()) && p.Source.Is4() && rest(message, false) == fixedPart+trailer {
		message = message[:len(message)-trailer]
	}
	message[6], message[7] = 0, 0
	summed := message
	if p.Source.Is6() {
		pseudo := binary.BigEndian.AppendUint32(slices.Concat(p.Source.AsSlice(), p.Destination.AsSlice()), uint32(len(message)))
		summed = slices.Concat(pseudo, []byte{0, 0, 0, protocolVRRP}, message)
	}
	var total uint32
	for at, x := range summed {
		total += uint32(x) << (8 * (1 - at&1))
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	binary.BigEndian.PutUint16(message[6:], ^uint16(total))
}
