package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// nextFragment is the IPv6 fragment header, of 8 bytes.
	nextFragment       = 44
	fragmentHeaderSize = 8
	// fragmentOffset4 and fragmentOffset6 are the offset's bits beside the flags; moreFragments4 is one of those.
	fragmentOffset4, moreFragments4 = 0x1fff, 0x2000
	fragmentOffset6                 = 0xfff8
	// linkHeader makes the kernel count an absolute load from the link header (SKF_LL_OFF). A VLAN's tag of vlanTag bytes stands
	// behind the two MAC addresses, the type of what is tagged in its last two, and vlanID are the bits of its number.
	linkHeader, vlanTag, vlanID = 0xffe00000, 4, 0xfff
)

// Tapped is one VRRP message that passed an interface in either direction.
type Tapped struct {
	Packet
	// Outgoing says that this host sent it.
	Outgoing bool
	// MAC is the frame's sender.
	MAC net.HardwareAddr
	// Fragment says that it is the first part of a message that was longer than the link's MTU; nobody puts it together.
	Fragment bool
}

// Tap listens to the VRRP messages of one interface, to those that this host sends too, and can send nothing. It needs no
// address, opens no VRRP socket and joins no group by IGMP or MLD: the interface is only told to let the groups' frames
// through. It sees fragments as they are, where a Conn gets them reassembled.
//
// It belongs to the interface that has the name when it is opened, as a Conn does.
type Tap struct {
	ifName string
	conn   *packet.Conn
	vrids  atomic.Pointer[[2][256]bool] // by family
	joined [2]bool                      // the families whose frames the interface lets through
	progress
}

// OpenTap opens a tap. It delivers nothing before SetVRIDs.
func OpenTap(ifName string) (*Tap, error) {
	t, err := openTap(ifName)
	if err != nil {
		return nil, fmt.Errorf("listen to VRRP on %q: %w", ifName, err)
	}
	return t, nil
}

func openTap(ifName string) (*Tap, error) {
	ifi, err := ethernetInterface(ifName)
	if err != nil {
		return nil, err
	}
	filter, err := bpf.Assemble(tapFilter())
	if err != nil {
		return nil, fmt.Errorf("assemble packet filter: %w", err)
	}
	// Only sockets for all protocols see what the host sends.
	conn, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_ALL, &packet.Config{Filter: filter})
	if err != nil {
		return nil, socketErrors.explain(err)
	}
	t := &Tap{ifName: ifName, conn: conn}
	if err := t.attach(conn, "packet socket", ifName); err != nil {
		return nil, abandon(err, conn)
	}
	t.vrids.Store(new([2][256]bool))
	return t, nil
}

// tapFilter lets VRRP through that is for this host or from it, and the first fragments of it. It begins at the IP header. A frame
// with the tag of a VLAN belongs to another interface, one with that of VLAN 0 to this one: it has a priority and no more (802.1Q). The
// kernel takes the tag off what comes in; what goes out may still have it.
func tapFilter() program {
	const tagAt = linkHeader + ethernetHeader
	var p program
	p.add(bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 3},
		bpf.LoadExtension{Num: bpf.ExtVLANTag},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: vlanID, SkipTrue: 1}, drop,
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1}, drop,
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_8021Q, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_8021AD, SkipTrue: 9},
		bpf.LoadAbsolute{Off: tagAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: vlanID, SkipTrue: 1}, drop,
		// Some kernels begin at the tag of what a packet socket sent: a reader would take that for an IP header.
		bpf.LoadAbsolute{Off: tagAt + vlanTag, Size: 4}, bpf.TAX{},
		bpf.LoadAbsolute{Off: 0, Size: 4}, bpf.JumpIfX{Cond: bpf.JumpEqual, SkipTrue: 1}, drop,
		bpf.LoadAbsolute{Off: tagAt + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherTypeIPv6, SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherTypeIPv4, SkipTrue: 1}, drop,
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: fragmentOffset4, SkipTrue: 1}, drop,
		bpf.LoadAbsolute{Off: 9, Size: 1}, // protocol
		bpf.Jump{Skip: 6},
		bpf.LoadAbsolute{Off: 6, Size: 1}, // IPv6: next header
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nextFragment, SkipTrue: 4},
		bpf.LoadAbsolute{Off: ipv6HeaderSize + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: fragmentOffset6, SkipTrue: 1}, drop,
		bpf.LoadAbsolute{Off: ipv6HeaderSize, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolVRRP, SkipTrue: 1}, drop,
		accept)
	return p
}

