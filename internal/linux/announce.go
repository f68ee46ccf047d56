package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// errNotEthernet says that an interface has no Ethernet address, so that there is nobody to announce to.
var errNotEthernet = errors.New("has no Ethernet address, and ARP and ND announcements need one")

// Announcer tells the hosts on one link where the virtual addresses are. It writes whole frames, so that no firewall
// rule, route or missing address of the host stands in their way. When to announce is its caller's business.
//
// It belongs to the MAC address that the interface has when it is opened; when that changes, it must be opened again.
type Announcer struct {
	ifName  string
	ifIndex int
	mac     net.HardwareAddr
	conn    *packet.Conn
	raw     syscall.RawConn
}

// OpenAnnouncer opens an announcer on an Ethernet interface.
func OpenAnnouncer(ifName string) (*Announcer, error) {
	ifi, err := ethernetInterface(ifName)
	if err != nil {
		return nil, fmt.Errorf("open announcer: %w", err)
	}
	// Protocol 0 receives nothing.
	conn, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("open announcer on %q: %w", ifName, socketErrors.explain(err))
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, abandon(fmt.Errorf("open announcer on %q: %w", ifName, err), conn)
	}
	return &Announcer{ifName: ifName, ifIndex: ifi.Index, mac: ifi.HardwareAddr, conn: conn, raw: raw}, nil
}

func ethernetInterface(name string) (*net.Interface, error) {
	ifi, err := interfaceByName(name)
	if err != nil {
		return nil, err
	}
	if len(ifi.HardwareAddr) != 6 || ifi.Flags&net.FlagLoopback != 0 {
		return nil, fmt.Errorf("interface %q %w", name, errNotEthernet)
	}
	return ifi, nil
}

// Announce sends one round: each address once, in order. It never waits; what could not be sent is returned.
func (a *Announcer) Announce(ips []netip.Addr) []AddressError {
	// Only a host that forwards may say that it is a router: others would enter it in their lists of routers. ARP says nothing
	// of it, and to ask the kernel takes longer than to send.
	router := slices.ContainsFunc(ips, netip.Addr.Is6)
	if router {
		forwards, err := forwards6(a.ifName)
		router = forwards && err == nil
	}
	var failed []AddressError
	for _, ip := range ips {
		frames, err := announcements(a.mac, ip, router)
		for _, frame := range frames {
			err = errors.Join(err, a.send(frame))
		}
		if err != nil {
			failed = append(failed, AddressError{IP: ip, Err: fmt.Errorf("announce %s on %q: %w", ip, a.ifName, err)})
		}
	}
	return failed
}

// Probe asks the link who has the address, without claiming it. A Witness sees the answer. For an IPv6 address source
// is the interface's own link-local address (Link.Source6), which the answer goes to; IPv4 needs none.
func (a *Announcer) Probe(ip, source netip.Addr) error {
	frame, err := probe(a.mac, ip, source)
	if err == nil {
		err = a.send(frame)
	}
	if err != nil {
		return fmt.Errorf("probe for %s on %q: %w", ip, a.ifName, err)
	}
	return nil
}

func (a *Announcer) send(frame []byte) error {
	to := &unix.SockaddrLinklayer{Ifindex: a.ifIndex, Protocol: binary.NativeEndian.Uint16(frame[12:])}
	err := sendNow(a.raw, func(fd int) error { return unix.Sendto(fd, frame, unix.MSG_DONTWAIT, to) })
	if err != nil {
		return socketErrors.explain(err)
	}
	return nil
}

// Close releases the socket.
func (a *Announcer) Close() error { return a.conn.Close() }
