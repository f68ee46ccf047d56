package vrrp

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	source4 = netip.MustParseAddr("192.0.2.251")
	peer4   = netip.MustParseAddr("192.0.2.252")
	source6 = netip.MustParseAddr("fe80::c8")

	addresses4 = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	addresses6 = []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::1")}

	compareAddr = cmpopts.EquateComparable(netip.Addr{})
)

// vector is a message that was computed independently of this package.
type vector struct {
	name                string
	advert              Advert
	source, destination netip.Addr
	form                ChecksumForm
	hex                 string
}

func vectors() []vector {
	v2 := func(p uint8) Advert {
		return Advert{Version: V2, VRID: 10, Priority: p, Interval: time.Second, Addresses: addresses4}
	}
	v3 := func(p uint8) Advert {
		return Advert{Version: V3, VRID: 10, Priority: p, Interval: time.Second, Addresses: addresses4}
	}
	v6 := func(p uint8) Advert {
		return Advert{Version: V3, VRID: 10, Priority: p, Interval: time.Second, Addresses: addresses6}
	}
	return []vector{
		{"v2", v2(200), source4, GroupIPv4, ChecksumMessage, "210ac802000192edc0000201c00002020000000000000000"},
		{"v2 priority 0", v2(0), source4, GroupIPv4, ChecksumMessage, "210a000200015aeec0000201c00002020000000000000000"},
		{"v3 IPv4 with the pseudo-header", v3(200), source4, GroupIPv4, ChecksumPseudoHeader, "310ac8020064defbc0000201c0000202"},
		{"v3 IPv4 message only", v3(200), source4, GroupIPv4, ChecksumMessage, "310ac8020064828ac0000201c0000202"},
		{"v3 IPv4 to a unicast peer", v3(200), source4, peer4, ChecksumPseudoHeader, "310ac8020064fc11c0000201c0000202"},
		{"v3 IPv4 priority 0", v3(0), source4, GroupIPv4, ChecksumPseudoHeader, "310a00020064a6fcc0000201c0000202"},
		{"v3 IPv4 priority 0 message only", v3(0), source4, GroupIPv4, ChecksumMessage, "310a000200644a8bc0000201c0000202"},
		{"v3 IPv6", v6(100), source6, GroupIPv6, ChecksumPseudoHeader, "310a640200643f5dfe80000000000000000000000000000120010db8000000000000000000000001"},
		{"v3 IPv6 priority 0", v6(0), source6, GroupIPv6, ChecksumPseudoHeader, "310a00020064a35dfe80000000000000000000000000000120010db8000000000000000000000001"},
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAppendVectors(t *testing.T) {
	for _, tt := range vectors() {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.advert.Append([]byte("before"), tt.source, tt.destination, tt.form)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("before"+tt.hex, string(got[:6])+hex.EncodeToString(got[6:])); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseVectors(t *testing.T) {
	for _, tt := range vectors() {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(unhex(t, tt.hex), tt.source, tt.destination, HopLimit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.advert, got.Advert, compareAddr); diff != "" {
				t.Errorf("advert (-want +got):\n%s", diff)
			}
			if got.Form != tt.form {
				t.Errorf("checksum form %s, want %s", got.Form, tt.form)
			}
		})
	}
}

// TestAppendForcesForm: VRRPv2 has no pseudo-header and IPv6 always one, whatever the configuration wishes.
func TestAppendForcesForm(t *testing.T) {
	for _, tt := range vectors() {
		if tt.advert.Version == V3 && FamilyOf(tt.source) == IPv4 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			other := ChecksumMessage
			if tt.form == ChecksumMessage {
				other = ChecksumPseudoHeader
			}
			got, err := tt.advert.Append(nil, tt.source, tt.destination, other)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.hex, hex.EncodeToString(got)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAppendMappedAddress: an IPv4 address that a socket or a parser gave in its IPv6 form is four bytes on the wire.
func TestAppendMappedAddress(t *testing.T) {
	v := vectors()[2]
	v.advert.Addresses = []netip.Addr{netip.AddrFrom16(addresses4[0].As16()), netip.AddrFrom16(addresses4[1].As16())}
	got, err := v.advert.Append(nil, netip.AddrFrom16(v.source.As16()), v.destination, v.form)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v.hex, hex.EncodeToString(got)); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestAppendRefuses(t *testing.T) {
	good := Advert{Version: V3, VRID: 10, Priority: 100, Interval: time.Second, Addresses: addresses4}
	tests := []struct {
		name   string
		source netip.Addr
		change func(*Advert)
		want   string
	}{
		{"an unknown version", source4, func(a *Advert) { a.Version = 4 }, "marshal advert: version 4 does not exist"},
		{"v2 over IPv6", source6, func(a *Advert) { a.Version = V2 }, "marshal advert: VRRPv2 carries no IPv6 addresses"},
		{"VRID 0", source4, func(a *Advert) { a.VRID = 0 }, "marshal advert: VRID 0 does not exist"},
		{"no addresses", source4, func(a *Advert) { a.Addresses = nil }, "marshal advert: 0 addresses, 1 to 255 fit"},
		{"256 addresses", source4, func(a *Advert) { a.Addresses = make([]netip.Addr, 256) }, "marshal advert: 256 addresses, 1 to 255 fit"},
		{"no interval", source4, func(a *Advert) { a.Interval = 0 }, "marshal advert: interval 0s: VRRPv3 carries steps of 10ms from 10ms to 40.95s"},
		{"13 bits of interval", source4, func(a *Advert) { a.Interval = 40960 * time.Millisecond }, "marshal advert: interval 40.96s: VRRPv3 carries steps of 10ms from 10ms to 40.95s"},
		{"half a centisecond", source4, func(a *Advert) { a.Interval = 15 * time.Millisecond }, "marshal advert: interval 15ms: VRRPv3 carries steps of 10ms from 10ms to 40.95s"},
		{"half a second in v2", source4, func(a *Advert) { a.Version, a.Interval = V2, 1500*time.Millisecond }, "marshal advert: interval 1.5s: VRRPv2 carries whole seconds from 1s to 255s"},
		{"256 s in v2", source4, func(a *Advert) { a.Version, a.Interval = V2, 256*time.Second }, "marshal advert: interval 4m16s: VRRPv2 carries whole seconds from 1s to 255s"},
		{"no address at all", source4, func(a *Advert) { a.Addresses = []netip.Addr{{}} }, "marshal advert: address invalid IP in an advert over IPv4"},
		{"an IPv6 address over IPv4", source4, func(a *Advert) { a.Addresses = addresses6 }, "marshal advert: address fe80::1 in an advert over IPv4"},
		{"an IPv4 address over IPv6", source6, func(*Advert) {}, "marshal advert: address 192.0.2.1 in an advert over IPv6"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := good
			tt.change(&a)
			b, err := a.Append([]byte("before"), tt.source, FamilyOf(tt.source).Group(), ChecksumPseudoHeader)
			if err == nil {
				t.Fatalf("marshalled as %x, want error %q", b, tt.want)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if string(b) != "before" {
				t.Errorf("buffer is %q after the error, want it as it was", b)
			}
		})
	}
}

// seal puts the right checksum into a message, so that a test reaches the check behind it.
func seal(b []byte, source, destination netip.Addr, form ChecksumForm) []byte {
	if len(b) < headerLen {
		return b
	}
	b[6], b[7] = 0, 0
	binary.BigEndian.PutUint16(b[6:], ^checksum(b, source, destination, form))
	return b
}

// carpMessage is what ucarp -v 10 -k 200 -b 1 sent.
const carpMessage = "210ac807 0001 f0fa 83d93de5845697ba 50e669d248f5a384 40996c63a4554ef3 77868923"

func TestParseRefuses(t *testing.T) {
	const ok4, ok2 = "310ac8020064 0000 c0000201c0000202", "210ac8020001 0000 c0000201c0000202 0000000000000000"
	header := Advert{Version: V3, VRID: 10, Priority: 200}
	tests := []struct {
		name   string
		hex    string // the checksum is put in unless broken
		source netip.Addr
		broken bool
		want   *Refusal
		advert Advert // what was read by then
	}{
		{"nothing", "", source4, false, ErrShort, Advert{}},
		{"1 byte", "31", source4, false, ErrShort, Advert{}},
		{"7 bytes", "310ac802006400", source4, false, ErrShort, Advert{VRID: 10}},
		{"CARP, as ucarp sends it", carpMessage, source4, true, ErrCARP, Advert{Version: V2, VRID: 10, Priority: 200}},
		{"CARP over IPv6, as OpenBSD sends it", carpMessage, source6, true, ErrCARP, Advert{Version: V2, VRID: 10, Priority: 200}},
		{"version 1", "110ac8020064 0000 c0000201c0000202", source4, false, ErrVersion, Advert{Version: 1, VRID: 10, Priority: 200}},
		{"version 4", "410ac8020064 0000 c0000201c0000202", source4, false, ErrVersion, Advert{Version: 4, VRID: 10, Priority: 200}},
		{"v2 over IPv6", ok2, source6, false, ErrVersion, Advert{Version: V2, VRID: 10, Priority: 200}},
		{"type 0", "300ac8020064 0000 c0000201c0000202", source4, false, ErrType, header},
		{"type 2", "320ac8020064 0000 c0000201c0000202", source4, false, ErrType, header},
		{"VRID 0", "3100c8020064 0000 c0000201c0000202", source4, false, ErrVRID, Advert{Version: V3, Priority: 200}},
		{"checksum 0", ok4, source4, true, ErrChecksum, header},
		{"one bit flipped", "310ac8020064 defb c0000201c0000203", source4, true, ErrChecksum, header},
		{"cut off on the wire", "310ac8020064 defb c0000201c00002", source4, true, ErrChecksum, header},
		{"v2 with the sum of a pseudo-header", "210ac8020001 ef5e c0000201c0000202 0000000000000000", source4, true, ErrChecksum, Advert{Version: V2, VRID: 10, Priority: 200}},
		{"v6 with the sum of the message alone", "310a64020064 67ce fe80000000000000000000000000000120010db8000000000000000000000001", source6, true, ErrChecksum, Advert{Version: V3, VRID: 10, Priority: 100}},
		{"no addresses", "310ac8000064 0000", source4, false, ErrNoAddresses, with(header, time.Second)},
		{"count 2 and one address", "310ac8020064 0000 c0000201", source4, false, ErrShort, with(header, time.Second)},
		{"count 255 and two addresses", "310ac8ff0064 0000 c0000201c0000202", source4, false, ErrShort, with(header, time.Second)},
		{"IPv4 addresses over IPv6", ok4, source6, false, ErrShort, with(header, time.Second)},
		{"v2 without its authentication data", "210ac8020001 0000 c0000201c0000202", source4, false, ErrShort, Advert{Version: V2, VRID: 10, Priority: 200, Interval: time.Second}},
		{"one byte too many", "310ac8020064 0000 c0000201c0000202 00", source4, false, ErrExcess, with(header, time.Second)},
		{"count 1 and two addresses", "310ac8010064 0000 c0000201c0000202", source4, false, ErrExcess, with(header, time.Second)},
		{"v3 with v2's trailer", "310ac8020064 0000 c0000201c0000202 0000000000000000", source4, false, ErrExcess, with(header, time.Second)},
		{"the authentication header of RFC 2338 in v2", "210ac8020201 0000 c0000201c0000202 7365637265740000", source4, false, ErrAuthType, Advert{Version: V2, VRID: 10, Priority: 200, Interval: time.Second, AuthType: 2}},
		{"interval 0", "310ac8020000 0000 c0000201c0000202", source4, false, ErrInterval, header},
		{"interval 0 in v2", "210ac8020000 0000 c0000201c0000202 0000000000000000", source4, false, ErrInterval, Advert{Version: V2, VRID: 10, Priority: 200}},
		{"interval 0 below a reserved nibble", "310ac802f000 0000 c0000201c0000202", source4, false, ErrInterval, header},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, destination := unhex(t, tt.hex), FamilyOf(tt.source).Group()
			if !tt.broken {
				form := formOf(tt.advert.Version, FamilyOf(tt.source), ChecksumPseudoHeader)
				b = seal(b, tt.source, destination, form)
			}
			got, err := Parse(b, tt.source, destination, HopLimit)
			if err != error(tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(tt.advert, got.Advert, compareAddr); diff != "" {
				t.Errorf("what was read (-want +got):\n%s", diff)
			}
		})
	}
}

func with(a Advert, interval time.Duration) Advert {
	a.Interval = interval
	return a
}

// TestParseIgnores holds what a receiver must not look at.
func TestParseIgnores(t *testing.T) {
	tests := []struct {
		name, hex string
		want      Advert
	}{
		{
			"the reserved nibble before the interval (RFC 9568 section 5.2.6)",
			"310ac802f064 0000 c0000201c0000202",
			Advert{Version: V3, VRID: 10, Priority: 200, Interval: time.Second, Addresses: addresses4},
		},
		{
			"authentication data when the type is 0 (RFC 3768 section 5.3.10)",
			"210ac8020001 0000 c0000201c0000202 7365637265740000",
			Advert{Version: V2, VRID: 10, Priority: 200, Interval: time.Second, Addresses: addresses4},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := seal(unhex(t, tt.hex), source4, GroupIPv4, ChecksumMessage)
			got, err := Parse(b, source4, GroupIPv4, HopLimit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Advert, compareAddr); diff != "" {
				t.Errorf("advert (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRoundTrip: what Append writes, Parse reads, at the limits and between them. Any one flipped bit is noticed.
func TestRoundTrip(t *testing.T) {
	const seed = 9568
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		a, source, destination, form := randomAdvert(r)
		b, err := a.Append(nil, source, destination, form)
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, a, err)
		}
		got, err := Parse(b, source, destination, HopLimit)
		if err != nil {
			t.Fatalf("seed %d: %s as %x: %v", seed, a, b, err)
		}
		if diff := cmp.Diff(a, got.Advert, compareAddr); diff != "" {
			t.Fatalf("seed %d: advert (-want +got):\n%s", seed, diff)
		}
		if want := formOf(a.Version, FamilyOf(source), form); got.Form != want {
			t.Fatalf("seed %d: %s: checksum form %s, want %s", seed, a, got.Form, want)
		}
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		if _, err := Parse(b, source, destination, HopLimit); err == nil {
			t.Fatalf("seed %d: %s with a flipped bit passes: %x", seed, a, b)
		}
	}
}

func randomAdvert(r *rand.Rand) (a Advert, source, destination netip.Addr, form ChecksumForm) {
	a = Advert{Version: V3, VRID: uint8(1 + r.IntN(255)), Priority: uint8(r.IntN(256))}
	a.Interval = time.Duration(1+r.IntN(4095)) * centisecond
	source, destination, form = source4, []netip.Addr{GroupIPv4, peer4}[r.IntN(2)], ChecksumForm(r.IntN(2))
	next := addresses4[0]
	switch r.IntN(3) {
	case 0:
		a.Version, a.Interval = V2, time.Duration(1+r.IntN(255))*time.Second
	case 1:
		source, destination, next = source6, GroupIPv6, addresses6[0]
	}
	count := []int{1, 2, 20, MaxAddresses}[r.IntN(4)]
	for range count {
		a.Addresses = append(a.Addresses, next)
		next = next.Next()
	}
	return a, source, destination, form
}
