package interop

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestMigration replaces the keepalived of a running pair, or FRR, one host at a time: the backup first, then the mastership is moved,
// then the other one. The client loses no connection but where keepalived's own stop does.
func TestMigration(t *testing.T) {
	book := newLedger(t)
	for _, r := range slices.Concat(pairs, otherPairs, frrPairs) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, r.make, r.opts)
			m.book = book
			m.migrate(t, r.name)
		})
	}
}

// pair is what a pair is found to speak.
type pair struct {
	name string
	make maker
	opts options
}

// pairs are those that a third host hears.
var pairs = []pair{
	{"v2 IPv4", newKeepalived, options{version: 2, vip: vip4}},
	{"v2 IPv4 PASS", newKeepalived, options{version: 2, vip: vip4, ours: ourPassword, theirs: theirPassword}},
	{"v3 IPv4", newKeepalived, options{version: 3, vip: vip4}},
	{"v3 IPv6", newKeepalived, options{version: 3, vip: vip6}},
}

// otherPairs are those whose adverts are for each other alone, or come from the virtual router's MAC.
var otherPairs = []pair{
	{"v2 IPv4 unicast", newKeepalived, options{version: 2, vip: vip4, unicast: true}},
	{"v3 IPv4 unicast", newKeepalived, options{version: 3, vip: vip4, unicast: true}},
	{"v3 IPv6 unicast, hop limit 64", newKeepalived, options{version: 3, vip: vip6, unicast: true, routed: true}},
	{"v2 IPv4, virtual MAC", newKeepalived, options{version: 2, vip: vip4, ours: ourVirtualMAC, theirs: theirVirtualMAC}},
	{"v3 IPv4, virtual MAC", newKeepalived, options{version: 3, vip: vip4, ours: ourVirtualMAC, theirs: theirVirtualMAC}},
	{"v3 IPv6, virtual MAC", newKeepalived, options{version: 3, vip: vip6, ours: ourVirtualMAC, theirs: theirVirtualMAC}},
}

// frrPairs have the virtual router's MAC, as FRR always has.
var frrPairs = []pair{
	{"FRR v3 IPv4", newFRR, options{version: 3, vip: vip4, ours: ourVirtualMAC}},
	{"FRR v3 IPv6", newFRR, options{version: 3, vip: vip6, ours: ourVirtualMAC}},
}

// migration is a pair whose hosts run the one or the other, and a third host on which nothing runs yet.
type migration struct {
	*lab
	lb1, lb2, lb3 *pairtest.Server
	first, second peer // those on lb1 and lb2 that are replaced
}

// newMigration makes a pair that has elected lb1.
func newMigration(t *testing.T, make maker, o options) *migration {
	t.Helper()
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2", "lb3"}, Config: o.understudy(better), VIPs: map[string]time.Duration{o.vip.String(): every},
	})
	m := &migration{lab: &lab{Cluster: c, opts: o, client: c.Clients[o.vip]}, lb1: c.Get("lb1"), lb2: c.Get("lb2"), lb3: c.Get("lb3")}
	m.first, m.second = make(t, m.lb1, o, better), make(t, m.lb2, o, worse)
	m.lb2.Configure(t, o.understudy(worse))
	m.lb3.Configure(t, o.understudy(lowered))
	m.watch(t)
	m.first.start(t)
	m.second.start(t)
	m.serves(t, time.Now(), "lb1", settleBound)
	if !m.first.shows() {
		m.rests(t)
	}
	return m
}

// rests waits until lb1 has been alone for a while: seen with FRR over IPv6, both hosts answer in turns for a moment after the start.
func (m *migration) rests(t *testing.T) {
	t.Helper()
	began := time.Now()
	labtest.Eventually(t, settleBound, func() (bool, string) {
		saw := m.client.Between(time.Now().Add(-2*time.Second), time.Now())
		return time.Since(began) > 2*time.Second && len(saw.Servers()) == 1 && saw.LastServer() == "lb1", fmt.Sprintf("lb1 does not answer alone: %v", saw)
	})
}

