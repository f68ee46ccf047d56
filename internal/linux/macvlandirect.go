package linux

import (
	"encoding/binary"
	"slices"

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
// It is a setting of the interface, for all macvlans on it, whosoever, and it ends with the last of them. What something else set stays.
// A kernel that does not know it takes no notice (attributes of one kind of interface are parsed without strictness), and the queue stays.
func (s *Macvlans) hearDirectly(m Macvlan, index, parent int) {
	if s.direct[index] {
		return
	}
	s.direct[index] = true
	crowded := s.book.on(m.Parent) > maxDirect // spares hundreds the lists
	if !crowded {
		links, err := s.kernel.handle.LinkList()
		crowded = err != nil || macvlansOn(links, parent, nil) > maxDirect
	}
	s.queue(index, parent, crowded)
}

// macvlansOn counts those of this namespace that are on an interface, without the doomed.
func macvlansOn(links []netlink.Link, parent int, doomed map[int]bool) (count int) {
	for _, link := range links {
		if at := link.Attrs(); link.Type() == "macvlan" && at.ParentIndex == parent && !doomed[at.Index] {
			count++
		}
	}
	return count
}

// queue has the interface of a device queue what goes to a group, or not, if nothing else has set that. It works without, as it does on an
// older kernel.
func (s *Macvlans) queue(index, parent int, queued bool) {
	now, err := s.kernel.cutoff(index)
	ours := slices.Contains(s.book.Direct, parent)
	switch {
	case err != nil:
	case now == kernelsCutoff && !queued:
		if !ours {
			s.book.Direct = append(s.book.Direct, parent)
		}
		if s.book.save() == nil { // else nobody would undo it
			_ = s.kernel.setCutoff(index, neverQueued)
		}
	case now == neverQueued && ours && queued:
		if s.kernel.setCutoff(index, kernelsCutoff) == nil {
			s.book.Direct = slices.DeleteFunc(s.book.Direct, func(p int) bool { return p == parent })
		}
	}
}

// queueAgain gives the interfaces of devices that go the kernel's own setting back, unless some of an understudy stay there; remain are those
// of this one, by their interfaces.
func (s *Macvlans) queueAgain(doomed, links []netlink.Link, inUse map[int]bool, remain map[int]int) {
	gone, done := map[int]bool{}, map[int]bool{}
	for _, link := range doomed {
		gone[link.Attrs().Index] = true
	}
	for _, link := range doomed {
		at := link.Attrs()
		delete(s.direct, at.Index)
		if done[at.ParentIndex] {
			continue
		}
		done[at.ParentIndex] = true
		if !inUse[at.ParentIndex] {
			s.queue(at.Index, at.ParentIndex, true)
		} else if index, ours := remain[at.ParentIndex]; ours {
			s.queue(index, at.ParentIndex, macvlansOn(links, at.ParentIndex, gone) > maxDirect)
		}
	}
	s.book.Direct = slices.DeleteFunc(s.book.Direct, func(parent int) bool { return !inUse[parent] })
}

// cutoff is the setting of the interface that a device is on. The kernel does not tell its own.
func (r *rtnetlink) cutoff(index int) (int32, error) {
	list, err := r.linkRequest(unix.RTM_GETLINK, 0, index).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(list) == 0 || len(list[0]) < unix.SizeofIfInfomsg {
		return kernelsCutoff, err
	}
	info := attribute(attribute(list[0][unix.SizeofIfInfomsg:], unix.IFLA_LINKINFO), nl.IFLA_INFO_DATA)
	if value := attribute(info, attributeCutoff); len(value) >= 4 {
		return int32(binary.NativeEndian.Uint32(value)), nil
	}
	return kernelsCutoff, nil
}

// attribute is the value of one of a list of attributes; nil if it is not there.
func attribute(list []byte, want uint16) []byte {
	for kind, value := range attributes(list) {
		if kind&^unix.NLA_F_NESTED == want {
			return value
		}
	}
	return nil
}

// setCutoff changes the setting of the interface that a device is on.
func (r *rtnetlink) setCutoff(index int, cutoff int32) error {
	return r.setMacvlan(index, attributeCutoff, nl.Uint32Attr(uint32(cutoff)))
}

// setMacvlan changes a setting that only macvlans have.
func (r *rtnetlink) setMacvlan(index, attribute int, value []byte) error {
	req := r.linkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK, index)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("macvlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(attribute, value)
	req.AddData(info)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