// SetVRIDs says which virtual routers of other hosts are of interest; what this host sends is in any case. It may be called while
// Run runs.
func (t *Tap) SetVRIDs(v4, v6 []uint8) error {
	var set [2][256]bool
	for k, list := range [][]uint8{v4, v6} {
		for _, id := range list {
			set[k][id] = true
		}
		if len(list) == 0 || t.joined[k] {
			continue
		}
		mac := groupOf(k == 1).mac
		if err := t.conn.JoinGroup(mac); err != nil {
			return fmt.Errorf("listen to VRRP on %q: let %s through: %w", t.ifName, mac, err)
		}
		t.joined[k] = true
	}
	t.vrids.Store(&set)
	return nil
}

// wants says whether a message is of this host, or for one of the virtual routers.
func (t *Tap) wants(p Tapped) bool {
	family := 0
	if p.Source.Is6() {
		family = 1
	}
	if p.Destination.IsMulticast() && p.Destination != groupOf(family == 1).ip {
		return false
	}
	return len(p.Payload) >= fixedPart && (p.Outgoing || t.vrids.Load()[family][p.Payload[1]])
}

// Run delivers each message until ctx ends. What is delivered is valid only during the call.
func (t *Tap) Run(ctx context.Context, deliver func(Tapped)) error {
	stop := endReads(ctx, t.conn)
	defer stop()
	defer t.reading.Store(false)
	buffer := make([]byte, maxPacket)
	var from unix.Sockaddr
	r := newReader(t.raw, func(fd int) (n int, err error) {
		t.reading.Store(true)
		n, from, err = unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			t.empty()
		}
		return n, err
	})
	for {
		n, err := r.next()
		at := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen to VRRP on %q: %w", t.ifName, socketErrors.explain(err))
		}
		if p, ok := parseTapped(buffer[:n], from); ok && t.wants(p) {
			p.At = at
			deliver(p)
		}
		t.done()
	}
}

// parseTapped reads a packet with its IP header.
func parseTapped(b []byte, from unix.Sockaddr) (p Tapped, ok bool) {
	link, ok := from.(*unix.SockaddrLinklayer)
	if !ok || len(b) < ipv4.HeaderLen {
		return Tapped{}, false
	}
	if b[0]>>4 == ipv4.Version {
		p.Packet, ok = parse4(b)
		p.Fragment = binary.BigEndian.Uint16(b[6:])&moreFragments4 != 0
	} else {
		p.Packet, p.Fragment, ok = parsePlain6(b)
	}
	p.Outgoing = link.Pkttype == unix.PACKET_OUTGOING
	p.MAC = link.Addr[:min(int(link.Halen), len(link.Addr))]
	return p, ok
}

// parsePlain6 reads an IPv6 packet whose message follows the header, or a fragment header.
func parsePlain6(b []byte) (p Packet, fragment, ok bool) {
	if len(b) < ipv6HeaderSize {
		return Packet{}, false, false
	}
	begin, end := ipv6HeaderSize, ipv6HeaderSize+int(binary.BigEndian.Uint16(b[4:]))
	if fragment = b[6] == nextFragment; fragment {
		begin += fragmentHeaderSize
	}
	if end < begin || end > len(b) {
		return Packet{}, false, false
	}
	return Packet{
		Payload:     b[begin:end],
		Source:      netip.AddrFrom16([16]byte(b[8:24])),
		Destination: netip.AddrFrom16([16]byte(b[24:40])),
		TTL:         int(b[7]),
	}, fragment, true
}

// Close releases the socket. Run must have ended.
func (t *Tap) Close() error { return t.conn.Close() }
