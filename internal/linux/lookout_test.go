package linux

import (
	"bytes"
	"context"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// lookOut opens and runs a lookout on v0, and hands on copies of what it sees.
func lookOut(t *testing.T, w wire, accepts ...Accept) (seen <-chan Sighting, missed <-chan uint64) {
	t.Helper()
	l := must(OpenLookout("v0", w.v6))
	t.Cleanup(func() { l.Close() })
	if err := l.Accept(accepts, true); err != nil {
		t.Fatal(err)
	}
	sightings, counts := make(chan Sighting, 10_000), make(chan uint64, 100)
	start(t, func(ctx context.Context) error {
		return l.Run(ctx, func(s Sighting) {
			s.Payload, s.MAC = bytes.Clone(s.Payload), slices.Clone(s.MAC)
			sightings <- s
		}, func(n uint64) { counts <- n })
	})
	return sightings, counts
}

// peerMAC is that of v1 of a pair.
var peerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}

func TestLookoutSeesWhatTheSocketDrops(t *testing.T) {
	onWiresAtOnce(t, func(t *testing.T, w wire, peer *host) {
		open(t, "v0", w.v6, 7) // joins the group
		seen, _ := lookOut(t, w, Accept{VRID: 7}, Accept{VRID: 6, Unicast: true, MinTTL: 254, Peers: []netip.Addr{w.peer}}, Accept{VRID: 5, Version: 3, Signed: true},
			Accept{VRID: 4, Unicast: true, MinTTL: 255, Peers: []netip.Addr{w.self}})
		tests := []struct {
			name    string
			hops    int
			payload []byte
			to      netip.Addr
			passed  bool
			misfit  bool
		}{
			{"ours", 255, advert(0x31, 7), w.group, true, false},
			{"another VRID", 255, advert(0x31, 8), w.group, false, false},
			{"forwarded", 254, advert(0x31, 7), w.group, false, false},
			{"a peer's", 254, advert(0x31, 6), w.self, true, false},
			{"a peer's from too far away", 253, advert(0x31, 6), w.self, false, true},
			{"a peer's to the group", 255, advert(0x31, 6), w.group, false, true},
			{"nobody's who is a peer", 255, advert(0x31, 4), w.self, false, true},
			{"a version that does not exist", 255, advert(0x41, 7), w.group, false, true},
			{"version 2", 255, advert(0x21, 7), w.group, !w.v6, w.v6},
			{"version 2 where 3 is wanted", 255, advert(0x21, 5), w.group, false, true},
			{"not signed where that is wanted", 255, advert(0x31, 5), w.group, false, true},
			{"signed where that is wanted", 255, long(0x31, 5, 0, trailer), w.group, true, false},
			{"another type", 255, advert(0x32, 7), w.group, false, true},
			{"VRID 0", 255, advert(0x31, 0), w.group, false, false},
			{"short", 255, advert(0x31, 7)[:3], w.group, false, true},
			{"longer than it says", 255, append(advert(0x31, 7), 0), w.group, false, true},
		}
		peer.do(func() {
			c := open(t, "v1", w.v6, 7)
			for _, tt := range tests {
				if err := setHops(c, tt.hops); err != nil {
					t.Fatal(err)
				}
				send(t, c, tt.payload, w.peer, tt.to)
				s := receive(t, seen)
				if s.Passed != tt.passed || s.Misfit != tt.misfit || s.TTL != tt.hops || s.Source != w.peer || s.Destination != tt.to || !bytes.Equal(s.Payload, tt.payload) {
					t.Errorf("%s: saw %+v", tt.name, s)
				}
				if !bytes.Equal(s.MAC, peerMAC) {
					t.Errorf("%s: from %s, want %s", tt.name, s.MAC, peerMAC)
				}
			}
		})
	})
}

