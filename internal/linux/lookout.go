package linux

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	etherTypeIPv4 = 0x0800
	// A lookout takes at most so many packets at once, and rests for so long before it looks again, whatever comes: what
	// the link carries meanwhile waits in a buffer that holds about as many, and the kernel drops the rest before it
	// copies anything.
	glance        = 128
	lookoutRest   = 250 * time.Millisecond
	lookoutBuffer = 128 << 10
	// wholly is of how many virtual routers every advert is looked at that the VRRP socket has anyway. Where there are
	// more it is a part of them, so that the same number remains for each of their senders. (What the socket's filter drops
	// for its form alone is among them.)
	wholly = 16
)

// Sighting is a VRRP packet of another host as the link carried it.
type Sighting struct {
	Packet
	// MAC is the frame's sender; valid only during the call that delivers it.
	MAC net.HardwareAddr
	// Passed says that the VRRP socket's filter lets the packet through: whoever reads that socket has it too.
	Passed bool
	// Misfit says that the filter drops it for what a router of ours wants: its length, its version, a signature, to whom it is
	// sent, and where that router has peers, who sends it and over how many other routers.
	Misfit bool
}

// Lookout has a second look at the VRRP packets that an interface receives in one address family: it tells who sends them,
// by MAC address, and sees what the VRRP socket's filter drops. It looks now and then, so that a flood costs next to
// nothing; what it does not look at is only counted.
//
// It is bound to the interface that has the name when it is opened, like a Conn.
type Lookout struct {
	ifName  string
	ifIndex int
	v6      bool
	conn    *packet.Conn
	raw     syscall.RawConn
	routers atomic.Pointer[routers]
}

// routers are those that the VRRP socket is for.
type routers struct {
	byVRID  [256]*Accept
	senders bool // the socket's filter looks at who sends to those with peers
}

// OpenLookout opens a lookout. Before Accept no VRID is ours.
func OpenLookout(ifName string, v6 bool) (*Lookout, error) {
	l := &Lookout{ifName: ifName, v6: v6}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open lookout for VRRP on %q: %w", ifName, err)
	}
	return l, nil
}

func (l *Lookout) open() error {
	ifi, err := interfaceByName(l.ifName)
	if err != nil {
		return err
	}
	l.ifIndex = ifi.Index
	filter, err := bpf.Assemble(l.filter(nil, true))
	if err != nil {
		return fmt.Errorf("assemble packet filter: %w", err)
	}
	l.routers.Store(&routers{})
	etherType := etherTypeIPv4
	if l.v6 {
		etherType = etherTypeIPv6
	}
	if l.conn, err = packet.Listen(ifi, packet.Datagram, etherType, &packet.Config{Filter: filter}); err != nil {
		return socketErrors.explain(err)
	}
	if l.raw, err = l.conn.SyscallConn(); err != nil {
		return abandon(err, l.conn)
	}
	err = control(l.raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, lookoutBuffer) })
	if err != nil {
		return abandon(fmt.Errorf("set receive buffer: %w", err), l.conn)
	}
	if err := l.hearGroup(ifi); err != nil {
		return abandon(fmt.Errorf("receive frames to VRRP's group: %w", err), l.conn)
	}
	return nil
}

// hearGroup has the interface receive frames to VRRP's group, whether or not the host is a member of it: a network card gives up no
// others, and one that speaks with peers alone shall know who multicasts.
func (l *Lookout) hearGroup(ifi *net.Interface) error {
	mac := groupOf(l.v6).mac
	if len(ifi.HardwareAddr) != len(mac) {
		return nil // no Ethernet
	}
	m := unix.PacketMreq{Ifindex: int32(ifi.Index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(mac))}
	copy(m.Address[:], mac)
	return control(l.raw, func(fd int) error {
		return unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m)
	})
}

// lookoutFilter lets through what another host sent over VRRP's protocol and the VRRP socket's filter drops, and of what
// that lets through enough to know the senders. (Of fragments the socket has the whole packet.) Without senders it leaves to the reader
// who sends to unicast routers.
func lookoutFilter(v6 bool, accepts []Accept, senders bool) []bpf.Instruction {
	var p program
	if v6 {
		p.add(bpf.LoadAbsolute{Off: 6, Size: 1}, // next header
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolVRRP, SkipTrue: 1}, drop)
		p.keepHeader6(0)
		p.add(bpf.LoadConstant{Dst: bpf.RegX, Val: ipv6HeaderSize})
	} else {
		p.add(bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolVRRP, SkipTrue: 1}, drop,
			bpf.LoadAbsolute{Off: 6, Size: 2}, // more fragments, fragment offset
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x3fff, SkipTrue: 1}, drop)
		p.keepHeader4()
		p.add(bpf.LoadMemShift{Off: 0}) // X = the IP header's length
	}
	p.add(bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: unix.PACKET_MULTICAST, SkipTrue: 1}, drop, // to another host, or from this one
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.ALUOpX{Op: bpf.ALUOpSub},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: fixedPart, SkipTrue: 1}, accept,
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: otherFirstByte(v6), SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: firstByteV3, SkipTrue: 1}, accept,
		bpf.LoadIndirect{Off: 1, Size: 1})
	bodies := bodiesOf(accepts, senders)
	for _, a := range accepts {
		to := toMulticast
		if a.Unicast {
			to = toBody(a.place(bodies, senders))
		}
		p.add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(a.VRID), SkipTrue: 1}, to)
	}
	p.add(accept)
	for n, a := range bodies {
		p.land(toBody(n), others(a.body(v6, senders))...)
	}
	p.land(toMulticast, bpf.LoadScratch{Dst: bpf.RegA, N: slotHops},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: hopsVRRP, SkipTrue: 1}, accept) // goes on with the sample
	if len(accepts) > wholly {
		p.land(toSample, bpf.LoadExtension{Num: bpf.ExtRand},
			bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(math.MaxUint32 / len(accepts) * wholly), SkipTrue: 1}, drop, accept)
	} else {
		p.land(toSample, accept)
	}
	return p
}

