package vrrp

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// TestSealedBackupWaitsLonger seals a backup and restores it after a while: what it could not hear is no silence.
func TestSealedBackupWaitsLonger(t *testing.T) {
	now := time.Unix(1000, 0)
	cfg := Config{VRID: 71, Version: V3, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10")}}
	m := New(cfg)
	m.Step(now, Startup{Priority: 100, Source: netip.MustParseAddr("10.0.0.2")})
	m.Step(now, Heard{Advert{Version: V3, VRID: 71, Priority: 150, Interval: time.Second}, netip.MustParseAddr("10.0.0.1")})
	was, _ := m.Deadline()
	for _, deaf := range []time.Duration{0, 100 * time.Millisecond} {
		next := New(cfg)
		if err := next.Restore(m.Seal(), deaf); err != nil {
			t.Fatal(err)
		}
		if is, ok := next.Deadline(); !ok || is.Sub(was) != deaf {
			t.Errorf("deaf for %s it waits until %s, which is %s later", deaf, is, is.Sub(was))
		}
		if got := next.Seal(); deaf == 0 && got != m.Seal() {
			t.Errorf("sealed %+v, and then %+v", m.Seal(), got)
		}
	}
}

// TestRestoreRefuses gives it states that no router can be in.
func TestRestoreRefuses(t *testing.T) {
	soon := time.Unix(1001, 0)
	for name, s := range map[string]Sealed{
		"leaving":                              {State: Leaving, Priority: 100, Learned: time.Second, Deadline: soon},
		"no such state":                        {State: 9, Priority: 100, Learned: time.Second, Deadline: soon},
		"a backup without a timer":             {State: Backup, Priority: 100, Learned: time.Second},
		"a backup that is both":                {State: Backup, Priority: 100, Learned: time.Second, Deadline: soon, Ready: &SealedWait{}},
		"a master without a timer":             {State: Master, Priority: 100, Learned: time.Second},
		"a master without priority":            {State: Master, Learned: time.Second, Deadline: soon},
		"an interval of nothing":               {State: Initialize},
		"an interval below nothing":            {State: Initialize, Learned: -1},
		"a backup without a master's interval": {State: Backup, Priority: 100, Deadline: soon},
	} {
		m := New(Config{Interval: time.Second})
		if err := m.Restore(s, 0); !errors.Is(err, errSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