// What this host sends is not seen, nor what is no VRRP.
func TestLookoutSeesOthersOnly(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		self := open(t, "v0", w.v6, 7)
		seen, _ := lookOut(t, w, Accept{VRID: 7}, Accept{VRID: 6, Unicast: true})
		send(t, self, advert(0x31, 7), w.self, w.group)
		peer.do(func() {
			conn := must(net.Dial("udp", net.JoinHostPort(map[bool]string{false: "10.9.0.1", true: "2001:db8::1"}[w.v6], "9")))
			defer conn.Close()
			must(conn.Write([]byte("discard")))
			send(t, open(t, "v1", w.v6, 7), advert(0x31, 9), w.peer, w.group)
		})
		if s := receive(t, seen); s.Source != w.peer || s.Payload[1] != 9 {
			t.Errorf("saw %+v", s)
		}
	})
}

// A flood costs a glance for each rest; what is not looked at is counted, and afterwards all is seen again.
func TestLookoutRests(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		const flood = 20_000
		open(t, "v0", w.v6, 7)
		seen, missed := lookOut(t, w, Accept{VRID: 7}, Accept{VRID: 6, Unicast: true})
		peer.do(func() {
			c := open(t, "v1", w.v6, 7)
			begin := time.Now()
			for range flood {
				send(t, c, advert(0x41, 7), w.peer, w.group)
			}
			most := glance * (2 + int(time.Since(begin)/lookoutRest))
			if n := len(seen); n == 0 || n > most {
				t.Errorf("looked at %d of %d packets within %s, want at most %d", n, flood, time.Since(begin), most)
			}
			total := uint64(0)
			eventually(t, "what was not looked at is counted", func() bool {
				for len(missed) > 0 {
					total += <-missed
				}
				return uint64(len(seen))+total == flood
			})
			send(t, c, advert(0x31, 9), w.peer, w.group)
			eventually(t, "the next one is seen", func() bool {
				for len(seen) > 0 {
					if s := <-seen; s.Payload[1] == 9 {
						return true
					}
				}
				return false
			})
		})
	})
}

// Of many virtual routers the adverts that the socket has anyway are a sample; all that it drops is seen.
func TestLookoutSamplesWhatTheSocketHas(t *testing.T) {
	onWiresAtOnce(t, func(t *testing.T, w wire, peer *host) {
		open(t, "v0", w.v6, 7)
		var accepts []Accept
		for vrid := range 254 {
			accepts = append(accepts, Accept{VRID: uint8(vrid + 1)})
		}
		seen, _ := lookOut(t, w, accepts...)
		peer.do(func() {
			c := open(t, "v1", w.v6, 7)
			ours, others := 0, 0
			for round := range 20 {
				for k := range 100 {
					send(t, c, advert(0x31, uint8(k+1)), w.peer, w.group)
				}
				send(t, c, advert(0x31, 255), w.peer, w.group)
				for others <= round {
					if s := receive(t, seen); s.Passed {
						ours++
					} else {
						others++
					}
				}
			}
			// 126 of 2,000 are expected; a machine that draws fewer than 40 or more than 300 draws no random numbers.
			if ours < 40 || ours > 300 {
				t.Errorf("saw %d of 2000 adverts for our VRIDs", ours)
			}
		})
	})
}

// A network card gives up no frames to VRRP's group unless somebody wants them.
func TestLookoutWantsTheGroup(t *testing.T) {
	onWires(t, func(t *testing.T, w wire, peer *host) {
		group := map[bool]string{false: "01005e000012", true: "333300000012"}[w.v6]
		wanted := func() bool {
			return strings.Contains(string(must(os.ReadFile("/proc/thread-self/net/dev_mcast"))), group)
		}
		l := must(OpenLookout("v0", w.v6))
		if !wanted() {
			t.Error("not received")
		}
		l.Close()
		if wanted() {
			t.Error("received, although nobody wants them any more")
		}
	})
}

func TestLookoutGoesWithItsInterface(t *testing.T) {
	self, _ := pair(t)
	l := must(OpenLookout("v0", false))
	defer l.Close()
	done := make(chan error, 1)
	go func() { done <- l.Run(t.Context(), func(Sighting) {}, func(uint64) {}) }()
	self.run("ip link set v0 down")
	if err := receive(t, done); err == nil {
		t.Error("no error, although the interface went down")
	}
	if _, err := OpenLookout("nosuch", true); err == nil {
		t.Error("opened on an interface that does not exist")
	}
}

