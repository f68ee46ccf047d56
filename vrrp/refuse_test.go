package vrrp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func config4(v Version, strict bool) Config {
	return Config{
		VRID: 10, Version: v, Family: IPv4, Interval: time.Second, DeadAdverts: 3, Preempt: true,
		Addresses: addresses4, Strict: strict,
	}
}

func config6(strict bool) Config {
	return Config{
		VRID: 10, Version: V3, Family: IPv6, Interval: time.Second, DeadAdverts: 3, Preempt: true,
		Addresses: addresses6, Strict: strict,
	}
}

// refuseTests are adverts against a configuration: a refusal, or the notices of one that is accepted.
func refuseTests() []refuseTest {
	reversed := slices.Clone(addresses4)
	slices.Reverse(reversed)
	global := slices.Clone(addresses6)
	slices.Reverse(global)
	a := func(v Version, p uint8, interval time.Duration, ips []netip.Addr) Advert {
		return Advert{Version: v, VRID: 10, Priority: p, Interval: interval, Addresses: ips}
	}
	second, one, others := time.Second, addresses4[:1], []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	return []refuseTest{
		{"a lower master", config4(V3, false), a(V3, 50, second, addresses4), peer4, 100, nil, nil},
		{"a lower master, strict", config4(V3, true), a(V3, 50, second, addresses4), peer4, 100, nil, nil},
		{"a lower master in v2, strict", config4(V2, true), a(V2, 50, second, addresses4), peer4, 100, nil, nil},
		{"our own", config4(V3, false), a(V3, 50, second, addresses4), source4, 100, ErrOwnAdvert, nil},
		{"our own in IPv6 form", config4(V3, false), a(V3, 50, second, addresses4), netip.AddrFrom16(source4.As16()), 100, ErrOwnAdvert, nil},
		{"our own with the socket's zone", config6(false), a(V3, 50, second, addresses6), source6.WithZone("eth0"), 100, ErrOwnAdvert, nil},
		{"v2 for v3", config4(V3, false), a(V2, 50, second, addresses4), peer4, 100, ErrVersionMismatch, nil},
		{"v3 for v2", config4(V2, false), a(V3, 50, second, addresses4), peer4, 100, ErrVersionMismatch, nil},
		{"another interval in v2", config4(V2, false), a(V2, 50, 2*second, addresses4), peer4, 100, ErrIntervalMismatch, nil},
		{"another interval in v2 at priority 0", config4(V2, false), a(V2, 0, 2*second, addresses4), peer4, 100, ErrIntervalMismatch, nil},
		{"another interval in v3", config4(V3, false), a(V3, 50, 2*second, addresses4), peer4, 100, nil, []Notice{NoticeInterval}},
		{"another interval in v3, strict", config4(V3, true), a(V3, 50, 2*second, addresses4), peer4, 100, nil, []Notice{NoticeInterval}},
		{"a handover's centisecond", config4(V3, false), a(V3, 50, centisecond, addresses4), peer4, 100, nil, nil},
		{"another interval at priority 0", config4(V3, false), a(V3, 0, 2*second, addresses4), peer4, 100, nil, nil},
		{"a second owner", config4(V3, false), a(V3, 255, second, addresses4), peer4, 255, nil, []Notice{NoticeOwner}},
		{"a lower master beside the owner", config4(V3, false), a(V3, 50, second, addresses4), peer4, 255, nil, nil},
		{"a second owner, strict", config4(V3, true), a(V3, 255, second, addresses4), peer4, 255, ErrStrictOwner, nil},
		{"a second owner in v2, strict", config4(V2, true), a(V2, 255, second, addresses4), peer4, 255, ErrStrictOwner, nil},
		{"another order", config4(V3, true), a(V3, 50, second, reversed), peer4, 100, nil, nil},
		{"another address list in v2", config4(V2, false), a(V2, 50, second, one), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"another address list in v2, strict", config4(V2, true), a(V2, 50, second, one), peer4, 100, ErrStrictAddresses, nil},
		{"the owner's address list in v2, strict", config4(V2, true), a(V2, 255, second, one), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"another address list in v3", config4(V3, false), a(V3, 50, second, one), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"another address list in v3, strict", config4(V3, true), a(V3, 50, second, one), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"as many, but others", config4(V3, false), a(V3, 50, second, []netip.Addr{addresses4[0], addresses4[0]}), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"IPv6, link-local first", config6(true), a(V3, 50, second, addresses6), netip.MustParseAddr("fe80::c9"), 100, nil, nil},
		{"IPv6, global first", config6(false), a(V3, 50, second, global), netip.MustParseAddr("fe80::c9"), 100, nil, []Notice{NoticeLinkLocal}},
		{"IPv6, global first, strict", config6(true), a(V3, 50, second, global), netip.MustParseAddr("fe80::c9"), 100, ErrStrictLinkLocal, nil},
		{"our priority", config4(V3, true), a(V3, 100, second, addresses4), peer4, 100, nil, []Notice{NoticeSameOwn}},
		{"a release while we take no part", config4(V3, true), a(V3, 0, second, addresses4), peer4, 0, nil, nil},
		{"both unhealthy", config4(V3, true), a(V3, 1, second, addresses4), peer4, 1, nil, nil},
		{"all that is odd at once", config6(false), a(V3, 255, 2*second, global[:1]), netip.MustParseAddr("fe80::c9"), 255, nil,
			[]Notice{NoticeOwner, NoticeStranger, NoticeLinkLocal, NoticeInterval}},
		{"nothing in common", config4(V3, false), a(V3, 50, second, others), peer4, 100, nil, []Notice{NoticeStranger}},
		{"one in common, another interval", config4(V3, false), a(V3, 50, 2*second, one), peer4, 100, nil, []Notice{NoticeStranger, NoticeInterval}},
		{"one in common, a handover's centisecond", config4(V3, false), a(V3, 50, centisecond, one), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"one in common, another interval at priority 0", config4(V3, false), a(V3, 0, 2*second, one), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"no addresses in v2", config4(V2, false), a(V2, 50, second, nil), peer4, 100, nil, []Notice{NoticeAddresses}},
		{"no addresses in v2, strict", config4(V2, true), a(V2, 50, second, nil), peer4, 100, ErrStrictAddresses, nil},
	}
}

