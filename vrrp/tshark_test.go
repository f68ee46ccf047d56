package vrrp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTsharkAgrees lets another implementation judge every kind of advert that we send: well formed, checksum good.
func TestTsharkAgrees(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("tshark is missing, and CI is set; .ci/setup test installs it")
		}
		t.Skip("needs tshark")
	}
	v4, v6 := netip.MustParseAddr("192.0.2.251"), netip.MustParseAddr("fe80::c8")
	ips4 := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	ips6 := []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::1")}
	tests := []struct {
		name   string
		source netip.Addr
		advert Advert
		want   string // version, VRID, priority, checksum status (1 is good), malformed
	}{
		{"v2", v4, Advert{Version: V2, VRID: 10, Priority: 200, Interval: time.Second, Addresses: ips4}, "2,10,200,1,"},
		{"v2, priority 0", v4, Advert{Version: V2, VRID: 10, Interval: time.Second, Addresses: ips4}, "2,10,0,1,"},
		{"v3 over IPv4", v4, Advert{Version: V3, VRID: 10, Priority: 1, Interval: time.Second, Addresses: ips4}, "3,10,1,1,"},
		{"v3 over IPv4, a handover's offer", v4, Advert{Version: V3, VRID: 255, Priority: 254, Interval: 10 * time.Millisecond, Addresses: ips4[:1]}, "3,255,254,1,"},
		{"v3 over IPv6", v6, Advert{Version: V3, VRID: 10, Priority: 100, Interval: 40950 * time.Millisecond, Addresses: ips6}, "3,10,100,1,"},
		{"v3 over IPv6, priority 0", v6, Advert{Version: V3, VRID: 10, Interval: time.Second, Addresses: ips6[:1]}, "3,10,0,1,"},
	}
	var capture bytes.Buffer
	// A pcap file whose link type is raw IP (101).
	for _, word := range []uint32{0xa1b2c3d4, 2 | 4<<16 /* version 2.4 */, 0, 0, 65535, 101} {
		capture.Write(binary.LittleEndian.AppendUint32(nil, word))
	}
	for _, tt := range tests {
		group := FamilyOf(tt.source).Group()
		payload, err := tt.advert.Append(nil, tt.source, group, ChecksumPseudoHeader)
		if err != nil {
			t.Fatal(err)
		}
		packet := ipPacket(tt.source, group, payload)
		for _, word := range []uint32{0, 0, uint32(len(packet)), uint32(len(packet))} {
			capture.Write(binary.LittleEndian.AppendUint32(nil, word))
		}
		capture.Write(packet)
	}
	file := filepath.Join(t.TempDir(), "adverts.pcap")
	if err := os.WriteFile(file, capture.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tshark, "-r", file, "-o", "vrrp.v3_checksum_as_in_v2:FALSE", "-T", "fields", "-E", "separator=,",
		"-e", "vrrp.version", "-e", "vrrp.virt_rtr_id", "-e", "vrrp.prio", "-e", "vrrp.checksum.status", "-e", "_ws.malformed")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(tests) {
		t.Fatalf("tshark saw %d packets of %d:\n%s", len(lines), len(tests), out)
	}
	for i, tt := range tests {
		if lines[i] != tt.want {
			t.Errorf("%s: tshark says %q, want %q", tt.name, lines[i], tt.want)
		}
	}
}

// ipPacket puts an IP header in front of a message. IPv4's header checksum stays 0, which tshark does not look at.
func ipPacket(source, destination netip.Addr, payload []byte) []byte {
	var b []byte
	if source.Is4() {
		b = append(b, 0x45, 0xc0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
		b = append(b, 0, 0, 0, 0, HopLimit, ProtocolNumber, 0, 0)
	} else {
		b = append(b, 0x6c, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
		b = append(b, ProtocolNumber, HopLimit)
	}
	b = append(b, source.AsSlice()...)
	b = append(b, destination.AsSlice()...)
	return append(b, payload...)
}
