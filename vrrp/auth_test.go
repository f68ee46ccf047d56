package vrrp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestVerifyRefuses(t *testing.T) {
	v := sealedVectors()[0]
	good := unhex(t, v.hex)
	change := func(at int, to ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[len(v.hex)/2-TrailerLen+at:], to)
		return b
	}
	unsigned := good[:len(good)-TrailerLen]
	tests := []struct {
		name    string
		mode    AuthMode
		now     time.Duration // after the signature
		from    netip.Addr
		message []byte
		want    *Refusal
		text    string
	}{
		{"genuine", Enforce, 0, signer4, good, nil, ""},
		{"genuine, by a host that does not sign yet", ReceiveOnly, 0, signer4, good, nil, ""},
		{"not signed", Enforce, 0, signer4, unsigned, ErrAuthMissing, `set mode = "permissive" here`},
		{"not signed, permissive", Permissive, 0, signer4, unsigned, nil, ""},
		{"not signed, receive-only", ReceiveOnly, 0, signer4, unsigned, nil, ""},
		{"another type", Permissive, 0, signer4, change(0, 2), ErrAuthMalformed, "from 2.4.2 on"},
		{"key 0", Permissive, 0, signer4, change(1, 0), ErrAuthMalformed, ""},
		{"a reserved byte", ReceiveOnly, 0, signer4, change(2, 1), ErrAuthMalformed, ""},
		{"the other reserved byte", Enforce, 0, signer4, change(3, 1), ErrAuthMalformed, ""},
		{"malformed before stale", Enforce, time.Hour, signer4, change(0, 2), ErrAuthMalformed, ""},
		{"just inside the window", Enforce, 5*time.Second + 400*time.Millisecond, signer4, good, nil, ""},
		{"too old", Permissive, 6 * time.Second, signer4, good, ErrAuthStale, "by its clock it was sent 6s ago, and 5s is allowed; its clock is behind this host's (set both by NTP), or somebody caught it"},
		{"too new", ReceiveOnly, -6 * time.Second, signer4, good, ErrAuthStale, "sent 6s in the future, and 5s is allowed; its clock is ahead of this host's: set both by NTP"},
		{"stale before an unknown key", Enforce, time.Hour, signer4, change(1, 9), ErrAuthStale, ""},
		{"an unknown key", Permissive, 0, signer4, change(1, 9), ErrAuthKey, "signed with key 9"},
		{"another key's number", Enforce, 0, signer4, change(1, 255), ErrAuthMAC, "key 255 is another one there"},
		{"a changed signature", ReceiveOnly, 0, signer4, change(TrailerLen-1, 0), ErrAuthMAC, ""},
		{"a changed time", Enforce, 0, signer4, change(7, 1), ErrAuthMAC, ""},
		{"another sender's", Permissive, 0, peer4, good, ErrAuthMAC, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(resealedFor(tt.message, tt.from), tt.from, GroupIPv4, HopLimit)
			if err != nil {
				t.Fatal(err)
			}
			var a Authenticator
			_, err = a.Verify(keyed(tt.mode), clock.Add(tt.now), r)
			if (err == nil) != (tt.want == nil) || err != nil && !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %q does not say %q", err, tt.text)
			}
			if len(a.senders) > 0 {
				t.Error("a refused advert left a mark")
			}
		})
	}
}

// resealedFor makes the checksum right for another sender.
func resealedFor(b []byte, from netip.Addr) []byte {
	if from == signer4 {
		return b
	}
	return resealed(b, from, GroupIPv4)
}

