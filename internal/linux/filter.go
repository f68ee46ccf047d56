package linux

import (
	"fmt"
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
	// accepted is how much of a packet a filter lets through: all of it.
	accepted = 1 << 16
)

// vrrpFilter drops in the kernel what cannot be an advertisement for one of vrids. A load beyond the packet's end drops it.
func vrrpFilter(v6 bool, vrids []uint8) []bpf.Instruction {
	var program []bpf.Instruction
	add := func(more ...bpf.Instruction) { program = append(program, more...) }
	drop := bpf.RetConstant{Val: 0}
	if v6 {
		add(bpf.LoadAbsolute{Off: networkHeader + 7, Size: 1}, // hop limit
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: hopsVRRP, SkipTrue: 1}, drop,
			bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	} else {
		add(bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolVRRP, SkipTrue: 1}, drop,
			bpf.LoadAbsolute{Off: 8, Size: 1}, // TTL
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: hopsVRRP, SkipTrue: 1}, drop,
			bpf.LoadMemShift{Off: 0}) // X = the IP header's length
	}
	add(bpf.LoadIndirect{Off: lastFixedByte, Size: 1},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: firstByteV2, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: firstByteV3, SkipTrue: 1}, drop,
		bpf.LoadIndirect{Off: 1, Size: 1})
	for _, vrid := range vrids {
		add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(vrid), SkipTrue: 1}, bpf.RetConstant{Val: accepted})
	}
	add(drop)
	return program
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
