package linux

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// protocolVRRP is VRRP's IP protocol number (RFC 9568 section 5.1.1.4).
	protocolVRRP = 112
	// hopsVRRP is the TTL and hop limit that proves that a packet was not forwarded (section 5.1.1.3).
	hopsVRRP = 255
	// Version and type share the first byte: version 2 or 3, type 1 (ADVERTISEMENT).
	firstByteV2, firstByteV3 = 0x21, 0x31
	// lastFixedByte is the offset of the last byte that every advertisement has.
	lastFixedByte = 7
	// networkHeader makes the kernel count an absolute load from the network header (SKF_NET_OFF). A raw IPv6 socket's
	// filter otherwise begins behind it.
	networkHeader = 0xfff00000
	// sampled is of how many refused packets of a unicast router one is let through; a power of two. A peer that advertises
	// every second is told of within a minute or two, and of 50,000 packets a second less than 800 are read.
	sampled = 64
	// accepted is how much of a packet a filter lets through: all of it.
	accepted = 1 << 16
)

// What a filter says in the end.
var (
	accept = bpf.RetConstant{Val: accepted}
	drop   = bpf.RetConstant{Val: 0}
)

// Places in a filter's memory. What is looked at for several routers is loaded once: a load from the packet is long for the
// kernel, and it bounds what a filter may take (net.core.optmem_max).
const (
	slotSource      = 0 // its words, from here on
	slotDestination = 4 // its first byte
	slotHops        = 5
)

// Accept says whose adverts are let through for one virtual router.
type Accept struct {
	VRID    uint8
	Unicast bool
	// Peers are the only senders of a unicast router, and MinTTL is the least TTL or hop limit of what they send. Adverts of
	// a multicast router come from anybody on the link, with 255.
	Peers  []netip.Addr
	MinTTL uint8
}

// vrrpFilter drops in the kernel what cannot be an advertisement for one of the routers. A load beyond the packet's end drops
// it. Without senders those of unicast routers are left to the reader.
func vrrpFilter(v6 bool, accepts []Accept, senders bool) []bpf.Instruction {
	var p program
	if v6 {
		p.keep(networkHeader+7, 1, slotHops)
		for n := range 4 {
			p.keep(networkHeader+8+4*uint32(n), 4, slotSource+n)
		}
		p.keep(networkHeader+24, 1, slotDestination)
		p.add(bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	} else {
		p.add(bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolVRRP, SkipTrue: 1}, drop)
		p.keep(8, 1, slotHops)
		p.keep(12, 4, slotSource)
		p.keep(16, 1, slotDestination)
		p.add(bpf.LoadMemShift{Off: 0}) // X = the IP header's length
	}
	p.add(bpf.LoadIndirect{Off: lastFixedByte, Size: 1},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherFirstByte(v6), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: firstByteV3, SkipTrue: 1}, drop,
		bpf.LoadIndirect{Off: 1, Size: 1})
	for _, a := range accepts {
		switch {
		case !a.Unicast:
			p.add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(a.VRID), SkipTrue: 1}, toMulticast)
		case !senders:
			p.add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(a.VRID), SkipTrue: 1}, accept)
		default:
			body := a.body(v6)
			p.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(a.VRID), SkipTrue: 1}, bpf.Jump{Skip: uint32(len(body))})
			p.add(body...)
		}
	}
	p.add(drop)
	p.land(toMulticast, bpf.LoadScratch{Dst: bpf.RegA, N: slotHops}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: hopsVRRP, SkipTrue: 1}, drop, accept)
	// Nearly everything is dropped: the reader shall be able to tell of a peer that is refused, and not have to look at a flood.
	p.land(toSample, bpf.LoadExtension{Num: bpf.ExtRand}, bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: sampled - 1, SkipFalse: 1}, accept, drop)
	return p
}

// body decides about a packet with the unicast router's VRID.
func (a *Accept) body(v6 bool) []bpf.Instruction {
	multicast := uint32(0xe0)
	if v6 {
		multicast = 0xff
	}
	// Another program may have made this host a member of the group, and a raw IPv6 socket hears the group all the same.
	body := []bpf.Instruction{
		bpf.LoadScratch{Dst: bpf.RegA, N: slotDestination}, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: multicast, SkipTrue: 2},
		bpf.LoadScratch{Dst: bpf.RegA, N: slotHops}, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(a.MinTTL), SkipTrue: 1},
		toSample,
	}
	for _, p := range a.Peers {
		body = append(body, fromPeer(p)...)
	}
	return append(body, toSample)
}

// fromPeer accepts a packet from one address, and goes on with what follows for any other.
func fromPeer(p netip.Addr) []bpf.Instruction {
	var out []bpf.Instruction
	words := p.AsSlice()
	for n := 0; n < len(words); n += 4 {
		rest := len(words)/4 - n/4 - 1 // words that are not compared yet, two instructions each
		out = append(out, bpf.LoadScratch{Dst: bpf.RegA, N: slotSource + n/4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(words[n:]), SkipTrue: uint8(2*rest + 1)})
	}
	return append(out, accept)
}

// program is a filter under construction.
type program []bpf.Instruction

// These jumps stand for ones whose length is not known yet.
var (
	toMulticast = bpf.Jump{Skip: math.MaxUint32}
	toSample    = bpf.Jump{Skip: math.MaxUint32 - 1}
)

func (p *program) add(more ...bpf.Instruction) { *p = append(*p, more...) }

// keep loads a part of the packet into memory.
func (p *program) keep(offset uint32, size, slot int) {
	p.add(bpf.LoadAbsolute{Off: offset, Size: size}, bpf.StoreScratch{Src: bpf.RegA, N: slot})
}

// land puts what a jump leads to behind all else.
func (p *program) land(jump bpf.Jump, more ...bpf.Instruction) {
	for at, in := range *p {
		if in == jump {
			(*p)[at] = bpf.Jump{Skip: uint32(len(*p) - at - 1)}
		}
	}
	p.add(more...)
}

// otherFirstByte is the first byte that passes beside version 3's: VRRPv2 exists over IPv4 only.
func otherFirstByte(v6 bool) uint32 {
	if v6 {
		return firstByteV3
	}
	return firstByteV2
}

// attachFilter makes program the only filter of the socket; an earlier one is replaced without a gap.
func attachFilter(raw syscall.RawConn, program []bpf.Instruction) error {
	assembled, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assemble packet filter: %w", err)
	}
	code := make([]unix.SockFilter, len(assembled))
	for i, in := range assembled {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	err = control(raw, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog)
	})
	if err != nil {
		return fmt.Errorf("attach packet filter: %w", err)
	}
	return nil
}

// control calls f with the socket's descriptor and returns its error.
func control(raw syscall.RawConn, f func(fd int) error) error {
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
