package vrrp

import (
	"testing"
	"time"
)

// TestNewKey: a reload that brings a key changes nothing for what the others sign, whatever the sender's clock shows, and nothing for a
// sender that was believed since then, whichever key it signs with. What the new key signed before the reload may have been caught.
func TestNewKey(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	const old, young = 1, 255
	type advert struct {
		key      uint8
		at, sent time.Duration
		want     string
	}
	tests := []struct {
		name  string
		heard []advert // before and after the reload, which comes at 10 s
	}{
		{"a sender that is believed rotates, its clock right", []advert{
			{old, 9900 * ms, 9900 * ms, "believed"}, {old, 10900 * ms, 10900 * ms, "believed"}, {young, 11900 * ms, 11900 * ms, "believed"},
		}},
		{"its clock behind", []advert{
			{old, 9 * s, 6 * s, "believed"}, {old, 10100 * ms, 7100 * ms, "believed"}, {young, 10200 * ms, 7200 * ms, "believed"},
		}},
		{"its clock behind, and the new key is the first that is heard after the reload", []advert{
			{old, 9 * s, 6 * s, "believed"}, {young, 10100 * ms, 7100 * ms, "believed"},
		}},
		{"its clock behind, not believed yet when the key comes", []advert{
			{old, 0, -3 * s, "early"}, {old, 10 * s, 7 * s, "believed"}, {young, 10100 * ms, 7100 * ms, "believed"},
		}},
		{"a sender that is heard first by the old key", []advert{
			{old, 10100 * ms, 7100 * ms, "believed"}, {young, 10200 * ms, 7200 * ms, "believed"},
		}},
		{"a sender that is heard first by the new key, its clock right", []advert{{young, 10100 * ms, 10100 * ms, "believed"}}},
		{"its clock behind: as at a start", []advert{
			{young, 10100 * ms, 7100 * ms, "early"}, {young, 12100 * ms, 9100 * ms, "believed"}, {young, 12200 * ms, 9200 * ms, "believed"},
		}},

		{"the new key's of before, caught, of an unknown sender", []advert{{young, 10100 * ms, 8 * s, "early"}, {young, 10200 * ms, 10200 * ms, "believed"}}},
		{"of a sender that was believed", []advert{{old, 8 * s, 8 * s, "believed"}, {young, 10100 * ms, 9 * s, "early"}, {young, 10200 * ms, 10200 * ms, "believed"}}},
		{"of a sender whose clock is ahead", []advert{{old, 8 * s, 11 * s, "believed"}, {young, 10100 * ms, 12 * s, "early"}, {young, 10200 * ms, 13200 * ms, "believed"}}},
		{"of a sender whose clock is behind", []advert{{old, 8 * s, 5 * s, "believed"}, {young, 10100 * ms, 6 * s, "early"}, {young, 10200 * ms, 7200 * ms, "believed"}}},
		{"of a sender that has been believed since", []advert{
			{old, 8 * s, 8 * s, "believed"}, {old, 10100 * ms, 10100 * ms, "believed"}, {young, 10200 * ms, 9 * s, "replay"},
		}},
		{"what was early counts once", []advert{{young, 10100 * ms, 8 * s, "early"}, {young, 10200 * ms, 8 * s, "replay"}}},
	}
	was := &Config{Auth: keyed(Enforce)}
	was.Auth.Keys = was.Auth.Keys[:1]
	is := &Config{Auth: keyed(Enforce)}
	for _, tt := range tests {
		for _, exchanged := range []bool{false, true} {
			name := tt.name
			if exchanged {
				name += ", and another process goes on then"
			}
			t.Run(name, func(t *testing.T) {
				a, reloaded := NewAuthenticator(clock), false
				for _, h := range tt.heard {
					if h.at >= 10*s && !reloaded {
						reloaded = true
						a.Reconfigure(clock.Add(10*s), was, is)
						if exchanged {
							a = goesOn(&a, clock.Add(10*s), is)
						}
					}
					var signer Authenticator
					cfg := keyed(Enforce)
					cfg.Active = h.key
					message := signed(t, &signer, cfg, clock.Add(h.sent), sealedVectors()[0].advert, signer4, GroupIPv4)
					if got := became(t, &a, clock.Add(h.at), message); got != h.want {
						t.Errorf("key %d, sent at %s, heard at %s: %s, want %s", h.key, h.sent, h.at, got, h.want)
					}
				}
			})
		}
	}
}

// TestNewKeyRaisesNoFloor: what was lost before the reload, and signed by a key that was there, is worth what it was without the reload.
func TestNewKeyRaisesNoFloor(t *testing.T) {
	const s = time.Second
	was, is := &Config{Auth: keyed(Enforce)}, &Config{Auth: keyed(Enforce)}
	was.Auth.Keys = was.Auth.Keys[:1]
	a := NewAuthenticator(clock)
	at := func(sent time.Duration) []byte {
		var signer Authenticator
		return signed(t, &signer, keyed(Enforce), clock.Add(sent), sealedVectors()[0].advert, signer4, GroupIPv4)
	}
	first, lost := at(8*s), at(9*s)
	if got := became(t, &a, clock.Add(8*s), first); got != "believed" {
		t.Fatal(got)
	}
	a.Reconfigure(clock.Add(10*s), was, is)
	if got := became(t, &a, clock.Add(10*s), lost); got != "believed" {
		t.Error(got)
	}
	if got := became(t, &a, clock.Add(10*s), first); got != "replay" {
		t.Errorf("what was heard: %s", got)
	}
}

// TestNewKeyIsOld: for a process that goes on a key is new no longer than what it signed before could be played.
func TestNewKeyIsOld(t *testing.T) {
	was, is := &Config{Auth: keyed(Enforce)}, &Config{Auth: keyed(Enforce)}
	was.Auth.Keys = was.Auth.Keys[:1]
	a := NewAuthenticator(clock)
	now := clock.Add(time.Minute)
	a.Reconfigure(now, was, is)
	for after, want := range map[time.Duration]int{0: 1, 2 * is.Auth.Window: 1, 2*is.Auth.Window + 1: 2} {
		b := a
		b.young = map[uint8]time.Time{255: a.young[255]}
		if got := len(b.Fingerprints(now.Add(after), is.Auth)); got != want {
			t.Errorf("after %s: %d keys are known, want %d", after, got, want)
		}
	}
}
