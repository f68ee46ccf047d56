package linux

import (
	"bytes"
	"context"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
)

// TestFramesOfOtherInterfaces tells that a lookout and a witness take no frame for one of their interface that is of a VLAN or a
// macvlan on it: those have virtual routers and addresses of their own, and may have the same ones.
func TestFramesOfOtherInterfaces(t *testing.T) {
	self, peer := pair(t)
	device := []byte{2, 0, 0, 0, 0, 0xaa}
	self.run("ip link add m0 link v0 address 02:00:00:00:00:aa type macvlan mode bridge", "ip link set m0 up")
	if exec.Command("ip", "link", "add", "link", "v0", "name", "v0.10", "type", "vlan", "id", "10").Run() == nil {
		self.run("ip link set v0.10 up")
	} else {
		t.Log("this kernel has no VLANs: their frames have a tag that nobody here has")
	}
	tagged := func(f []byte) []byte { return slices.Concat(f[:12], []byte{0x81, 0, 0, 10}, f[12:]) }
	toDevice := func(f []byte) []byte { return slices.Concat(device, f[6:]) }

	seen := [2]<-chan Sighting{}
	for k, w := range wires {
		seen[k], _ = lookOut(t, w, Accept{VRID: 7})
	}
	witness := must(OpenWitness("v0"))
	t.Cleanup(func() { witness.Close() })
	claimed := ips("10.9.0.100", "fe80::100")
	witness.SetAddresses(claimed)
	announced := make(chan Announcement, 100)
	start(t, func(ctx context.Context) error { return witness.Run(ctx, func(a Announcement) { announced <- a }) })

	peer.do(func() {
		a := openAnnouncer(t, "v1")
		emit := func(frames ...[]byte) {
			for _, f := range frames {
				if err := a.send(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, payload := range [][]byte{header4(255, 112, advert(0x31, 7)...), header6Bytes(255, advert(0x31, 7)...)} {
			f := vrrpFrame(payload)
			emit(tagged(f), toDevice(f))
			f[len(f)-len(advert(0x31, 7))+1] = 9
			emit(f)
		}
		for _, ip := range claimed {
			for _, f := range must(announcements(testMAC, ip, false)) {
				emit(tagged(f), toDevice(f))
			}
			for _, f := range must(announcements(peerMAC, ip, false)) {
				emit(f)
			}
		}
	})
	for k, w := range wires {
		if s := receive(t, seen[k]); s.Payload[1] != 9 {
			t.Errorf("%s: the lookout saw %+v, which is not of v0", w.name, s)
		}
	}
	for left := slices.Clone(claimed); len(left) > 0; {
		s := receive(t, announced)
		if !bytes.Equal(s.MAC, peerMAC) {
			t.Errorf("the witness saw %s announce %s, which is not of v0", s.MAC, s.Address)
		}
		left = slices.DeleteFunc(left, func(ip netip.Addr) bool { return ip == s.Address })
	}
}

// vrrpFrame is a packet in an Ethernet frame to VRRP's group.
func vrrpFrame(payload []byte) []byte {
	if payload[0]>>4 == 6 {
		return slices.Concat(group6.mac, peerMAC, []byte{0x86, 0xdd}, payload)
	}
	return slices.Concat(group4.mac, peerMAC, []byte{8, 0}, payload)
}
