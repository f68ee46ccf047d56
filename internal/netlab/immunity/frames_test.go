package immunity

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
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
	name       string
	at, reason string // the host that is asked, and what it counts them as
	// frames are sent in turn.
	frames func(t *testing.T, c *pairtest.Cluster, evil *netlab.Host) [][]byte
}

// only makes the frames of some packets.
func only(packets ...packetOf) func(*testing.T, *pairtest.Cluster, *netlab.Host) [][]byte {
	return func(*testing.T, *pairtest.Cluster, *netlab.Host) (frames [][]byte) {
		for _, p := range packets {
			frames = append(frames, p.frame())
		}
		return frames
	}
}

// fromAnybody makes frames that claim to be from a stranger, and from each host of the pair.
func fromAnybody(make func(source netip.Addr) packetOf) func(*testing.T, *pairtest.Cluster, *netlab.Host) [][]byte {
	return only(make(stranger), make(lb1), make(lb2))
}

// best is an advert that beats every other.
func best(source netip.Addr) packetOf { return good(vrrp.V3, source, 255, interval) }

// release is one by which a master gives up.
func release(source netip.Addr) packetOf { return good(vrrp.V3, source, 0, interval) }

// cut is an advert that ends early.
func cut(n int) packetOf { return best(stranger).with(func(b []byte) []byte { return b[:n] }) }

// counting is an advert with one address that claims to have others.
func counting(n byte) packetOf {
	return best(stranger).with(func(b []byte) []byte { b[3] = n; return b }).sealed()
}

// carp is what ucarp sends, with our VRID for its VHID.
const carp = "2147c8070001c2fa83d93de5845697ba50e669d248f5a38440996c63a4554ef377868923"

// kinds are all that can be told from a peer's advert without authentication.
var kinds = []kind{
	{"bad checksums", "lb1", "checksum", fromAnybody(func(source netip.Addr) packetOf {
		return best(source).with(func(b []byte) []byte { b[7]++; return b })
	})},
	{"bad checksums of releases", "lb1", "checksum", fromAnybody(func(source netip.Addr) packetOf {
		return release(source).with(func(b []byte) []byte { b[7]++; return b })
	})},
	{"TTL 254", "lb1", "ttl", fromAnybody(func(source netip.Addr) packetOf {
		p := best(source)
		p.ttl = 254
		return p
	})},
	{"a version that does not exist", "lb1", "version", fromAnybody(func(source netip.Addr) packetOf {
		return best(source).with(func(b []byte) []byte { b[0] = 0x41; return b }).sealed()
	})},
	{"the other version", "lb1", "version-mismatch", fromAnybody(func(source netip.Addr) packetOf {
		return good(vrrp.V2, source, 255, time.Second)
	})},
	{"truncated", "lb1", "short", only(cut(7), cut(10).sealed(), cut(3), cut(8).sealed())},
	{"addresses that are not there", "lb1", "short", only(counting(255), counting(2), counting(0))},
	{"reflected", "lb1", "same-address", func(_ *testing.T, c *pairtest.Cluster, _ *netlab.Host) [][]byte {
		back := good(vrrp.V3, lb1, 150, interval)
		back.to = c.Get("lb1").MAC()
		return [][]byte{back.frame()}
	}},
	{"CARP", "lb1", "carp", fromAnybody(func(source netip.Addr) packetOf {
		b, err := hex.DecodeString(carp)
		if err != nil {
			panic(err)
		}
		return packetOf{groupMAC, source, vrrp.HopLimit, b}
	})},
}

// key is the pair's.
const key = "a key that both hosts of the pair have"

// signed is an advert with the trailer of some key.
func signed(source netip.Addr, text string) packetOf {
	auth := &vrrp.Auth{Active: 1, Window: 5 * time.Second, Keys: []vrrp.Key{{ID: 1, Secret: vrrp.NewSecret([]byte(text))}}}
	a := vrrp.Advert{Version: vrrp.V3, VRID: vrid, Priority: 255, Interval: interval, Addresses: []netip.Addr{vip}}
	var signer vrrp.Authenticator
	trailer, err := signer.Sign(auth, time.Now(), &a, source)
	if err != nil {
		panic(err)
	}
	payload, err := a.AppendSealed(nil, source, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader, trailer)
	if err != nil {
		panic(err)
	}
	return packetOf{groupMAC, source, vrrp.HopLimit, payload}
}

// signedKinds are what is told from a peer's advert by its key.
var signedKinds = []kind{
	{"not signed", "lb1", "auth-missing", fromAnybody(best)},
	{"releases that are not signed", "lb2", "auth-missing", fromAnybody(release)},
	{"the wrong key", "lb1", "auth-mac", func(t *testing.T, c *pairtest.Cluster, evil *netlab.Host) [][]byte {
		return fromAnybody(func(source netip.Addr) packetOf { return signed(source, "a key that neither host of the pair has") })(t, c, evil)
	}},
	{"replayed", "lb2", "auth-replay", func(t *testing.T, c *pairtest.Cluster, evil *netlab.Host) [][]byte {
		frame := catch(t, evil, c.Get("lb1").MAC())
		copy(frame[6:], strangerMAC)
		return [][]byte{frame}
	}},
}

// catch waits for a VRRP frame with a sender's MAC address.
func catch(t *testing.T, at *netlab.Host, sender net.HardwareAddr) []byte {
	t.Helper()
	var conn *packet.Conn
	err := at.Do(func() error {
		link, err := net.InterfaceByName(netlab.Interface)
		if err != nil {
			return err
		}
		conn, err = packet.Listen(link, packet.Raw, 0x0800, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(settleBound)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 2048); ; {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if n > 24 && bytes.Equal(b[6:12], sender) && b[23] == vrrp.ProtocolNumber {
			return b[:n]
		}
	}
}
