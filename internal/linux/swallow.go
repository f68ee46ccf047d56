package linux

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Swallower is a macvlan on an interface that keeps the interface from hearing one virtual router's master. Unless its mode is bridge or
// VEPA, the kernel gives what arrives from its MAC address to the group or to all to it alone. keepalived makes such ones for use_vmac, and leaves
// them behind when it is killed.
type Swallower struct {
	Name string
	MAC  string // the virtual router's (RFC 9568 section 7.3)
}

// swallower is one with the index of its interface.
type swallower struct {
	Swallower
	parent int
}

// routerMACs begin the MAC addresses of virtual routers.
var routerMACs = [][]byte{{0x00, 0x00, 0x5e, 0x00, 0x01}, {0x00, 0x00, 0x5e, 0x00, 0x02}}

// parseSwallower reads the body of a link message; ok is false where it is not of a swallower.
func parseSwallower(m []byte) (s swallower, ok bool) {
	if len(m) < unix.SizeofIfInfomsg {
		return swallower{}, false
	}
	var macvlan, shares, router bool
	for kind, value := range attributes(m[unix.SizeofIfInfomsg:]) {
		switch {
		case kind == unix.IFLA_IFNAME:
			s.Name = unix.ByteSliceToString(value)
		case kind == unix.IFLA_LINK && len(value) >= 4:
			s.parent = int(binary.NativeEndian.Uint32(value))
		case kind == unix.IFLA_LINK_NETNSID:
			return swallower{}, false // its interface is not of this host
		case kind == unix.IFLA_ADDRESS:
			router = len(value) == 6 && slices.ContainsFunc(routerMACs, func(p []byte) bool { return bytes.HasPrefix(value, p) })
			s.MAC = net.HardwareAddr(value).String()
		case kind&^unix.NLA_F_NESTED == unix.IFLA_LINKINFO:
			macvlan, shares = macvlanInfo(value)
		}
	}
	up := nl.DeserializeIfInfomsg(m).Flags&unix.IFF_UP != 0 // one that is off takes nothing
	return s, up && macvlan && !shares && router
}

// macvlanInfo says of a link's details whether it is a macvlan, and whether that leaves its interface what comes from its MAC address.
func macvlanInfo(info []byte) (macvlan, shares bool) {
	for kind, value := range attributes(info) {
		switch kind &^ unix.NLA_F_NESTED {
		case unix.IFLA_INFO_KIND:
			macvlan = unix.ByteSliceToString(value) == "macvlan"
		case unix.IFLA_INFO_DATA:
			for kind, value := range attributes(value) {
				if kind == nl.IFLA_MACVLAN_MODE && len(value) >= 4 {
					mode := binary.NativeEndian.Uint32(value)
					shares = mode == nl.MACVLAN_MODE_BRIDGE || mode == nl.MACVLAN_MODE_VEPA
				}
			}
		}
	}
	return macvlan, shares
}

// swallowers lists those of the host by their index.
func (r *rtnetlink) swallowers() (list map[int]swallower, whole bool, err error) {
	list = map[int]swallower{}
	whole, err = untilWhole(func() error {
		req := r.linkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP, 0)
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("macvlan"))
		req.AddData(info)
		return req.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWLINK, func(m []byte) bool {
			if s, ok := parseSwallower(m); ok {
				list[int(nl.DeserializeIfInfomsg(m).Index)] = s
			}
			return true
		})
	})
	if err != nil {
		return nil, false, fmt.Errorf("list macvlans: %w", err)
	}
	return list, whole, nil
}

// swallows notes what a link message says of swallowers, and says whether a watched interface has others now.
func (w *Watcher) swallows(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfInfomsg || nl.DeserializeIfInfomsg(m.Data).Family != unix.AF_UNSPEC {
		return false
	}
	index := int(nl.DeserializeIfInfomsg(m.Data).Index)
	was := w.swallowers[index]
	is, ok := parseSwallower(m.Data)
	if !ok || m.Header.Type == unix.RTM_DELLINK {
		is = swallower{}
	}
	if is == was {
		return false
	}
	delete(w.swallowers, index)
	if is != (swallower{}) {
		if w.swallowers == nil {
			w.swallowers = map[int]swallower{}
		}
		w.swallowers[index] = is
	}
	_, before := w.watched[was.parent]
	_, now := w.watched[is.parent]
	return before || now
}

// swallowersOn lists those on the interface with an index.
func (w *Watcher) swallowersOn(index int) (list []Swallower) {
	for _, s := range w.swallowers {
		if s.parent == index {
			list = append(list, s.Swallower)
		}
	}
	slices.SortFunc(list, func(a, b Swallower) int { return strings.Compare(a.Name, b.Name) })
	return list
}
