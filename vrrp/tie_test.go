package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// TestTieLasts: a router that does not decide ties gives way to a master of equal priority and higher address once that has gone on for
// TieWait, also where one of its adverts is lost; one that was away for longer begins anew.
func TestTieLasts(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name  string
		heard []time.Duration
		want  State
	}{
		{"one advert", []time.Duration{0}, Master},
		{"within the wait", []time.Duration{0, 1000 * ms, 1099 * ms}, Master},
		{"when the wait is over", []time.Duration{0, 1000 * ms, 1100 * ms}, Backup},
		{"one advert is lost", []time.Duration{0, 2100 * ms}, Backup},
		{"it was away", []time.Duration{0, 2101 * ms}, Master},
		{"it was away, and goes on", []time.Duration{0, 2101 * ms, 3201 * ms}, Backup},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{VRID: 71, Version: V3, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, TieWait: 1100 * ms}
			m, now := New(cfg), time.Unix(1000, 0)
			m.Step(now, Startup{100, netip.MustParseAddr("10.0.0.2")})
			m.Step(now, Promote{"alone"})
			for _, at := range tt.heard {
				a := Advert{Version: V3, VRID: 71, Priority: 100, Interval: time.Second, Addresses: cfg.Addresses}
				m.Step(now.Add(at), Heard{a, netip.MustParseAddr("10.0.0.3")})
			}
			if m.State() != tt.want {
				t.Errorf("it is %s, want %s", m.State(), tt.want)
			}
		})
	}
}

// TestTieBeginsAnew: what was heard of such a master before this router was a backup in between does not count.
func TestTieBeginsAnew(t *testing.T) {
	cfg := Config{VRID: 71, Version: V3, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}, TieWait: 1100 * time.Millisecond}
	m, now := New(cfg), time.Unix(1000, 0)
	tie := Heard{Advert{Version: V3, VRID: 71, Priority: 100, Interval: time.Second, Addresses: cfg.Addresses}, netip.MustParseAddr("10.0.0.3")}
	m.Step(now, Startup{100, netip.MustParseAddr("10.0.0.2")})
	m.Step(now, Promote{"alone"})
	m.Step(now, tie)
	m.Step(now, StepDown{Why: "another member heard a better master"})
	m.Step(now.Add(time.Second), Promote{"it gave up"})
	m.Step(now.Add(1100*time.Millisecond), tie)
	if m.State() != Master {
		t.Errorf("it is %s, want %s", m.State(), Master)
	}
}

// TestReleased: it is the first priority 0 since the last advert, whoever sent that: another member's handover is older than what was heard
// here after it.
func TestReleased(t *testing.T) {
	cfg := Config{VRID: 71, Version: V3, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}
	m, now := New(cfg), time.Unix(1000, 0)
	m.Step(now, Startup{100, netip.MustParseAddr("10.0.0.2")})
	for n, heard := range []struct {
		priority uint8
		from     string
		want     int // which one; -1: none
	}{
		{150, "10.0.0.3", -1}, {0, "10.0.0.3", 1}, {0, "10.0.0.3", 1}, {50, "10.0.0.4", -1}, {0, "10.0.0.3", 4}, {200, "10.0.0.5", -1},
	} {
		a := Advert{Version: V3, VRID: 71, Priority: heard.priority, Interval: time.Second, Addresses: cfg.Addresses}
		m.Step(now.Add(time.Duration(n)*time.Millisecond), Heard{a, netip.MustParseAddr(heard.from)})
		want := time.Time{}
		if heard.want >= 0 {
			want = now.Add(time.Duration(heard.want) * time.Millisecond)
		}
		if got := m.Released(); !got.Equal(want) {
			t.Errorf("after advert %d: %v, want %v", n, got, want)
		}
	}
}
