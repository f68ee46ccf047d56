package vrrp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/sharktest"
)

// asked are the fields that tshark is asked for: the checksum's status (1 is good, 0 is bad), what it read, whether the packet is
// malformed, and whatever else it has to say.
var asked = []string{
	"vrrp.checksum.status", "eth.src", "vrrp.version", "vrrp.virt_rtr_id", "vrrp.prio", "vrrp.auth_string", "_ws.malformed", "_ws.expert.message",
}

// tsharkForms is which checksum tshark wants of VRRPv3 over IPv4. It knows one at a time: that with the pseudo-header, unless it is
// told otherwise.
var tsharkForms = map[ChecksumForm]string{
	ChecksumPseudoHeader: "vrrp.v3_checksum_as_in_v2:FALSE",
	ChecksumMessage:      "vrrp.v3_checksum_as_in_v2:TRUE",
}

// The MAC addresses of an interface, and of the virtual router 10 (RFC 9568 section 7.3).
var (
	ownMAC      = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}
	virtualMAC4 = net.HardwareAddr{0, 0, 0x5e, 0, 0x01, 10}
	virtualMAC6 = net.HardwareAddr{0, 0, 0x5e, 0, 0x02, 10}
)

// TestTsharkAgrees lets another implementation judge every kind of advert that we send: well formed, checksum good, and only in
// its own form where there are two.
func TestTsharkAgrees(t *testing.T) {
	pass, err := NewPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	old := func(p uint8) Advert {
		return Advert{Version: V2, VRID: 10, Priority: p, Interval: time.Second, Addresses: addresses4}
	}
	over := func(source netip.Addr, vrid, p uint8, interval time.Duration) Advert {
		list := addresses4
		if source.Is6() {
			list = addresses6
		}
		return Advert{Version: V3, VRID: vrid, Priority: p, Interval: interval, Addresses: list}
	}
	peer6 := netip.MustParseAddr("fe80::c9")
	const pseudo, rfc = ChecksumPseudoHeader, ChecksumMessage
	tests := []struct {
		name       string
		mac        net.HardwareAddr
		source, to netip.Addr
		form       ChecksumForm
		auth       *Auth
		advert     Advert
		want       string // by tshark that wants this form
		other      string // the checksum's status by tshark that wants the other one
	}{
		{"v2", ownMAC, source4, GroupIPv4, pseudo, nil, old(200), "1|02:00:00:00:00:01|2|10|200|||", "1"},
		{"v2, priority 0", ownMAC, source4, GroupIPv4, pseudo, nil, old(0), "1|02:00:00:00:00:01|2|10|0|||", "1"},
		{"v2 with a password", ownMAC, source4, GroupIPv4, pseudo, &Auth{Password: pass}, old(200), "1|02:00:00:00:00:01|2|10|200|secret||", "1"},
		{"v2 to a peer", ownMAC, source4, peer4, pseudo, nil, old(200), "1|02:00:00:00:00:01|2|10|200|||", "1"},
		{"v2 from the virtual MAC", virtualMAC4, source4, GroupIPv4, pseudo, nil, old(200), "1|00:00:5e:00:01:0a|2|10|200|||", "1"},
		{"v3 over IPv4", ownMAC, source4, GroupIPv4, pseudo, nil, over(source4, 10, 1, time.Second), "1|02:00:00:00:00:01|3|10|1|||", "0"},
		{"v3 over IPv4, a handover's offer", ownMAC, source4, GroupIPv4, pseudo, nil, over(source4, 255, 254, 10*time.Millisecond), "1|02:00:00:00:00:01|3|255|254|||", "0"},
		{"v3 over IPv4 to a peer", ownMAC, source4, peer4, pseudo, nil, over(source4, 10, 100, time.Second), "1|02:00:00:00:00:01|3|10|100|||", "0"},
		{"v3 over IPv4 from the virtual MAC", virtualMAC4, source4, GroupIPv4, pseudo, nil, over(source4, 10, 100, time.Second), "1|00:00:5e:00:01:0a|3|10|100|||", "0"},
		{"v3 over IPv4, the RFC's checksum", ownMAC, source4, GroupIPv4, rfc, nil, over(source4, 10, 100, time.Second), "1|02:00:00:00:00:01|3|10|100|||", "0"},
		{"v3 over IPv4 to a peer, the RFC's checksum", ownMAC, source4, peer4, rfc, nil, over(source4, 10, 0, time.Second), "1|02:00:00:00:00:01|3|10|0|||", "0"},
		{"v3 over IPv6", ownMAC, source6, GroupIPv6, pseudo, nil, over(source6, 10, 100, MaxIntervalV3), "1|02:00:00:00:00:01|3|10|100|||", "1"},
		{"v3 over IPv6, priority 0", ownMAC, source6, GroupIPv6, pseudo, nil, over(source6, 10, 0, time.Second), "1|02:00:00:00:00:01|3|10|0|||", "1"},
		{"v3 over IPv6 to a peer", ownMAC, source6, peer6, pseudo, nil, over(source6, 10, 100, time.Second), "1|02:00:00:00:00:01|3|10|100|||", "1"},
		{"v3 over IPv6 from the virtual MAC", virtualMAC6, source6, GroupIPv6, pseudo, nil, over(source6, 10, 100, time.Second), "1|00:00:5e:00:02:0a|3|10|100|||", "1"},
		{"v3 over IPv6, signed", ownMAC, source6, GroupIPv6, pseudo, keyed(Enforce), over(source6, 10, 100, time.Second), "1|02:00:00:00:00:01|3|10|100|||", "1"},
		{"v3 over IPv6 to a peer, signed", ownMAC, source6, peer6, pseudo, keyed(Enforce), over(source6, 10, 100, time.Second), "1|02:00:00:00:00:01|3|10|100|||", "1"},
	}
	var frames [][]byte
	for _, tt := range tests {
		frames = append(frames, frame(tt.mac, tt.source, tt.to, sent(t, tt.advert, tt.auth, tt.source, tt.to, tt.form)))
	}
	said := map[ChecksumForm][]string{}
	for form, preference := range tsharkForms {
		said[form] = sharktest.Judge(t, frames, []string{preference}, asked)
	}
	for i, tt := range tests {
		if got := said[tt.form][i]; got != tt.want {
			t.Errorf("%s: tshark says %q, want %q", tt.name, got, tt.want)
		}
		if got, _, _ := strings.Cut(said[1-tt.form][i], "|"); got != tt.other {
			t.Errorf("%s: tshark that wants the other form says %q of the checksum, want %q", tt.name, got, tt.other)
		}
	}
}

