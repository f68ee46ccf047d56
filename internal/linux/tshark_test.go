package linux

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/sharktest"
)

// askedARP and askedND are the fields that tshark is asked for: what it read, then whether the packet is malformed and what else it
// has to say. The status of a checksum is 1 where it is good.
var (
	askedARP = []string{
		"eth.src", "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.hw_mac", "arp.dst.proto_ipv4", "arp.isgratuitous", "arp.isprobe",
		"_ws.malformed", "_ws.expert.message",
	}
	askedND = []string{
		"eth.src", "eth.dst", "ipv6.src", "ipv6.dst", "ipv6.hlim", "icmpv6.type", "icmpv6.checksum.status", "icmpv6.nd.na.flag", "icmpv6.nd.na.target_address",
		"icmpv6.nd.ns.target_address", "icmpv6.opt.linkaddr", "_ws.malformed", "_ws.expert.message",
	}
)

// TestTsharkAgreesOnAnnouncements lets another implementation judge every frame of ARP and neighbour discovery that we make, from an
// interface's own address and from virtual ones.
func TestTsharkAgreesOnAnnouncements(t *testing.T) {
	own := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x01}
	var frames4, frames6 [][]byte
	arp := func(mac net.HardwareAddr, text string) {
		ip := netip.MustParseAddr(text)
		frames4 = append(append(frames4, must(announcements(mac, ip, false))...), must(probe(mac, ip, netip.Addr{})))
	}
	nd := func(mac net.HardwareAddr, text string) {
		ip := netip.MustParseAddr(text)
		frames6 = append(append(frames6, must(announcements(mac, ip, false))...), must(announcements(mac, ip, true))...)
		frames6 = append(frames6, must(probe(mac, ip, netip.MustParseAddr("fe80::1"))), must(probe(mac, ip, netip.Addr{})))
	}
	// An address at two MAC addresses would be a duplicate to tshark.
	arp(own, "192.0.2.1")
	arp(router4.MAC(), "192.0.2.2")
	nd(own, "2001:db8::1")
	nd(router6.MAC(), "2001:db8::2")
	agree(t, frames4, askedARP, []string{
		"02:00:00:00:00:01|1|02:00:00:00:00:01|192.0.2.1|ff:ff:ff:ff:ff:ff|192.0.2.1|1|||",
		"02:00:00:00:00:01|2|02:00:00:00:00:01|192.0.2.1|02:00:00:00:00:01|192.0.2.1|1|||",
		"02:00:00:00:00:01|1|02:00:00:00:00:01|0.0.0.0|00:00:00:00:00:00|192.0.2.1||1||",
		"00:00:5e:00:01:47|1|00:00:5e:00:01:47|192.0.2.2|ff:ff:ff:ff:ff:ff|192.0.2.2|1|||",
		"00:00:5e:00:01:47|2|00:00:5e:00:01:47|192.0.2.2|00:00:5e:00:01:47|192.0.2.2|1|||",
		"00:00:5e:00:01:47|1|00:00:5e:00:01:47|0.0.0.0|00:00:00:00:00:00|192.0.2.2||1||",
	})
	agree(t, frames6, askedND, []string{
		"02:00:00:00:00:01|33:33:00:00:00:01|2001:db8::1|ff02::1|255|136|1|0x20000000|2001:db8::1||02:00:00:00:00:01||",
		"02:00:00:00:00:01|33:33:00:00:00:01|2001:db8::1|ff02::1|255|136|1|0xa0000000|2001:db8::1||02:00:00:00:00:01||",
		"02:00:00:00:00:01|33:33:ff:00:00:01|fe80::1|ff02::1:ff00:1|255|135|1|||2001:db8::1|02:00:00:00:00:01||",
		"02:00:00:00:00:01|33:33:ff:00:00:01|::|ff02::1:ff00:1|255|135|1|||2001:db8::1|||",
		"00:00:5e:00:02:47|33:33:00:00:00:01|2001:db8::2|ff02::1|255|136|1|0x20000000|2001:db8::2||00:00:5e:00:02:47||",
		"00:00:5e:00:02:47|33:33:00:00:00:01|2001:db8::2|ff02::1|255|136|1|0xa0000000|2001:db8::2||00:00:5e:00:02:47||",
		"00:00:5e:00:02:47|33:33:ff:00:00:02|fe80::1|ff02::1:ff00:2|255|135|1|||2001:db8::2|00:00:5e:00:02:47||",
		"00:00:5e:00:02:47|33:33:ff:00:00:02|::|ff02::1:ff00:2|255|135|1|||2001:db8::2|||",
	})
}

// agree compares what tshark says of frames.
func agree(t *testing.T, frames [][]byte, asked, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, sharktest.Judge(t, frames, nil, asked)); diff != "" {
		t.Errorf("tshark says (-want +got):\n%s", diff)
	}
}
