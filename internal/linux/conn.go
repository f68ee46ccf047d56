package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer holds the adverts that arrive while the daemon does not run: a thousand and more.
	receiveBuffer = 1 << 20
	// sendBuffer is for all peers of all instances on the interface. What is for a host that is gone waits in the kernel for up to
	// 3 s, until neither ARP nor ND has found it, and counts: 208 KiB of each such host at most (unres_qlen_bytes). The
	// kernel takes twice this number, and refuses a raw socket beyond twice that: there is room for 78 of them.
	sendBuffer = 4 << 20
	// maxPacket is more than the longest advertisement with its IP header: 255 IPv6 addresses and a trailer.
	maxPacket = 8192
	// maxControl holds every control message that is asked for.
	maxControl = 256
	// classCS6 is the TOS and traffic class of network control (DSCP CS6).
	classCS6 = 0xc0
)

// Packet is one received VRRP message. Its VRID is one of those that the connection accepts, and so is its TTL: the rest
// never leaves the kernel.
type Packet struct {
	Payload     []byte // the VRRP message without the IP header; valid only during the call that delivers it
	Source      netip.Addr
	Destination netip.Addr // the group, or an address of this host
	TTL         int        // or hop limit
	At          time.Time  // when it was read from the socket
}

// Conn sends and receives VRRP on one interface in one address family.
//
// It is bound to the interface that has the name when it is opened; when an interface of that name comes back with
// another index, the connection must be opened again.
type Conn struct {
	ifName  string
	ifIndex int
	v6      bool
	socket  *os.File
	gate    *gate
	progress
	joined bool // the group; what accepts multicast needs it
	coarse error
}

// Listen opens the connection on the interface. It lets nothing through before Accept.
func Listen(ifName string, v6 bool) (*Conn, error) {
	c, err := listen(ifName, v6)
	if err != nil {
		return nil, fmt.Errorf("open VRRP socket on %q: %w", ifName, err)
	}
	return c, nil
}

func listen(ifName string, v6 bool) (*Conn, error) {
	ifi, err := interfaceByName(ifName)
	if err != nil {
		return nil, err
	}
	c := &Conn{ifName: ifName, ifIndex: ifi.Index, v6: v6}
	if c.socket, err = rawSocket(v6); err != nil {
		return nil, socketErrors.explain(err)
	}
	if err := prepare(c.socket, ifName, v6); err != nil {
		return nil, abandon(socketErrors.explain(err), c.socket)
	}
	if err := c.attach(c.socket, "VRRP socket", ifName); err != nil { // its buffer is as large as it will be
		return nil, abandon(err, c.socket)
	}
	configure := configure4
	if v6 {
		configure = configure6
	}
	if err := c.lend(func(pc net.PacketConn) error { return configure(pc, ifi) }); err != nil {
		return nil, abandon(err, c.socket)
	}
	err = control(c.raw, func(fd int) (err error) {
		c.gate, err = newGate(fd)
		return err
	})
	if err != nil {
		return nil, abandon(err, c.socket)
	}
	return c, nil
}

// rawSocket opens a socket for VRRP. Go's poller does not know it: see gate.
func rawSocket(v6 bool) (*os.File, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocolVRRP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), "VRRP") // while it still blocks
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, abandon(os.NewSyscallError("fcntl", err), socket)
	}
	return socket, nil
}

// lend lets set use the socket as the net package has it; Go's poller knows it no longer than that.
func (c *Conn) lend(set func(net.PacketConn) error) error {
	pc, err := net.FilePacketConn(c.socket)
	if err != nil {
		return err
	}
	return errors.Join(set(pc), pc.Close())
}

// prepare closes the new socket to everything before it is bound to its interface: a raw socket receives from its first moment, on
// every one. What slipped in before the filter is thrown away.
func prepare(socket syscall.Conn, ifName string, v6 bool) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	if err := attachFilter(raw, []bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
		return err
	}
	return control(raw, func(fd int) error {
		if err := unix.BindToDevice(fd, ifName); err != nil {
			return fmt.Errorf("bind to device: %w", err)
		}
		// Without this a socket hears the groups that anyone on the host has joined.
		level, option := unix.IPPROTO_IP, unix.IP_MULTICAST_ALL
		if v6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL
		}
		// Kernels before 4.20 do not know IPV6_MULTICAST_ALL; the socket is bound to its interface all the same.
		if err := unix.SetsockoptInt(fd, level, option, 0); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return fmt.Errorf("hear only the joined groups: %w", err)
		}
		if err := enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return fmt.Errorf("enlarge receive buffer: %w", err)
		}
		if err := enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer); err != nil {
			return fmt.Errorf("enlarge send buffer: %w", err)
		}
		return discard(fd)
	})
}

// enlarge sets the size of a socket's buffer, or as much of it as the host allows to who may not force it.
func enlarge(fd, force, ask, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, ask, size)
}

// discard empties the socket's queue. It ends, since nothing passes the filter any more.
func discard(fd int) error {
	var b [1]byte
	for {
		_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("empty receive queue: %w", err)
		}
	}
}

func configure4(pc net.PacketConn, ifi *net.Interface) error {
	p := ipv4.NewPacketConn(pc)
	return first(
		step{"send multicast on the interface", func() error { return p.SetMulticastInterface(ifi) }},
		step{"turn multicast loopback off", func() error { return p.SetMulticastLoopback(false) }},
		step{"set multicast TTL", func() error { return p.SetMulticastTTL(hopsVRRP) }},
		step{"set TTL", func() error { return p.SetTTL(hopsVRRP) }},
		step{"set DSCP", func() error { return p.SetTOS(classCS6) }},
	)
}

