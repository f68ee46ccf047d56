package immunity

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

const (
	vrid     = 71
	interval = 200 * time.Millisecond
)

var (
	vip      = netip.MustParseAddr("10.0.0.100")
	lb1      = netip.MustParseAddr("10.0.0.11")
	lb2      = netip.MustParseAddr("10.0.0.12")
	stranger = netip.MustParseAddr("10.0.0.66")
	// groupMAC is where adverts go.
	groupMAC = net.HardwareAddr{0x01, 0, 0x5e, 0, 0, 0x12}
	// strangerMAC is none of the lab's hosts.
	strangerMAC = net.HardwareAddr{0x02, 0, 0, 0, 0xbb, 0x66}
)

// packetOf is one VRRP message on its way.
type packetOf struct {
	to      net.HardwareAddr
	source  netip.Addr
	ttl     byte
	payload []byte
}

// good is an advert that would move everything if it were a peer's.
func good(v vrrp.Version, source netip.Addr, priority uint8, every time.Duration) packetOf {
	a := vrrp.Advert{Version: v, VRID: vrid, Priority: priority, Interval: every, Addresses: []netip.Addr{vip}}
	payload, err := a.Append(nil, source, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
	if err != nil {
		panic(err)
	}
	return packetOf{groupMAC, source, vrrp.HopLimit, payload}
}

// sealed puts a right checksum (RFC 9568's) into the message.
func (p packetOf) sealed() packetOf {
	p.payload[6], p.payload[7] = 0, 0
	binary.BigEndian.PutUint16(p.payload[6:], sum(p.payload))
	return p
}

// with changes the message.
func (p packetOf) with(change func([]byte) []byte) packetOf {
	p.payload = change(slices.Clone(p.payload))
	return p
}

// frame is the packet as it goes on the wire.
func (p packetOf) frame() []byte {
	f := slices.Concat([]byte(p.to), strangerMAC, []byte{8, 0})
	header := []byte{0x45, 0xc0, 0, byte(20 + len(p.payload)), 0, 1, 0, 0, p.ttl, vrrp.ProtocolNumber, 0, 0}
	header = slices.Concat(header, p.source.AsSlice(), vrrp.GroupIPv4.AsSlice())
	binary.BigEndian.PutUint16(header[10:], sum(header))
	return slices.Concat(f, header, p.payload)
}

// sum is RFC 1071's checksum over an even number of bytes, and a last one.
func sum(b []byte) uint16 {
	s := uint32(0)
	for k, c := range b {
		if k%2 == 0 {
			s += uint32(c) << 8
		} else {
			s += uint32(c)
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// kind is one sort of packets that no peer sends.
type kind struct {
	name   string
	reason string // one that lb1 counts them under
	// packets are sent in turn; master is the MAC address of the master, whose priority is 150.
	packets func(master net.HardwareAddr) []packetOf
}

// fromAnybody makes packets that claim to be from a stranger, and from each host of the pair.
func fromAnybody(make func(source netip.Addr) packetOf) func(net.HardwareAddr) []packetOf {
	return func(net.HardwareAddr) []packetOf {
		return []packetOf{make(stranger), make(lb1), make(lb2)}
	}
}

// best is an advert that beats every other.
func best(source netip.Addr) packetOf { return good(vrrp.V3, source, 255, interval) }

// release is one by which a master gives up.
func release(source netip.Addr) packetOf { return good(vrrp.V3, source, 0, interval) }

// carp is what ucarp sends, with our VRID for its VHID.
const carp = "2147c8070001c2fa83d93de5845697ba50e669d248f5a38440996c63a4554ef377868923"

// kinds are all that can be told from a peer's advert without authentication.
var kinds = []kind{
	{"bad checksums", "checksum", fromAnybody(func(source netip.Addr) packetOf {
		return best(source).with(func(b []byte) []byte { b[7]++; return b })
	})},
	{"bad checksums of releases", "checksum", fromAnybody(func(source netip.Addr) packetOf {
		return release(source).with(func(b []byte) []byte { b[7]++; return b })
	})},
	{"TTL 254", "ttl", fromAnybody(func(source netip.Addr) packetOf {
		p := best(source)
		p.ttl = 254
		return p
	})},
	{"a version that does not exist", "version", fromAnybody(func(source netip.Addr) packetOf {
		return best(source).with(func(b []byte) []byte { b[0] = 0x41; return b }).sealed()
	})},
	{"the other version", "version-mismatch", fromAnybody(func(source netip.Addr) packetOf {
		return good(vrrp.V2, source, 255, time.Second)
	})},
	{"truncated", "short", func(net.HardwareAddr) []packetOf {
		cut := func(n int) packetOf { return best(stranger).with(func(b []byte) []byte { return b[:n] }) }
		return []packetOf{cut(7), cut(10).sealed(), cut(3), cut(8).sealed()}
	}},
	{"addresses that are not there", "short", func(net.HardwareAddr) []packetOf {
		count := func(n byte) packetOf {
			return best(stranger).with(func(b []byte) []byte { b[3] = n; return b }).sealed()
		}
		return []packetOf{count(255), count(2), count(0)}
	}},
	{"reflected", "same-address", func(master net.HardwareAddr) []packetOf {
		back := good(vrrp.V3, lb1, 150, interval)
		back.to = master
		return []packetOf{back}
	}},
	{"CARP", "carp", fromAnybody(func(source netip.Addr) packetOf {
		b, err := hex.DecodeString(carp)
		if err != nil {
			panic(err)
		}
		return packetOf{groupMAC, source, vrrp.HopLimit, b}
	})},
}
