package linux

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// GroupEntry is where VRRP's group of a family is a neighbour: on the interface with an index.
type GroupEntry struct {
	Index int
	V6    bool
}

// Compare orders entries.
func (e GroupEntry) Compare(other GroupEntry) int {
	return cmp.Or(cmp.Compare(e.Index, other.Index), groupOf(e.V6).ip.Compare(groupOf(other.V6).ip))
}

// GroupEntries keeps permanent neighbour entries for VRRP's group. Without them the kernel makes one for itself, which counts and is
// collected like any other: on a link with more neighbours than gc_thresh3 no advert leaves, and of IPv4 a raw socket is not told. A
// permanent one is neither counted nor collected.
//
// An entry is ours if the kernel has our tag on it (NDA_PROTOCOL, kernels from 5.0 on), so that no file lists them. All daemons of a
// host share it: where another one runs a virtual router nothing is taken away. One goroutine uses it.
type GroupEntries struct {
	kernel *rtnetlink
	others func() []Router
	mine   map[GroupEntry]bool // that this process set, or found to be an understudy's
}

// OpenGroupEntries changes nothing yet. It asks for the virtual routers that others run when there is something to take away.
func OpenGroupEntries(others func() []Router) (*GroupEntries, error) {
	kernel, err := openRtnetlink()
	if err != nil {
		return nil, err
	}
	return &GroupEntries{kernel: kernel, others: others, mine: map[GroupEntry]bool{}}, nil
}

// Close leaves the entries as they are.
func (g *GroupEntries) Close() { g.kernel.close() }

// Adopt takes up what an understudy set before, so that the next Set removes what is not wanted of it.
func (g *GroupEntries) Adopt() error {
	for _, v6 := range []bool{false, true} {
		_, err := untilWhole(func() error {
			return g.kernel.neighbours(v6, func(n neighbour) {
				if n.ours() && n.ip == groupOf(v6).ip {
					g.mine[GroupEntry{n.index, v6}] = true
				}
			})
		})
		if err != nil {
			return fmt.Errorf("list neighbour entries: %w", err)
		}
	}
	return nil
}

// Set makes those entries that are wanted, and removes ours that are not. A permanent one of somebody else counts, and stays. It returns
// what failed; where the kernel does not answer it tries nothing more.
func (g *GroupEntries) Set(want ...GroupEntry) map[GroupEntry]error {
	failed := map[GroupEntry]error{}
	do := func(e GroupEntry, change func(GroupEntry) error) (answered bool) {
		if err := change(e); err != nil {
			failed[e] = fmt.Errorf("neighbour entry of %s on interface %d: %w", groupOf(e.V6).ip, e.Index, err)
			return !errors.Is(err, unix.EAGAIN) // the socket's timeout
		}
		return true
	}
	for _, e := range want {
		if !do(e, g.ensure) {
			return failed
		}
	}
	unwanted := slices.DeleteFunc(slices.Collect(maps.Keys(g.mine)), func(e GroupEntry) bool { return slices.Contains(want, e) })
	if len(unwanted) == 0 {
		return failed
	}
	running := g.others()
	for _, e := range unwanted {
		if g.anothers(e, running) {
			delete(g.mine, e) // that one takes it away, or the first that starts or cleans up alone
		} else if !do(e, g.remove) {
			return failed
		}
	}
	return failed
}

// anothers says whether another daemon runs a virtual router where an entry is: on that interface, or the one under a macvlan.
func (g *GroupEntries) anothers(e GroupEntry, running []Router) bool {
	runsOn := func(l netlink.Link) bool {
		return slices.ContainsFunc(running, func(r Router) bool { return r.Interface == l.Attrs().Name && r.IPv6 == e.V6 })
	}
	if len(running) == 0 {
		return false
	}
	link, err := g.kernel.handle.LinkByIndex(e.Index)
	if err != nil || runsOn(link) || link.Type() != "macvlan" {
		return err == nil && runsOn(link)
	}
	base, err := g.kernel.handle.LinkByIndex(link.Attrs().ParentIndex)
	return err == nil && runsOn(base)
}

