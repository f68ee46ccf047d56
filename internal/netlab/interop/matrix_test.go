package interop

import (
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// The priorities: the better side's, the other's, and one below both.
const better, worse, lowered = 150, 100, 50

// What moves may cost, at an interval of 1 s. Skews and Master_Down_Intervals are those of the priorities above.
const (
	skewBetter = 415 * time.Millisecond // (256-150)/256 s
	skewWorse  = 610 * time.Millisecond
	downBetter = 3*time.Second + skewBetter
	downWorse  = 3*time.Second + skewWorse
	// leased is for how long a dead daemon's address stays at least: the kernel ends a lease of 2 s from 1.95 s on, and we renew it
	// every second.
	leased = 900 * time.Millisecond
	// prompt is what a move may take that waits for no timer of a second.
	prompt = 60 * time.Millisecond
	// late is what a busy machine adds to a timer.
	late = 150 * time.Millisecond
	// caught is an outage of nobody: the connections that are open at the instant of a move break, and they are successive ones.
	caught = 4 * every
	// moment is for how long nobody may have the address where the old holder lets go at the new one's first advert: the new one
	// announces the address next (we), or has yet to set it (FRR, with the virtual MAC that we have too; for keepalived see early). That
	// takes a millisecond or two.
	moment = 2 * every
)

// loss is what becomes of new connections.
type loss int

const (
	// none is lost where the old holder serves on until the new one does.
	none loss = iota
	// both have the address where a daemon died and left it: its host serves on, and none is lost.
	both
	// few are lost in a moment.
	few
	// gone are those of an outage, and no others.
	gone
)

// rows are the speakers and what they speak. VRRPv2 has no IPv6.
var rows = []struct {
	name string
	make maker
	opts options
}{
	{"keepalived v2 IPv4", newKeepalived, options{version: 2, vip: vip4}},
	{"keepalived v2 IPv4 PASS", newKeepalived, options{version: 2, vip: vip4, ours: ourPassword, theirs: theirPassword}},
	{"keepalived v2 IPv4 unicast", newKeepalived, options{version: 2, vip: vip4, unicast: true}},
	{"keepalived v2 IPv4, our virtual MAC", newKeepalived, options{version: 2, vip: vip4, ours: ourVirtualMAC}},
	{"keepalived v2 IPv4, their virtual MAC", newKeepalived, options{version: 2, vip: vip4, theirs: theirVirtualMAC}},
	{"keepalived v2 IPv4, both virtual MAC", newKeepalived, options{version: 2, vip: vip4, ours: ourVirtualMAC, theirs: theirVirtualMAC}},
	{"keepalived v3 IPv4", newKeepalived, options{version: 3, vip: vip4}},
	{"keepalived v3 IPv4 unicast", newKeepalived, options{version: 3, vip: vip4, unicast: true}},
	{"keepalived v3 IPv4, our virtual MAC", newKeepalived, options{version: 3, vip: vip4, ours: ourVirtualMAC}},
	{"keepalived v3 IPv4, their virtual MAC", newKeepalived, options{version: 3, vip: vip4, theirs: theirVirtualMAC}},
	{"keepalived v3 IPv4, both virtual MAC", newKeepalived, options{version: 3, vip: vip4, ours: ourVirtualMAC, theirs: theirVirtualMAC}},
	{"keepalived v3 IPv6", newKeepalived, options{version: 3, vip: vip6}},
	{"keepalived v3 IPv6 unicast", newKeepalived, options{version: 3, vip: vip6, unicast: true}},
	{"keepalived v3 IPv6, our virtual MAC", newKeepalived, options{version: 3, vip: vip6, ours: ourVirtualMAC}},
	{"keepalived v3 IPv6, their virtual MAC", newKeepalived, options{version: 3, vip: vip6, theirs: theirVirtualMAC}},
	{"keepalived v3 IPv6, both virtual MAC", newKeepalived, options{version: 3, vip: vip6, ours: ourVirtualMAC, theirs: theirVirtualMAC}},
	{"FRR v3 IPv4", newFRR, options{version: 3, vip: vip4}},
	{"FRR v3 IPv4, both virtual MAC", newFRR, options{version: 3, vip: vip4, ours: ourVirtualMAC}},
	{"FRR v3 IPv6", newFRR, options{version: 3, vip: vip6}},
	{"FRR v3 IPv6, both virtual MAC", newFRR, options{version: 3, vip: vip6, ours: ourVirtualMAC}},
}

// handover is what they may take who are handed the address. VRRPv2 learns no interval, so its successors wait for their own skew;
// meanwhile we serve on.
func handover(o options) time.Duration {
	if o.version == 2 {
		return skewWorse + prompt
	}
	return prompt
}

// step is something that one side does, and what comes of it.
type step struct {
	name   string
	do     func(t *testing.T, l *lab)
	host   string        // who answers at the end
	within time.Duration // until then; 0: nothing moves
	outage time.Duration // for which nobody answers at most
	lost   loss
}

// TestWeAreBetter tells of every way in which we, the better side, and the other one go and come back.
func TestWeAreBetter(t *testing.T) {
	book := newLedger(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, r.opts, r.make, better, worse)
			l.book = book
			l.peer.start(t)
			l.serves(t, time.Now(), "theirs", settleBound)
			l.walk(t, r.name, []step{
				{"we start", func(t *testing.T, l *lab) { l.us.Start(t) }, "ours", downBetter + 2*time.Second, caught, few},
				{"we stop", func(t *testing.T, l *lab) { l.us.Stop(t) }, "theirs", handover(l.opts), caught, none},
				{"we return", func(t *testing.T, l *lab) { l.us.Start(t) }, "ours", downBetter + 2*time.Second, caught, few},
				{"our check fails", func(t *testing.T, l *lab) { l.sick(t, true) }, "theirs", checkEvery + handover(l.opts), caught, none},
				{"our check is healthy", func(t *testing.T, l *lab) { l.sick(t, false) }, "ours", downBetter + checkEvery, caught, few},
				{"our priority falls", func(t *testing.T, l *lab) { l.reload(t, lowered) }, "theirs", downWorse + time.Second, caught, none},
				{"our priority rises", func(t *testing.T, l *lab) { l.reload(t, better) }, "ours", downBetter + time.Second, caught, few},
				{"they stop", func(t *testing.T, l *lab) { l.peer.stop(t) }, "ours", 0, caught, none},
				{"they return", func(t *testing.T, l *lab) { l.peer.start(t) }, "ours", 0, caught, none},
				// The kernel takes our address away before they have it.
				{"we die", func(t *testing.T, l *lab) { l.kill(t) }, "theirs", downWorse, downWorse - leased, gone},
				{"we come back", func(t *testing.T, l *lab) { l.us.Start(t) }, "ours", downBetter + 2*time.Second, caught, few},
				{"they die", func(t *testing.T, l *lab) { l.peer.kill(t) }, "ours", 0, caught, none},
			})
		})
	}
}

