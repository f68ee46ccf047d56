package vrrp

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClockSetAndExchanged: to the process that goes on for another one, what was sent before this host's clock was set is early, whether
// that one had seen that it was set, had not looked since then, or was not there any more. A living sender is believed at once.
func TestClockSetAndExchanged(t *testing.T) {
	const s, began = time.Second, 9500 * time.Millisecond
	for _, tt := range []struct {
		name   string
		by     time.Duration // the clock is set
		known  bool          // the sender was believed before
		caught string        // what was sent before that
	}{
		{"not at all", 0, false, "believed"},
		{"ahead, the sender known", 3 * s, true, "early"},
		{"ahead", 3 * s, false, "early"},
		{"ahead by an hour", time.Hour, false, "early"},
		{"back, the sender known", -3 * s, true, "early"},
		{"back", -3 * s, false, "early"},
		{"back by an hour", -time.Hour, false, "early"},
	} {
		for _, when := range []string{"seen", "unseen", "away"} {
			t.Run(fmt.Sprintf("%s, %s", tt.name, when), func(t *testing.T) {
				at := func(sent time.Duration) []byte {
					var signer Authenticator
					return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
				}
				before := clock.Add(-tt.by) // what this host's clock shows when the sender's shows clock
				a, next := NewAuthenticator(before), NewAuthenticator(clock)
				if tt.known && became(t, &a, before.Add(6*s), at(6*s)) != "believed" {
					t.Fatal("not believed before")
				}
				if set := clock.Add(8 * s); tt.by != 0 && when == "seen" {
					a.clockSet(set, tt.by > 0)
				}
				now := clock.Add(began)
				memory, floors := a.Memory(), a.Floors(now)
				if when != "seen" {
					floors.Began = clock // it is as long ago as it was
				}
				for k := range memory.Marks {
					if when == "away" {
						memory.Marks[k].Heard = memory.Marks[k].Heard.Add(tt.by)
					}
				}
				next.Restore(now, memory)
				next.RestoreFloors(now, floors)
				if diff := cmp.Diff(floors, next.Floors(now), compareAddr); diff != "" {
					t.Errorf("handed on again (-want +got):\n%s", diff)
				}
				if tt.known {
					if got := became(t, &next, now, at(6*s)); got != "replay" {
						t.Errorf("what was heard: %s", got)
					}
				}
				if got := became(t, &next, now, at(6500*time.Millisecond)); got != tt.caught {
					t.Errorf("what was caught: %s, want %s", got, tt.caught)
				}
				if got := became(t, &next, now, at(began)); got != "believed" {
					t.Errorf("the sender's next: %s", got)
				}
			})
		}
	}
}

// TestDeafWithAnotherClock: what was sent while this host heard nobody is early also where its clock was set back since it heard the sender,
// so that this seems to be less long ago than it is; to the processes after it as well. A living sender is believed at once.
func TestDeafWithAnotherClock(t *testing.T) {
	const s, by, set = time.Second, 4 * time.Second, 10500 * time.Millisecond
	at := func(sent time.Duration) []byte {
		var signer Authenticator
		return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
	}
	for _, tt := range []struct {
		name                string
		heard, caught, back time.Duration // when the sender was heard last, when it sent what was caught, and when the link is up again
	}{
		{"it seems to be half a second ago", 9 * s, 9500 * time.Millisecond, 13500 * time.Millisecond},
		{"it seems to be no time ago", 9 * s, 9500 * time.Millisecond, 13050 * time.Millisecond},
		{"it seems to come yet", 9 * s, 9500 * time.Millisecond, 12 * s},
		{"it seems to be a minute ago", 9 * s, 70 * s, 73 * s},
	} {
		for _, next := range []string{"this one", "the process that goes on", "the one that is started again"} {
			t.Run(tt.name+", "+next, func(t *testing.T) {
				a := NewAuthenticator(clock)
				if became(t, &a, clock.Add(tt.heard+by), at(tt.heard)) != "believed" {
					t.Fatal("not believed before")
				}
				a.clockSet(clock.Add(set), false)
				now := clock.Add(tt.back)
				if next != "this one" {
					was := a
					a = NewAuthenticator(clock)
					if a.Restore(now, was.Memory()); next == "the process that goes on" {
						a.RestoreFloors(now, was.Floors(now))
					}
				}
				a.Deaf(now, keyed(Enforce))
				for _, advert := range []struct {
					sent time.Duration
					want string
				}{{tt.heard, "replay"}, {tt.caught, "early"}, {tt.back, "believed"}} {
					if got := became(t, &a, now, at(advert.sent)); got != advert.want && !(got == "stale" && advert.want == "replay") {
						t.Errorf("what was sent at %s: %s, want %s", advert.sent, got, advert.want)
					}
				}
			})
		}
	}
}
