package vrrp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// became says what became of an advert: refused as a replay or as stale, early, or believed.
func became(t *testing.T, a *Authenticator, now time.Time, message []byte) string {
	t.Helper()
	return becameBy(t, a, keyed(Enforce), now, message)
}

// becameBy says it of a host with other keys.
func becameBy(t *testing.T, a *Authenticator, cfg *Auth, now time.Time, message []byte) string {
	t.Helper()
	r, err := Parse(message, signer4, GroupIPv4, HopLimit)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := a.Verify(cfg, now, r)
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
		{"signed while its clock stood, 8 s ahead: its clock is right", &Memory{Marks: []Mark{{Sender: signer4, Sequence: SequenceAt(clock.Add(-2*s)) + 1, Heard: clock.Add(-10 * s), Key: 1}}},
			[]advert{{0, -1500 * ms, "early"}, {ms, 0, "believed"}}},
		{"signed while its clock stood, 3 s behind by then", &Memory{Marks: []Mark{{Sender: signer4, Sequence: SequenceAt(clock.Add(-13*s)) + 1, Heard: clock.Add(-10 * s), Key: 1}}},
			[]advert{{0, -3200 * ms, "early"}, {ms, -3 * s, "believed"}}},
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

// TestClockSet: what was sent before this host's clock was set, and was refused until then, is early after it; what was heard is a replay
// as ever. A living sender is believed at once if its clock agrees, and after a sleep also if it is as far behind as it was.
func TestClockSet(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	tests := []struct {
		name          string
		ahead, known  bool
		behind        time.Duration // the sender's clock is
		caught, lives string        // what was sent 1.5 s ago, and now
	}{
		{"back, the sender known", false, true, 0, "early", "believed"},
		{"back, the sender known and behind", false, true, 3 * s, "early", "early"},
		{"back, the sender unknown", false, false, 0, "early", "believed"},
		{"ahead, the sender known", true, true, 0, "early", "believed"},
		{"ahead, the sender known and behind", true, true, 3 * s, "early", "believed"},
		{"ahead, the sender unknown and behind", true, false, 3 * s, "early", "early"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := NewAuthenticator(clock)
			at := func(sent time.Duration) []byte {
				var signer Authenticator
				return signed(t, &signer, keyed(Enforce), clock.Add(sent-tt.behind), sealedVectors()[0].advert, signer4, GroupIPv4)
			}
			if tt.known && became(t, &a, clock.Add(6*s), at(6*s)) != "believed" {
				t.Fatal("not believed before")
			}
			now := clock.Add(8 * s)
			a.clockSet(now, tt.ahead)
			if tt.known {
				if got := became(t, &a, now, at(6*s)); got != "replay" {
					t.Errorf("what was heard: %s", got)
				}
			}
			if got := became(t, &a, now.Add(ms), at(6500*ms)); got != tt.caught {
				t.Errorf("what was caught: %s, want %s", got, tt.caught)
			}
			if got := became(t, &a, now.Add(2*ms), at(8*s)); got != tt.lives {
				t.Errorf("the sender's next: %s, want %s", got, tt.lives)
			}
		})
	}
}

// goesOn is the Authenticator of a process that goes on for another one, with what that one seals.
func goesOn(a *Authenticator, now time.Time, cfg *Config) Authenticator {
	again := NewAuthenticator(clock)
	again.Restore(now, a.Memory())
	again.RestoreFloors(now, a.Floors(now))
	again.Inherit(0, a.Fingerprints(now, cfg.Auth))
	sealed := *cfg
	sealed.Auth = withoutSecrets(cfg.Auth)
	again.Reconfigure(now, &sealed, cfg)
	return again
}

// withoutSecrets is what of a configuration is sealed.
func withoutSecrets(auth *Auth) *Auth {
	sealed := *auth
	sealed.Keys = slices.Clone(auth.Keys)
	for k := range sealed.Keys {
		sealed.Keys[k].Secret = Secret{}
	}
	return &sealed
}

