package vrrp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// became says what became of an advert: refused as a replay or as stale, early, or believed.
func became(t *testing.T, a *Authenticator, now time.Time, message []byte) string {
	t.Helper()
	r, err := Parse(message, signer4, GroupIPv4, HopLimit)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := a.Verify(keyed(Enforce), now, r)
	switch {
	case errors.Is(err, ErrAuthReplay):
		return "replay"
	case errors.Is(err, ErrAuthStale):
		return "stale"
	case err != nil || !proof.Signed:
		t.Fatalf("%+v, error %v", proof, err)
	case proof.Early:
		return "early"
	}
	return "believed"
}

// TestEarly is what a host that starts at 0 believes, by when it hears an advert and what its sender's clock said. A living host
// whose clock is off by less than the window of 5 s is never refused; what somebody caught before the start is not believed.
func TestEarly(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	// marked is a sender that the process before heard at an instant, by this host's clock and by the sender's.
	marked := func(heard, sent time.Duration) *Memory {
		return &Memory{Marks: []Mark{{Sender: signer4, Sequence: SequenceAt(clock.Add(sent)), Heard: clock.Add(heard), Key: 1}}}
	}
	type advert struct {
		at, sent time.Duration
		want     string
	}
	tests := []struct {
		name   string
		memory *Memory
		heard  []advert
	}{
		{"a sender that nobody knew, its clock right", nil, []advert{{ms, 0, "believed"}, {s, s - ms, "believed"}}},
		{"its clock behind by less than a second", nil, []advert{{100 * ms, -800 * ms, "believed"}, {1100 * ms, 200 * ms, "believed"}}},
		{"its clock behind by 3 s", nil, []advert{{500 * ms, -2500 * ms, "early"}, {1500 * ms, -1500 * ms, "early"}, {2500 * ms, -500 * ms, "believed"}}},
		{"its clock behind by almost the window", nil, []advert{{0, -4900 * ms, "early"}, {3800 * ms, -1100 * ms, "early"}, {4 * s, -900 * ms, "believed"}}},
		{"its clock behind by more", nil, []advert{{0, -6 * s, "stale"}, {10 * s, 4 * s, "stale"}}},
		{"its clock ahead by 3 s", nil, []advert{{0, 3 * s, "believed"}, {s, 4 * s, "believed"}}},
		{"caught before the start, nothing counts twice", nil, []advert{{0, -3 * s, "early"}, {ms, -3 * s, "replay"}, {2 * ms, -4 * s, "replay"}, {3 * ms, -2 * s, "early"}}},
		{"caught before the start, no longer than the window", nil, []advert{{4 * s, -1001 * ms, "early"}, {5 * s, -1001 * ms, "stale"}}},
		{"caught before the start, the sender heard since then", nil, []advert{{0, 0, "believed"}, {ms, -2 * s, "replay"}}},
		{"caught before the start, the sender's clock behind", nil, []advert{{ms, -2 * s, "early"}, {s, -2500 * ms, "replay"}, {1500 * ms, -1500 * ms, "early"}, {2500 * ms, -s, "early"}, {2600 * ms, -400 * ms, "believed"}}},

		{"a known sender, its clock right", marked(-4*s, -4*s), []advert{{0, -5 * ms, "believed"}}},
		{"its clock as far behind as it was", marked(-10*s, -13*s), []advert{{500 * ms, -2500 * ms, "believed"}}},
		{"its clock as far ahead as it was", marked(-10*s, -7*s), []advert{{500 * ms, 3500 * ms, "believed"}}},
		{"its clock adjusted a little meanwhile", marked(-10*s, -10*s), []advert{{0, -90 * ms, "believed"}}},
		{"its clock set back by 2 s meanwhile", marked(-10*s, -10*s), []advert{{s, -s, "early"}, {1800 * ms, -200 * ms, "early"}, {2 * s, 0, "believed"}}},
		{"its clock 3 s less ahead than it was", marked(-10*s, -7*s), []advert{{s, s, "early"}, {3 * s, 3 * s, "believed"}}},
		{"heard before", marked(-2*s, -2*s), []advert{{0, -2 * s, "replay"}, {0, -3 * s, "replay"}}},
		{"caught after it was heard", marked(-3*s, -3*s), []advert{{0, -2 * s, "early"}, {0, -2 * s, "replay"}, {ms, -s, "early"}, {2 * ms, 0, "believed"}}},
		{"caught after it was heard, its clock ahead by 3 s", marked(-3*s, 0), []advert{{0, 2 * s, "early"}, {0, 3 * s, "believed"}, {ms, 2500 * ms, "replay"}}},
		{"heard a year ago", marked(-365*24*time.Hour, -365*24*time.Hour), []advert{{0, -2 * s, "early"}, {ms, 0, "believed"}}},
		{"heard in the future: this host's clock was set back by an hour", marked(time.Hour, time.Hour), []advert{{0, -2 * s, "early"}, {ms, -ms, "believed"}}},
		{"heard in the future: this host's clock was set back by 3 s", marked(2*s, 2*s), []advert{{0, 2 * s, "replay"}, {ms, 5 * s, "believed"}}},
		{"this host's clock was set forward by 3 s meanwhile", marked(-10*s, -10*s), []advert{{ms, -3 * s, "early"}, {3 * s, ms, "believed"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAuthenticator(clock)
			if tt.memory != nil {
				a.Restore(clock, *tt.memory)
			}
			for _, h := range tt.heard {
				var signer Authenticator
				message := signed(t, &signer, keyed(Enforce), clock.Add(h.sent), sealedVectors()[0].advert, signer4, GroupIPv4)
				if got := became(t, &a, clock.Add(h.at), message); got != h.want {
					t.Errorf("sent at %s, heard at %s: %s, want %s", h.sent, h.at, got, h.want)
				}
			}
		})
	}
}

// TestEarlyLeavesNoMark: what is not certain to be the sender's clock is not taken for it by the next process either.
func TestEarlyLeavesNoMark(t *testing.T) {
	a := NewAuthenticator(clock)
	at := func(sent time.Duration) []byte {
		var signer Authenticator
		return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
	}
	if got := became(t, &a, clock, at(-2*time.Second)); got != "early" || len(a.Memory().Marks) > 0 {
		t.Errorf("%s, memory %+v", got, a.Memory())
	}
	if got := became(t, &a, clock, at(0)); got != "believed" || len(a.Memory().Marks) != 1 {
		t.Errorf("%s, memory %+v", got, a.Memory())
	}
	before := a.Memory()
	later := clock.Add(3 * time.Second)
	b := NewAuthenticator(later)
	b.Restore(later, before)
	if got := became(t, &b, later, at(time.Second)); got != "early" || b.Memory().Marks[0] != before.Marks[0] {
		t.Errorf("%s, memory %+v, want %+v", got, b.Memory(), before)
	}
}

// TestReconfigure: what was sent before a reload and was refused until then is early after it, where the reload makes it believed; what was
// heard is a replay as ever, and a living sender is believed at once.
func TestReconfigure(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	with := func(window time.Duration, keys ...Key) *Auth { return &Auth{Active: 1, Window: window, Keys: keys} }
	one, two := keyed(Enforce).Keys[0], keyed(Enforce).Keys[1]
	both := with(5*s, one, two)
	changed := Key{ID: 1, Secret: two.Secret}
	tests := []struct {
		name    string
		was, is *Auth
		want    string // of what was caught
	}{
		{"authentication is new", nil, both, "early"},
		{"in place of a password", &Auth{Password: NewSecret([]byte("password"))}, both, "early"},
		{"a key is new", with(5*s, two), both, "early"},
		{"a key is another one", with(5*s, changed, two), both, "early"},
		{"a key could not be read before", with(5*s, Key{ID: 1}, two), both, "early"},
		{"a longer window", with(4*s, one, two), both, "early"},
		{"a key goes", with(5*s, one, two, Key{ID: 3, Secret: two.Secret}), both, "believed"},
		{"another mode, another key that signs", &Auth{Mode: Permissive, Active: 255, Window: 5 * s, Keys: both.Keys}, both, "believed"},
	}
	for _, tt := range tests {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sender known %t", tt.name, known), func(t *testing.T) {
				a := NewAuthenticator(clock)
				at := func(sent time.Duration) []byte {
					var signer Authenticator
					return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
				}
				if heard := at(6 * s); known && became(t, &a, clock.Add(6*s), heard) != "believed" {
					t.Fatal("not believed before")
				}
				now := clock.Add(10 * s)
				a.Reconfigure(now, tt.was, tt.is)
				if known {
					if got := became(t, &a, now, at(6*s)); got != "replay" {
						t.Errorf("what was heard: %s", got)
					}
				}
				if got := became(t, &a, now.Add(ms), at(8*s)); got != tt.want {
					t.Errorf("what was caught: %s, want %s", got, tt.want)
				}
				if got := became(t, &a, now.Add(2*ms), at(10*s)); got != "believed" {
					t.Errorf("the sender's next: %s", got)
				}
			})
		}
	}
}

