package vrrp

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// risen returns a master at priority 200.
func risen(t *testing.T, cfg Config, now time.Time) *Machine {
	t.Helper()
	m := New(cfg)
	m.Step(now, Startup{200, source4})
	m.Step(now, Promote{"the test wants a master"})
	if m.State() != Master {
		t.Fatalf("state %s, want master", m.State())
	}
	return m
}

// TestFloodOfLowerAdverts: whatever the rate of lower adverts, the answers are 10 ms apart and the beat goes on.
func TestFloodOfLowerAdverts(t *testing.T) {
	const seed, adverts = 3, 50_000
	var (
		r     = rand.New(rand.NewPCG(seed, 0))
		start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		now   = start
		m     = risen(t, config4(V3, false), now)
		last  time.Time
		sent  int
	)
	beat, _ := m.Deadline()
	for range adverts {
		now = now.Add(time.Duration(r.Int64N(int64(40 * time.Microsecond))))
		if !now.Before(beat) {
			m.Step(now, Elapsed{})
			beat, _ = m.Deadline()
		}
		a := Advert{Version: V3, VRID: 10, Priority: uint8(1 + r.IntN(199)), Interval: time.Second, Addresses: addresses4}
		for _, action := range m.Step(now, Heard{a, peer4}) {
			if _, ok := action.(Send); !ok {
				continue
			}
			if gap := now.Sub(last); gap < reassertGap {
				t.Fatalf("seed %d: answered twice within %s", seed, gap)
			}
			last = now
			sent++
		}
		if got, _ := m.Deadline(); got != beat {
			t.Fatalf("seed %d: a lower advert moved the beat from %s to %s", seed, beat.Sub(start), got.Sub(start))
		}
	}
	if least := int(now.Sub(start) / (reassertGap + 40*time.Microsecond)); sent < least {
		t.Errorf("seed %d: %d answers in %s, want at least %d: it must still assert itself", seed, sent, now.Sub(start), least)
	}
}

// TestFloodOfRefused: what Refuse rejects does not reach Step, so a flood of it changes nothing at all; asking has no
// side effect either.
func TestFloodOfRefused(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := risen(t, config4(V2, true), now)
	before := *m
	for _, tt := range refuseTests() {
		if tt.want == nil || tt.cfg.Family == IPv6 || tt.cfg.Version != V2 {
			continue
		}
		for range 1000 {
			if err := m.Config().Refuse(received(tt.advert, tt.source), source4, tt.priority, nil); err == nil {
				t.Fatalf("%s: %s from %s was accepted", tt.name, tt.advert, tt.source)
			}
		}
	}
	if !reflect.DeepEqual(before, *m) {
		t.Errorf("refusing changed the machine from\n%+v to\n%+v", before, *m)
	}
}