type refuseTest struct {
	name     string
	cfg      Config
	advert   Advert
	source   netip.Addr
	priority uint8
	want     *Refusal
	notices  []Notice
}

// received is an advert as it arrives from the link.
func received(a Advert, from netip.Addr) Received {
	return Received{Advert: a, From: from, To: FamilyOf(from).Group(), HopLimit: HopLimit}
}

func TestRefuse(t *testing.T) {
	for _, tt := range refuseTests() {
		t.Run(tt.name, func(t *testing.T) {
			own := source4
			if tt.cfg.Family == IPv6 {
				own = source6
			}
			before := slices.Clone(tt.advert.Addresses)
			err := tt.cfg.Refuse(received(tt.advert, tt.source), own, tt.priority, nil)
			switch {
			case tt.want == nil && err != nil:
				t.Fatalf("refused: %v", err)
			case tt.want != nil && err != error(tt.want):
				t.Fatalf("error %v, want %v", err, tt.want)
			case tt.want == nil:
				if diff := cmp.Diff(tt.notices, tt.cfg.Notices(tt.advert, tt.priority)); diff != "" {
					t.Errorf("notices (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(before, tt.advert.Addresses, compareAddr); diff != "" {
				t.Errorf("the advert's addresses were changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestRefuseForwarded: what came through a router has a TTL or hop limit below 255 (RFC 9568 section 5.1.1.3).
func TestRefuseForwarded(t *testing.T) {
	for _, hops := range []int{0, 1, 64, 254, 255} {
		for _, cfg := range []Config{config4(V2, false), config4(V3, false), config6(false)} {
			from := map[Family]netip.Addr{IPv4: peer4, IPv6: netip.MustParseAddr("fe80::c9")}[cfg.Family]
			r := received(Advert{Version: cfg.Version, VRID: 10, Priority: 50, Interval: time.Second, Addresses: cfg.Addresses}, from)
			r.HopLimit = hops
			if err := cfg.Refuse(r, netip.Addr{}, 100, nil); (err == error(ErrHopLimit)) != (hops != HopLimit) {
				t.Errorf("%s with %d: error %v", cfg.Family, hops, err)
			}
		}
	}
}

// TestParseSealed: a trailer of the right size leaves the advert as it is, and the whole message is kept for who has the key.
func TestParseSealed(t *testing.T) {
	for _, v := range vectors() {
		plain := unhex(t, v.hex)
		b := append(bytes.Clone(plain), make([]byte, TrailerLen)...)
		b[len(b)-1] = 1
		if FamilyOf(v.source) == IPv6 {
			b = seal(b, v.source, v.destination, v.form) // its checksum covers the trailer
		}
		r, err := Parse(b, v.source, v.destination, HopLimit)
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if diff := cmp.Diff(v.advert, r.Advert, compareAddr); diff != "" || !bytes.Equal(r.Sealed, b) {
			t.Errorf("%s: sealed %x, advert (-want +got):\n%s", v.name, r.Sealed, diff)
		}
		cfg := Config{Version: v.advert.Version, VRID: 10, Family: FamilyOf(v.source), Interval: time.Second, Addresses: v.advert.Addresses}
		r.To = cfg.Family.Group()
		if err := cfg.Refuse(r, netip.Addr{}, 100, nil); err != error(ErrTrailer) {
			t.Errorf("%s: error %v without keys", v.name, err)
		}
	}
}

// TestReasons: counters are keyed by reason, so each refusal has its own; people read the text.
func TestReasons(t *testing.T) {
	want := map[*Refusal]string{
		ErrShort: "short", ErrCARP: "carp", ErrSameAddress: "same-address", ErrVersion: "version", ErrType: "type", ErrVRID: "vrid", ErrHopLimit: "ttl", ErrChecksum: "checksum",
		ErrNoAddresses: "no-addresses", ErrExcess: "excess", ErrAuthType: "auth-type", ErrInterval: "interval-zero", ErrFragment: "fragment",
		ErrUnknownVRID: "unknown-vrid", ErrTrailer: "auth-unexpected", ErrOwnAdvert: "own", ErrUnicast: "unicast", ErrMulticast: "multicast",
		ErrNotPeer: "not-a-peer", ErrMinTTL: "min-ttl", ErrVersionMismatch: "version-mismatch",
		ErrIntervalMismatch: "interval-mismatch", ErrStrictOwner: "strict-owner", ErrStrictAddresses: "strict-addresses",
		ErrStrictLinkLocal: "strict-link-local", ErrAuthMissing: "auth-missing", ErrAuthMalformed: "auth-malformed", ErrAuthStale: "auth-stale",
		ErrAuthKey: "auth-key", ErrAuthMAC: "auth-mac", ErrAuthReplay: "auth-replay", ErrPasswordMissing: "password-missing",
		ErrPasswordWrong: "password-wrong",
	}
	source, err := os.ReadFile("refuse.go")
	if err != nil {
		t.Fatal(err)
	}
	if all := regexp.MustCompile(`(?m)^\tErr\w+ += &Refusal\{`).FindAll(source, -1); len(all) != len(want) {
		t.Errorf("refuse.go has %d refusals, and %d are told here", len(all), len(want))
	}
	reasons, texts := map[string]bool{}, map[string]bool{}
	for err, reason := range want {
		if got := ReasonOf(fmt.Errorf("read from eth0: %w", err)); got != reason || err.Reason() != reason {
			t.Errorf("%v: reason %q, wrapped %q, want %q", err, err.Reason(), got, reason)
		}
		reasons[err.Reason()], texts[err.Error()] = true, true
	}
	if len(reasons) != len(want) || len(texts) != len(want) {
		t.Errorf("%d refusals have %d reasons and %d texts", len(want), len(reasons), len(texts))
	}
	if err := ErrHopLimit.Because("its TTL is %d", 254); ReasonOf(err) != "ttl" || err.Error() != "its TTL is 254" || !errors.Is(err, ErrHopLimit) {
		t.Errorf("explained: %v, reason %q", err, ReasonOf(err))
	}
	for _, err := range []error{nil, errors.New("a stranger's")} {
		if got := ReasonOf(err); got != "unknown" {
			t.Errorf("reason of %v is %q, want unknown", err, got)
		}
	}
}

// TestNames: these words reach the configuration, the log and the hooks.
func TestNames(t *testing.T) {
	got := fmt.Sprint(IPv4, IPv6, ChecksumPseudoHeader, ChecksumMessage, Initialize, Backup, Master, Leaving, GroupIPv4, GroupIPv6,
		FamilyOf(netip.MustParseAddr("::ffff:192.0.2.1")))
	want := "IPv4 IPv6 pseudo-header rfc9568 init backup master leaving 224.0.0.18 ff02::12 IPv4"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestLeaveWait(t *testing.T) {
	tests := []struct {
		name     string
		version  Version
		interval time.Duration
		want     time.Duration
	}{
		{"the default", V3, time.Second, 1100 * time.Millisecond},
		{"a short interval", V3, 10 * time.Millisecond, 110 * time.Millisecond},
		{"just below the bound", V3, 4900 * time.Millisecond, 5 * time.Second},
		{"a long interval is cut", V3, MaxIntervalV3, 5 * time.Second},
		{"v2", V2, time.Second, 1100 * time.Millisecond},
		{"v2 whatever the interval", V2, MaxIntervalV2, 1100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Version: tt.version, Interval: tt.interval}
			if got := cfg.LeaveWait(); got != tt.want {
				t.Errorf("LeaveWait() = %s, want %s", got, tt.want)
			}
		})
	}
}

// TestPasswordOfAKeepalived: who forgets the password of a keepalived pair reads where it is written, on either side.
func TestPasswordOfAKeepalived(t *testing.T) {
	for _, want := range []string{`auth { password = "..." }`, "auth_pass", "remove its authentication block there"} {
		if got := ErrAuthType.Error(); !strings.Contains(got, want) {
			t.Errorf("the refusal says %q, want %q in it", got, want)
		}
	}
}
