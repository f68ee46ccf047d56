package linux

import (
	"encoding/binary"
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
)

// netlinkTimeout ends a request that the kernel does not answer. It holds a request up only while another one holds
// the kernel's lock over all interfaces, which slow drivers do for a second.
const netlinkTimeout = 5 * time.Second

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

func (a address) at() place { return place{a.index, a.prefix.Addr()} }

// rtnetlink lists the kernel's addresses and has a handle for links and routes.
type rtnetlink struct {
	sockets map[int]*nl.SocketHandle
	handle  *netlink.Handle
	dump    func(take func(address)) error // dumpAddresses, or what a test puts before it
}

func openRtnetlink() (*rtnetlink, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(netlinkTimeout.Nanoseconds())
	_ = socket.SetSendTimeout(&timeout) // cannot fail, and neither can the next
	_ = socket.SetReceiveTimeout(&timeout)
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if err := handle.SetSocketTimeout(netlinkTimeout); err != nil {
		socket.Close()
		handle.Close()
		return nil, fmt.Errorf("set timeout of netlink socket: %w", err)
	}
	r := &rtnetlink{sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}, handle: handle}
	r.dump = r.dumpAddresses
	return r, nil
}

func (r *rtnetlink) close() {
	r.sockets[unix.NETLINK_ROUTE].Close()
	r.handle.Close()
}

// addresses lists every address of the host, of both families, in the kernel's order. What was there all the time is in it,
// also when the addresses never stopped changing meanwhile; what went or came just then may be or not.
func (r *rtnetlink) addresses() ([]address, error) {
	list, _, err := r.look()
	return list, err
}

// look is addresses; whole says that the list was true at one instant.
func (r *rtnetlink) look() (list []address, whole bool, err error) {
	whole, err = untilWhole(func() error {
		var found []address
		err := r.dump(func(a address) { found = append(found, a) })
		if err == nil {
			list = nil // those that were interrupted are not needed any more
		}
		list = union(list, found)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("list addresses: %w", err)
	}
	return list, whole, nil
}

// request begins a message of a kind, for what the library has no function for.
func (r *rtnetlink) request(kind, flags int, head nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = r.sockets
	req.AddData(head)
	return req
}

// linkRequest is about one interface; 0: whichever the rest of it says.
func (r *rtnetlink) linkRequest(kind, flags, index int) *nl.NetlinkRequest {
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index = int32(index)
	return r.request(kind, flags, head)
}

// dumpAddresses gives each address to take as the kernel tells of it.
func (r *rtnetlink) dumpAddresses(take func(address)) error {
	req := r.request(unix.RTM_GETADDR, unix.NLM_F_DUMP, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	return req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWADDR, func(m []byte) bool {
		if a, ok := parseAddress(m); ok {
			take(a)
		}
		return true
	})
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