// TestReconfigure: what was sent before a reload and was refused until then is early after it, where the reload makes it believed; what was
// heard is a replay as ever, and a living sender is believed at once.
func TestReconfigure(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	one, two := keyed(Enforce).Keys[0], keyed(Enforce).Keys[1]
	with := func(window time.Duration, keys ...Key) Config {
		return Config{Auth: &Auth{Active: 1, Window: window, Keys: keys}}
	}
	both := with(5*s, one, two)
	changed := Key{ID: 1, Secret: two.Secret}
	from := func(minTTL uint8, peers ...netip.Addr) Config {
		return Config{Auth: both.Auth, Unicast: &Unicast{Peers: peers, MinTTL: minTTL}}
	}
	tests := []struct {
		name    string
		was, is Config
		want    string // of what was caught
	}{
		{"authentication is new", Config{}, both, "early"},
		{"in place of a password", Config{Auth: &Auth{Password: NewSecret([]byte("password"))}}, both, "early"},
		{"a key is new", with(5*s, two), both, "early"},
		{"a key is another one", with(5*s, changed, two), both, "early"},
		{"a key could not be read before", with(5*s, Key{ID: 1}, two), both, "early"},
		{"a longer window", with(4*s, one, two), both, "early"},
		{"a key goes", with(5*s, one, two, Key{ID: 3, Secret: two.Secret}), both, "believed"},
		{"another mode, another key that signs", Config{Auth: &Auth{Mode: Permissive, Active: 255, Window: 5 * s, Keys: both.Auth.Keys}}, both, "believed"},

		{"a peer is new", from(255, peer4), from(255, peer4, signer4), "early"},
		{"the first peer", from(255), from(255, signer4), "early"},
		{"another peer is new", from(255, signer4), from(255, signer4, peer4), "believed"},
		{"another peer goes", from(255, peer4, signer4), from(255, signer4), "believed"},
		{"a peer may be further away", from(255, signer4), from(254, signer4), "early"},
		{"a peer must be nearer", from(254, signer4), from(255, signer4), "believed"},
		{"peers in the group's stead", both, from(255, signer4), "early"},
		{"the group in the peers' stead", from(255, signer4), both, "early"},
		{"another version", Config{Version: V2, Auth: both.Auth}, Config{Version: V3, Auth: both.Auth}, "early"},
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
				a.Reconfigure(now, &tt.was, &tt.is)
				again := goesOn(&a, now, &tt.is)
				for of, a := range map[string]*Authenticator{"": &a, " by the process that goes on": &again} {
					if known {
						if got := became(t, a, now, at(6*s)); got != "replay" {
							t.Errorf("what was heard%s: %s", of, got)
						}
					}
					if got := became(t, a, now.Add(ms), at(8*s)); got != tt.want && (of == "" || !known) {
						t.Errorf("what was caught%s: %s, want %s", of, got, tt.want)
					}
					if got := became(t, a, now.Add(2*ms), at(10*s)); got != "believed" {
						t.Errorf("the sender's next%s: %s", of, got)
					}
				}
			})
		}
	}
}

// TestSameKeysGoOn: a process that goes on for another one gets its keys from its configuration, and what was sent before that is as
// good as it was; what another key signed, or was sent while nobody was there for long, may have been caught.
func TestSameKeysGoOn(t *testing.T) {
	const s = time.Second
	sealed, other, more, fewer := withoutSecrets(keyed(Enforce)), keyed(Enforce), keyed(Enforce), keyed(Enforce)
	other.Keys[1].Secret = NewSecret([]byte("another one"))
	more.Keys = append(more.Keys, Key{ID: 9, Secret: NewSecret([]byte("one more"))})
	fewer.Keys = fewer.Keys[:1]
	for _, tt := range []struct {
		name   string
		away   time.Duration
		is     *Auth
		signed uint8
		want   string
	}{
		{"the same keys", s, keyed(Enforce), 255, "believed"},
		{"one is another", s, other, 255, "early"},
		{"one is another, and not the one that signed", s, other, 1, "believed"},
		{"one more", s, more, 9, "early"},
		{"one more, and not the one that signed", s, more, 1, "believed"},
		{"one less", s, fewer, 1, "believed"},
		{"away for long", s + 1, keyed(Enforce), 255, "early"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, a := NewAuthenticator(clock), NewAuthenticator(clock)
			now := clock.Add(10 * s)
			a.RestoreFloors(now, before.Floors(now))
			a.Inherit(tt.away, before.Fingerprints(now, keyed(Enforce)))
			if diff := cmp.Diff(before.Fingerprints(now, keyed(Enforce)), a.Fingerprints(now, sealed)); tt.away == s && diff != "" {
				t.Errorf("handed on again (-want +got):\n%s", diff)
			}
			a.Reconfigure(now, &Config{Auth: sealed}, &Config{Auth: tt.is})
			var signer Authenticator
			tt.is.Active = tt.signed
			caught := signed(t, &signer, tt.is, clock.Add(8*s), sealedVectors()[0].advert, signer4, GroupIPv4)
			if got := becameBy(t, &a, tt.is, now, caught); got != tt.want {
				t.Errorf("what was sent before: %s, want %s", got, tt.want)
			}
		})
	}
}

// TestEarlyCountsOnce: what was early is a replay from then on, also for the process that goes on for this one, whether or not its sender
// was believed before that. What its sender sent later is heard.
func TestEarlyCountsOnce(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	at := func(sent time.Duration) []byte {
		var signer Authenticator
		return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
	}
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprintf("sender known %t", known), func(t *testing.T) {
			a := NewAuthenticator(clock)
			if known && became(t, &a, clock.Add(6*s), at(6*s)) != "believed" {
				t.Fatal("not believed before")
			}
			a.Deaf(clock.Add(10*s), keyed(Enforce))
			if got := became(t, &a, clock.Add(10*s), at(8*s)); got != "early" {
				t.Fatalf("what was sent before: %s", got)
			}
			now := clock.Add(11 * s)
			again := NewAuthenticator(clock)
			again.Restore(now, a.Memory())
			again.RestoreFloors(now, a.Floors(now))
			for of, a := range map[string]*Authenticator{"": &a, " by the process that goes on": &again} {
				if got := became(t, a, now, at(8*s)); got != "replay" {
					t.Errorf("what was early, again%s: %s", of, got)
				}
				if got := became(t, a, now, at(8500*ms)); got != "early" {
					t.Errorf("the next one from before%s: %s", of, got)
				}
				if got := became(t, a, now, at(11*s)); got != "believed" {
					t.Errorf("the sender's next%s: %s", of, got)
				}
			}
		})
	}
}

