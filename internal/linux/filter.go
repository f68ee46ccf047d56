package linux

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
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
	// fixedPart is what every advertisement begins with; addresses follow, as many as its byte countByte says, and in version 2
	// dataV2 bytes. An authentication trailer may be the last of it.
	fixedPart, countByte = 8, 3
	dataV2, trailer      = 8, 28
	// networkHeader makes the kernel count an absolute load from the network header (SKF_NET_OFF). A raw IPv6 socket's
	// filter otherwise begins behind it.
	networkHeader = 0xfff00000
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
	slotFirst       = 6 // the message's first byte
	slotVRID        = 7
	slotRest        = 8 // how long the message is without its addresses and VRRPv2's data
)

// Accept says whose adverts are let through for one virtual router.
type Accept struct {
	VRID uint8
	// Version is the only one of VRRP that is let through; 0: every one.
	Version uint8
	// Signed says that only messages with an authentication trailer are.
	Signed  bool
	Unicast bool
	// Peers are the only senders of a unicast router, and MinTTL is the least TTL or hop limit of what they send. Adverts of
	// a multicast router come from anybody on the link, with 255.
	Peers  []netip.Addr
	MinTTL uint8
}

// vrrpFilter drops in the kernel what cannot be an advertisement for one of the routers. A load beyond the packet's end drops
// it. Without senders it is left to the reader who sends to unicast routers. (Checksums are, too: a program without loops would need a
// few instructions for every byte, and IPV6_CHECKSUM sums the trailer of a signed advert, which its checksum leaves out.)
func vrrpFilter(v6 bool, accepts []Accept, senders bool) []bpf.Instruction {
	var p program
	if v6 {
		p.keepHeader6(networkHeader)
		p.add(bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	} else {
		p.add(bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolVRRP, SkipTrue: 1}, drop)
		p.keepHeader4()
		p.add(bpf.LoadMemShift{Off: 0}) // X = the IP header's length
	}
	p.measure(v6)
	bodies := bodiesOf(accepts, senders)
	for _, a := range accepts {
		to := a.toForm()
		if a.Unicast {
			to = toBody(a.place(bodies, senders))
		}
		p.add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(a.VRID), SkipTrue: 1}, to)
	}
	p.add(drop)
	for _, a := range forms {
		p.land(a.toForm(), append(a.form(), toMulticast)...)
	}
	for n, a := range bodies {
		p.land(toBody(n), append(a.form(), a.body(v6, senders)...)...)
	}
	p.land(toMulticast, bpf.LoadScratch{Dst: bpf.RegA, N: slotHops}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: hopsVRRP, SkipTrue: 2},
		bpf.LoadScratch{Dst: bpf.RegA, N: slotDestination}, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: firstMulticast(v6), SkipTrue: 1}, drop, accept)
	return p
}

// measure drops what is of no version, and what is not as long as it says. It leaves the VRID in the register.
func (p *program) measure(v6 bool) {
	addressBits := uint32(2) // of an address's length
	if v6 {
		addressBits = 4
	}
	p.add(bpf.LoadIndirect{Off: 0, Size: 1}, bpf.StoreScratch{Src: bpf.RegA, N: slotFirst},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherFirstByte(v6), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: firstByteV3, SkipTrue: 1}, drop,
		bpf.LoadIndirect{Off: 1, Size: 1}, bpf.StoreScratch{Src: bpf.RegA, N: slotVRID},
		bpf.LoadIndirect{Off: countByte, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: addressBits},
		bpf.ALUOpX{Op: bpf.ALUOpAdd}, // and the IP header
		bpf.TAX{},
		bpf.LoadScratch{Dst: bpf.RegA, N: slotFirst},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: firstByteV2, SkipTrue: 3},
		bpf.TXA{}, bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: dataV2}, bpf.TAX{},
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.ALUOpX{Op: bpf.ALUOpSub},
		bpf.StoreScratch{Src: bpf.RegA, N: slotRest},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: fixedPart, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: fixedPart + trailer, SkipTrue: 1}, drop,
		bpf.LoadScratch{Dst: bpf.RegA, N: slotVRID})
}

// forms are all that a multicast router may ask of a message. Each stands once in a filter, whoever asks.
var forms = []Accept{{}, {Version: 2}, {Version: 3}, {Signed: true}, {Version: 2, Signed: true}, {Version: 3, Signed: true}}

// toForm leads to the form of a multicast router's messages.
func (a *Accept) toForm() bpf.Jump {
	n := slices.IndexFunc(forms, func(f Accept) bool { return f.Version == a.Version && f.Signed == a.Signed })
	return bpf.Jump{Skip: math.MaxUint32 - 2 - uint32(n)}
}

// form drops messages of another version, or without a trailer.
func (a *Accept) form() (out []bpf.Instruction) {
	if a.Version != 0 {
		first := map[uint8]uint32{2: firstByteV2, 3: firstByteV3}[a.Version]
		out = append(out, bpf.LoadScratch{Dst: bpf.RegA, N: slotFirst}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: first, SkipTrue: 1}, drop)
	}
	if a.Signed {
		out = append(out, bpf.LoadScratch{Dst: bpf.RegA, N: slotRest}, bpf.JumpIf{Cond: bpf.JumpEqual, Val: fixedPart + trailer, SkipTrue: 1}, drop)
	}
	return out
}

