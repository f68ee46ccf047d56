package linux

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

func TestParseARP(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	frame := func(op arp.Operation, sender, target netip.Addr) []byte {
		return must(arpFrame(op, testMAC, sender, target, testMAC))
	}
	tests := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"an announcement", frame(arp.OperationRequest, a, a), "192.0.2.1"},
		{"a question from the holder", frame(arp.OperationRequest, a, b), "192.0.2.1"},
		{"an answer of the holder", frame(arp.OperationReply, a, b), "192.0.2.1"},
		{"a probe claims nothing", must(probe(testMAC, a, netip.Addr{})), ""},
		{"a cut frame", frame(arp.OperationReply, a, a)[:30], ""},
		{"an empty frame", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkClaim(t, parseARP, tt.frame, tt.want) })
	}
}

func TestParseAdvertisement(t *testing.T) {
	ip := netip.MustParseAddr("2001:db8::1")
	good := must(announcements(testMAC, ip, false))[0]
	bare := must(ndFrame(&ndp.NeighborAdvertisement{TargetAddress: ip}, testMAC, ip, allNodes))
	change := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	tests := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"an announcement", good, "2001:db8::1"},
		{"without the option", bare, "2001:db8::1"},
		{"padded", append(bytes.Clone(good), 0, 0), "2001:db8::1"},
		{"a solicitation", must(probe(testMAC, ip, netip.MustParseAddr("fe80::1"))), ""},
		{"a solicitation without source", must(probe(testMAC, ip, netip.Addr{})), ""},
		{"hop limit 254", change(ethernetHeader + 7), ""},
		{"another next header", change(ethernetHeader + 6), ""},
		{"a wrong checksum", change(len(good) - 1), ""},
		{"a cut message", good[:len(good)-1], ""},
		{"a cut header", good[:40], ""},
		{"an empty frame", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkClaim(t, parseAdvertisement, tt.frame, tt.want) })
	}
}

func checkClaim(t *testing.T, parse func([]byte) (Announcement, bool), frame []byte, want string) {
	t.Helper()
	a, ok := parse(frame)
	if ok != (want != "") || ok && (a.Address.String() != want || !bytes.Equal(a.MAC, testMAC)) {
		t.Errorf("got %v, %v; want %q from %s", a, ok, want, testMAC)
	}
}

func FuzzParseARP(f *testing.F) {
	f.Add(must(arpFrame(arp.OperationReply, testMAC, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.1"), testMAC)))
	f.Fuzz(func(t *testing.T, b []byte) { checkAnyClaim(t, parseARP, b) })
}

func FuzzParseAdvertisement(f *testing.F) {
	f.Add(must(announcements(testMAC, netip.MustParseAddr("2001:db8::1"), true))[0])
	f.Fuzz(func(t *testing.T, b []byte) { checkAnyClaim(t, parseAdvertisement, b) })
}

// checkAnyClaim holds for every frame: what is accepted is complete and does not share the frame's memory.
func checkAnyClaim(t *testing.T, parse func([]byte) (Announcement, bool), b []byte) {
	a, ok := parse(b)
	if !ok {
		return
	}
	if !a.Address.IsValid() || a.Address.IsUnspecified() && a.Address.Is4() || len(a.MAC) != 6 {
		t.Errorf("accepted %v", a)
	}
	before := a.MAC.String()
	for i := range b {
		b[i]++
	}
	if a.MAC.String() != before {
		t.Error("the MAC address shares the frame's memory")
	}
}
