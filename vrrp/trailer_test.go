package vrrp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The key, the clock and the host of the vectors.
var (
	keyBytes   = unhexAll("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	clock      = time.Unix(0x68000000, int64(time.Second/2)).UTC()
	signer4    = netip.MustParseAddr("198.51.100.10")
	signer6    = netip.MustParseAddr("fe80::10")
	otherBytes = bytes.Repeat([]byte{0xaa}, MaxKeyLen)
)

func unhexAll(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// sealedVectors are those of keepalived's auth_hmac, and one of VRRPv2 that was computed independently of this package.
func sealedVectors() []vector {
	v := func(version Version, ip string) Advert {
		return Advert{Version: version, VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr(ip)}}
	}
	return []vector{
		{"IPv4", v(V3, "192.0.2.100"), signer4, GroupIPv4, ChecksumMessage,
			"3133c80100644402c0000264" + "010100006800000080000000" + "1b84bc4e8e43892dc6d98448f8ee2265"},
		{"IPv6", v(V3, "fe80::100"), signer6, netip.MustParseAddr("fe80::20"), ChecksumPseudoHeader,
			"3133c8010064a2e9fe800000000000000000000000000100" + "010100006800000080000000" + "c8c56146ebfd66ee10ec4d8186461b78"},
		{"VRRPv2", v(V2, "192.0.2.100"), signer4, GroupIPv4, ChecksumMessage,
			"2133c80100015465c00002640000000000000000" + "010100006800000080000000" + "d0b9391b8d008f779ef2e8cf66238947"},
	}
}

func keyed(mode AuthMode) *Auth {
	return &Auth{Mode: mode, Active: 1, Window: 5 * time.Second, Keys: []Key{{ID: 1, Secret: NewSecret(keyBytes)}, {ID: 255, Secret: NewSecret(otherBytes)}}}
}

// signed makes a signed message at an instant.
func signed(t testing.TB, a *Authenticator, cfg *Auth, now time.Time, advert Advert, source, destination netip.Addr) []byte {
	t.Helper()
	trailer, err := a.Sign(cfg, now, &advert, source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := advert.AppendSealed(nil, source, destination, ChecksumPseudoHeader, trailer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSealedVectors(t *testing.T) {
	for _, v := range sealedVectors() {
		t.Run(v.name, func(t *testing.T) {
			var a Authenticator
			trailer, err := a.Sign(keyed(Enforce), clock, &v.advert, v.source)
			if err != nil {
				t.Fatal(err)
			}
			b, err := v.advert.AppendSealed(nil, v.source, v.destination, v.form, trailer)
			if err != nil {
				t.Fatal(err)
			}
			want, got := unhex(t, v.hex), bytes.Clone(b)
			if FamilyOf(v.source) == IPv6 { // the checksum of keepalived's vector leaves out the trailer, which its kernel adds
				copy(want[6:8], got[6:8])
			}
			if diff := cmp.Diff(hex.EncodeToString(want), hex.EncodeToString(got)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			r, err := Parse(b, v.source, v.destination, HopLimit)
			if err != nil {
				t.Fatal(err)
			}
			var other Authenticator
			proof, err := other.Verify(keyed(Enforce), clock.Add(3*time.Second), r)
			if err != nil || !proof.Signed || proof.Mark.Key != 1 || proof.Mark.Ahead() != -3*time.Second {
				t.Errorf("proof %+v, error %v", proof, err)
			}
		})
	}
}

// TestTrailerForEveryDestination: unicast peers get one signature, each with its own checksum.
func TestTrailerForEveryDestination(t *testing.T) {
	v := sealedVectors()[0]
	var a Authenticator
	trailer, err := a.Sign(keyed(Enforce), clock, &v.advert, v.source)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []netip.Addr{GroupIPv4, peer4, netip.MustParseAddr("198.51.100.12")} {
		b, err := v.advert.AppendSealed([]byte("before"), v.source, to, ChecksumPseudoHeader, trailer)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Parse(b[6:], v.source, to, HopLimit)
		if err != nil {
			t.Fatal(err)
		}
		var other Authenticator
		if _, err := other.Verify(keyed(Enforce), clock, r); err != nil {
			t.Errorf("to %s: %v", to, err)
		}
	}
}

// TestSignedByteByByte: no bit of a signed message can be changed.
func TestSignedByteByByte(t *testing.T) {
	for _, v := range sealedVectors() {
		for i := range len(v.hex) / 2 * 8 {
			b := unhex(t, v.hex)
			b[i/8] ^= 1 << (i % 8)
			if at := i / 8; at != 6 && at != 7 {
				b = resealed(b, v.source, v.destination)
			}
			r, err := Parse(b, v.source, v.destination, HopLimit)
			if err != nil || r.Sealed == nil {
				continue
			}
			var a Authenticator
			if _, err := a.Verify(keyed(Permissive), clock, r); err == nil {
				t.Errorf("%s: bit %d was changed, and the message is accepted", v.name, i)
			}
			if len(a.senders) > 0 {
				t.Fatalf("%s: bit %d was changed, and its sender has a mark", v.name, i)
			}
		}
	}
}

// resealed makes the checksum of a message with a trailer right.
func resealed(b []byte, source, destination netip.Addr) []byte {
	if FamilyOf(source) == IPv6 {
		return seal(b, source, destination, ChecksumPseudoHeader)
	}
	return append(seal(bytes.Clone(b[:len(b)-TrailerLen]), source, destination, ChecksumPseudoHeader), b[len(b)-TrailerLen:]...)
}

func TestSenderSequence(t *testing.T) {
	cfg, source := keyed(Enforce), signer4
	advert := sealedVectors()[0].advert
	var a Authenticator
	next := func(now time.Time) Sequence {
		b := signed(t, &a, cfg, now, advert, source, GroupIPv4)
		tr, ok := parseTrailer(b[len(b)-TrailerLen:])
		if !ok {
			t.Fatalf("no trailer in %x", b)
		}
		return tr.sequence
	}
	at := SequenceAt(clock)
	if at != 0x6800000080000000 {
		t.Errorf("SequenceAt = %x", at)
	}
	steps := []struct {
		name string
		now  time.Time
		want Sequence
	}{
		{"the clock", clock, at},
		{"at the same instant", clock, at + 1<<16},
		{"within one tick of the clock", clock.Add(time.Microsecond), at + 2<<16},
		{"the clock went on", clock.Add(time.Second), at + 1<<32},
		{"set back by less than a moment", clock.Add(time.Second - 15*time.Millisecond), at + 1<<32 + 1<<16},
		{"set back by more", clock.Add(time.Second - 17*time.Millisecond), at + 1<<32 + 1<<16 + 1},
		{"and by less", clock.Add(time.Second), at + 1<<32 + 1<<16 + 2},
		{"the clock went on again", clock.Add(2 * time.Second), at + 2<<32},
		{"set back a little", clock.Add(time.Second), at + 2<<32 + 1},
		{"the clock went on once more", clock.Add(3 * time.Second), at + 3<<32},
		{"set back by the window", clock.Add(-2 * time.Second), at + 3<<32 + 1},
		{"set back by two windows", clock.Add(-7 * time.Second), at + 3<<32 + 2},
		{"set back further", clock.Add(-8 * time.Second), at - 8<<32},
		{"and on from there", clock.Add(-7 * time.Second), at - 7<<32},
	}
	for _, s := range steps {
		if got := next(s.now); got != s.want {
			t.Errorf("%s: sequence %x, want %x", s.name, got, s.want)
		}
	}
}

// TestSequenceWraps in 2106, and its signed half in 2038.
func TestSequenceWraps(t *testing.T) {
	for _, at := range []int64{1<<31 - 1, 1<<32 - 1} {
		before, after := time.Unix(at, 999e6), time.Unix(at+1, 1e6)
		if !SequenceAt(after).After(SequenceAt(before)) || SequenceAt(before).After(SequenceAt(after)) {
			t.Errorf("%s does not come before %s", before.UTC(), after.UTC())
		}
		if !SequenceAt(before).within(time.Second, after) || SequenceAt(before).within(time.Second, after.Add(2*time.Second)) {
			t.Errorf("the window is wrong at %s", before.UTC())
		}
		if got := SequenceAt(before).behind(after).Round(time.Millisecond); got != 2*time.Millisecond {
			t.Errorf("%s is %s behind %s", before.UTC(), got, after.UTC())
		}
		var a Authenticator
		a.sent = SequenceAt(before)
		if got := a.next(keyed(Enforce), after); got != SequenceAt(after) {
			t.Errorf("after %s comes %x", before.UTC(), got)
		}
	}
}

// FuzzVerify: no trailer makes Verify panic, none is accepted that Sign did not make, and none twice.
func FuzzVerify(f *testing.F) {
	for _, v := range sealedVectors() {
		b := unhex(f, v.hex)
		f.Add(b[:len(b)-TrailerLen], b[len(b)-TrailerLen:], int64(0), FamilyOf(v.source) == IPv6)
	}
	f.Add([]byte{}, []byte{}, int64(0), false)
	f.Add(unhex(f, "210ac802010155a1c0000201c00002027365637265740000"), make([]byte, TrailerLen), int64(1<<62), false)
	f.Fuzz(func(t *testing.T, message, trailer []byte, shift int64, ipv6 bool) {
		v := sealedVectors()[0]
		if ipv6 {
			v = sealedVectors()[1]
		}
		if len(trailer) != TrailerLen || len(message) < headerLen {
			return
		}
		r, err := Parse(resealed(append(bytes.Clone(message), trailer...), v.source, v.destination), v.source, v.destination, HopLimit)
		if err != nil || r.Sealed == nil {
			return
		}
		var a Authenticator
		now := clock.Add(time.Duration(shift % int64(time.Hour)))
		proof, err := a.Verify(keyed(Permissive), now, r)
		// Its time is looked at before its key.
		if known := keyed(Permissive).Knows(r); known != (err == nil) && ReasonOf(err) != ErrAuthStale.reason {
			t.Fatalf("known: %t, and verified: %v", known, err)
		}
		if err != nil {
			if ReasonOf(err) == "unknown" || len(a.senders) > 0 {
				t.Fatalf("error %v, %d marks", err, len(a.senders))
			}
			return
		}
		var signer Authenticator
		signer.sent = proof.Mark.Sequence - 1
		cfg := keyed(Enforce)
		cfg.Active = proof.Mark.Key
		again, err := signer.Sign(cfg, clock.Add(-time.Second), &r.Advert, v.source)
		if err != nil || !bytes.Equal(again, r.Sealed[len(r.Sealed)-TrailerLen:]) {
			t.Fatalf("%x is accepted, and Sign makes %x, error %v", r.Sealed, again, err)
		}
		if _, err := a.Verify(keyed(Permissive), now, r); !errors.Is(err, ErrAuthReplay) {
			t.Fatalf("accepted twice: %v", err)
		}
	})
}