// TestRefuseAsksForTheProof after what needs no key, and before anything that the packet says is looked at.
func TestRefuseAsksForTheProof(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config, *Received)
		want   error
		asked  bool
	}{
		{"a genuine one", func(*Config, *Received) {}, nil, true},
		{"forwarded", func(_ *Config, r *Received) { r.HopLimit = 254 }, ErrHopLimit, false},
		{"our own", func(_ *Config, r *Received) { r.From = source4 }, ErrOwnAdvert, false},
		{"another version", func(_ *Config, r *Received) { r.Version = V3 }, ErrVersionMismatch, false},
		{"another interval", func(_ *Config, r *Received) { r.Interval = 2 * time.Second }, ErrIntervalMismatch, true},
		{"other addresses, strict", func(c *Config, r *Received) { c.Strict, r.Addresses = true, addresses4[:1] }, ErrStrictAddresses, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config4(V2, false)
			cfg.Auth = keyed(Enforce)
			r := received(Advert{Version: V2, VRID: 10, Priority: 50, Interval: time.Second, Addresses: addresses4}, peer4)
			tt.change(&cfg, &r)
			asked := false
			err := cfg.Refuse(r, source4, 100, func(Received) error { asked = true; return nil })
			if !errors.Is(err, tt.want) || asked != tt.asked {
				t.Errorf("error %v, asked for the proof: %t; want %v, %t", err, asked, tt.want, tt.asked)
			}
			refusal := cfg.Refuse(r, source4, 100, func(Received) error { return ErrAuthMAC })
			if tt.asked && refusal != error(ErrAuthMAC) {
				t.Errorf("without a proof: error %v", refusal)
			}
		})
	}
}

