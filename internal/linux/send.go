package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Send sends one VRRP message, complete with its checksum. It never waits: a full queue is an error.
//
// The source goes with the message, so that the kernel neither chooses one, which could be a virtual address, nor
// invents one: an address that the host does not have (any more) is an error. destination is the group or a peer.
func (c *Conn) Send(payload []byte, source, destination netip.Addr) error {
	// A source of the other family would be left out, and the kernel would choose.
	if !source.IsValid() || source.Is4() == c.v6 || destination.Is4() == c.v6 {
		return fmt.Errorf("send VRRP on %q from %s to %s: wrong address family", c.ifName, source, destination)
	}
	var oob []byte
	var to unix.Sockaddr
	if c.v6 {
		cm := ipv6.ControlMessage{Src: source.AsSlice(), IfIndex: c.ifIndex}
		oob, to = cm.Marshal(), &unix.SockaddrInet6{Addr: destination.As16(), ZoneId: uint32(c.ifIndex)}
	} else {
		cm := ipv4.ControlMessage{Src: source.AsSlice(), IfIndex: c.ifIndex}
		oob, to = cm.Marshal(), &unix.SockaddrInet4{Addr: destination.As4()}
	}
	err := sendNow(c.raw, func(fd int) error {
		return unix.Sendmsg(fd, payload, oob, to, unix.MSG_DONTWAIT)
	})
	if err != nil {
		return fmt.Errorf("send VRRP on %q from %s to %s: %w", c.ifName, source, destination, c.explain(err))
	}
	return nil
}

// explain is for what is sent. IPv6 says EINVAL too where the neighbour that is sent to finds no room in the table; IPv4 says
// nothing then, since a raw socket without IP_RECVERR is told that all is well.
func (c *Conn) explain(err error) error {
	if c.v6 && errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w (the kernel's neighbour table is full: raise net.ipv6.neigh.default.gc_thresh3; or the source is no usable address of this host)", err)
	}
	return socketErrors.explain(err)
}

// sendNow calls send once, whatever the poller thinks of the socket.
func sendNow(raw syscall.RawConn, send func(fd int) error) error {
	var inner error
	err := raw.Write(func(fd uintptr) bool {
		inner = send(int(fd))
		return true
	})
	if err != nil {
		return err
	}
	return inner
}

// explanations are what usually causes an errno of some system calls, and what to do.
type explanations []struct {
	errno syscall.Errno
	text  string
}

// explain adds the explanation to an error that has one.
func (es explanations) explain(err error) error {
	for _, e := range es {
		if errors.Is(err, e.errno) {
			return fmt.Errorf("%w (%s)", err, e.text)
		}
	}
	return err
}

// socketErrors are those of opening a socket, sending and receiving.
var socketErrors = explanations{
	{unix.EPERM, "a firewall on this host drops it, or CAP_NET_RAW and CAP_NET_ADMIN are missing"},
	{unix.EACCES, "CAP_NET_RAW and CAP_NET_ADMIN are needed"},
	{unix.ENOBUFS, "the interface's or the socket's send queue is full"},
	{unix.EAGAIN, "the socket's send queue is full"},
	{unix.EINVAL, "the source may be no usable address of this host"},
	{unix.EADDRNOTAVAIL, "the source is no usable address of this host"},
	{unix.ENETDOWN, "the interface is down"},
	{unix.ENODEV, "the interface is gone"},
	{unix.ENXIO, "the interface is gone"},
	{unix.EAFNOSUPPORT, "the kernel has this address family disabled"},
}

// netlinkErrors are those of changing addresses, routes and devices.
var netlinkErrors = explanations{
	{unix.EPERM, "CAP_NET_ADMIN is needed"},
	{unix.ENETDOWN, "the interface is down"},
	{unix.ENODEV, "the interface is gone"},
	{unix.EAFNOSUPPORT, "the kernel has this address family disabled"},
}

// interfaceByName finds an interface, with an error that names it.
func interfaceByName(name string) (*net.Interface, error) {
	ifi, err := net.InterfaceByName(name)
	if err == nil {
		return ifi, nil
	}
	// Package net has no error of its own for a missing interface; every other reason is a system call's.
	if _, syscallFailed := errors.AsType[syscall.Errno](err); syscallFailed {
		return nil, fmt.Errorf("look up interface %q: %w", name, err)
	}
	return nil, fmt.Errorf("interface %q does not exist: %w", name, unix.ENODEV)
}
