package linux

import (
	"maps"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// attributeCutoff is IFLA_MACVLAN_BC_CUTOFF (Linux 6.4), which neither x/sys nor the library names. A frame to a group waits for a
	// thread of the kernel where more macvlans than that want it, or none is asked; neverQueued has all looked at as they come in.
	attributeCutoff = 9
	neverQueued     = -1
	kernelsCutoff   = 1
	// maxDirect is how many devices on one interface get a copy of each broadcast at once: a copy takes about 1 µs (measured on
	// Linux 6.18), so that 50,000 broadcasts a second just fit in one processor.
	maxDirect = 16
)

// hearDirectly has the kernel look at once whether the devices of an interface want a frame to a group, and give it to those that do. Else each
// ARP request of a client waits in a queue of 1,000 for a thread of the kernel; and where the interface cannot filter by several MAC addresses
// so does every frame to any group, which is thrown away then. A flood of what is nobody's costs a fifth of a processor so, and the clients their
// ARP requests. But with many devices a flood of broadcasts is no longer the thread's burden, which the other programs have their
// share beside, but that of whatever receives: there the queue stays.
//
// It is a setting of the interface, for all macvlans on it, and it ends with the last of them. An earlier build's devices get it too.
// A kernel that does not know it takes no notice (attributes of one kind of interface are parsed without strictness), and the queue stays.
func (s *Macvlans) hearDirectly(m Macvlan, index int) {
	if s.direct[index] {
		return
	}
	s.direct[index] = true
	cutoff := int32(neverQueued)
	if s.book.on(m.Parent) > maxDirect {
		cutoff = kernelsCutoff
	}
	_ = s.kernel.setCutoff(index, cutoff) // it works without, as it does on an older kernel
}

// queueAgain gives the interfaces of devices that go the kernel's own setting back, unless some of an understudy stay there: those of
// other programs may.
func (s *Macvlans) queueAgain(doomed []netlink.Link, inUse map[int]bool) {
	done := maps.Clone(inUse)
	for _, link := range doomed {
		at := link.Attrs()
		delete(s.direct, at.Index)
		if !done[at.ParentIndex] {
			done[at.ParentIndex] = true
			_ = s.kernel.setCutoff(at.Index, kernelsCutoff)
		}
	}
}

// setCutoff changes the setting of the interface that a device is on.
func (r *rtnetlink) setCutoff(index int, cutoff int32) error {
	return r.setMacvlan(index, attributeCutoff, nl.Uint32Attr(uint32(cutoff)))
}

// setMacvlan changes a setting that only macvlans have.
func (r *rtnetlink) setMacvlan(index, attribute int, value []byte) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.Sockets = r.sockets
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("macvlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(attribute, value)
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
