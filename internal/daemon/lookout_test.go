package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestReads: a packet that the VRRP socket's filter lets through has its reader, but for what the kernel gives no socket: what comes
// over IPv4 from one of the interface's own addresses.
func TestReads(t *testing.T) {
	first4, second4, second6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fe80::2")
	own := []netip.Addr{first4, second4, second6}
	tests := []struct {
		name   string
		own    []netip.Addr
		from   string
		passed bool
		want   bool
	}{
		{"another host's", own, "10.0.0.9", true, true},
		{"from the first address", own, "10.0.0.1", true, false},
		{"from the second address", own, "10.0.0.2", true, false},
		{"from the second address of IPv6, which the kernel delivers", own, "fe80::2", true, true},
		{"from an address that is no longer ours", own[1:], "10.0.0.1", true, true},
		{"what the filter drops", own, "10.0.0.9", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &base{}
			p.own.Store(&tt.own)
			s := linux.Sighting{Packet: linux.Packet{Source: netip.MustParseAddr(tt.from)}, Passed: tt.passed}
			if got := p.reads(s); got != tt.want {
				t.Errorf("the reader has it: %t, want %t", got, tt.want)
			}
		})
	}
}

// TestSighted: of each advert for a virtual router with a MAC address of its own it is told where it came from, of nothing else.
func TestSighted(t *testing.T) {
	from := netip.MustParseAddr("10.0.0.9")
	advert := func(vrid uint8) []byte {
		a := vrrp.Advert{Version: vrrp.V3, VRID: vrid, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{vip1}}
		payload, err := a.Append(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
		if err != nil {
			t.Fatal(err)
		}
		return payload
	}
	bad, trailer := advert(71), strings.Repeat("t", vrrp.TrailerLen)
	bad[7]++
	v4, v6 := linux.Macvlan{Parent: "eth0", VRID: 71}, linux.Macvlan{Parent: "eth0", VRID: 71, V6: true}
	tests := []struct {
		name    string
		shared  []linux.Macvlan
		payload []byte
		dropped bool
		want    uint8
		trailer string
	}{
		{"of a virtual router with its own MAC", []linux.Macvlan{v6, v4}, advert(71), false, 71, ""},
		{"signed", []linux.Macvlan{v4}, append(advert(71), trailer...), false, 71, trailer},
		{"of another one", []linux.Macvlan{v4}, advert(72), false, 0, ""},
		{"of the other family's", []linux.Macvlan{v6}, advert(71), false, 0, ""},
		{"where all have the interface's", nil, advert(71), false, 0, ""},
		{"no advert", []linux.Macvlan{v4}, bad, false, 0, ""},
		{"what the filter drops", []linux.Macvlan{v4}, nil, true, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &base{}
			b.share(tt.shared)
			s := linux.Sighting{Passed: !tt.dropped, Packet: linux.Packet{Payload: tt.payload, Source: from, Destination: vrrp.GroupIPv4, TTL: vrrp.HopLimit}}
			if got, trailer := b.sighted(s); got != tt.want || trailer != tt.trailer {
				t.Errorf("told of VRID %d, signed %q, want %d and %q", got, trailer, tt.want, tt.trailer)
			}
		})
	}
}

// TestClaims: of what adverts for other virtual routers list the loop hears once in a while for each router and sender, and of so many at
// most, whatever comes. One that is broken, and one that gives up, claims nothing.
func TestClaims(t *testing.T) {
	from, at := netip.MustParseAddr("10.0.0.9"), time.Unix(1000, 0)
	sight := func(priority uint8, spoil bool) linux.Sighting {
		a := vrrp.Advert{Version: vrrp.V3, VRID: 72, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{vip1, vip2}}
		payload, err := a.Append(nil, from, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
		if err != nil {
			t.Fatal(err)
		}
		if spoil {
			payload[7]++
		}
		return linux.Sighting{Packet: linux.Packet{Payload: payload, Source: from, Destination: vrrp.GroupIPv4, TTL: vrrp.HopLimit}}
	}
	want := node.Claimed{Interface: "eth0", VRID: 72, From: from, Interval: time.Second, IPs: []netip.Addr{vip1, vip2}}
	if got, ok := claimed("eth0", sight(100, false)); !ok || cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) != "" {
		t.Errorf("it claims %+v, %t, want %+v", got, ok, want)
	}
	for what, s := range map[string]linux.Sighting{"a broken one": sight(100, true), "one that gives up": sight(0, false)} {
		if got, ok := claimed("eth0", s); ok {
			t.Errorf("%s claims %+v", what, got)
		}
	}

	c := newClaims()
	news := func(after time.Duration) (told int) {
		for vrid := range 3 * maxClaims {
			if c.areNews(at.Add(after), from, uint8(vrid)) {
				told++
			}
		}
		return told
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, maxClaims}, {claimGap - 1, 0}, {claimGap, maxClaims}, {2*claimGap - 1, 0}} {
		if got := news(step.after); got != step.want {
			t.Errorf("after %s the loop is told of %d, want %d", step.after, got, step.want)
		}
	}
}
