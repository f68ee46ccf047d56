package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of a daemon's look-ups: internal/daemon/names.go has them, with the reasons.
const (
	lookupTimeout              = 5 * time.Second
	minLookupGap, maxLookupGap = 5 * time.Second, 30 * time.Second
)

// Answer is what a host's name service says of a name.
type Answer struct {
	IPs   []netip.Addr
	After time.Duration // so long a look-up takes
	Err   string        // why it fails; empty: it does not
	Fails []vrrp.Family // in which families alone; nil: in all
}

// names looks up the peers of a host's process, as the daemon does.
type names struct {
	h   *Host
	of  map[string]*name
	seq int // of the plan for the next look
}

// name is one of them. Its instants are the host's clock's.
type name struct {
	families []vrrp.Family // in which addresses are needed
	ips      []netip.Addr
	sure     []netip.Addr // what they were when a look-up last ended without an error
	err      string
	known    bool // it was looked up
	busy     bool // it is being looked up
	wanted   bool // somebody asked, since the last look-up began
	began    time.Time
	looked   time.Time
	at       time.Time // when the next one is due, if nobody asks
	gap      time.Duration
	found    *node.Resolved // what the process has not read yet
}

// newNames is a process that begins, with what the one before it knew.
func newNames(h *Host, led map[string]node.SealedName, cfg node.Config) *names {
	n := &names{h: h, of: map[string]*name{}}
	for text, s := range led {
		n.of[text] = &name{ips: s.IPs, sure: s.IPs, err: s.Err, known: true, at: h.now().Add(minLookupGap), gap: minLookupGap}
	}
	n.follow(cfg)
	return n
}

// follow brings the list to a configuration.
func (n *names) follow(cfg node.Config) {
	needed := map[string][]vrrp.Family{}
	for _, i := range cfg.Instances {
		for _, p := range i.Peers {
			if p.Name != "" {
				needed[p.Name] = append(needed[p.Name], i.Families()...)
			}
		}
	}
	wanted := map[string]*name{}
	for text, families := range needed {
		m := n.of[text]
		if m == nil {
			m = &name{}
		}
		if slices.ContainsFunc(families, func(f vrrp.Family) bool { return !m.sought(f) }) {
			m.wanted, m.at = true, time.Time{}
		}
		slices.Sort(families)
		m.families = slices.Compact(families)
		wanted[text] = m
	}
	n.of = wanted
	n.save()
}

// sought says whether addresses of a family have been looked for, as far as is known; what failed is tried again in its time.
func (m *name) sought(f vrrp.Family) bool {
	if m.families != nil {
		return slices.Contains(m.families, f)
	}
	return m.err != "" || slices.ContainsFunc(m.ips, func(ip netip.Addr) bool { return vrrp.FamilyOf(ip) == f })
}

// want takes note that the node asks for names.
func (n *names) want(texts []string) {
	for _, text := range texts {
		if m := n.of[text]; m != nil {
			m.wanted, m.gap = true, 0
		}
	}
	n.plan()
}

// next is when a name is to be looked up.
func (m *name) next() time.Time {
	if soonest := m.began.Add(minLookupGap); m.wanted && soonest.Before(m.at) {
		return soonest
	}
	return m.at
}

// runs says whether the process that the names are of runs, and has a name service to ask.
func (n *names) runs() bool {
	h := n.h
	return h.c.Resolve != nil && h.names == n && h.node != nil && !h.paused && !h.frozen && !h.Away()
}

// run reads what was found, and looks up what is due. A process that does not run does so when it goes on.
func (n *names) run() {
	if n == nil || len(n.of) == 0 {
		return
	}
	for _, text := range slices.Sorted(maps.Keys(n.of)) {
		if m := n.of[text]; m != nil && m.found != nil && n.runs() { // with each step it may end
			n.take(m, *m.found)
		}
	}
	if n.runs() {
		n.look()
		n.plan()
	}
}

// look begins what is due. A name whose host is heard needs no look, unless somebody asks for it.
func (n *names) look() {
	h := n.h
	var heard map[string]time.Time
	for _, text := range slices.Sorted(maps.Keys(n.of)) {
		m := n.of[text]
		if m.busy || h.now().Before(m.next()) {
			continue
		}
		if m.known && m.err == "" && !m.wanted && heard == nil {
			heard = n.h.Status().PeersHeard()
		}
		if m.err == "" && !m.wanted && heard[text].After(m.looked) {
			m.gap, m.looked, m.at = minLookupGap, h.now(), h.now().Add(minLookupGap)
			continue
		}
		m.busy, m.wanted, m.began = true, false, h.now()
		a := h.c.Resolve(h, text)
		h.after(min(a.After, lookupTimeout), func() {
			if h.names == n && n.of[text] == m {
				r := m.answer(text, a)
				m.found = &r
				n.run()
			}
		})
	}
}