// TestLookoutFilter runs the program as far as it runs outside the kernel.
func TestLookoutFilter(t *testing.T) {
	seven, many := []Accept{{VRID: 7}}, make([]Accept, 255)
	for i := range many {
		many[i] = Accept{VRID: uint8(i + 1), Unicast: i%2 == 1}
	}
	fragment := header4(255, 112, advert(0x31, 9)...)
	fragment[6] = 0x20
	tests := []struct {
		name   string
		kind   uint32
		accept []Accept
		packet []byte
		want   bool
	}{
		{"our VRID", unix.PACKET_MULTICAST, seven, header4(255, 112, advert(0x31, 7)...), true},
		{"the first of all", unix.PACKET_MULTICAST, many, header4(255, 112, advert(0x31, 1)...), true},
		{"the last of all", unix.PACKET_MULTICAST, many, header4(255, 112, advert(0x31, 255)...), true},
		{"VRID 0", unix.PACKET_MULTICAST, many, header4(255, 112, advert(0x31, 0)...), true},
		{"to this host", unix.PACKET_HOST, nil, header4(255, 112, advert(0x31, 7)...), true},
		{"forwarded", unix.PACKET_MULTICAST, seven, header4(254, 112, advert(0x31, 7)...), true},
		{"short", unix.PACKET_MULTICAST, seven, header4(255, 112, 0x31), true},
		{"to another host", unix.PACKET_OTHERHOST, nil, header4(255, 112, advert(0x31, 7)...), false},
		{"from this host", unix.PACKET_OUTGOING, nil, header4(255, 112, advert(0x31, 7)...), false},
		{"another protocol", unix.PACKET_MULTICAST, nil, header4(255, 17, advert(0x31, 7)...), false},
		{"a fragment", unix.PACKET_MULTICAST, nil, fragment, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := passes(t, tame(lookoutFilter(false, tt.accept, true), tt.kind, 0), tt.packet); got != tt.want {
				t.Errorf("passed: %v, want %v", got, tt.want)
			}
		})
	}
	if n := len(must(bpf.Assemble(lookoutFilter(true, many, true)))); n > 4096 {
		t.Errorf("%d instructions, the kernel takes 4096", n)
	}
}

// TestLookoutFilterOfManyUnicastRouters: however many there are, whoever is refused is seen at once; of their peers there is a sample.
func TestLookoutFilterOfManyUnicastRouters(t *testing.T) {
	all := every(Accept{Unicast: true, MinTTL: 255, Peers: ips("10.9.0.2", "10.9.0.3")})
	toGroup := from4(255, "10.9.0.3")
	copy(toGroup[16:], netip.MustParseAddr("224.0.0.18").AsSlice())
	for _, tt := range []struct {
		name   string
		packet []byte
		want   [2]bool // whatever number is drawn, with and without senders
	}{
		{"a stranger", from4(255, "10.9.0.77"), [2]bool{true, false}},
		{"a peer behind a router", from4(254, "10.9.0.3"), [2]bool{true, true}},
		{"a peer that multicasts", toGroup, [2]bool{true, true}},
		{"a peer", from4(255, "10.9.0.3"), [2]bool{false, false}},
	} {
		for k, senders := range []bool{true, false} {
			for random, want := range map[uint32]bool{0: true, math.MaxUint32: tt.want[k]} {
				program := tame(lookoutFilter(false, all, senders), unix.PACKET_HOST, random)
				if got := passes(t, program, tt.packet); got != want {
					t.Errorf("%s, senders %t, of the number %d: passed %t, want %t", tt.name, senders, random, got, want)
				}
			}
		}
	}
}

// tame replaces what only the kernel can load: the packet's type, and a random number.
func tame(program []bpf.Instruction, kind, random uint32) []bpf.Instruction {
	for k, in := range program {
		switch in {
		case bpf.LoadExtension{Num: bpf.ExtType}:
			program[k] = bpf.LoadConstant{Dst: bpf.RegA, Val: kind}
		case bpf.LoadExtension{Num: bpf.ExtRand}:
			program[k] = bpf.LoadConstant{Dst: bpf.RegA, Val: random}
		}
	}
	return program
}

