package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// maxRequests is how many requests go to the kernel in one message. Their answers must find room in the socket's
	// buffer, at about 1 KiB each of the 208 KiB that it has by default.
	maxRequests = 64
	// answerBuffer is more than the longest answer: a header, an errno and the request.
	answerBuffer = 4096
)

// errNoAnswer says that the kernel has not answered a request.
var errNoAnswer = errors.New("the kernel did not answer")

// request asks the kernel to set or remove one address; err is what came of it.
type request struct {
	place
	remove    bool
	lifetime  time.Duration // 0 is forever
	exclusive bool          // fail with EEXIST if the address is there; else set its lifetime
	err       error
}

// requests is a socket for changes of addresses. It sends many in one system call: each on its own, the way through
// the library and the scheduler costs more than the kernel's work.
type requests struct {
	file     *os.File
	sequence uint32
	out, in  []byte
}

func openRequests() (*requests, error) {
	file, err := subscribe()
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return &requests{file: file, in: make([]byte, answerBuffer)}, nil
}

func (r *requests) close() { r.file.Close() }

// indices returns a function that says which index an interface has; 0: there is none. It asks once for each, in the way that costs
// the least: a renewal asks, too.
func (r *requests) indices() func(ifName string) int {
	known := map[string]int{}
	return func(ifName string) int {
		index, asked := known[ifName]
		if !asked {
			index = r.index(ifName)
			known[ifName] = index
		}
		return index
	}
}

func (r *requests) index(ifName string) int {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return 0
	}
	ifr, err := unix.NewIfreq(ifName)
	if err != nil {
		return 0
	}
	if err := control(raw, func(fd int) error { return unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr) }); err != nil {
		return 0
	}
	return int(ifr.Uint32())
}

// do performs the requests in order. One that fails does not stop the others.
func (r *requests) do(list []request) {
	for chunk := range slices.Chunk(list, maxRequests) {
		r.exchange(chunk)
	}
}

// exchange sends requests and takes their answers.
func (r *requests) exchange(list []request) {
	first := r.sequence + 1
	r.out = r.out[:0]
	for i := range list {
		r.sequence++
		m := list[i].message()
		m.Seq = r.sequence
		r.out = append(r.out, m.Serialize()...)
		list[i].err = errNoAnswer
	}
	err := r.file.SetDeadline(time.Now().Add(netlinkTimeout))
	if err == nil {
		_, err = r.file.Write(r.out)
	}
	for left := len(list); err == nil && left > 0; {
		var n int
		if n, err = r.file.Read(r.in); err == nil {
			left -= answers(r.in[:n], first, list)
		}
	}
	if err == nil {
		return
	}
	for i := range list {
		if errors.Is(list[i].err, errNoAnswer) {
			list[i].err = fmt.Errorf("%w: %w", errNoAnswer, err)
		}
	}
}

// answers notes the answers in b and returns how many there were. One to an earlier exchange, which was given up, is not
// one of them.
func answers(b []byte, first uint32, list []request) (n int) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		i := m.Header.Seq - first
		if m.Header.Type != unix.NLMSG_ERROR || i >= uint32(len(list)) || len(m.Data) < 4 || !errors.Is(list[i].err, errNoAnswer) {
			continue
		}
		list[i].err = nil
		if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
			list[i].err = syscall.Errno(-code)
		}
		n++
	}
	return n
}

// message is the request as the kernel reads it: about an address that is alone in its network.
func (q request) message() *nl.NetlinkRequest {
	kind, flags := unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE
	switch {
	case q.remove:
		kind, flags = unix.RTM_DELADDR, 0
	case q.exclusive:
		flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	m := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	head := nl.NewIfAddrmsg(family(q.ip))
	head.Prefixlen = uint8(q.ip.BitLen())
	head.Index = uint32(q.index)
	if q.ip.Is4() {
		head.Scope = scope4
	}
	m.AddData(head)
	m.AddData(nl.NewRtAttr(unix.IFA_LOCAL, q.ip.AsSlice()))
	m.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, q.ip.AsSlice()))
	if q.remove {
		return m
	}
	attributes := uint32(unix.IFA_F_NOPREFIXROUTE)
	info := unix.IfaCacheinfo{Valid: seconds(q.lifetime), Prefered: seconds(q.lifetime)}
	if !q.ip.Is4() {
		attributes |= unix.IFA_F_NODAD
		info.Prefered = 0 // deprecated: never a source where the host has an address of that scope
	}
	m.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(attributes)))
	m.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, (&nl.IfaCacheInfo{IfaCacheinfo: info}).Serialize()))
	m.AddData(nl.NewRtAttr(attributeProto, nl.Uint8Attr(protocolTag)))
	return m
}

// scope4 is the scope of our IPv4 addresses: host. Measured on Linux 6.18 with `ip route get`, the host's own
// 10.9.0.1/24 and our 10.9.0.100/32 on one interface: as soon as ours was there first, which is the case whenever the
// host's own went and came back, ours became the source of every packet along a route without a preferred source and
// of all multicast, with scope global as well as link, and a preferred lifetime of 0 made no difference. With scope
// host it never did; the one exception is multicast while the sysctl route_localnet of the interface is 1. The
// address is answered for by ARP and served all the same (unless arp_ignore is 3).
const scope4 = unix.RT_SCOPE_HOST

// gone reports whether a removal failed only because there is nothing to remove: no such address, or no such interface.
func gone(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}

// family is the address family of ip.
func family(ip netip.Addr) int {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// seconds is a lifetime as the kernel counts it: whole seconds, at least one.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return forever
	}
	s := (d + time.Second - 1) / time.Second
	return uint32(min(s, forever-1))
}
