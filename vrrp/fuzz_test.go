package vrrp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse: no packet makes Parse panic, and what it accepts is stable: marshalled again it reads the same.
func FuzzParse(f *testing.F) {
	for _, v := range vectors() {
		f.Add(unhex(f, v.hex), FamilyOf(v.source) == IPv6)
	}
	for _, v := range sealedVectors() {
		f.Add(unhex(f, v.hex), FamilyOf(v.source) == IPv6)
	}
	seeds := []struct{ bug, hex string }{
		{"reads the header of an empty packet", ""},
		{"reads the checksum of a packet that ends before it", "310ac802006400"},
		{"reads addresses behind the end: count 255, none there", "310ac8ff00648000"},
		{"an allocation for a count of 0, then its first address is read", "310ac80000640000"},
		{"takes v2's authentication data for two addresses", "210ac804000192eb00000000c0000201c00002020000000000000000"},
		{"the reserved nibble becomes part of the interval", "310ac802f064eefac0000201c0000202"},
		{"an odd length runs past the checksum's last word", "310ac80200640000c0000201c000020200"},
		{"over IPv6 the count is in units of 16 bytes", "310a640100640000fe80000000000000"},
	}
	f.Add(unhex(f, carpMessage), false)
	f.Add(unhex(f, carpMessage), true)
	for _, s := range seeds {
		for _, form := range []ChecksumForm{ChecksumPseudoHeader, ChecksumMessage} {
			f.Add(seal(unhex(f, s.hex), source4, GroupIPv4, form), false)
			f.Add(seal(unhex(f, s.hex), source6, GroupIPv6, form), true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) {
		source, destination := source4, GroupIPv4
		if ipv6 {
			source, destination = source6, GroupIPv6
		}
		before := bytes.Clone(b)
		checkParse(t, b, source, destination)
		// With a right checksum the fuzzer gets behind it.
		checkParse(t, seal(bytes.Clone(b), source, destination, ChecksumPseudoHeader), source, destination)
		if !bytes.Equal(before, b) {
			t.Errorf("Parse changed its input from %x to %x", before, b)
		}
	})
}

func checkParse(t *testing.T, b []byte, source, destination netip.Addr) {
	t.Helper()
	r, err := Parse(b, source, destination, HopLimit)
	if err != nil {
		if ReasonOf(err) == "unknown" {
			t.Fatalf("%x: error %v is none of the sentinels", b, err)
		}
		return
	}
	a, form := r.Advert, r.Form
	// What a configured router does with it must not panic either.
	for _, cfg := range []Config{config4(V2, true), config4(V3, true), config6(true)} {
		_, _ = cfg.Refuse(r, peer4, 100, nil), cfg.Notices(a, 100)
	}
	if len(a.Addresses) == 0 {
		return // VRRPv2 may hear none, but no configuration sends none
	}
	c, err := a.Append(nil, source, destination, form)
	if err != nil {
		t.Fatalf("%x is accepted as %s, and marshals not: %v", b, a, err)
	}
	again, err := Parse(c, source, destination, HopLimit)
	if err != nil {
		t.Fatalf("%s is written as %x and refused: %v", a, c, err)
	}
	if diff := cmp.Diff(a, again.Advert, compareAddr); diff != "" || form != again.Form {
		t.Fatalf("advert (-first +second), forms %s and %s:\n%s", form, again.Form, diff)
	}
}

// FuzzStep drives a machine through random events at times that never go back, and holds every invariant.
func FuzzStep(f *testing.F) {
	op := func(code byte, rest ...byte) []byte { return append([]byte{code}, append(rest, 0, 0)[:2]...) }
	add := func(config byte, ops ...[]byte) { f.Add(append([]byte{config}, slices.Concat(ops...)...)) }
	add(0)
	// A whole handover, both ends; then the same with an owner and with priority 1.
	for _, p := range []byte{100, 255, 1} {
		add(2, op(opStartup, p), op(opHeard, 150, 0x42), op(opHeard, 150, 0x40), op(opHeard, 0, 0x40), op(opElapse), op(opPromote),
			op(opElapse), op(opLeave, p), op(opElapse), op(opElapse), op(opElapse), op(opResume), op(opShutdown))
	}
	// A weight falls below a lower master while the backup preempts it, and it falls ill.
	add(2, op(opStartup, 200), op(opWait, 0xc3), op(opHeard, 100, 0x42), op(opPriority, 90), op(opPriority, 1), op(opElapse))
	// A reload in the middle of a handover.
	add(2, op(opStartup, 100), op(opHeard, 150, 0x40), op(opHeard, 0, 0x40), op(opReconfigure, 3), op(opElapse))
	// A late waker listens and hears a lower master, a priority 0, a witness.
	add(2, op(opStartup, 100), op(opPromote), op(opListen, 11), op(opHeard, 50, 0x42), op(opHeard, 0, 0x42), op(opWitnessed))
	// What is early, to a backup, to a ready one, to one that follows a handover, to a master, to one at priority 1, to a leaving one.
	add(2, op(opStartup, 100), op(opEarly, 150, 0x40), op(opEarly, 0, 0x40), op(opElapse), op(opEarly, 150, 0x42), op(opHeard, 150, 0x40), op(opHeard, 0, 0x40),
		op(opEarly, 150, 0x42), op(opElapse), op(opPromote), op(opEarly, 200, 0x42), op(opPriority, 1), op(opEarly, 1, 0xc2), op(opPromote), op(opLeave, 0), op(opEarly, 50, 0x40))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 3*300 {
			return
		}
		r := newRun(t, b[0])
		for b = b[1:]; len(b) >= 3; b = b[3:] {
			r.op(b[0], b[1], b[2])
		}
	})
}