// TestRestore goes by way of the file.
func TestRestore(t *testing.T) {
	var sender, before, after Authenticator
	ahead := 1500 * time.Millisecond // the sender's clock is
	at := func(d time.Duration) []byte {
		return signed(t, &sender, keyed(Enforce), clock.Add(d+ahead), sealedVectors()[0].advert, signer4, GroupIPv4)
	}
	first := at(0)
	if got := became(t, &before, clock, first); got != "believed" {
		t.Fatal(got)
	}
	saved, err := json.Marshal(before.Memory())
	if err != nil {
		t.Fatal(err)
	}
	caught := at(500 * time.Millisecond) // nobody here heard it, somebody caught it
	var memory Memory
	if err := json.Unmarshal(saved, &memory); err != nil {
		t.Fatal(err)
	}
	now := clock.Add(3 * time.Second)
	after.Restore(now, memory)
	for _, s := range []struct {
		name    string
		message []byte
		want    string
	}{{"heard before", first, "replay"}, {"caught meanwhile", caught, "early"}, {"the sender's next", at(3 * time.Second), "believed"}} {
		if got := became(t, &after, now, s.message); got != s.want {
			t.Errorf("%s: %s, want %s", s.name, got, s.want)
		}
	}
}

// TestSendersAreBounded: a new sender costs the oldest its record, and what that one sent is believed by nobody again.
func TestSendersAreBounded(t *testing.T) {
	var a Authenticator
	advert, cfg := sealedVectors()[0].advert, keyed(Enforce)
	message := func(host int) Received {
		from := netip.AddrFrom4([4]byte{198, 51, byte(100 + host>>8), byte(host)})
		var sender Authenticator
		r, err := Parse(signed(t, &sender, cfg, clock.Add(time.Duration(host)*time.Millisecond), advert, from, GroupIPv4), from, GroupIPv4, HopLimit)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for host := range 3 * maxSenders {
		if _, err := a.Verify(cfg, clock.Add(time.Duration(host)*time.Millisecond), message(host)); err != nil {
			t.Fatalf("host %d: %v", host, err)
		}
		if len(a.senders) > maxSenders {
			t.Fatalf("%d records", len(a.senders))
		}
	}
	for host := range 3 * maxSenders {
		proof, err := a.Verify(cfg, clock.Add(time.Second), message(host))
		if (err != nil || !proof.Early) && !errors.Is(err, ErrAuthReplay) {
			t.Errorf("host %d again: %+v, error %v", host, proof, err)
		}
	}
}
