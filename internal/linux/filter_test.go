package linux

import (
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

// header4 is an IPv4 header of 20 bytes before payload.
func header4(ttl, protocol byte, payload ...byte) []byte {
	h := []byte{0x45, 0xc0, 0, byte(20 + len(payload)), 0, 1, 0, 0, ttl, protocol, 0, 0, 10, 9, 0, 1, 224, 0, 0, 18}
	return append(h, payload...)
}

// advert is the fixed part of an advertisement.
func advert(first, vrid byte) []byte { return []byte{first, vrid, 100, 1, 0, 100, 0, 0} }

func TestFilterIPv4(t *testing.T) {
	options := append([]byte{0x46}, header4(255, 112)[1:]...)
	options = append(append(options, 1, 1, 1, 1), advert(0x31, 7)...)
	many := make([]uint8, 255)
	for i := range many {
		many[i] = uint8(i + 1)
	}
	tests := []struct {
		name   string
		vrids  []uint8
		packet []byte
		want   bool
	}{
		{"version 3", []uint8{7}, header4(255, 112, advert(0x31, 7)...), true},
		{"version 2", []uint8{7}, header4(255, 112, advert(0x21, 7)...), true},
		{"the second of two VRIDs", []uint8{6, 7}, header4(255, 112, advert(0x31, 7)...), true},
		{"the last of all VRIDs", many, header4(255, 112, advert(0x31, 255)...), true},
		{"IP options before the message", []uint8{7}, options, true},
		{"another protocol", []uint8{7}, header4(255, 89, advert(0x31, 7)...), false},
		{"forwarded", []uint8{7}, header4(254, 112, advert(0x31, 7)...), false},
		{"version 1", []uint8{7}, header4(255, 112, advert(0x11, 7)...), false},
		{"version 4", []uint8{7}, header4(255, 112, advert(0x41, 7)...), false},
		{"type 2", []uint8{7}, header4(255, 112, advert(0x32, 7)...), false},
		{"seven bytes", []uint8{7}, header4(255, 112, advert(0x31, 7)[:7]...), false},
		{"no message", []uint8{7}, header4(255, 112), false},
		{"a cut header", []uint8{7}, header4(255, 112)[:9], false},
		{"an unknown VRID", []uint8{6, 8}, header4(255, 112, advert(0x31, 7)...), false},
		{"no VRID at all", nil, header4(255, 112, advert(0x31, 7)...), false},
		{"VRID 0", many, header4(255, 112, advert(0x31, 0)...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := passes(t, vrrpFilter(false, tt.vrids), tt.packet); got != tt.want {
				t.Errorf("passed: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFilterIPv6(t *testing.T) {
	tests := []struct {
		name  string
		hops  uint32
		vrids []uint8
		bytes []byte
		want  bool
	}{
		{"version 3", 255, []uint8{7}, advert(0x31, 7), true},
		{"forwarded", 254, []uint8{7}, advert(0x31, 7), false},
		{"type 2", 255, []uint8{7}, advert(0x32, 7), false},
		{"seven bytes", 255, []uint8{7}, advert(0x31, 7)[:7], false},
		{"an unknown VRID", 255, []uint8{8}, advert(0x31, 7), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			program := vrrpFilter(true, tt.vrids)
			// Only the kernel reaches the header in front of the packet; the test with real packets shows that.
			at := slices.Index(program, bpf.Instruction(bpf.LoadAbsolute{Off: networkHeader + 7, Size: 1}))
			if at < 0 {
				t.Fatal("the program does not look at the hop limit")
			}
			program[at] = bpf.LoadConstant{Dst: bpf.RegA, Val: tt.hops}
			if got := passes(t, program, tt.bytes); got != tt.want {
				t.Errorf("passed: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFilterIsShortEnoughForTheKernel(t *testing.T) {
	if n := len(vrrpFilter(true, make([]uint8, 255))); n > 4096 {
		t.Errorf("%d instructions, the kernel takes 4096", n)
	}
}

func passes(t *testing.T, program []bpf.Instruction, packet []byte) bool {
	t.Helper()
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(packet)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}