// TestTsharkOnSignedIPv4 tells what tshark says of a signed advert over IPv4: that its checksum is bad, and nothing else. tshark does
// not know the trailer, and sums it; keepalived does not (its own vector is judged beside ours), and without the trailer the
// checksum is good.
func TestTsharkOnSignedIPv4(t *testing.T) {
	v, old := sealedVectors()[0], sealedVectors()[2]
	tests := []struct {
		name       string
		form       ChecksumForm
		source, to netip.Addr
		message    []byte
		version    Version
		should     string // the checksum that tshark computes
	}{
		{"keepalived's vector", v.form, v.source, v.destination, unhex(t, v.hex), V3, "0x0546"},
		{"ours", ChecksumPseudoHeader, v.source, GroupIPv4, sent(t, v.advert, keyed(Enforce), v.source, GroupIPv4, ChecksumPseudoHeader), V3, "0xfa5c"},
		{"ours to a peer", ChecksumPseudoHeader, v.source, peer4, sent(t, v.advert, keyed(Enforce), v.source, peer4, ChecksumPseudoHeader), V3, "0x1773"},
		{"ours, the RFC's checksum", ChecksumMessage, v.source, GroupIPv4, sent(t, v.advert, keyed(Enforce), v.source, GroupIPv4, ChecksumMessage), V3, "0x0546"},
		{"VRRPv2", old.form, old.source, old.destination, sent(t, old.advert, keyed(Enforce), old.source, old.destination, old.form), V2, "0xcde8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bare := tt.message[:len(tt.message)-TrailerLen]
			frames := [][]byte{frame(ownMAC, tt.source, tt.to, tt.message), frame(ownMAC, tt.source, tt.to, bare)}
			said := sharktest.Judge(t, frames, []string{tsharkForms[tt.form]}, asked)
			if want := fmt.Sprintf("0|02:00:00:00:00:01|%d|51|200|||Bad checksum [should be %s]", tt.version, tt.should); said[0] != want {
				t.Errorf("signed: tshark says %q, want %q", said[0], want)
			}
			if want := fmt.Sprintf("1|02:00:00:00:00:01|%d|51|200|||", tt.version); said[1] != want {
				t.Errorf("without its trailer: tshark says %q, want %q", said[1], want)
			}
		})
	}
}

// sent is an advert as it leaves, proved where there is something to prove it with.
func sent(t *testing.T, advert Advert, auth *Auth, source, to netip.Addr, form ChecksumForm) []byte {
	t.Helper()
	var a Authenticator
	trailer, err := a.Sign(auth, clock, &advert, source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := advert.AppendSealed(nil, source, to, form, trailer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame puts the headers of Ethernet and IP in front of a message. The MAC address that it goes to does not matter to tshark, and
// neither does IPv4's header checksum, which stays 0.
func frame(mac net.HardwareAddr, source, destination netip.Addr, payload []byte) []byte {
	b := append(make([]byte, 6), mac...)
	if source.Is4() {
		b = append(b, 0x08, 0x00, 0x45, 0xc0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
		b = append(b, 0, 0, 0, 0, HopLimit, ProtocolNumber, 0, 0)
	} else {
		b = append(b, 0x86, 0xdd, 0x6c, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
		b = append(b, ProtocolNumber, HopLimit)
	}
	b = append(b, source.AsSlice()...)
	b = append(b, destination.AsSlice()...)
	return append(b, payload...)
}
