package daemon

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestRefusals: at an ordinary rate each refusal is told at once; a flood becomes a few events, and nothing is lost count of.
func TestRefusals(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var (
		events []node.Event
		busy   bool
	)
	r := &refusals{
		ifName: "eth0", post: func(ev node.Event) { events = append(events, ev) }, busy: func() bool { return busy },
		sums: map[refusalKey]*node.Refused{},
	}
	refused := func(n byte, err error) node.Refused {
		return node.Refused{Interface: "eth0", VRID: 71, From: netip.AddrFrom4([4]byte{10, 0, 0, n}), Err: err}
	}
	counted := func() (packets uint64) {
		for _, ev := range events {
			switch ev := ev.(type) {
			case node.Refused:
				packets += max(ev.Count, 1)
			case node.Overlooked:
				packets += ev.Packets
			}
		}
		return packets
	}
	expect := func(what string, wantEvents int, wantPackets uint64) {
		t.Helper()
		if len(events) != wantEvents || counted() != wantPackets {
			t.Errorf("%s: %d events for %d packets, want %d for %d", what, len(events), counted(), wantEvents, wantPackets)
		}
		events = nil
	}

	now := start
	for range 10 {
		now = now.Add(50 * time.Millisecond)
		r.add(now, refused(9, vrrp.ErrChecksum))
	}
	expect("an ordinary rate", 10, 10)

	now = now.Add(time.Second)
	for range 5000 {
		r.add(now, refused(9, vrrp.ErrChecksum))
		r.add(now, refused(8, vrrp.ErrShort))
	}
	expect("a flood, at first", maxSingles, maxSingles)
	now = now.Add(refusalWindow)
	r.flush(now)
	want := []node.Event{refused(8, vrrp.ErrShort), refused(9, vrrp.ErrChecksum)}
	for k, ev := range want {
		ev := ev.(node.Refused)
		ev.Count = 5000 - maxSingles/2
		want[k] = ev
	}
	if diff := cmp.Diff(want, events, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(errors.Is)); diff != "" {
		t.Errorf("the sums of a flood (-want +got):\n%s", diff)
	}
	events = nil

	now = now.Add(refusalWindow)
	for n := range 200 {
		r.add(now, refused(byte(n), vrrp.ErrChecksum))
	}
	r.flush(now.Add(refusalWindow))
	expect("forged senders", maxSingles+maxSums+1, 200)

	now, busy = now.Add(time.Second), true
	r.add(now, refused(9, vrrp.ErrChecksum))
	r.flush(now.Add(time.Second))
	expect("a busy loop", 0, 0)
	busy = false
	r.flush(now.Add(2 * time.Second))
	expect("afterwards", 1, 1)
	r.flush(now.Add(3 * time.Second))
	expect("nothing new", 0, 0)
}

// TestDropped: what the VRRP socket's filter drops is refused for what the filter looked at.
func TestDropped(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fe80::9")
	advert := func(first, vrid byte) []byte { return []byte{first, vrid, 100, 1, 0, 100, 0, 0, 192, 0, 2, 10} }
	carp := append([]byte{0x21, 71, 0, 7, 0, 1, 0, 0}, make([]byte, 28)...)
	tests := []struct {
		name    string
		from    netip.Addr
		hops    int
		payload []byte
		vrid    uint8
		want    *vrrp.Refusal
		text    string // if it knows the packet
	}{
		{"another VRID", v4, 255, advert(0x31, 9), 9, vrrp.ErrUnknownVRID, ""},
		{"forwarded", v4, 254, advert(0x31, 71), 71, vrrp.ErrHopLimit, "its TTL or hop limit is 254, not 255: it was forwarded by a router, or forged; VRRP works on one link only"},
		{"forwarded over IPv6", v6, 1, advert(0x31, 71), 71, vrrp.ErrHopLimit, "its TTL or hop limit is 1, not 255: it was forwarded by a router, or forged; VRRP works on one link only"},
		{"version 4", v4, 255, advert(0x41, 71), 71, vrrp.ErrVersion, "it is of VRRP version 4, which does not exist over IPv4"},
		{"version 2 over IPv6", v6, 255, advert(0x21, 71), 71, vrrp.ErrVersion, "it is of VRRP version 2, which does not exist over IPv6"},
		{"type 2", v4, 255, advert(0x32, 71), 71, vrrp.ErrType, ""},
		{"VRID 0", v4, 255, advert(0x31, 0), 0, vrrp.ErrVRID, ""},
		{"seven bytes", v4, 255, advert(0x31, 71)[:7], 71, vrrp.ErrShort, ""},
		{"nothing", v4, 255, nil, 0, vrrp.ErrShort, ""},
		{"CARP of another number", v4, 255, carp, 71, vrrp.ErrCARP, ""},
		{"CARP over IPv6", v6, 255, carp, 71, vrrp.ErrCARP, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vrid, err := dropped(linux.Packet{Payload: tt.payload, Source: tt.from, Destination: vrrp.FamilyOf(tt.from).Group(), TTL: tt.hops})
			if vrid != tt.vrid || !errors.Is(err, tt.want) {
				t.Errorf("VRID %d, %v; want %d, %v", vrid, err, tt.vrid, tt.want)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
		})
	}
}