// migrate goes the way that the README tells.
func (m *migration) migrate(t *testing.T, row string) {
	began := time.Now()
	step := "" // the one that is being taken
	nothing := func(t *testing.T, from time.Time, host string) {
		t.Helper()
		if m.first.shows() {
			m.Rests(t, from, time.Now().Add(time.Second))
			return
		}
		pairtest.Until(t, time.Now().Add(time.Second))
		c := m.paid(t, from)
		m.charge(t, bill{cost: c, row: row, step: step, within: caught, may: none})
		if servers := c.saw.Servers(); len(servers) != 1 || c.saw.LastServer() != host {
			t.Errorf("%v answered, want %s alone\n%v", servers, host, c.saw)
		}
	}
	move := func(t *testing.T, from time.Time, to string, bound time.Duration, lost loss) {
		t.Helper()
		served := m.serves(t, from, to, settleBound)
		c := m.paid(t, from)
		m.charge(t, bill{cost: c, row: row, step: step, moves: true, within: caught, may: lost})
		if took := served.Sub(from); took > bound+late+c.excuse {
			t.Errorf("%s answered after %v, want at most %v", to, took, bound+late)
		}
		if m.first.shows() {
			m.Moved(t, m.opts.vip, from, to)
		}
	}
	steps := []struct {
		name string
		do   func(t *testing.T, from time.Time)
	}{
		{"lb2 is a shadow first", func(t *testing.T, from time.Time) { m.shadow(t); nothing(t, from, "lb1") }},
		{"lb2's other daemon leaves", func(t *testing.T, from time.Time) { m.second.leave(t); nothing(t, from, "lb1") }},
		{"lb2's understudy starts", func(t *testing.T, from time.Time) {
			m.lb2.Start(t)
			m.home(t, m.lb2, false)
			nothing(t, from, "lb1")
		}},
		{"lb1's other daemon gives way", func(t *testing.T, from time.Time) {
			// Below lb2: an administrator moves the mastership without a gap, where stopping it would leave one.
			m.first.setPriority(t, lowered)
			move(t, from, "lb2", skewWorse+2*time.Second, few)
		}},
		{"lb1's other daemon leaves", func(t *testing.T, from time.Time) { m.first.leave(t); nothing(t, from, "lb2") }},
		{"lb1's understudy starts, and is the better one", func(t *testing.T, from time.Time) {
			m.lb1.Start(t)
			move(t, from, "lb1", downBetter+2*time.Second, none)
		}},
		{"drained", func(t *testing.T, from time.Time) {
			m.lb1.Does(t, 0, "drain")
			move(t, from, "lb2", handover(m.opts)+time.Second, none)
		}},
		{"undrained", func(t *testing.T, from time.Time) {
			m.lb1.Does(t, 0, "undrain")
			move(t, from, "lb1", downBetter+time.Second, none)
		}},
	}
	for _, s := range steps {
		step = s.name
		if !t.Run(s.name, func(t *testing.T) { s.do(t, time.Now()) }) {
			return
		}
	}
	if why := median(m.bills); why != "" {
		t.Errorf("of all moves: %s", why)
	}
	m.total(t, began)
}

// total asserts what the whole way cost: no more than its moves may, and one hiccup.
func (m *migration) total(t *testing.T, began time.Time) {
	t.Helper()
	all := m.paid(t, began)
	limit := all.limit(none) + int(hiccup/every)
	for _, b := range m.bills {
		limit += b.limit(b.may)
	}
	if all.refused > 0 || all.lost > limit {
		t.Errorf("over all %d connections were refused, want none, and %d lost, want at most %d\n%v", all.refused, all.lost, limit, all.saw)
	}
	t.Logf("over all %d connections lost, of at most %d: %v", all.lost, limit, all.saw)
}

// home waits until a host's daemon is what it should be.
func (m *migration) home(t *testing.T, h *pairtest.Server, master bool) {
	t.Helper()
	m.us = h
	m.settles(t, master)
}

// shadow runs a shadow on lb2 until it agrees with who serves there.
func (m *migration) shadow(t *testing.T) {
	t.Helper()
	s := startShadow(t, m.lb2)
	s.agrees(t, true)
	s.stop(t)
}
