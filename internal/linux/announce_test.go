package linux

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var testMAC = net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x01, 0x0a}

// The frames of a gratuitous ARP request and an unsolicited advertisement were computed by another implementation.
func TestAnnouncementFrames(t *testing.T) {
	request := unhex("ffffffffffff00005e00010a0806000108000604000100005e00010ac0000201ffffffffffffc0000201")
	reply := unhex("ffffffffffff00005e00010a0806000108000604000200005e00010ac000020100005e00010ac0000201")
	got, err := announcements(testMAC, netip.MustParseAddr("192.0.2.1"), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{request, reply}, trim(got, len(request))); diff != "" {
		t.Errorf("ARP frames (-want +got):\n%s", diff)
	}

	na := unhex("880000002000000020010db8000000000000000000000001020100005e00010a")
	for _, router := range []bool{false, true} {
		got, err = announcements(testMAC, netip.MustParseAddr("2001:db8::1"), router)
		if err != nil || len(got) != 1 {
			t.Fatal(len(got), err)
		}
		f := got[0]
		header := append(append(unhex("33330000000100005e00010a86dd6000000000203aff"), netip.MustParseAddr("2001:db8::1").AsSlice()...), allNodes.AsSlice()...)
		if diff := cmp.Diff(header, f[:54]); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		message := bytes.Clone(f[54:])
		if !checksumMatches(message, netip.MustParseAddr("2001:db8::1"), allNodes) {
			t.Error("wrong checksum")
		}
		message[2], message[3] = 0, 0
		want := bytes.Clone(na)
		if router {
			want[4] = 0xa0
		}
		if diff := cmp.Diff(want, message); diff != "" {
			t.Errorf("router %v: message (-want +got):\n%s", router, diff)
		}
	}
}

func unhex(s string) []byte { return must(hex.DecodeString(s)) }

func trim(frames [][]byte, to int) [][]byte {
	var out [][]byte
	for _, f := range frames {
		out = append(out, f[:to])
	}
	return out
}

// watchPeer opens a witness on the peer and hands on what it sees.
func watchPeer(t *testing.T, peer *host, list ...string) <-chan Announcement {
	t.Helper()
	var w *Witness
	peer.do(func() { w = must(OpenWitness("v1")) })
	t.Cleanup(func() { w.Close() })
	w.SetAddresses(ips(list...))
	seen := make(chan Announcement, 100)
	start(t, func(ctx context.Context) error { return w.Run(ctx, func(a Announcement) { seen <- a }) })
	return seen
}

