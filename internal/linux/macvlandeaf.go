package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// The one filter of a deaf device: its place among the filters of what comes in, and the protocols that it is for.
	deafPriority = 1
	everyFrame   = unix.ETH_P_ALL
	// dropFrame is TC_ACT_SHOT, what a filter answers that wants a frame dropped.
	dropFrame = 2
)

// dropIngress makes a device lose what comes in for it: a backup discards what is for the virtual MAC (RFC 9568 section 6.4.2). Without
// an address it would anyway, but where the host forwards the kernel would forward it, and there is a second copy of what the
// master forwards. (The per-interface setting for that is heeded for IPv4 only.) Adverts come in through the interface itself.
//
// It is a filter in which a program of two instructions drops every frame, on the device's own queueing discipline for what comes
// in. That one stays: adding and removing it waits for all frames that are under way, and the filter does not.
func (r *rtnetlink) dropIngress(index int) error {
	err := r.handle.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("keep a backup from what is for its virtual MAC: %w", err)
	}
	code, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: dropFrame}})
	if err != nil {
		return fmt.Errorf("assemble packet filter: %w", err)
	}
	var ops bytes.Buffer
	for _, in := range code {
		_ = binary.Write(&ops, binary.NativeEndian, in) // a buffer takes everything
	}
	req := r.filterRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index)
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("bpf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_BPF_OPS_LEN, nl.Uint16Attr(uint16(len(code))))
	options.AddRtAttr(nl.TCA_BPF_OPS, ops.Bytes())
	options.AddRtAttr(nl.TCA_BPF_FLAGS, nl.Uint32Attr(nl.TCA_BPF_FLAG_ACT_DIRECT))
	req.AddData(options)
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("keep a backup from what is for its virtual MAC: %w", err)
	}
	return nil
}

// passIngress undoes it. A device that is not deaf stays so.
func (r *rtnetlink) passIngress(index int) error {
	_, err := r.filterRequest(unix.RTM_DELTFILTER, 0, index).Execute(unix.NETLINK_ROUTE, 0)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("let what is for the virtual MAC in: %w", err)
}

// filterRequest is about the filters of our priority, of what comes in at a device.
func (r *rtnetlink) filterRequest(kind, flags, index int) *nl.NetlinkRequest {
	return r.request(kind, flags|unix.NLM_F_ACK, &nl.TcMsg{
		Family: unix.AF_UNSPEC, Ifindex: int32(index), Parent: netlink.MakeHandle(0xffff, 0),
		Info: netlink.MakeHandle(deafPriority, nl.Swap16(everyFrame)),
	})
}

// dropIngressIfNeeded does that for a new device. A kernel that cannot do that is good enough for a host that forwards nothing.
func (s *Macvlans) dropIngressIfNeeded(m Macvlan, index int) error {
	err := s.kernel.dropIngress(index)
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	forwards, wrong := sysctl("ipv4", "ip_forward")
	if m.V6 {
		forwards, wrong = sysctl("ipv6", "conf", "all", "forwarding")
	}
	if wrong != nil || !forwards {
		return wrong
	}
	return fmt.Errorf(`this host forwards, and as a backup it would forward what the master forwards too: `+
		`switch forwarding off, write mac = "interface", or add sch_ingress and cls_bpf to the kernel: %w`, err)
}