// plan sees to it that the next look is not missed.
func (n *names) plan() {
	if !n.runs() {
		return
	}
	wait := maxLookupGap
	for _, m := range n.of {
		if !m.busy {
			wait = min(wait, m.next().Sub(n.h.now()))
		}
	}
	n.seq++
	seq := n.seq
	n.h.after(wait, func() {
		if n.seq == seq {
			n.run()
		}
	})
}

// answer is what the daemon's resolver makes of an answer: the addresses of the families that are needed, and a loopback, which says that
// the name is this host's own. Where one family fails, a name that was found before has the addresses of the families that it had alone.
func (m *name) answer(text string, a Answer) node.Resolved {
	r := node.Resolved{Name: text}
	if a.Err != "" {
		r.Err = errors.New(a.Err)
		if a.Fails == nil {
			return r
		}
	}
	for _, ip := range a.IPs {
		f := vrrp.FamilyOf(ip)
		had := a.Err == "" || len(m.sure) == 0 || slices.ContainsFunc(m.sure, func(s netip.Addr) bool { return vrrp.FamilyOf(s) == f })
		if (slices.Contains(m.families, f) || ip.IsLoopback()) && !slices.Contains(a.Fails, f) && had {
			r.Addresses = append(r.Addresses, ip)
		}
	}
	if len(r.Addresses) == 0 && r.Err == nil {
		r.Err = fmt.Errorf("it has no %s address", m.families[0])
	}
	return r
}

// take tells the node what is new in what was found.
func (n *names) take(m *name, r node.Resolved) {
	now, first, failed, err := n.h.now(), !m.known, m.err, ""
	if r.Err != nil {
		err = r.Err.Error()
	}
	ips := kept(m.ips, r.Addresses)
	m.known, m.busy, m.found, m.err, m.looked = true, false, nil, err, now
	m.gap = min(max(2*m.gap, minLookupGap), maxLookupGap)
	m.at = now.Add(m.gap)
	if err == "" {
		m.sure = ips
	}
	if slices.Equal(m.ips, ips) && err == failed && !(first && err == "") {
		return
	}
	m.ips = ips
	n.save()
	n.h.c.Note("%s finds %s at %v %s", n.h.Name, r.Name, ips, err)
	n.h.feed(r)
}

// kept is where a name leads: in a family of which no address was found, to those of before.
func kept(before, found []netip.Addr) []netip.Addr {
	ips := slices.Clone(found)
	for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		others := func(ip netip.Addr) bool { return vrrp.FamilyOf(ip) != f }
		if !slices.ContainsFunc(found, func(ip netip.Addr) bool { return !others(ip) }) {
			ips = append(ips, slices.DeleteFunc(slices.Clone(before), others)...)
		}
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return ips
}

// save keeps where the names lead, for a cleanup after this process.
func (n *names) save() {
	n.h.led = nil
	for text, m := range n.of {
		if n.h.led == nil {
			n.h.led = map[string]node.SealedName{}
		}
		switch {
		case len(m.ips) > 0:
			n.h.led[text] = node.SealedName{IPs: m.ips}
		case m.err != "":
			n.h.led[text] = node.SealedName{Err: m.err}
		}
	}
}

// recall tells a cleanup where the names led the process that died.
func (n *names) recall() {
	for _, text := range slices.Sorted(maps.Keys(n.of)) {
		if m := n.of[text]; m.known {
			r := node.Resolved{Name: text, Addresses: m.ips}
			if m.err != "" {
				r.Err = errors.New(m.err)
			}
			n.h.feed(r)
		}
	}
}

// Leads says where a peer's name leads, as far as the host's process knows, and whether it was looked up.
func (h *Host) Leads(text string) (ips []netip.Addr, known bool) {
	if h.names == nil || h.names.of[text] == nil {
		return nil, false
	}
	return h.names.of[text].ips, h.names.of[text].known
}

// Unresolved says whether the host's process has not looked up every name yet.
func (h *Host) Unresolved() bool {
	for _, m := range h.names.of {
		if !m.known {
			return true
		}
	}
	return false
}