func openAnnouncer(t *testing.T, ifName string) *Announcer {
	t.Helper()
	a, err := OpenAnnouncer(ifName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func TestAnnounceIsSeenByAWitness(t *testing.T) {
	_, peer := pair(t)
	seen := watchPeer(t, peer, "10.9.0.100", "2001:db8::100")
	a := openAnnouncer(t, "v0")
	// Addresses that the witness was not told of, and that nobody has, are announced and not reported.
	if failed := a.Announce(ips("10.9.0.99", "2001:db8::99", "10.9.0.100", "2001:db8::100")); len(failed) > 0 {
		t.Fatal(failed)
	}
	count := map[string]int{}
	for range 3 {
		s := receive(t, seen)
		count[s.Address.String()+" "+s.MAC.String()]++
	}
	want := map[string]int{"10.9.0.100 02:00:00:00:00:01": 2, "2001:db8::100 02:00:00:00:00:01": 1}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
}

// An announcement moves the entry that a client has already.
func TestAnnounceMovesNeighbourEntries(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	peer.do(func() {
		peer.run("ip neigh replace 10.9.0.100 lladdr 02:00:00:00:00:99 dev v1 nud stale",
			"ip neigh replace 2001:db8::100 lladdr 02:00:00:00:00:99 dev v1 nud stale")
	})
	a := openAnnouncer(t, "v0")
	// Linux ignores an announcement within its locktime of the entry's last change.
	eventually(t, "the client has learned", func() bool {
		if failed := a.Announce(ips("10.9.0.100", "2001:db8::100")); len(failed) > 0 {
			t.Fatal(failed)
		}
		var out string
		peer.do(func() { out = peer.run("ip neigh show dev v1") })
		return strings.Contains(out, "10.9.0.100 lladdr 02:00:00:00:00:01") && strings.Contains(out, "2001:db8::100 lladdr 02:00:00:00:00:01")
	})
}

func TestAnnounceSetsTheRouterFlagOnlyWhereTheHostForwards(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	for _, forwards := range []string{"0", "1"} {
		self.sysctl("ipv6/conf/v0/forwarding", forwards)
		peer.do(func() { peer.run("ip neigh replace 2001:db8::100 lladdr 02:00:00:00:00:99 dev v1 nud stale") })
		a := openAnnouncer(t, "v0")
		eventually(t, "the client has learned", func() bool {
			a.Announce(ips("2001:db8::100"))
			var out string
			peer.do(func() { out = peer.run("ip neigh show dev v1 2001:db8::100") })
			return strings.Contains(out, "lladdr 02:00:00:00:00:01") && strings.Contains(out, "router") == (forwards == "1")
		})
	}
}

func TestProbeIsAnsweredOnlyByTheHolder(t *testing.T) {
	self, peer := pair(t)
	withIPv6(self, peer)
	peer.do(func() {
		eventually(t, "the peer answers for its addresses", func() bool { return !strings.Contains(peer.run("ip addr"), "tentative") })
	})
	all := []string{"10.9.0.2", "2001:db8::2", "10.9.0.100", "2001:db8::100"}
	w := must(OpenWitness("v0"))
	t.Cleanup(func() { w.Close() })
	w.SetAddresses(ips(all...))
	seen := make(chan Announcement, 100)
	start(t, func(ctx context.Context) error { return w.Run(ctx, func(a Announcement) { seen <- a }) })
	a := openAnnouncer(t, "v0")
	for _, ip := range []string{"10.9.0.100", "10.9.0.2", "2001:db8::100", "2001:db8::2"} {
		if err := a.Probe(netip.MustParseAddr(ip), netip.MustParseAddr("fe80::1")); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(ip, "2") {
			continue // nobody has it: the next probe's answer is the first
		}
		if s := answerTo(t, a, ip, seen); s.Address.String() != ip || s.MAC.String() != "02:00:00:00:00:02" {
			t.Errorf("probe for %s: %s has %s", ip, s.MAC, s.Address)
		}
	}
	var neighbours string
	peer.do(func() { neighbours = peer.run("ip neigh show dev v1") })
	for line := range strings.Lines(neighbours) {
		// That the asking host has its own link-local address is no claim.
		if strings.Contains(line, "02:00:00:00:00:01") && !strings.HasPrefix(line, "fe80::1 ") {
			t.Errorf("a probe claimed %s", line)
		}
	}
}

// answerTo takes what is seen next. A probe is one frame, and a host that has just got its address may miss it: it is
// sent again.
func answerTo(t *testing.T, a *Announcer, ip string, seen <-chan Announcement) Announcement {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case s := <-seen:
			return s
		case <-time.After(200 * time.Millisecond):
			t.Logf("no answer to a probe for %s yet", ip)
			if err := a.Probe(netip.MustParseAddr(ip), netip.MustParseAddr("fe80::1")); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatalf("nobody answered for %s", ip)
	panic("unreachable")
}

func TestWitnessIgnoresItsOwnHost(t *testing.T) {
	_, peer := pair(t)
	var seen <-chan Announcement
	var own *Announcer
	seen = watchPeer(t, peer, "10.9.0.100")
	peer.do(func() { own = openAnnouncer(t, "v1") })
	own.Announce(ips("10.9.0.100"))
	// A frame of ours that a switch or a bridge sends back.
	other := openAnnouncer(t, "v0")
	other.mac = own.mac
	other.Announce(ips("10.9.0.100"))
	openAnnouncer(t, "v0").Announce(ips("10.9.0.100"))
	if s := receive(t, seen); s.MAC.String() != "02:00:00:00:00:01" {
		t.Errorf("reported %s", s.MAC)
	}
}

func TestAnnouncerAndWitnessErrors(t *testing.T) {
	self, _ := pair(t)
	a := openAnnouncer(t, "v0")
	if err := a.Probe(netip.MustParseAddr("::ffff:10.9.0.1"), netip.Addr{}); err == nil {
		t.Error("a probe for an IPv4-mapped address: no error")
	}
	failed := a.Announce([]netip.Addr{{}, netip.MustParseAddr("10.9.0.100")})
	if len(failed) != 1 || failed[0].IP.IsValid() {
		t.Errorf("an invalid address: %v", failed)
	}
	self.run("ip link set v0 down")
	failed = a.Announce(ips("10.9.0.100"))
	if len(failed) != 1 || !errors.Is(failed[0], unix.ENETDOWN) || !strings.Contains(failed[0].Error(), `announce 10.9.0.100 on "v0": network is down (the interface is down)`) {
		t.Errorf("on an interface that is down: %v", failed)
	}
	// Loopback has the address 00:00:00:00:00:00 and carries no ARP, but it is told apart only by its flag.
	for name, want := range map[string]string{
		"nosuch": `interface "nosuch" does not exist`,
		"lo":     `interface "lo" has no Ethernet address`,
	} {
		if _, err := OpenAnnouncer(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("announcer on %s: %v", name, err)
		}
		if _, err := OpenWitness(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("witness on %s: %v", name, err)
		}
	}
}
