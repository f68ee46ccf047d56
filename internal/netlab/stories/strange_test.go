package stories

import (
	"encoding/hex"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/ipv4"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// strange are packets of IP protocol 112 that must move nothing; the VRIDs and addresses are the pair's. Each has the instance that
// counts it and the reason; what cannot be an advert for any instance is dropped in the kernel, and only looked at now and then.
var strange = []struct {
	name, payload string
	ttl           int
	instance      string
	reason        string
	dropped       bool
}{
	{"nothing", "", 255, "none", "short", true},
	{"three bytes", "3101ff", 255, "v4", "short", true},
	{"from beyond a router", "3101ff01006400000a000064", 254, "v4", "ttl", true},
	{"a version of the future", "4101ff01006400000a000064", 255, "v4", "version", true},
	{"a type that is no advert", "3201ff01006400000a000064", 255, "v4", "type", true},
	{"an unknown VRID", "31c8ff01006400000a000064", 255, "none", "unknown-vrid", true},
	{"a wrong checksum", "3101ff010064ffff0a000064", 255, "v4", "checksum", false},
	{"cut short", "3101ff0200640000" + "0a000064", 255, "v4", "short", true},
	{"too long", "3101ff0100640000" + "0a0000640a000064", 255, "v4", "excess", true},
	{"no addresses", "3101ff0000640000", 255, "v4", "no-addresses", false},
	{"no interval", "3101ff01000000000a000064", 255, "v4", "interval-zero", false},
	{"VRRPv2 for a VRRPv3 router", "2101ff01000100000a0000640000000000000000", 255, "v4", "version-mismatch", true},
	{"another interval over VRRPv2", "2104ff01000200000a0000660000000000000000", 255, "v2", "interval-mismatch", false},
	{"a password over VRRPv2", "2104ff01010100000a0000660000000000000000", 255, "v2", "auth-type", false},
	{"a release by one who is not master", "31010001006400000a000064", 255, "v4", accepted, false},
	{"a release over VRRPv2 by one who is not master", "21040001000100000a0000660000000000000000", 255, "v2", accepted, false},
}

// accepted stands for adverts that are in order, and change nothing.
const accepted = "accepted"

// strangePackets floods the pair with everything but adverts of a peer. Both daemons count every single packet by its reason, and
// of those that the kernel drops as many as they look at.
func strangePackets(t *testing.T, c *pairtest.Cluster) {
	const rounds = 300
	before := map[*pairtest.Server]map[string]uint64{}
	for _, h := range c.Hosts {
		before[h] = counted(t, h)
	}
	from := pairtest.Step(t, func() error { return flood(c, rounds) })
	c.Rests(t, from, time.Now().Add(2*time.Second)) // what is left of a flood is counted within a second
	want, glimpsed := map[string]uint64{}, map[string]uint64{}
	for _, s := range strange {
		if s.dropped {
			glimpsed[s.instance+" "+s.reason] += rounds
		} else {
			want[s.instance+" "+s.reason] += rounds
		}
	}
	for _, h := range c.Hosts {
		got := map[string]uint64{}
		for reason, count := range counted(t, h) {
			if count -= before[h][reason]; count > 0 {
				got[reason] = count
			}
		}
		if h.Name() == "lb2" {
			// The master answers each release with an advert, those that a busy machine reads within a millisecond with one, and
			// advertises every second besides.
			for _, name := range []string{"v4", "v2"} {
				key := name + " " + accepted
				regular := uint64(time.Since(from)/time.Second) + 1
				if more := got[key] - want[key]; more < rounds/2 || more > rounds+regular {
					t.Errorf("lb2 accepted %d adverts more of %s than the releases, want %d answers, or not many less, and up to %d others", more, name, rounds, regular)
				}
				got[key] = want[key]
			}
		}
		for key, most := range glimpsed {
			if more := got[key] - want[key]; more == 0 || more > most {
				t.Errorf("%s counted %d packets that the kernel drops as %s, want 1 to %d", h.Name(), more, key, most)
			}
			if got[key] = want[key]; want[key] == 0 {
				delete(got, key)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what %s counted for each reason (-want +got)\n%s", h.Name(), diff)
		}
		if lines := h.Logged("are refused:"); lines > 4*len(strange) {
			t.Errorf("%d lines in the log of %s for a flood", lines, h.Name())
		}
	}
}

// counted is what a daemon counted of the packets for the instances v4 and v2, and of those for none.
func counted(t *testing.T, h *pairtest.Server) map[string]uint64 {
	t.Helper()
	r, err := h.Report(t)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, l := range r.Node.Links {
		for reason, count := range l.Stray {
			counts["none "+reason] += count.Count
		}
	}
	for _, i := range r.Node.Instances {
		if i.Name != "v4" && i.Name != "v2" {
			continue
		}
		for _, router := range i.Routers {
			counts[i.Name+" "+accepted] += router.Counters.Accepted
			for reason, count := range router.Refused {
				counts[i.Name+" "+reason] += count.Count
			}
		}
	}
	return counts
}

// flood sends every strange packet so many times, with correct checksums where they are left 0, from the user's host.
func flood(c *pairtest.Cluster, rounds int) error {
	return c.User.Do(func() error {
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
		const pause = 2 * time.Millisecond // the receiver's buffer holds far more than a round
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
			time.Sleep(pause)
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
