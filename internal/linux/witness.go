package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Announcement says that another MAC address claims an address: by an ARP request or reply from it, or a neighbour
// advertisement for it.
type Announcement struct {
	Address netip.Addr
	MAC     net.HardwareAddr // the one that it is claimed for
}

// Witness sees who else on one link announces our addresses or answers for them. It sees what reaches this host:
// broadcasts, and answers to its own probes.
//
// It belongs to the MAC address that the interface has when it is opened; when that changes, it must be opened again.
type Witness struct {
	ifName    string
	mac       net.HardwareAddr
	arp       *packet.Conn
	nd        *packet.Conn
	addresses atomic.Pointer[map[netip.Addr]struct{}]
}

// OpenWitness opens a witness on an Ethernet interface. It reports nothing before SetAddresses.
//
// It listens on a socket for each of the two protocols rather than on one for all: that one would make the kernel look
// at every IPv4 packet of a busy web server.
func OpenWitness(ifName string) (*Witness, error) {
	ifi, err := ethernetInterface(ifName)
	if err != nil {
		return nil, fmt.Errorf("open witness: %w", err)
	}
	w := &Witness{ifName: ifName, mac: ifi.HardwareAddr}
	if w.arp, err = listenPacket(ifi, etherTypeARP, arpFilter); err != nil {
		return nil, fmt.Errorf("open witness for ARP on %q: %w", ifName, err)
	}
	if w.nd, err = listenPacket(ifi, etherTypeIPv6, advertisementFilter); err != nil {
		return nil, abandon(fmt.Errorf("open witness for ND on %q: %w", ifName, err), w.arp)
	}
	w.SetAddresses(nil)
	return w, nil
}

func listenPacket(ifi *net.Interface, etherType int, filter []bpf.Instruction) (*packet.Conn, error) {
	assembled, err := bpf.Assemble(append(onlyOf(ifi.Index), filter...))
	if err != nil {
		return nil, fmt.Errorf("assemble packet filter: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, etherType, &packet.Config{Filter: assembled})
	if err != nil {
		return nil, socketErrors.explain(err)
	}
	return conn, nil
}

// arpFilter lets through the requests and replies of IPv4 on Ethernet.
var arpFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: ethernetHeader + 2, Size: 4}, // protocol type, lengths of hardware and protocol address
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x08000604, SkipFalse: 1},
	bpf.RetConstant{Val: accepted},
	bpf.RetConstant{Val: 0},
}

// advertisementFilter lets neighbour advertisements through.
var advertisementFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: ethernetHeader + 6, Size: 2}, // next header, hop limit
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: nextICMPv6<<8 | hopsND, SkipFalse: 3},
	bpf.LoadAbsolute{Off: ethernetHeader + ipv6HeaderSize, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeAdvertisement, SkipFalse: 1},
	bpf.RetConstant{Val: accepted},
	bpf.RetConstant{Val: 0},
}

// SetAddresses says which addresses are of interest. It may be called from any goroutine, also while Run runs.
func (w *Witness) SetAddresses(ips []netip.Addr) {
	set := make(map[netip.Addr]struct{}, len(ips))
	for _, ip := range ips {
		set[ip] = struct{}{}
	}
	w.addresses.Store(&set)
}

// claims is how one protocol's frames claim an address.
type claims struct {
	at, size int // where the address is, for a first look: nearly all that a link carries is about others
	parse    func(frame []byte) (Announcement, bool)
}

var (
	arpClaims = claims{ethernetHeader + 14, 4, parseARP}                            // sender protocol address
	ndClaims  = claims{ethernetHeader + ipv6HeaderSize + 8, 16, parseAdvertisement} // target address
)

// Run reports each frame of another host about one of the addresses, until ctx ends. seen is called from two
// goroutines.
func (w *Witness) Run(ctx context.Context, seen func(Announcement)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.read(ctx, w.arp, arpClaims, seen) })
	group.Go(func() error { return w.read(ctx, w.nd, ndClaims, seen) })
	return group.Wait()
}

// read reports what one socket receives.
func (w *Witness) read(ctx context.Context, conn *packet.Conn, c claims, seen func(Announcement)) error {
	stop := endReads(ctx, conn)
	defer stop()
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch ARP and ND on %q: %w", w.ifName, err)
	}
	buffer := make([]byte, maxPacket)
	r := newReader(raw, func(fd int) (int, error) { return unix.Read(fd, buffer) })
	for {
		n, err := r.next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch ARP and ND on %q: %w", w.ifName, socketErrors.explain(err))
		}
		if a, ok := w.claim(buffer[:n], c); ok {
			seen(a)
		}
	}
}

// claim reads a frame of another host about one of the addresses.
func (w *Witness) claim(frame []byte, c claims) (Announcement, bool) {
	if len(frame) < c.at+c.size {
		return Announcement{}, false
	}
	about, _ := netip.AddrFromSlice(frame[c.at : c.at+c.size])
	if _, ours := (*w.addresses.Load())[about]; !ours {
		return Announcement{}, false
	}
	a, ok := c.parse(frame)
	return a, ok && a.Address == about && !bytes.Equal(a.MAC, w.mac)
}

// Close releases the sockets. Run must have ended.
func (w *Witness) Close() error { return errors.Join(w.arp.Close(), w.nd.Close()) }