// fits says of a message what measure and form say.
func (a *Accept) fits(b []byte, v6 bool) bool {
	if !whole(b, v6) {
		return false
	}
	return (a.Version == 0 || b[0]>>4 == a.Version) && (!a.Signed || rest(b, v6) == fixedPart+trailer)
}

// passes says of a packet with the router's VRID what the socket's filter does. senders says whether that looks at who sends to
// unicast routers.
func (a *Accept) passes(p Packet, v6, senders bool) bool {
	switch {
	case !a.fits(p.Payload, v6), a.Unicast == toGroup(p.Destination):
		return false
	case a.Unicast:
		return p.TTL >= int(a.MinTTL) && (!senders || slices.Contains(a.Peers, p.Source))
	default:
		return p.TTL == hopsVRRP
	}
}

// whole says whether a message is of a version, and as long as it says.
func whole(b []byte, v6 bool) bool {
	if len(b) < fixedPart || b[0] != firstByteV3 && uint32(b[0]) != otherFirstByte(v6) {
		return false
	}
	n := rest(b, v6)
	return n == fixedPart || n == fixedPart+trailer
}

// rest is how long a message is without its addresses and VRRPv2's data.
func rest(b []byte, v6 bool) int {
	address, data := 4, 0
	if v6 {
		address = 16
	}
	if b[0] == firstByteV2 {
		data = dataV2
	}
	return len(b) - int(b[countByte])*address - data
}

// bodiesOf lists the unicast routers that ask different things of a packet. Most of a link have the same peers, and one body is for
// all of them: with one for each there is no room for more than some 200 routers.
func bodiesOf(accepts []Accept, senders bool) (list []Accept) {
	for _, a := range accepts {
		if a.Unicast && a.place(list, senders) < 0 {
			list = append(list, a)
		}
	}
	return list
}

// place finds the body that does for a unicast router.
func (a *Accept) place(bodies []Accept, senders bool) int {
	return slices.IndexFunc(bodies, func(b Accept) bool {
		return a.Version == b.Version && a.Signed == b.Signed && a.MinTTL == b.MinTTL && (!senders || slices.Equal(a.Peers, b.Peers))
	})
}

// toBody leads to a body. These jumps are apart from those to the forms.
func toBody(n int) bpf.Jump { return bpf.Jump{Skip: math.MaxUint32 - 1000 - uint32(n)} }

// body decides about a packet with the unicast router's VRID.
func (a *Accept) body(v6, senders bool) []bpf.Instruction {
	// Another program may have made this host a member of the group, and a raw IPv6 socket hears the group all the same.
	body := []bpf.Instruction{
		bpf.LoadScratch{Dst: bpf.RegA, N: slotDestination}, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: firstMulticast(v6), SkipTrue: 2},
		bpf.LoadScratch{Dst: bpf.RegA, N: slotHops}, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(a.MinTTL), SkipTrue: 1},
		drop,
	}
	if !senders {
		return append(body, accept)
	}
	for _, p := range a.Peers {
		body = append(body, fromPeer(p)...)
	}
	return append(body, drop)
}

// firstMulticast is the least first byte of a multicast address.
func firstMulticast(v6 bool) uint32 {
	if v6 {
		return 0xff
	}
	return 0xe0
}

// toGroup says of an address what the filter looks for: that it is nobody's own.
func toGroup(ip netip.Addr) bool {
	if ip.Is4() {
		return uint32(ip.As4()[0]) >= firstMulticast(false)
	}
	return uint32(ip.As16()[0]) >= firstMulticast(true)
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

// These jumps stand for ones whose length is not known yet. The lookout's filter has a toSample.
var (
	toMulticast = bpf.Jump{Skip: math.MaxUint32}
	toSample    = bpf.Jump{Skip: math.MaxUint32 - 1}
)

func (p *program) add(more ...bpf.Instruction) { *p = append(*p, more...) }

// keep loads a part of the packet into memory.
func (p *program) keep(offset uint32, size, slot int) {
	p.add(bpf.LoadAbsolute{Off: offset, Size: size}, bpf.StoreScratch{Src: bpf.RegA, N: slot})
}

// keepHeader4 loads what is looked at of an IPv4 header.
func (p *program) keepHeader4() {
	p.keep(8, 1, slotHops)
	p.keep(12, 4, slotSource)
	p.keep(16, 1, slotDestination)
}

// keepHeader6 loads what is looked at of an IPv6 header that begins there.
func (p *program) keepHeader6(header uint32) {
	p.keep(header+7, 1, slotHops)
	for n := range 4 {
		p.keep(header+8+4*uint32(n), 4, slotSource+n)
	}
	p.keep(header+24, 1, slotDestination)
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
	if len(assembled) > unix.BPF_MAXINSNS { // the kernel would say the same, but of the length's last 16 bits
		return fmt.Errorf("attach packet filter of %d instructions, at most %d are allowed: %w", len(assembled), unix.BPF_MAXINSNS, unix.EINVAL)
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
