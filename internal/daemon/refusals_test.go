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

// teller is a reader's refusals, and what the loop was told of them.
type teller struct {
	*refusals
	t         *testing.T
	events    []node.Event
	loopsBusy bool
}

func newTeller(t *testing.T) *teller {
	tl := &teller{t: t}
	tl.refusals = &refusals{
		ifName: "eth0", post: func(ev node.Event) { tl.events = append(tl.events, ev) }, busy: func() bool { return tl.loopsBusy },
		sums: map[refusalKey]*node.Refused{},
	}
	return tl
}

// told asserts how many events the loop got since the last time, and for how many packets.
func (tl *teller) told(wantEvents int, wantPackets uint64) {
	tl.t.Helper()
	packets := uint64(0)
	for _, ev := range tl.events {
		switch ev := ev.(type) {
		case node.Refused:
			packets += max(ev.Count, 1)
		case node.Overlooked:
			packets += ev.Packets
		}
	}
	if len(tl.events) != wantEvents || packets != wantPackets {
		tl.t.Errorf("%d events for %d packets, want %d for %d", len(tl.events), packets, wantEvents, wantPackets)
	}
	tl.events = nil
}

func refusedFrom(n byte, err error) node.Refused {
	return node.Refused{Interface: "eth0", VRID: 71, From: netip.AddrFrom4([4]byte{10, 0, 0, n}), Err: err}
}

// TestRefusals: at an ordinary rate each refusal is told at once; a flood becomes a few events, and nothing is lost count of.
func TestRefusals(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	t.Run("an ordinary rate", func(t *testing.T) {
		tl := newTeller(t)
		for k := range 10 {
			tl.add(start.Add(time.Duration(k)*50*time.Millisecond), refusedFrom(9, vrrp.ErrChecksum))
			tl.told(1, 1)
		}
	})
	t.Run("a flood", func(t *testing.T) {
		tl := newTeller(t)
		for range 5000 {
			tl.add(start, refusedFrom(9, vrrp.ErrChecksum))
			tl.add(start, refusedFrom(8, vrrp.ErrShort))
		}
		tl.told(maxSingles, maxSingles)
		tl.flush(start.Add(refusalWindow))
		want := []node.Event{refusedFrom(8, vrrp.ErrShort), refusedFrom(9, vrrp.ErrChecksum)}
		for k, ev := range want {
			ev := ev.(node.Refused)
			ev.Count = 5000 - maxSingles/2
			want[k] = ev
		}
		if diff := cmp.Diff(want, tl.events, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(errors.Is)); diff != "" {
			t.Errorf("the sums (-want +got):\n%s", diff)
		}
	})
	t.Run("forged senders", func(t *testing.T) {
		tl := newTeller(t)
		for n := range 200 {
			tl.add(start, refusedFrom(byte(n), vrrp.ErrChecksum))
		}
		tl.flush(start.Add(refusalWindow))
		tl.told(maxSingles+maxSums+1, 200)
	})
	t.Run("a busy loop", func(t *testing.T) {
		tl := newTeller(t)
		tl.loopsBusy = true
		tl.add(start, refusedFrom(9, vrrp.ErrChecksum))
		tl.flush(start.Add(time.Second))
		tl.told(0, 0)
		tl.loopsBusy = false
		tl.flush(start.Add(2 * time.Second))
		tl.told(1, 1)
		tl.flush(start.Add(3 * time.Second))
		tl.told(0, 0)
	})
}

// TestRefusalWaitsAlone: a reader that waits for the loop holds up nobody who has nothing to tell it.
func TestRefusalWaitsAlone(t *testing.T) {
	tl := newTeller(t)
	waits, goOn, added, flushed := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	tl.post = func(node.Event) {
		close(waits)
		<-goOn
	}
	go func() {
		defer close(added)
		tl.add(time.Now(), refusedFrom(9, vrrp.ErrChecksum))
	}()
	<-waits
	go func() {
		defer close(flushed)
		tl.flush(time.Now())
	}()
	select {
	case <-flushed:
	case <-time.After(bound):
		t.Error("it waits too")
	}
	close(goOn)
	<-added
	<-flushed
}

// TestDropped: what the VRRP socket's filter drops is refused for what the filter looked at.
func TestDropped(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fe80::9")
	advert := func(first, vrid byte) []byte { return []byte{first, vrid, 100, 1, 0, 100, 0, 0, 192, 0, 2, 10} }
	good, err := vrrp.Advert{Version: vrrp.V3, VRID: 71, Priority: 100, Interval: time.Second, Addresses: []netip.Addr{v4}}.Append(nil, v4, vrrp.GroupIPv4, vrrp.ChecksumPseudoHeader)
	if err != nil {
		t.Fatal(err)
	}
	carp := append([]byte{0x21, 71, 0, 7, 0, 1, 0, 0}, make([]byte, 28)...)
	tests := []struct {
		name    string
		from    netip.Addr
		hops    int
		payload []byte
		misfit  bool
		vrid    uint8
		want    error
		text    string // if it knows the packet
	}{
		{"another VRID", v4, 255, advert(0x31, 9), false, 9, vrrp.ErrUnknownVRID, ""},
		{"forwarded", v4, 254, advert(0x31, 71), false, 71, vrrp.ErrHopLimit, "its TTL or hop limit is 254, not 255: it was forwarded by a router, or forged; VRRP works on one link only"},
		{"forwarded over IPv6", v6, 1, advert(0x31, 71), false, 71, vrrp.ErrHopLimit, "its TTL or hop limit is 1, not 255: it was forwarded by a router, or forged; VRRP works on one link only"},
		{"version 4", v4, 255, advert(0x41, 71), true, 71, vrrp.ErrVersion, "it is of VRRP version 4, which does not exist over IPv4"},
		{"version 2 over IPv6", v6, 255, advert(0x21, 71), true, 71, vrrp.ErrVersion, "it is of VRRP version 2, which does not exist over IPv6"},
		{"type 2", v4, 255, advert(0x32, 71), true, 71, vrrp.ErrType, ""},
		{"VRID 0", v4, 255, advert(0x31, 0), false, 0, vrrp.ErrVRID, ""},
		{"seven bytes", v4, 255, advert(0x31, 71)[:7], true, 71, vrrp.ErrShort, ""},
		{"nothing", v4, 255, nil, false, 0, vrrp.ErrShort, ""},
		{"CARP of another number", v4, 255, carp, true, 71, vrrp.ErrCARP, ""},
		{"CARP over IPv6", v6, 255, carp, true, 71, vrrp.ErrCARP, ""},
		{"shorter than it says", v4, 255, good[:10], true, 71, vrrp.ErrChecksum, ""},
		{"of another version, or not signed", v4, 255, good, true, 71, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packet := linux.Packet{Payload: tt.payload, Source: tt.from, Destination: vrrp.FamilyOf(tt.from).Group(), TTL: tt.hops}
			vrid, err := dropped(linux.Sighting{Packet: packet, Misfit: tt.misfit})
			if vrid != tt.vrid || !errors.Is(err, tt.want) {
				t.Errorf("VRID %d, %v; want %d, %v", vrid, err, tt.vrid, tt.want)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
		})
	}
}