func configure6(pc net.PacketConn, ifi *net.Interface) error {
	p := ipv6.NewPacketConn(pc)
	return first(
		step{"send multicast on the interface", func() error { return p.SetMulticastInterface(ifi) }},
		step{"turn multicast loopback off", func() error { return p.SetMulticastLoopback(false) }},
		step{"set multicast hop limit", func() error { return p.SetMulticastHopLimit(hopsVRRP) }},
		step{"set hop limit", func() error { return p.SetHopLimit(hopsVRRP) }},
		step{"set DSCP", func() error { return p.SetTrafficClass(classCS6) }},
		step{"ask for hop limit and destination", func() error {
			return p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true)
		}},
	)
}

// step is one thing to set on a socket.
type step struct {
	what string
	do   func() error
}

// first does the steps in order and stops at the first error.
func first(steps ...step) error {
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// Accept lets adverts for these virtual routers through, and no others. The host is a member of VRRP's group as long as one
// of them is a multicast router. It may be called while Run runs, by one goroutine.
//
// Where a filter with all senders would be longer or larger than the kernel takes, strangers' adverts for unicast routers are let
// through; see Coarse.
func (c *Conn) Accept(accepts []Accept) error {
	err := attachFilter(c.raw, vrrpFilter(c.v6, accepts, true))
	c.coarse = nil
	switch {
	case errors.Is(err, unix.EINVAL): // more than BPF_MAXINSNS
		c.coarse = err
	case errors.Is(err, unix.ENOMEM):
		c.coarse = fmt.Errorf("%w (net.core.optmem_max is too small for it)", err)
	}
	if c.coarse != nil {
		err = attachFilter(c.raw, vrrpFilter(c.v6, accepts, false))
	}
	if err != nil {
		return fmt.Errorf("filter of the VRRP socket on %q: %w", c.ifName, err)
	}
	join := slices.ContainsFunc(accepts, func(a Accept) bool { return !a.Unicast })
	if join == c.joined {
		return nil
	}
	if err := c.member(join); err != nil {
		return fmt.Errorf("VRRP's group on %q: %w", c.ifName, err)
	}
	c.joined = join
	return nil
}

// Hold lets nothing through any more, until the next Accept. The host stays a member of the group meanwhile: a connection that takes this
// one's place joins it before this one leaves, and no switch hears of either.
func (c *Conn) Hold() error {
	if err := attachFilter(c.raw, []bpf.Instruction{drop}); err != nil {
		return fmt.Errorf("filter of the VRRP socket on %q: %w", c.ifName, err)
	}
	return nil
}

// Coarse says why the newest filter lets through what anybody sends to a unicast router; nil: it lets through what peers send. It is
// for who calls Accept.
func (c *Conn) Coarse() error { return c.coarse }

// member joins VRRP's group, or leaves it.
func (c *Conn) member(join bool) error {
	ifi, group := &net.Interface{Index: c.ifIndex}, &net.IPAddr{IP: groupOf(c.v6).ip.AsSlice()}
	return c.lend(func(pc net.PacketConn) error {
		var p interface {
			JoinGroup(*net.Interface, net.Addr) error
			LeaveGroup(*net.Interface, net.Addr) error
		} = ipv4.NewPacketConn(pc)
		if c.v6 {
			p = ipv6.NewPacketConn(pc)
		}
		if join {
			return p.JoinGroup(ifi, group)
		}
		return p.LeaveGroup(ifi, group)
	})
}

// Run reads packets and delivers each until ctx ends.
func (c *Conn) Run(ctx context.Context, deliver func(Packet)) error {
	stop := endReads(ctx, c.gate)
	defer stop()
	defer c.reading.Store(false)
	next, fresh := c.packets(), 0 // how many since the socket was empty
	var tempo pace
	for {
		p, ok, err := next()
		if errors.Is(err, unix.EAGAIN) {
			c.empty()
			if tempo.flooded(time.Now(), fresh) {
				time.Sleep(ebb)
			}
			fresh = 0
			if err = c.gate.wait(); err == nil {
				continue
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read VRRP socket on %q: %w", c.ifName, err)
		}
		if ok {
			deliver(p)
		}
		c.done()
		fresh++
	}
}

// packets returns a function that takes one packet, and does not wait; ok is false for one that is malformed as an IP packet. What it needs
// of memory is allocated once, but for an address of IPv6: a flood makes little garbage.
func (c *Conn) packets() func() (p Packet, ok bool, err error) {
	buffer, oob := make([]byte, maxPacket), make([]byte, maxControl)
	var n, oobn, flags int
	var from syscall.Sockaddr
	var err error
	receive := func(fd uintptr) {
		for again := true; again; again = errors.Is(err, unix.EINTR) {
			if c.v6 {
				n, oobn, flags, from, err = syscall.Recvmsg(int(fd), buffer, oob, unix.MSG_DONTWAIT) // unix's asks for the socket's protocol too
			} else {
				n, err = unix.Read(int(fd), buffer) // all that is asked for is in the IP header
			}
		}
	}
	return func() (p Packet, ok bool, _ error) {
		c.reading.Store(true)
		if closed := c.raw.Control(receive); closed != nil {
			return Packet{}, false, closed
		}
		at := time.Now()
		switch {
		case err != nil:
			return Packet{}, false, err
		case !c.v6:
			p, ok = parse4(buffer[:n])
		case flags&unix.MSG_TRUNC == 0:
			p, ok = parse6(buffer[:n], oob[:oobn], from)
		}
		p.At = at
		return p, ok, nil
	}
}

// Close releases the socket; a Run still under way returns an error.
func (c *Conn) Close() error { return errors.Join(c.gate.Close(), c.socket.Close()) }