// FuzzSighting: whatever the link carries is read within its bounds, and told apart as the socket's filter does.
func FuzzSighting(f *testing.F) {
	f.Add(header4(255, 112, advert(0x31, 7)...), false)
	f.Add(header4(254, 112, advert(0x21, 7)...), false)
	f.Add(header4(255, 112, long(0x31, 255, 1, 32)...), false)
	f.Add(header4(255, 112, long(0x31, 255, 1, 4)...), false)
	broadcast := header4(255, 112, advert(0x31, 7)...)
	broadcast[16] = 0xff // is no multicast
	f.Add(broadcast, false)
	f.Add([]byte{0x4f, 0, 0xff, 0xff}, false)
	f.Add(header6Bytes(255, advert(0x31, 7)...), true)
	f.Add(header6Bytes(64), true)
	f.Add([]byte{0x60, 0, 0, 0, 0xff, 0xff, 112}, true)
	for _, source := range []string{"10.9.0.2", "10.9.0.66"} {
		for _, ttl := range []byte{254, 253} {
			b := from4(ttl, source)
			b[21] = 6
			f.Add(b, false)
			toTheGroup := slices.Clone(b)
			copy(toTheGroup[16:], []byte{224, 0, 0, 18})
			f.Add(toTheGroup, false)
			longer := append(slices.Clone(b), 0)
			longer[3]++
			f.Add(longer, false)
		}
	}
	accepts := []Accept{{VRID: 7}, {VRID: 255, Version: 3, Signed: true}, unicast(6, 254, "10.9.0.3", "10.9.0.2")}
	accepts[2].Version = 3
	look := func(v6, senders bool) *Lookout {
		l := &Lookout{v6: v6}
		l.routers.Store(&routers{[256]*Accept{7: &accepts[0], 255: &accepts[1], 6: &accepts[2]}, senders})
		return l
	}
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		from := &unix.SockaddrLinklayer{Halen: 6}
		s, ok := look(v6, true).sighting(b, from)
		if !ok {
			return
		}
		if s.Source.Is4() == v6 || s.Destination.Is4() == v6 || len(s.Payload) > len(b)-20 {
			t.Fatalf("%x is read as %+v", b, s)
		}
		if v6 || b[9] != protocolVRRP {
			return // the socket's filter for IPv6 looks before the packet
		}
		for _, senders := range []bool{true, false} {
			s, _ := look(v6, senders).sighting(b, from)
			if want := passes(t, vrrpFilter(false, accepts, senders), b[:int(b[2])<<8|int(b[3])]); s.Passed != want {
				t.Errorf("%x: passed %t, and the socket's filter (senders: %t) says %t", b, s.Passed, senders, want)
			}
		}
	})
}

// header6Bytes is an IPv6 header before payload.
func header6Bytes(hops byte, payload ...byte) []byte {
	h := []byte{0x6c, 0, 0, 0, 0, byte(len(payload)), protocolVRRP, hops}
	h = append(append(h, netip.MustParseAddr("fe80::1").AsSlice()...), netip.MustParseAddr("ff02::12").AsSlice()...)
	return append(h, payload...)
}

// BenchmarkLookoutBystander is what a lookout costs a packet that is not VRRP: UDP over the pair, with and without one.
func BenchmarkLookoutBystander(b *testing.B) {
	for _, lookouts := range []int{0, 1} {
		b.Run(map[int]string{0: "without", 1: "with"}[lookouts], func(b *testing.B) {
			_, peer := pair(b)
			for range lookouts {
				l := must(OpenLookout("v0", false))
				defer l.Close()
			}
			peer.do(func() {
				frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, header4(64, 17, make([]byte, 26)...)...)
				conn := must(packet.Listen(must(net.InterfaceByName("v1")), packet.Raw, 0, nil))
				defer conn.Close()
				to := &packet.Addr{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
				for b.Loop() {
					must(conn.WriteTo(frame, to))
				}
			})
		})
	}
}