// TestTheyAreBetter tells the same with the sides exchanged.
func TestTheyAreBetter(t *testing.T) {
	book := newLedger(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, r.opts, r.make, worse, better)
			l.book = book
			l.us.Start(t)
			l.serves(t, time.Now(), "ours", settleBound)
			l.walk(t, r.name, []step{
				{"they start", func(t *testing.T, l *lab) { l.peer.start(t) }, "theirs", downBetter + 2*time.Second, caught, none},
				// They let go before anybody else has the address: their way.
				{"they stop", func(t *testing.T, l *lab) { l.peer.stop(t) }, "ours", skewWorse + late, skewWorse + late, gone},
				{"they return", func(t *testing.T, l *lab) { l.peer.start(t) }, "theirs", downBetter + 2*time.Second, caught, none},
				{"their check fails", func(t *testing.T, l *lab) { l.faults(t, true) }, "ours", skewWorse + late, skewWorse + late, gone},
				{"their check is healthy", func(t *testing.T, l *lab) { l.faults(t, false) }, "theirs", downBetter + time.Second, caught, none},
				{"their priority falls", func(t *testing.T, l *lab) { l.peer.setPriority(t, lowered) }, "ours", skewWorse + 2*time.Second, caught, few},
				{"their priority rises", func(t *testing.T, l *lab) { l.peer.setPriority(t, better) }, "theirs", downBetter + time.Second, caught, none},
				{"we stop", func(t *testing.T, l *lab) { l.us.Stop(t) }, "theirs", 0, caught, none},
				{"we return", func(t *testing.T, l *lab) { l.us.Start(t) }, "theirs", 0, caught, none},
				{"our check fails", func(t *testing.T, l *lab) { l.sick(t, true) }, "theirs", 0, caught, none},
				{"our check is healthy", func(t *testing.T, l *lab) { l.sick(t, false) }, "theirs", 0, caught, none},
				// The address stays on their host, whose nginx serves on.
				{"they die", func(t *testing.T, l *lab) { l.peer.kill(t) }, "ours", downWorse, caught, both},
				{"they come back", func(t *testing.T, l *lab) { l.peer.start(t) }, "theirs", downBetter + 2*time.Second, caught, none},
				{"we die", func(t *testing.T, l *lab) { l.kill(t) }, "theirs", 0, caught, none},
			})
		})
	}
}