// TestReplay: what was heard is refused for ever after, also out of order.
func TestReplay(t *testing.T) {
	var sender, hearer Authenticator
	advert, cfg := sealedVectors()[0].advert, keyed(Enforce)
	hear := func(b []byte, now time.Time) error {
		r, err := Parse(b, signer4, GroupIPv4, HopLimit)
		if err != nil {
			t.Fatal(err)
		}
		_, err = hearer.Verify(cfg, now, r)
		return err
	}
	var sent [][]byte
	for k := range 4 {
		sent = append(sent, signed(t, &sender, cfg, clock.Add(time.Duration(k)*time.Second), advert, signer4, GroupIPv4))
	}
	now := clock.Add(3 * time.Second)
	for _, s := range []struct {
		advert int
		want   error
	}{{1, nil}, {0, ErrAuthReplay}, {2, nil}, {3, nil}} {
		if err := hear(sent[s.advert], now); !errors.Is(err, s.want) {
			t.Errorf("advert %d: error %v, want %v", s.advert, err, s.want)
		}
	}
	for k, b := range sent {
		if err := hear(b, now); !errors.Is(err, ErrAuthReplay) {
			t.Errorf("advert %d again: error %v", k, err)
		}
	}
	if err := hear(signed(t, &sender, cfg, now, advert, signer4, GroupIPv4), now); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// TestRestoredSequence: a host whose clock was set back while its daemon was down goes on after what it sent.
func TestRestoredSequence(t *testing.T) {
	var a, b Authenticator
	advert := sealedVectors()[0].advert
	signed(t, &a, keyed(Enforce), clock, advert, signer4, GroupIPv4)
	b.Restore(clock, a.Memory())
	if got := b.next(keyed(Enforce), clock.Add(-time.Second)); got != a.sent+1 {
		t.Errorf("the next sequence is %x, want %x", got, a.sent+1)
	}
}

// TestForgottenMarks: hosts whose clocks were set back together by more than the window understand each other at once.
func TestForgottenMarks(t *testing.T) {
	var sender, hearer Authenticator
	advert, cfg := sealedVectors()[0].advert, keyed(Enforce)
	for _, now := range []time.Time{clock, clock.Add(-time.Hour), clock.Add(time.Hour)} {
		r, err := Parse(signed(t, &sender, cfg, now, advert, signer4, GroupIPv4), signer4, GroupIPv4, HopLimit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hearer.Verify(cfg, now, r); err != nil {
			t.Errorf("at %s: %v", now, err)
		}
	}
}

func TestDefaultWindow(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		10 * time.Millisecond: 5 * time.Second, time.Second: 5 * time.Second, 1900 * time.Millisecond: 5 * time.Second,
		2500 * time.Millisecond: 6 * time.Second, MaxIntervalV3: 120 * time.Second, MaxIntervalV2: 300 * time.Second,
	} {
		if got := DefaultWindow(interval); got != want {
			t.Errorf("DefaultWindow(%s) = %s, want %s", interval, got, want)
		}
	}
}

// TestNothingUnsignedWithoutAKey: a key that could not be read neither signs nor verifies.
func TestNothingUnsignedWithoutAKey(t *testing.T) {
	v := sealedVectors()[0]
	for _, cfg := range []*Auth{{Active: 1, Window: time.Second, Keys: []Key{{ID: 1}}}, {Active: 1, Window: time.Second}} {
		var a Authenticator
		if trailer, err := a.Sign(cfg, clock, &v.advert, v.source); err != ErrNoKey || trailer != nil {
			t.Errorf("Sign = %x, %v", trailer, err)
		}
		r, err := Parse(unhex(t, v.hex), v.source, v.destination, HopLimit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Verify(cfg, clock, r); !errors.Is(err, ErrAuthKey) {
			t.Errorf("Verify: %v", err)
		}
	}
}

// TestPassword is VRRPv2's, of RFC 2338.
func TestPassword(t *testing.T) {
	secret, err := NewPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	auth := &Auth{Password: secret, Window: time.Second}
	var a Authenticator
	advert := Advert{Version: V2, VRID: 10, Priority: 200, Interval: time.Second, Addresses: addresses4}
	b := signed(t, &a, auth, clock, advert, source4, GroupIPv4)
	if want := "210ac802010155a1c0000201c00002027365637265740000"; hex.EncodeToString(b) != want {
		t.Errorf("message %x, want %s", b, want)
	}
	tests := []struct {
		name, hex string
		want      *Refusal
	}{
		{"the right one", hex.EncodeToString(b), nil},
		{"none", "210ac8020001 0000 c0000201c0000202 0000000000000000", ErrPasswordMissing},
		{"the right one, but of no type", "210ac8020001 0000 c0000201c0000202 7365637265740000", ErrPasswordMissing},
		{"another", "210ac8020101 0000 c0000201c0000202 7365637265750000", ErrPasswordWrong},
		{"the beginning of it", "210ac8020101 0000 c0000201c0000202 7365637265000000", ErrPasswordWrong},
		{"more of it", "210ac8020101 0000 c0000201c0000202 7365637265740001", ErrPasswordWrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(seal(unhex(t, tt.hex), source4, GroupIPv4, ChecksumMessage), source4, GroupIPv4, HopLimit)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Verify(auth, clock, r); (err == nil) != (tt.want == nil) || err != nil && err != error(tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			cfg := config4(V2, false)
			if err := cfg.Refuse(r, netip.Addr{}, 100, nil); (err == error(ErrAuthType)) != (r.AuthType == 1) {
				t.Errorf("a router without a password: error %v", err)
			}
		})
	}
	sealed := unhex(t, "210ac8020101 0000 c0000201c0000202 7365637265740000")
	r, err := Parse(append(seal(sealed, source4, GroupIPv4, ChecksumMessage), make([]byte, TrailerLen)...), source4, GroupIPv4, HopLimit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(auth, clock, r); err != error(ErrTrailer) {
		t.Errorf("a password and a trailer: error %v", err)
	}
	if _, err := a.Verify(keyed(Permissive), clock, r); err != error(ErrAuthMalformed) {
		t.Errorf("a password and a trailer where there are keys: error %v", err)
	}
	if r, err = Parse(seal(sealed, source4, GroupIPv4, ChecksumMessage), source4, GroupIPv4, HopLimit); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []AuthMode{Permissive, ReceiveOnly} {
		if _, err := a.Verify(keyed(mode), clock, r); err != error(ErrAuthType) {
			t.Errorf("a password where there are keys, mode %s: error %v", mode, err)
		}
	}
	for _, text := range []string{"", "123456789"} {
		if _, err := NewPassword(text); err == nil {
			t.Errorf("NewPassword(%q) is accepted", text)
		}
	}
}
