package stories

import (
	"encoding/hex"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// strange are packets of IP protocol 112 that must move nothing; the VRIDs and addresses are the pair's.
var strange = []struct {
	name, payload string
	ttl           int
}{
	{"nothing", "", 255},
	{"three bytes", "3101ff", 255},
	{"a wrong checksum", "3101ff010064ffff0a000064", 255},
	{"cut short", "3101ff0200640000" + "0a000064", 255},
	{"too long", "3101ff0100640000" + "0a0000640a000064", 255},
	{"from beyond a router", "3101ff01006400000a000064", 254},
	{"a version of the future", "4101ff01006400000a000064", 255},
	{"VRRPv2 for a VRRPv3 router", "2101ff01000100000a0000640000000000000000", 255},
	{"a type that is no advert", "3201ff01006400000a000064", 255},
	{"an unknown VRID", "31c8ff01006400000a000064", 255},
	{"a release by one who is not master", "31010001006400000a000064", 255},
	{"a release over VRRPv2 by one who is not master", "21040001000100000a0000660000000000000000", 255},
}

// strangePackets floods the pair with everything but adverts of a peer.
func strangePackets(t *testing.T, c *cluster) {
	before := c.refused(t)
	const rounds = 300
	from := begin(t, func() error { return c.flood(rounds) })
	c.rests(t, from, time.Since(from)+time.Second)
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		now := c.refused(t)
		return now > before, fmt.Sprintf("the daemon on lb2 counts %d refused packets as before", now)
	})
	for _, h := range c.hosts {
		if lines := h.logged("are refused:"); lines > 4*len(strange) {
			t.Errorf("%d lines in the log of %s for a flood", lines, h.Name())
		}
	}
}

// flood sends every strange packet so many times, with correct checksums where they are left 0, from the user's host.
func (c *cluster) flood(rounds int) error {
	return c.user.Do(func() error {
		conn, err := net.ListenPacket("ip4:112", "10.0.0.50")
		if err != nil {
			return err
		}
		defer conn.Close()
		link, err := net.InterfaceByName(netlab.Interface)
		if err != nil {
			return err
		}
		p := ipv4.NewPacketConn(conn)
		if err := p.SetMulticastInterface(link); err != nil {
			return err
		}
		for range rounds {
			for _, s := range strange {
				payload, err := hex.DecodeString(s.payload)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				if err := p.SetMulticastTTL(s.ttl); err != nil {
					return err
				}
				if _, err := p.WriteTo(sealed(payload), nil, &net.IPAddr{IP: net.IPv4(224, 0, 0, 18)}); err != nil {
					return fmt.Errorf("send %s: %w", s.name, err)
				}
			}
		}
		return nil
	})
}

// sealed fills in the checksum of a message whose own is 0, in the form without a pseudo-header.
func sealed(message []byte) []byte {
	if len(message) < 8 || message[6] != 0 || message[7] != 0 {
		return message
	}
	sum := uint32(0)
	for i := 0; i+1 < len(message); i += 2 {
		sum += uint32(message[i])<<8 | uint32(message[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum = ^(sum>>16 + sum)
	message[6], message[7] = byte(sum>>8), byte(sum)
	return message
}

// refused counts what the daemon on lb2 refused for the instance v4.
func (c *cluster) refused(t *testing.T) uint64 {
	t.Helper()
	i, err := c.host("lb2").instance(t, "v4")
	if err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for _, r := range i.Routers {
		for _, count := range r.Refused {
			total += count.Count
		}
	}
	return total
}