// TestClockBehindIsAdmitted: a sender that becomes a peer and whose clock is behind is early for as long as at a start. One that was heard
// before, with that clock, is believed at once.
func TestClockBehindIsAdmitted(t *testing.T) {
	const s = time.Second
	none := &Config{Auth: keyed(Enforce), Unicast: &Unicast{MinTTL: HopLimit}}
	peer := &Config{Auth: keyed(Enforce), Unicast: &Unicast{MinTTL: HopLimit, Peers: []netip.Addr{signer4}}}
	a := NewAuthenticator(clock)
	hears := func(at time.Duration, want string) {
		t.Helper()
		var signer Authenticator
		message := signed(t, &signer, keyed(Enforce), clock.Add(at-3*s), sealedVectors()[0].advert, signer4, GroupIPv4)
		if got := became(t, &a, clock.Add(at), message); got != want {
			t.Errorf("heard at %s: %s, want %s", at, got, want)
		}
	}
	a.Reconfigure(clock.Add(10*s), none, peer)
	hears(10*s, "early")
	hears(11*s, "early")
	hears(13*s, "believed")
	a.Reconfigure(clock.Add(14*s), peer, none)
	a.Reconfigure(clock.Add(20*s), none, peer)
	hears(20*s, "believed")
}

// TestOwnAdvertsOfBefore: what this host sent from an address that is no longer its own is a replay, also in the next process and in one that
// goes on for this one. Another host that has the address by then is believed, and is shown.
func TestOwnAdvertsOfBefore(t *testing.T) {
	const s = time.Second
	var a, next Authenticator
	advert, cfg := sealedVectors()[0].advert, keyed(Enforce)
	caught := signed(t, &a, cfg, clock, advert, signer4, GroupIPv4)
	newest := signed(t, &a, cfg, clock.Add(s), advert, signer4, GroupIPv4)
	signed(t, &a, cfg, clock.Add(2*s), advert, peer4, GroupIPv4) // from its new address
	text, err := json.Marshal(a.Memory())
	if err != nil {
		t.Fatal(err)
	}
	var memory Memory
	if err := json.Unmarshal(text, &memory); err != nil {
		t.Fatal(err)
	}
	next.Restore(clock.Add(3*s), memory)
	for of, a := range map[string]*Authenticator{"the process": &a, "the next one": &next} {
		for _, message := range [][]byte{caught, newest} {
			if got := became(t, a, clock.Add(3*s), message); got != "replay" {
				t.Errorf("%s: %s", of, got)
			}
		}
		var other Authenticator
		if got := became(t, a, clock.Add(4*s), signed(t, &other, cfg, clock.Add(4*s), advert, signer4, GroupIPv4)); got != "believed" {
			t.Errorf("%s, of the host that has the address now: %s", of, got)
		}
		marks := a.Memory().Marks
		if len(marks) != 2 || marks[0].Sender != peer4 || !marks[0].Own || marks[1].Sender != signer4 || marks[1].Own {
			t.Errorf("%s: marks %+v", of, marks)
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

// TestPeersAreBounded: those for whom there is no room are no worse off than the others.
func TestPeersAreBounded(t *testing.T) {
	a := NewAuthenticator(clock)
	is := &Config{Auth: keyed(Enforce), Unicast: &Unicast{MinTTL: HopLimit}}
	for host := range 3 * maxSenders {
		is.Unicast.Peers = append(is.Unicast.Peers, netip.AddrFrom4([4]byte{198, 51, 100, byte(host)}))
	}
	now := clock.Add(10 * time.Second)
	a.Reconfigure(now, &Config{Auth: is.Auth, Unicast: &Unicast{MinTTL: HopLimit}}, is)
	if len(a.senders) != maxSenders {
		t.Fatalf("%d records", len(a.senders))
	}
	for _, from := range is.Unicast.Peers {
		var sender Authenticator
		r, err := Parse(signed(t, &sender, is.Auth, now.Add(-2*time.Second), sealedVectors()[0].advert, from, GroupIPv4), from, GroupIPv4, HopLimit)
		if err != nil {
			t.Fatal(err)
		}
		if proof, err := a.Verify(is.Auth, now, r); err != nil || !proof.Early {
			t.Fatalf("%s: %+v, error %v", from, proof, err)
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
