package linux

import (
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/bpf"
)

// header4 is an IPv4 header of 20 bytes before payload.
func header4(ttl, protocol byte, payload ...byte) []byte {
	h := []byte{0x45, 0xc0, 0, byte(20 + len(payload)), 0, 1, 0, 0, ttl, protocol, 0, 0, 10, 9, 0, 1, 224, 0, 0, 18}
	return append(h, payload...)
}

// from4 is an advertisement of VRID 7 from an address.
func from4(ttl byte, source string) []byte {
	b := header4(ttl, 112, advert(0x31, 7)...)
	copy(b[12:], netip.MustParseAddr(source).AsSlice())
	copy(b[16:], []byte{10, 9, 0, 1})
	return b
}

// advert is the least of an advertisement: one without addresses.
func advert(first, vrid byte) []byte {
	b := []byte{first, vrid, 100, 0, 0, 100, 0, 0}
	if first == firstByteV2 {
		b = append(b, make([]byte, dataV2)...)
	}
	return b
}

// long is an advertisement that claims to have some addresses, and what follows the fixed part.
func long(first, vrid, count byte, more int) []byte {
	b := append(advert(first, vrid)[:fixedPart], make([]byte, more)...)
	b[countByte] = count
	return b
}

// multicast accepts the adverts of anybody on the link.
func multicast(vrids ...uint8) []Accept {
	var out []Accept
	for _, v := range vrids {
		out = append(out, Accept{VRID: v})
	}
	return out
}

// unicast accepts those of the peers.
func unicast(vrid, minTTL uint8, peers ...string) Accept {
	return Accept{VRID: vrid, Unicast: true, MinTTL: minTTL, Peers: ips(peers...)}
}

