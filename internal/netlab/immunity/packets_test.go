package immunity

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/vrrp"
)

// interval is that of the pair's instances, but for those whose adverts are swift.
const interval, swiftInterval = 200 * time.Millisecond, 20 * time.Millisecond

// strangerMAC is none of the lab's hosts.
var strangerMAC = net.HardwareAddr{0x02, 0, 0, 0, 0xbb, 0x66}

// groupMACs are where adverts to the groups go.
var groupMACs = map[vrrp.Family]net.HardwareAddr{vrrp.IPv4: {0x01, 0, 0x5e, 0, 0, 0x12}, vrrp.IPv6: {0x33, 0x33, 0, 0, 0, 0x12}}

// end is where a packet comes from or goes to.
type end struct {
	name string
	ip   netip.Addr
	mac  net.HardwareAddr
}

// group is all routers of a family.
func group(f vrrp.Family) end { return end{"the group", f.Group(), groupMACs[f]} }

// forged is one VRRP message on its way from somebody.
type forged struct {
	to      end
	source  netip.Addr
	ttl     byte
	payload []byte
}

// advert is one of a virtual router with one address, which the sender has authenticated if there are keys.
func advert(v vrrp.Version, vrid, priority uint8, source netip.Addr, to end, auth *vrrp.Auth) forged {
	return proclaim(vrrp.Advert{Version: v, VRID: vrid, Priority: priority, Addresses: []netip.Addr{vip(vrrp.FamilyOf(source), vrid)}}, source, to, auth)
}

// longest is how many addresses an advert can have, in one frame.
func longest(f vrrp.Family) int {
	if f == vrrp.IPv6 {
		return 89
	}
	return 255
}

// proclaim makes an advert a packet.
func proclaim(a vrrp.Advert, source netip.Addr, to end, auth *vrrp.Auth) forged {
	a.Interval = interval
	if a.Version == vrrp.V2 {
		a.Interval = time.Second
	}
	var trailer []byte
	if auth != nil {
		var signer vrrp.Authenticator
		var err error
		if trailer, err = signer.Sign(auth, time.Now(), &a, source); err != nil {
			panic(err)
		}
	}
	payload, err := a.AppendSealed(nil, source, to.ip, vrrp.ChecksumPseudoHeader, trailer)
	if err != nil {
		panic(err)
	}
	return forged{to, source, vrrp.HopLimit, payload}
}

// vip is the address of a virtual router of the pair.
func vip(f vrrp.Family, vrid uint8) netip.Addr {
	if f == vrrp.IPv6 {
		return netip.AddrFrom16([16]byte{0xfd, 14: 1, 15: vrid})
	}
	return netip.AddrFrom4([4]byte{10, 0, 1, vrid})
}

// with changes the message.
func (p forged) with(change func([]byte) []byte) forged {
	p.payload = change(slices.Clone(p.payload))
	return p
}

// set changes one byte of the message.
func (p forged) set(at int, b byte) forged {
	return p.with(func(m []byte) []byte { m[at] = b; return m })
}

// cut ends the message early.
func (p forged) cut(n int) forged { return p.with(func(m []byte) []byte { return m[:n] }) }

// damaged gives the message a wrong checksum.
func (p forged) damaged() forged { return p.set(7, p.payload[7]+1) }

// summed puts a right checksum into the message: over IPv4 RFC 9568's, without a pseudo-header.
func (p forged) summed() forged {
	p = p.set(6, 0).set(7, 0)
	var pseudo []byte
	if p.source.Is6() {
		pseudo = slices.Concat(p.source.AsSlice(), p.to.ip.AsSlice(), []byte{0, 0, byte(len(p.payload) >> 8), byte(len(p.payload)), 0, 0, 0, vrrp.ProtocolNumber})
	}
	binary.BigEndian.PutUint16(p.payload[6:], sum(append(pseudo, p.payload...)))
	return p
}

// hops gives the packet a TTL or hop limit.
func (p forged) hops(n byte) forged {
	p.ttl = n
	return p
}

// frame is the packet as it goes on the wire.
func (p forged) frame() []byte {
	f := slices.Concat([]byte(p.to.mac), strangerMAC)
	if p.source.Is6() {
		f = append(f, 0x86, 0xdd, 0x6c, 0, 0, 0, byte(len(p.payload)>>8), byte(len(p.payload)), vrrp.ProtocolNumber, p.ttl)
		return slices.Concat(f, p.source.AsSlice(), p.to.ip.AsSlice(), p.payload)
	}
	total := 20 + len(p.payload)
	header := []byte{0x45, 0xc0, byte(total >> 8), byte(total), 0, 1, 0, 0, p.ttl, vrrp.ProtocolNumber, 0, 0}
	header = slices.Concat(header, p.source.AsSlice(), p.to.ip.AsSlice())
	binary.BigEndian.PutUint16(header[10:], sum(header))
	return slices.Concat(f, []byte{8, 0}, header, p.payload)
}

// sum is RFC 1071's checksum over bytes, of which the last may have no partner.
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

// catch waits for an advert of a virtual router as a host's interface receives it: the whole frame.
func catch(t *testing.T, at *netlab.Host, sender net.HardwareAddr, v6 bool, vrid uint8) []byte {
	t.Helper()
	etherType, protocol, message := unix.ETH_P_IP, 14+9, 14+20
	if v6 {
		etherType, protocol, message = unix.ETH_P_IPV6, 14+6, 14+40
	}
	var conn *packet.Conn
	err := at.Do(func() error {
		link, err := net.InterfaceByName(netlab.Interface)
		if err != nil {
			return err
		}
		conn, err = packet.Listen(link, packet.Raw, etherType, nil)
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
		if n > message+1 && bytes.Equal(b[6:12], sender) && b[protocol] == vrrp.ProtocolNumber && b[message+1] == vrid {
			return b[:n]
		}
	}
}