// walk goes through steps one after the other.
func (l *lab) walk(t *testing.T, row string, steps []step) {
	t.Helper()
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) { l.take(t, row, s) }) {
			return // where things stand is not known
		}
	}
	if why := median(l.bills); why != "" {
		t.Errorf("of all steps: %s", why)
	}
}

// take does a step, and looks what came of it.
func (l *lab) take(t *testing.T, row string, s step) {
	t.Helper()
	from := time.Now()
	s.do(t, l)
	if s.within == 0 {
		pairtest.Until(t, time.Now().Add(time.Second))
	}
	served := l.serves(t, from, s.host, settleBound)
	if running(l.us) {
		l.settles(t, s.host == "ours")
	}
	if s.host == "theirs" && s.within > 0 && s.lost == none && l.opts.sharedMAC() && !l.peer.shows() {
		s.lost = few // its first advert turns the switch, and then it sets the address; where the kernel shows it, see early
	}
	c := l.paid(t, from)
	l.charge(t, bill{cost: c, row: row, step: s.name, moves: s.within > 0, within: s.outage, may: s.lost})
	if took := served.Sub(from); s.within > 0 && took > s.within+late+c.excuse {
		t.Errorf("%s answered after %v, want at most %v", s.host, took, s.within+late)
	}
	if !l.peer.shows() {
		return
	}
	if s.lost == both || s.lost == gone {
		return
	}
	if moves, want := l.Owners.History().Moves(l.opts.vip, from, time.Now()), min(s.within, 1); moves != int(want) {
		t.Errorf("the address moved %d times, want %d", moves, want)
	}
	l.Overlap(t, l.opts.vip, from, pairtest.Lingers+c.excuse)
}

// running says whether our daemon is there.
func running(h *pairtest.Server) bool {
	if h.Daemon == nil {
		return false
	}
	select {
	case <-h.Daemon.Done():
		return false
	default:
		return true
	}
}

// reload gives our daemon another priority.
func (l *lab) reload(t *testing.T, priority int) {
	t.Helper()
	l.us.Configure(t, l.opts.understudy(priority))
	if err := l.us.Daemon.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// kill kills our daemon, without the cleanup that a service manager would run.
func (l *lab) kill(t *testing.T) {
	t.Helper()
	if err := l.us.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
}

// faults has the other side leave the election, or take part again; where it cannot, it is stopped and started.
func (l *lab) faults(t *testing.T, ill bool) {
	t.Helper()
	switch {
	case l.peer.fault(t, ill):
	case ill:
		l.peer.stop(t)
	default:
		l.peer.start(t)
	}
}