// The operations that FuzzStep's bytes mean; each has two arguments.
const (
	opWait        = iota // time passes: 6 bits of count, 2 bits of unit
	opElapse             // to the deadline, then Elapsed
	opElapsed            // Elapsed now
	opHeard              // priority; sender and interval
	opStartup            // priority
	opShutdown           //
	opPromote            //
	opStepDown           //
	opListen             // hundreds of milliseconds
	opPriority           // priority
	opHold               // seconds
	opLeave              // offer
	opResume             //
	opHandedOver         //
	opWitnessed          // odd: asked
	opReconfigure        // interval
	opSource             // last byte of our address
	opEarly              // as opHeard
	ops                  // how many there are
)

// run is one fuzzed life of a machine. The twin gets the same inputs and must give the same outputs.
type run struct {
	t        *testing.T
	m, twin  *Machine
	now      time.Time
	widest   time.Duration // the longest interval that was configured, heard or listened for
	repeats  int           // priority-0 adverts since the last Leave that no event but Elapsed asked for
	previous []string      // what led here, for a failure
}

// newRun makes the machine: two bits of interval, then version, preempt, dead_adverts 2 or 3.
func newRun(t *testing.T, b byte) *run {
	cfg := config4(V3, false)
	if b&4 != 0 {
		cfg.Version = V2
	}
	cfg.Preempt, cfg.DeadAdverts, cfg.Interval = b&8 == 0, 3-int(b>>4&1), fuzzInterval(cfg.Version, b)
	return &run{
		t: t, m: New(cfg), twin: New(cfg), widest: cfg.Interval,
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// fuzzInterval makes a legal interval of two bits.
func fuzzInterval(v Version, b byte) time.Duration {
	if v == V2 {
		return []time.Duration{MinIntervalV2, 2 * time.Second, 3 * time.Second, MaxIntervalV2}[b&3]
	}
	return []time.Duration{MinInterval, 100 * time.Millisecond, time.Second, MaxIntervalV3}[b&3]
}

func (r *run) op(code, a, b byte) {
	cfg := *r.m.Config()
	switch code % ops {
	case opWait:
		unit := []time.Duration{100 * time.Microsecond, 2 * time.Millisecond, 50 * time.Millisecond, time.Second}[a>>6]
		r.now = r.now.Add(time.Duration(a&0x3f) * unit)
	case opElapse:
		if deadline, ok := r.m.Deadline(); ok && deadline.After(r.now) {
			r.now = deadline
		}
		r.step(Elapsed{})
	case opElapsed:
		r.step(Elapsed{})
	case opHeard:
		r.heard(a, b, false)
	case opEarly:
		r.heard(a, b, true)
	case opStartup:
		r.step(Startup{max(a, 1), source4})
	case opShutdown:
		r.step(Shutdown{"shutdown"})
	case opPromote:
		r.step(Promote{"promote"})
	case opStepDown:
		r.step(StepDown{Why: "step down"})
	case opListen:
		listen := time.Duration(a) * 100 * time.Millisecond
		r.widest = max(r.widest, listen)
		r.step(StepDown{Why: "woke late", Listen: listen})
	case opPriority:
		r.step(SetPriority{max(a, 1)})
	case opHold:
		r.step(HoldPreempt{r.now.Add(time.Duration(a) * time.Second)})
	case opLeave:
		r.step(Leave{a, "leave"})
	case opResume:
		r.step(Resume{"resume"})
	case opHandedOver:
		r.step(HandedOver{Why: "handed over", Interval: time.Second, Since: r.now})
	case opWitnessed:
		r.step(Witnessed{Why: "witnessed", Asked: a%2 == 1})
	case opReconfigure:
		cfg.Interval, cfg.DeadAdverts = fuzzInterval(cfg.Version, a), 3-int(a>>2&1)
		r.widest = max(r.widest, cfg.Interval)
		r.step(Reconfigure{cfg})
	case opSource:
		r.step(SetSource{netip.AddrFrom4([4]byte{192, 0, 2, a})})
	}
}

// heard feeds an advert, as the daemon does: only when Refuse lets it pass.
func (r *run) heard(priority, b byte, early bool) {
	cfg := r.m.Config()
	a := Advert{Version: cfg.Version, VRID: cfg.VRID, Priority: priority, Interval: fuzzInterval(cfg.Version, b), Addresses: addresses4}
	from := netip.AddrFrom4([4]byte{192, 0, 2, 250 + b>>6})
	if cfg.Refuse(received(a, from), r.m.source, r.m.Priority(), nil) != nil {
		return
	}
	r.widest = max(r.widest, a.Interval)
	if early {
		r.step(Early{a, from})
		return
	}
	r.step(Heard{a, from})
}

// TestStepRandomly is FuzzStep on a fixed seed, so that every test run walks through some ten thousand events.
func TestStepRandomly(t *testing.T) {
	const seed, lives, events = 5798, 200, 200
	random := rand.New(rand.NewPCG(seed, 0))
	for life := range lives {
		r := newRun(t, byte(random.Uint32()))
		r.op(opStartup, byte(random.Uint32()), 0)
		for range events {
			r.op(byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32()))
		}
		if t.Failed() {
			t.Fatalf("seed %d, life %d", seed, life)
		}
	}
}