// others lets through what a unicast router's body drops, and a sample of the rest.
func others(body []bpf.Instruction) []bpf.Instruction {
	for k, in := range body {
		switch in {
		case accept:
			body[k] = toSample
		case drop:
			body[k] = accept
		}
	}
	return body
}

// Accept says for which virtual routers the VRRP socket is, and whether its filter looks at their senders (Conn.Coarse). It may
// be called while Run runs.
func (l *Lookout) Accept(accepts []Accept, senders bool) error {
	r := &routers{senders: senders}
	for _, a := range accepts {
		r.byVRID[a.VRID] = &a
	}
	l.routers.Store(r)
	err := attachFilter(l.raw, l.filter(accepts, senders))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOMEM) { // too long; see Conn.Accept
		err = attachFilter(l.raw, l.filter(accepts, false))
	}
	if err != nil {
		return fmt.Errorf("filter of the lookout on %q: %w", l.ifName, err)
	}
	return nil
}

// filter is the lookout's, for its interface.
func (l *Lookout) filter(accepts []Accept, senders bool) []bpf.Instruction {
	return append(onlyOf(l.ifIndex), lookoutFilter(l.v6, accepts, senders)...)
}

// sort says whether the VRRP socket's filter lets a packet through, and if not, whether one of our routers could say why.
func (l *Lookout) sort(p Packet) (passed, misfit bool) {
	if len(p.Payload) < 2 {
		return false, false
	}
	r := l.routers.Load()
	a := r.byVRID[p.Payload[1]]
	if a == nil || !a.Unicast && p.TTL != hopsVRRP {
		return false, false
	}
	passed = a.passes(p, l.v6, r.senders)
	return passed, !passed
}

// Run reports what it sees, and how many packets it did not look at, until ctx ends.
func (l *Lookout) Run(ctx context.Context, seen func(Sighting), missed func(packets uint64)) error {
	stop := endReads(ctx, l.conn)
	defer stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	look := l.looks()
	for {
		err := look(seen)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look out for VRRP on %q: %w", l.ifName, socketErrors.explain(err))
		}
		if stats, err := l.conn.Stats(); err == nil && stats.Drops > 0 {
			missed(uint64(stats.Drops))
		}
		rest.Reset(lookoutRest)
		select {
		case <-rest.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// looks returns a function that waits for a packet, and takes it and what else is there, up to a glance.
func (l *Lookout) looks() func(seen func(Sighting)) error {
	buffer := make([]byte, maxPacket)
	var from unix.Sockaddr
	receive := func(fd int) (n int, err error) {
		n, from, err = unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
		return n, err
	}
	r := newReader(l.raw, receive)
	return func(seen func(Sighting)) error {
		n, err := r.next()
		for taken := 1; err == nil; taken++ {
			if s, ok := l.sighting(buffer[:n], from); ok {
				seen(s)
			}
			if taken == glance {
				return nil
			}
			err = control(l.raw, func(fd int) error {
				n, err = receive(fd)
				return err
			})
		}
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return nil
		}
		return err
	}
}

// sighting reads a packet with its IP header.
func (l *Lookout) sighting(b []byte, from unix.Sockaddr) (Sighting, bool) {
	frame, ok := from.(*unix.SockaddrLinklayer)
	if !ok || int(frame.Halen) > len(frame.Addr) {
		return Sighting{}, false
	}
	parse := parse4
	if l.v6 {
		parse = header6
	}
	p, ok := parse(b)
	if !ok {
		return Sighting{}, false
	}
	p.At = time.Now()
	s := Sighting{Packet: p, MAC: frame.Addr[:frame.Halen]}
	s.Passed, s.Misfit = l.sort(p)
	return s, true
}

// Close releases the socket. Run must have ended.
func (l *Lookout) Close() error { return l.conn.Close() }