func (g *GroupEntries) ensure(e GroupEntry) error {
	n, err := g.kernel.neighbour(e)
	switch {
	case err != nil:
		return g.unlessGone(e, err)
	case n.state&unix.NUD_PERMANENT == 0:
	case n.protocol != protocolTag: // somebody else's
		delete(g.mine, e)
		return nil
	default:
		g.mine[e] = true
		return nil
	}
	g.mine[e] = true
	_, err = g.kernel.groupRequest(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK, e).Execute(unix.NETLINK_ROUTE, 0)
	return g.unlessGone(e, err)
}

// unlessGone is no error of an interface that is gone, and its entries with it: who wants one there learns it a moment later.
func (g *GroupEntries) unlessGone(e GroupEntry, err error) error {
	if !errors.Is(err, unix.ENODEV) {
		return err
	}
	delete(g.mine, e)
	return nil
}

func (g *GroupEntries) remove(e GroupEntry) error {
	n, err := g.kernel.neighbour(e)
	if err == nil && n.ours() {
		_, err = g.kernel.groupRequest(unix.RTM_DELNEIGH, unix.NLM_F_ACK, e).Execute(unix.NETLINK_ROUTE, 0)
	}
	if err == nil || gone(err) || errors.Is(err, unix.ENOENT) {
		delete(g.mine, e)
		return nil
	}
	return err
}

// neighbour is one entry as the kernel has it.
type neighbour struct {
	index    int
	ip       netip.Addr
	state    uint16
	protocol uint8 // NDA_PROTOCOL: who set it
}

func (n neighbour) ours() bool { return n.state&unix.NUD_PERMANENT != 0 && n.protocol == protocolTag }

// neighbour asks for the entry alone; the table of a router is no small thing. It is the zero one where there is none.
func (r *rtnetlink) neighbour(e GroupEntry) (neighbour, error) {
	answer, err := r.groupRequest(unix.RTM_GETNEIGH, 0, e).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	switch {
	case errors.Is(err, unix.ENOENT):
		return neighbour{}, nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return neighbour{}, fmt.Errorf("%w (the kernel is older than 5.0)", err)
	case err != nil || len(answer) == 0:
		return neighbour{}, err
	}
	return parseNeighbour(answer[0]), nil
}

// neighbours gives each entry of a family to take as the kernel tells of it.
func (r *rtnetlink) neighbours(v6 bool, take func(neighbour)) error {
	req := r.request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, &netlink.Ndmsg{Family: uint8(family(groupOf(v6).ip))})
	return req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH, func(m []byte) bool {
		take(parseNeighbour(m))
		return true
	})
}

// groupRequest is a request about an entry of the group; one that sets it says all that it is.
func (r *rtnetlink) groupRequest(kind, flags int, e GroupEntry) *nl.NetlinkRequest {
	group := groupOf(e.V6)
	head := &netlink.Ndmsg{Family: uint8(family(group.ip)), Index: uint32(e.Index)}
	req := r.request(kind, flags, head)
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, group.ip.AsSlice()))
	if kind == unix.RTM_NEWNEIGH {
		head.State = unix.NUD_PERMANENT
		req.AddData(nl.NewRtAttr(netlink.NDA_LLADDR, group.mac))
		req.AddData(nl.NewRtAttr(netlink.NDA_PROTOCOL, nl.Uint8Attr(protocolTag)))
	}
	return req
}

// sizeofNdmsg is the length of struct ndmsg.
const sizeofNdmsg = 12

// parseNeighbour reads the body of an RTM_NEWNEIGH message.
func parseNeighbour(m []byte) (n neighbour) {
	if len(m) < sizeofNdmsg {
		return neighbour{}
	}
	n.index, n.state = int(int32(binary.NativeEndian.Uint32(m[4:]))), binary.NativeEndian.Uint16(m[8:])
	for kind, value := range attributes(m[sizeofNdmsg:]) {
		switch {
		case kind == netlink.NDA_DST:
			n.ip, _ = netip.AddrFromSlice(value)
		case kind == netlink.NDA_PROTOCOL && len(value) >= 1:
			n.protocol = value[0]
		}
	}
	return n
}

// IsEthernet says of a MAC address, as Link has it, whether the group has one there, too.
func IsEthernet(mac string) bool {
	parsed, err := net.ParseMAC(mac)
	return err == nil && len(parsed) == len(group4.mac)
}
