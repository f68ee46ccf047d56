package daemon

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
)

// TestHearing: adverts that are seen and never given to the socket are told of, soon and not with each; one that comes late is not.
func TestHearing(t *testing.T) {
	const ms = time.Millisecond
	other, another := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.8")
	type step struct {
		at    time.Duration
		from  netip.Addr
		given bool // to the socket; else it is seen
		told  bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"dropped, one a second", []step{{at: 0}, {at: 1000 * ms}, {at: 2000 * ms, told: true}, {at: 2600 * ms}, {at: 3000 * ms, told: true}}},
		{"dropped, many a second", []step{{at: 0}, {at: 10 * ms}, {at: 20 * ms}, {at: 500 * ms}, {at: 510 * ms}, {at: 1500 * ms, told: true}, {at: 1510 * ms}}},
		{"a host comes back with a burst", []step{{at: 0, given: true}, {at: 0}, {at: 3500 * ms}, {at: 3501 * ms}, {at: 3502 * ms}, {at: 3503 * ms, given: true}, {at: 4500 * ms}}},
		{"too few for a verdict", []step{{at: 0}, {at: 40 * time.Second}}},
		{"given after it was seen", []step{{at: 0}, {at: 1000 * ms}, {at: 1001 * ms, given: true}, {at: 2000 * ms}, {at: 3000 * ms}}},
		{"given again", []step{{at: 0}, {at: 1000 * ms}, {at: 2000 * ms, told: true}, {at: 3000 * ms, given: true}, {at: 4000 * ms}}},
		{"another host's is given", []step{{at: 0}, {at: 1000 * ms}, {at: 1500 * ms, from: another, given: true}, {at: 2000 * ms, told: true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, begin := newHearing(), time.Unix(1000, 0)
			for _, s := range tt.steps {
				if !s.from.IsValid() {
					s.from = other
				}
				if s.given {
					h.given(s.from)
				} else if told := h.saw(begin.Add(s.at), s.from); told != s.told {
					t.Errorf("at %s told %t, want %t", s.at, told, s.told)
				}
			}
		})
	}
	h := newHearing()
	from := netip.MustParseAddr("10.1.0.0")
	for range 10 * maxKnown {
		from = from.Next()
		h.saw(time.Unix(1000, 0), from)
	}
	if len(h.unsaid) > maxKnown {
		t.Errorf("remembers %d senders, at most %d are to be", len(h.unsaid), maxKnown)
	}
}

// TestExpects: what is sent to another address than ours reaches no socket of this host, and nobody dropped it.
func TestExpects(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	b := &base{}
	b.own.Store(&own)
	for to, want := range map[string]bool{"224.0.0.18": true, "10.0.0.1": true, "10.0.0.2": false} {
		s := linux.Sighting{Packet: linux.Packet{Source: netip.MustParseAddr("10.0.0.9"), Destination: netip.MustParseAddr(to)}, Passed: true}
		if got := b.expects(s); got != want {
			t.Errorf("to %s: expected %t, want %t", to, got, want)
		}
	}
}