func TestFilterIPv4(t *testing.T) {
	options := append([]byte{0x46}, header4(255, 112)[1:]...)
	options = append(append(options, 1, 1, 1, 1), advert(0x31, 7)...)
	many := make([]uint8, 255)
	for i := range many {
		many[i] = uint8(i + 1)
	}
	pair := []Accept{unicast(7, 255, "10.9.0.2", "10.9.0.3")}
	mixed := []Accept{unicast(6, 255, "10.9.0.2"), {VRID: 7}, unicast(8, 255, "10.9.0.3")}
	tests := []struct {
		name    string
		accepts []Accept
		packet  []byte
		want    bool
	}{
		{"version 3", multicast(7), header4(255, 112, advert(0x31, 7)...), true},
		{"version 2", multicast(7), header4(255, 112, advert(0x21, 7)...), true},
		{"the second of two VRIDs", multicast(6, 7), header4(255, 112, advert(0x31, 7)...), true},
		{"the last of all VRIDs", multicast(many...), header4(255, 112, advert(0x31, 255)...), true},
		{"IP options before the message", multicast(7), options, true},
		{"another protocol", multicast(7), header4(255, 89, advert(0x31, 7)...), false},
		{"forwarded", multicast(7), header4(254, 112, advert(0x31, 7)...), false},
		{"version 1", multicast(7), header4(255, 112, advert(0x11, 7)...), false},
		{"version 4", multicast(7), header4(255, 112, advert(0x41, 7)...), false},
		{"type 2", multicast(7), header4(255, 112, advert(0x32, 7)...), false},
		{"seven bytes", multicast(7), header4(255, 112, advert(0x31, 7)[:7]...), false},
		{"no message", multicast(7), header4(255, 112), false},
		{"as many addresses as it says", multicast(7), header4(255, 112, long(0x31, 7, 3, 12)...), true},
		{"one less", multicast(7), header4(255, 112, long(0x31, 7, 3, 8)...), false},
		{"a byte less", multicast(7), header4(255, 112, long(0x31, 7, 3, 11)...), false},
		{"a byte more", multicast(7), header4(255, 112, long(0x31, 7, 3, 13)...), false},
		{"255 addresses that are not there", multicast(7), header4(255, 112, long(0x31, 7, 255, 4)...), false},
		{"with a trailer", multicast(7), header4(255, 112, long(0x31, 7, 1, 32)...), true},
		{"version 2 with one address", multicast(7), header4(255, 112, long(0x21, 7, 1, 12)...), true},
		{"version 2 without its data", multicast(7), header4(255, 112, long(0x21, 7, 1, 4)...), false},
		{"CARP", multicast(7), header4(255, 112, long(0x21, 7, 7, 28)...), false},
		{"to this host", multicast(7), from4(255, "10.9.0.2"), false},
		{"version 3 where that is wanted", []Accept{{VRID: 7, Version: 3}}, header4(255, 112, advert(0x31, 7)...), true},
		{"version 2 where that is wanted", []Accept{{VRID: 7, Version: 2}}, header4(255, 112, advert(0x21, 7)...), true},
		{"version 2 where 3 is", []Accept{{VRID: 7, Version: 3}}, header4(255, 112, advert(0x21, 7)...), false},
		{"version 3 where 2 is", []Accept{{VRID: 7, Version: 2}}, header4(255, 112, advert(0x31, 7)...), false},
		{"not signed where that is wanted", []Accept{{VRID: 7, Version: 3, Signed: true}}, header4(255, 112, long(0x31, 7, 1, 4)...), false},
		{"signed where that is wanted", []Accept{{VRID: 7, Version: 3, Signed: true}}, header4(255, 112, long(0x31, 7, 1, 32)...), true},
		{"not signed beside one that wants it", []Accept{{VRID: 6, Version: 3, Signed: true}, {VRID: 7, Version: 3}}, header4(255, 112, advert(0x31, 7)...), true},
		{"not signed by a peer where that is wanted", []Accept{{VRID: 7, Signed: true, Unicast: true, MinTTL: 255, Peers: ips("10.9.0.2")}}, from4(255, "10.9.0.2"), false},
		{"a cut header", multicast(7), header4(255, 112)[:9], false},
		{"an unknown VRID", multicast(6, 8), header4(255, 112, advert(0x31, 7)...), false},
		{"no VRID at all", nil, header4(255, 112, advert(0x31, 7)...), false},
		{"VRID 0", multicast(many...), header4(255, 112, advert(0x31, 0)...), false},

		{"the first peer", pair, from4(255, "10.9.0.2"), true},
		{"the second peer", pair, from4(255, "10.9.0.3"), true},
		{"a stranger", pair, from4(255, "10.9.0.4"), false},
		{"a peer behind a router", pair, from4(254, "10.9.0.2"), false},
		{"a peer behind as many routers as allowed", []Accept{unicast(7, 250, "10.9.0.2")}, from4(250, "10.9.0.2"), true},
		{"a peer behind one more", []Accept{unicast(7, 250, "10.9.0.2")}, from4(249, "10.9.0.2"), false},
		{"a peer of another VRID", []Accept{unicast(7, 255, "10.9.0.2"), unicast(8, 255, "10.9.0.3")}, from4(255, "10.9.0.3"), false},
		{"a peer that multicasts", []Accept{unicast(7, 255, "10.9.0.1")}, header4(255, 112, advert(0x31, 7)...), false},
		{"anybody while no peer is known", []Accept{unicast(7, 255)}, from4(255, "10.9.0.2"), false},
		{"anybody on a multicast VRID between unicast ones", mixed, header4(255, 112, advert(0x31, 7)...), true},
		{"forwarded on a multicast VRID between unicast ones", mixed, from4(254, "10.9.0.2"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := passes(t, vrrpFilter(false, tt.accepts, true), tt.packet); got != tt.want {
				t.Errorf("passed: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFilterIPv6(t *testing.T) {
	peers := []Accept{unicast(7, 255, "fd00::3", "fe80::2", "fd00::2")}
	tests := []struct {
		name    string
		hops    uint32
		source  string
		accepts []Accept
		bytes   []byte
		want    bool
		group   bool
	}{
		{"version 3", 255, "fe80::9", multicast(7), advert(0x31, 7), true, true},
		{"forwarded", 254, "fe80::9", multicast(7), advert(0x31, 7), false, true},
		{"type 2", 255, "fe80::9", multicast(7), advert(0x32, 7), false, true},
		{"seven bytes", 255, "fe80::9", multicast(7), advert(0x31, 7)[:7], false, true},
		{"an unknown VRID", 255, "fe80::9", multicast(8), advert(0x31, 7), false, true},
		{"as many addresses as it says", 255, "fe80::9", multicast(7), long(0x31, 7, 2, 32), true, true},
		{"one less", 255, "fe80::9", multicast(7), long(0x31, 7, 2, 16), false, true},
		{"with a trailer", 255, "fe80::9", multicast(7), long(0x31, 7, 2, 60), true, true},
		{"not signed where that is wanted", 255, "fe80::9", []Accept{{VRID: 7, Signed: true}}, long(0x31, 7, 2, 32), false, true},
		{"to this host", 255, "fe80::9", multicast(7), advert(0x31, 7), false, false},
		{"the first peer", 255, "fd00::3", peers, advert(0x31, 7), true, false},
		{"a link-local peer", 255, "fe80::2", peers, advert(0x31, 7), true, false},
		{"the last peer", 255, "fd00::2", peers, advert(0x31, 7), true, false},
		{"a stranger that differs in the first word", 255, "fd01::2", peers, advert(0x31, 7), false, false},
		{"a stranger that differs in the second word", 255, "fd00:0:0:1::2", peers, advert(0x31, 7), false, false},
		{"a stranger that differs in the third word", 255, "fd00::1:0:0:2", peers, advert(0x31, 7), false, false},
		{"a stranger that differs in the last word", 255, "fd00::4", peers, advert(0x31, 7), false, false},
		{"a peer that sends the kernel's hop limit", 64, "fd00::2", peers, advert(0x31, 7), false, false},
		{"a peer that multicasts", 255, "fd00::2", peers, advert(0x31, 7), false, true},
		{"the same where that is allowed", 64, "fd00::2", []Accept{unicast(7, 64, "fd00::2")}, advert(0x31, 7), true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			program := vrrpFilter(true, tt.accepts, true)
			// Only the kernel reaches the header in front of the packet; the test with real packets shows that.
			source, to := netip.MustParseAddr(tt.source).AsSlice(), uint32(0xfd)
			if tt.group {
				to = 0xff
			}
			for at, in := range program {
				load, ok := in.(bpf.LoadAbsolute)
				switch {
				case ok && load.Off == networkHeader+7:
					program[at] = bpf.LoadConstant{Dst: bpf.RegA, Val: tt.hops}
				case ok && load.Off == networkHeader+24:
					program[at] = bpf.LoadConstant{Dst: bpf.RegA, Val: to}
				case ok && load.Size == 4:
					b := source[load.Off-networkHeader-8:]
					program[at] = bpf.LoadConstant{Dst: bpf.RegA, Val: uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])}
				}
			}
			if got := passes(t, program, tt.bytes); got != tt.want {
				t.Errorf("passed: %v, want %v", got, tt.want)
			}
		})
	}
}

// every is a router for each VRID.
func every(a Accept) (out []Accept) {
	for vrid := range 255 {
		a.VRID = uint8(vrid + 1)
		out = append(out, a)
	}
	return out
}

// TestFilterFitsTheKernel: where it would be too long or too large, any sender passes, and the reader decides.
func TestFilterFitsTheKernel(t *testing.T) {
	peers := []string{"10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.7"}
	onWires(t, func(t *testing.T, w wire, peer *host) {
		if w.v6 {
			peers = []string{"fd00::2", "fd00::3", "fd00::4", "fd00::5"}
		}
		for _, limit := range []string{"131072", "20480"} { // Linux 6.7 and later, and earlier
			if err := os.WriteFile("/proc/sys/net/core/optmem_max", []byte(limit), 0o600); err != nil {
				t.Logf("optmem_max is not this namespace's own: %v", err)
			}
			c := must(Listen("v0", w.v6))
			defer c.Close()
			for name, accepts := range map[string][]Accept{
				"multicast": every(Accept{}), "signed": every(Accept{Version: 3, Signed: true}), "one peer": every(unicast(1, 255, peers[0])), "several peers": every(unicast(1, 255, peers...)),
			} {
				if err := c.Accept(accepts); err != nil {
					t.Errorf("every VRID, %s: %v", name, err)
				}
			}
		}
	})
	for _, tt := range []struct {
		senders bool
		source  string
		want    bool
	}{{true, "10.9.0.2", true}, {true, "10.9.0.77", false}, {false, "10.9.0.77", true}} {
		if got := passes(t, vrrpFilter(false, every(unicast(1, 255, "10.9.0.2")), tt.senders), from4(255, tt.source)); got != tt.want {
			t.Errorf("%+v: passes %t", tt, got)
		}
	}
}

// passes says whether a program lets a packet through.
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
