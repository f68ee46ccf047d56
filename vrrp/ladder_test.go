package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// rung is one row of the receive rules: RFC 9568 section 7.1 with errata 8298 to 8301, and RFC 3768 section 7.1.
type rung struct {
	row    string
	only   Version // the version that has the rule; 0: both
	family Family  // the family that has it; 0: both
	// spoil makes a good packet break the rule: as an advert, as bytes, or on its way.
	advert func(*Advert)
	bytes  func([]byte) []byte
	way    func(*Received)
	config func(*Config)
	own    uint8 // our priority; 0: 100
	// lax and strict are the outcome without and with strict: refused, or accepted with a notice, or neither.
	lax, strict outcome
	unsealed    bool // the checksum is left as it is after bytes
}

type outcome struct {
	refused *Refusal
	notice  Notice
}

func refused(r *Refusal) outcome { return outcome{refused: r} }
func noticed(n Notice) outcome   { return outcome{notice: n} }

// ladder has the rows in the order of the RFC's list.
func ladder() []rung {
	set := func(at int, to byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = to; return b }
	}
	both := func(r rung, o outcome) rung { r.lax, r.strict = o, o; return r }
	fewer := func(a *Advert) { a.Addresses = a.Addresses[:1] }
	rungs := []rung{
		both(rung{row: "0 nothing is wrong"}, outcome{}),
		both(rung{row: "1 TTL or hop limit is not 255", way: func(r *Received) { r.HopLimit = 254 }}, refused(ErrHopLimit)),
		both(rung{row: "2 another version", family: IPv4, config: func(c *Config) { c.Version = V2 + V3 - c.Version; c.Interval = time.Second }}, refused(ErrVersionMismatch)),
		both(rung{row: "2 a version that does not exist", bytes: set(0, 0x41)}, refused(ErrVersion)),
		both(rung{row: "3 another type", bytes: func(b []byte) []byte { b[0]++; return b }}, refused(ErrType)),
		both(rung{row: "4 cut", bytes: func(b []byte) []byte { return b[:len(b)-1] }}, refused(ErrShort)),
		both(rung{row: "4 cut in the header", bytes: func(b []byte) []byte { return b[:7] }}, refused(ErrShort)),
		both(rung{row: "4 no authentication data", only: V2, bytes: func(b []byte) []byte { return b[:len(b)-8] }}, refused(ErrShort)),
		both(rung{row: "4 an excess byte", bytes: func(b []byte) []byte { return append(b, 0) }}, refused(ErrExcess)),
		both(rung{row: "5 a wrong checksum", unsealed: true, bytes: func(b []byte) []byte { b[7]++; return b }}, refused(ErrChecksum)),
		both(rung{row: "6 VRID 0", bytes: set(1, 0)}, refused(ErrVRID)),
		{row: "7 we are the owner: erratum 8298 accepts", own: PriorityOwner, lax: outcome{}, strict: refused(ErrStrictOwner)},
		{row: "7 and so says another one", own: PriorityOwner, advert: func(a *Advert) { a.Priority = PriorityOwner }, lax: noticed(NoticeOwner), strict: refused(ErrStrictOwner)},
		both(rung{row: "8 no address", only: V3, bytes: func(b []byte) []byte { b[3] = 0; return b[:headerLen] }}, refused(ErrNoAddresses)),
		{row: "8 no address, of which RFC 3768 says nothing", only: V2, lax: noticed(NoticeAddresses), strict: refused(ErrStrictAddresses), bytes: func(b []byte) []byte {
			b[3] = 0
			return slices.Delete(b, headerLen, len(b)-authDataLen)
		}},
		both(rung{row: "9 an authentication type", only: V2, bytes: set(4, 1)}, refused(ErrAuthType)),
		both(rung{row: "10 interval 0, which erratum 8301 refuses", bytes: set(5, 0)}, refused(ErrInterval)),
		both(rung{row: "10 another interval", only: V2, advert: func(a *Advert) { a.Interval = 2 * time.Second }}, refused(ErrIntervalMismatch)),
		both(rung{row: "10 another interval", only: V3, advert: func(a *Advert) { a.Interval = 2 * time.Second }}, noticed(NoticeInterval)),
		{row: "11 another address list", only: V2, advert: fewer, lax: noticed(NoticeAddresses), strict: refused(ErrStrictAddresses)},
		both(rung{row: "11 the owner's other address list", only: V2, advert: func(a *Advert) { fewer(a); a.Priority = PriorityOwner }}, noticed(NoticeAddresses)),
		both(rung{row: "11 another address list", only: V3, advert: fewer}, noticed(NoticeAddresses)),
		{row: "12 the first address is not link-local: erratum 8300 refuses", family: IPv6, advert: func(a *Advert) { slices.Reverse(a.Addresses) },
			lax: noticed(NoticeLinkLocal), strict: refused(ErrStrictLinkLocal)},
	}
	return rungs
}

// TestLadder holds each row of the receive rules in both versions and families, from the bytes to the verdict.
func TestLadder(t *testing.T) {
	kinds := []struct {
		version             Version
		family              Family
		source, destination netip.Addr
	}{
		{V2, IPv4, peer4, GroupIPv4}, {V3, IPv4, peer4, GroupIPv4}, {V3, IPv6, netip.MustParseAddr("fe80::c9"), GroupIPv6},
	}
	for _, r := range ladder() {
		for _, k := range kinds {
			if r.only != 0 && r.only != k.version || r.family != 0 && r.family != k.family {
				continue
			}
			for _, strict := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, v%d over %s, strict %t", r.row, k.version, k.family, strict), func(t *testing.T) {
					cfg := config6(strict)
					if k.family == IPv4 {
						cfg = config4(k.version, strict)
					}
					r.climb(t, cfg, k.source, k.destination)
				})
			}
		}
	}
}

// climb sends one spoilt packet up the ladder.
func (r rung) climb(t *testing.T, cfg Config, source, destination netip.Addr) {
	a := Advert{Version: cfg.Version, VRID: 10, Priority: 50, Interval: time.Second, Addresses: slices.Clone(cfg.Addresses)}
	want, own := r.lax, r.own
	if cfg.Strict {
		want = r.strict
	}
	if own == 0 {
		own = 100
	}
	if r.advert != nil {
		r.advert(&a)
	}
	if r.config != nil {
		r.config(&cfg)
	}
	form := formOf(a.Version, cfg.Family, ChecksumPseudoHeader)
	b, err := a.Append(nil, source, destination, form)
	if err != nil {
		t.Fatal(err)
	}
	if r.bytes != nil {
		if b = r.bytes(b); !r.unsealed {
			b = seal(b, source, destination, form)
		}
	}
	got, err := Parse(b, source, destination, HopLimit)
	if r.way != nil {
		r.way(&got)
	}
	if err == nil {
		err = cfg.Refuse(got, netip.Addr{}, own, nil)
	}
	switch {
	case want.refused != nil:
		if err != error(want.refused) {
			t.Errorf("error %v, want %v", err, want.refused)
		}
	case err != nil:
		t.Errorf("refused: %v", err)
	default:
		notices := cfg.Notices(got.Advert, own)
		if want.notice == "" && len(notices) > 0 || want.notice != "" && !slices.Equal(notices, []Notice{want.notice}) {
			t.Errorf("notices %v, want %q", notices, want.notice)
		}
	}
}
