package linux

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onlyOf begins a filter of a packet socket on an interface: what is of another one ends there. To the sockets of an interface the
// kernel shows also the frames of the VLANs and macvlans on it, as those will have them: without their tag. What has a tag that no VLAN
// here has is shown as another host's.
func onlyOf(index int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
}
