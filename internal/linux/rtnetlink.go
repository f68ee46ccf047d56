package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// protocolTag marks addresses (IFA_PROTO, kernels from 5.18 on) and routes (RTPROT) as ours. Nobody has registered
	// the number; it is VRRP's IP protocol number.
	protocolTag = 112
	// attributeProto is IFA_PROTO, which x/sys does not name yet.
	attributeProto = 11
	// forever is a lifetime without an end.
	forever = 0xffffffff
	// dumpTries bounds how often a dump that changed under our hands is repeated.
	dumpTries = 5
)

// netlinkTimeout ends a request that the kernel does not answer. It holds a request up only while another one holds
// the kernel's lock over all interfaces, which slow drivers do for a second.
var netlinkTimeout = unix.NsecToTimeval((5 * time.Second).Nanoseconds())

// address is one address as the kernel has it.
type address struct {
	index    int
	prefix   netip.Prefix // the address itself and its length
	flags    uint32
	scope    uint8
	protocol uint8  // IFA_PROTO; 0 where the kernel has none
	valid    uint32 // seconds that are left of its lifetime, or forever
}

// host reports whether the address has no network: the only form in which we set one.
func (a address) host() bool { return a.prefix.IsSingleIP() }

// rtnetlink is a socket to the kernel's addresses, and a handle for links and routes.
type rtnetlink struct {
	sockets map[int]*nl.SocketHandle
	handle  *netlink.Handle
}

func openRtnetlink() (*rtnetlink, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	_ = socket.SetSendTimeout(&netlinkTimeout) // cannot fail, and neither can the next
	_ = socket.SetReceiveTimeout(&netlinkTimeout)
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := handle.SetSocketTimeout(time.Duration(netlinkTimeout.Nano())); err != nil {
		socket.Close()
		handle.Close()
		return nil, fmt.Errorf("set timeout of netlink socket: %w", err)
	}
	return &rtnetlink{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}, handle: handle}, nil
}

func (r *rtnetlink) close() {
	r.sockets[unix.NETLINK_ROUTE].Close()
	r.handle.Close()
}

func (r *rtnetlink) request(kind, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = r.sockets
	return req
}

// addresses lists every address of the host, of both families, in the kernel's order.
func (r *rtnetlink) addresses() ([]address, error) {
	var messages [][]byte
	var err error
	for range dumpTries {
		req := r.request(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		messages, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	list := make([]address, 0, len(messages))
	for _, m := range messages {
		if a, ok := parseAddress(m); ok {
			list = append(list, a)
		}
	}
	return list, nil
}

// parseAddress reads the body of an RTM_NEWADDR or RTM_DELADDR message; ok is false for one of another family.
func parseAddress(m []byte) (a address, ok bool) {
	if len(m) < unix.SizeofIfAddrmsg {
		return address{}, false
	}
	msg := nl.DeserializeIfAddrmsg(m)
	if msg.Family != unix.AF_INET && msg.Family != unix.AF_INET6 {
		return address{}, false
	}
	a = address{index: int(msg.Index), flags: uint32(msg.Flags), scope: msg.Scope, valid: forever}
	var local, peer netip.Addr
	for kind, value := range attributes(m[unix.SizeofIfAddrmsg:]) {
		switch {
		case kind == unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_FLAGS && len(value) >= 4:
			a.flags = binary.NativeEndian.Uint32(value)
		case kind == unix.IFA_CACHEINFO && len(value) >= unix.SizeofIfaCacheinfo:
			a.valid = nl.DeserializeIfaCacheInfo(value).Valid
		case kind == attributeProto && len(value) >= 1:
			a.protocol = value[0]
		}
	}
	// IFA_ADDRESS is the other end of a point-to-point link; where there is none it is the address itself.
	if !local.IsValid() {
		local = peer
	}
	a.prefix = netip.PrefixFrom(local, int(msg.Prefixlen))
	return a, a.prefix.IsValid()
}

// attributes walks the attributes of a message, up to the first that is cut off. (The library's parser panics there.)
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(kind uint16, value []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			length := int(binary.NativeEndian.Uint16(b))
			if length < unix.SizeofRtAttr || length > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:length]) {
				return
			}
			padded := (length + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
			b = b[min(padded, len(b)):]
		}
	}
}

// family is the address family of ip.
func family(ip netip.Addr) int {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// addressRequest begins a request about ip, alone in its network, on the interface.
func (r *rtnetlink) addressRequest(kind, flags, index int, ip netip.Addr) *nl.NetlinkRequest {
	req := r.request(kind, flags|unix.NLM_F_ACK)
	msg := nl.NewIfAddrmsg(family(ip))
	msg.Prefixlen = uint8(ip.BitLen())
	msg.Index = uint32(index)
	if ip.Is4() {
		msg.Scope = scope4
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip.AsSlice()))
	return req
}

// scope4 is the scope of our IPv4 addresses: host. Measured on Linux 6.18 with `ip route get`, the host's own
// 10.9.0.1/24 and our 10.9.0.100/32 on one interface: as soon as ours was there first, which is the case whenever the
// host's own went and came back, ours became the source of every packet along a route without a preferred source and
// of all multicast, with scope global as well as link, and a preferred lifetime of 0 made no difference. With scope
// host it never did; the one exception is multicast while the sysctl route_localnet of the interface is 1. The
// address is answered for by ARP and served all the same (unless arp_ignore is 3).
const scope4 = unix.RT_SCOPE_HOST

// setAddress sets ip on the interface or, when it is there, its lifetime; 0 is forever. With exclusive it fails with
// EEXIST if it is there.
func (r *rtnetlink) setAddress(index int, ip netip.Addr, lifetime time.Duration, exclusive bool) error {
	mode := unix.NLM_F_REPLACE
	if exclusive {
		mode = unix.NLM_F_EXCL
	}
	req := r.addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|mode, index, ip)
	flags := uint32(unix.IFA_F_NOPREFIXROUTE)
	info := unix.IfaCacheinfo{Valid: seconds(lifetime), Prefered: seconds(lifetime)}
	if !ip.Is4() {
		flags |= unix.IFA_F_NODAD
		info.Prefered = 0 // deprecated: never a source where the host has an address of that scope
	}
	req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, (&nl.IfaCacheInfo{IfaCacheinfo: info}).Serialize()))
	req.AddData(nl.NewRtAttr(attributeProto, nl.Uint8Attr(protocolTag)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// deleteAddress removes ip from the interface. One that is gone, with or without its interface, is no error.
func (r *rtnetlink) deleteAddress(index int, ip netip.Addr) error {
	_, err := r.addressRequest(unix.RTM_DELADDR, 0, index, ip).Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// seconds is a lifetime as the kernel counts it: whole seconds, at least one.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return forever
	}
	s := (d + time.Second - 1) / time.Second
	return uint32(min(s, forever-1))
}
