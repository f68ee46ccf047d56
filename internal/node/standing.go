package node

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// maxBare bounds how long an interface may be without an address of its own.
const maxBare = 500 * time.Millisecond

// standing is what the inputs of an instance, or of all instances of a fate, say it should be, whatever it is now.
type standing struct {
	voiceless bool     // nothing can be sent: a handover is pointless
	cannot    string   // why it cannot take part at all
	pending   string   // why it is not yet known whether it can
	ill       []string // why it offers its addresses to anyone better
	healthy   uint8    // base and weights; of a fate the lowest of its instances'
	lowered   []string // the weighing checks that fail,
	best      uint8    // and what healthy would be without that
	terms     []Term   // what healthy is the sum of; a fate has none
}

// Term is one part of an effective priority.
type Term struct {
	What  string `json:"what"`
	Value int    `json:"value"`
}

// priority is the effective priority.
func (s *standing) priority() uint8 {
	if len(s.ill) > 0 {
		return vrrp.PriorityIll
	}
	return s.healthy
}

// illness is why it is unhealthy, in words.
func (s *standing) illness() string { return strings.Join(s.ill, "; ") }

// beneath adds to the reason for which a master gives way to a priority what brought its own so low.
func (s *standing) beneath(priority uint8, why string) string {
	switch {
	case len(s.ill) > 0:
		return s.illness() + "; " + why
	case s.healthy < s.best && priority <= s.best:
		return strings.Join(s.lowered, "; ") + "; " + why
	}
	return why
}

// departs says why the fate gives up its addresses for good, whether or not anybody takes them.
func (n *Node) departs(f *fate) (string, bool) {
	if n.stopping {
		return "the daemon stops", true
	}
	if f.removed {
		return "no longer configured", true
	}
	return f.standing.cannot, f.standing.cannot != ""
}

// ends says whether the fate will never take part again.
func (n *Node) ends(f *fate) bool { return n.stopping || f.removed }

// assess recomputes a fate's standing from nothing: sums that are kept drift. One instance that cannot take part keeps all
// out, one of which that is not known yet makes all wait, one that is ill makes all yield; the lowest priority is everyone's.
func (n *Node) assess(now time.Time, f *fate) {
	if len(f.instances) == 1 {
		n.assessInstance(now, f.instances[0])
		f.standing = f.instances[0].standing
		return
	}
	s := standing{voiceless: true, healthy: vrrp.PriorityOwner, best: vrrp.PriorityOwner}
	for _, i := range f.instances {
		n.assessInstance(now, i)
		s.healthy, s.best = min(s.healthy, i.standing.healthy), min(s.best, i.standing.best)
		if i.state.takesPart() { // of a fate that does not, nobody asks
			s.voiceless = s.voiceless && i.standing.voiceless
		}
	}
	s.cannot = strings.Join(f.reasons(func(s *standing) []string { return some(s.cannot) }), "; ")
	s.pending = strings.Join(f.reasons(func(s *standing) []string { return some(s.pending) }), "; ")
	s.ill = f.reasons(func(s *standing) []string { return s.ill })
	s.lowered = f.reasons(func(s *standing) []string { return s.lowered })
	f.standing = s
}

// some is a list of a reason, if there is one.
func some(reason string) []string {
	if reason == "" {
		return nil
	}
	return []string{reason}
}

// reasons collects those of all instances, each once. What is not everyone's reason names its instance.
func (f *fate) reasons(of func(*standing) []string) (all []string) {
	for _, i := range f.instances {
		for _, reason := range of(&i.standing) {
			everyones := !slices.ContainsFunc(f.instances, func(other *instance) bool { return !slices.Contains(of(&other.standing), reason) })
			if !everyones {
				reason = i.cfg.Name + ": " + reason
			}
			if !slices.Contains(all, reason) {
				all = append(all, reason)
			}
		}
	}
	return all
}

// assessInstance recomputes one instance's.
func (n *Node) assessInstance(now time.Time, i *instance) {
	s := standing{terms: []Term{{"base", int(i.cfg.Priority)}}}
	n.assessLink(now, i, &s)
	if s.cannot == "" && i.failure.why != "" {
		s.cannot = i.failure.why
	}
	if s.cannot == "" && !i.holding {
		s.cannot = n.bars[i.cfg.Name]
	}
	if s.cannot == "" && i.mute.why != "" {
		s.cannot, s.voiceless = i.mute.why, true
	}
	n.assessPeers(i, &s)
	n.assessWary(now, i, &s)
	lost := n.assessChecks(i, &s)
	n.assessAdopted(i, &s)
	n.assessNewcomer(now, i, &s)
	if i.repair.yields(now) {
		s.ill = append(s.ill, "its addresses keep being deleted by something else")
	}
	if len(n.drains) > 0 { // a sort of nothing is not for nothing, and this is done for each advert
		for _, who := range slices.Sorted(maps.Keys(n.drains)) {
			s.ill = append(s.ill, "drained by "+who)
		}
	}
	if i.state == Fault && i.fate.running() && s.pending != "" {
		s.ill = append(s.ill, s.pending) // it fell away, and has not joined again: another host has it at once
	}
	sum := 0
	for _, t := range s.terms {
		sum += t.Value
	}
	s.healthy, s.best = i.cfg.Effective(sum), i.cfg.Effective(sum+lost)
	i.standing = s
}

// assessLink looks at the interface and its addresses.
func (n *Node) assessLink(now time.Time, i *instance, s *standing) {
	l := n.links[i.cfg.Interface]
	if l == nil {
		s.pending = fmt.Sprintf("interface %q was not looked at yet", i.cfg.Interface)
		return
	}
	if !l.Up {
		s.voiceless, s.cannot = true, l.Reason
		return
	}
	if n.assessVirtualMACs(i, &l.Link, s); s.pending != "" {
		return
	}
	assessSwallowers(i, &l.Link, s)
	for _, m := range i.members {
		if !n.sourceOn(m, &l.Link).IsValid() {
			if until := l.bare.Add(i.bareGrace()); i.state.takesPart() && now.Before(until) {
				i.linkReady = until
				continue
			}
			m.source = netip.Addr{}
			if s.cannot == "" {
				s.cannot = n.lacksSource(m, l.Name)
			}
		}
	}
	// The other family can still hand over for both.
	s.voiceless = s.cannot != "" && !i.anySource()
	if s.cannot != "" {
		return
	}
	if until := l.since.Add(i.cfg.LinkDelay); now.Before(until) {
		s.pending = fmt.Sprintf("link_delay: interface %q came up less than %s ago", l.Name, i.cfg.LinkDelay)
		i.linkReady = until
	}
}

// bareGrace is how long an instance goes on without an address to send from: a network manager that starts again takes the
// interface's addresses away and sets them anew. No longer than the other hosts wait for an advert.
func (i *instance) bareGrace() time.Duration {
	return min(maxBare, i.cfg.DeadInterval())
}

// assessChecks applies each check's effect. A check without a verdict keeps an instance from taking part; one that a
// reload adds to a running instance counts as healthy until it has spoken. What failing ones take from the priority is lost.
func (n *Node) assessChecks(i *instance, s *standing) (lost int) {
	for _, name := range i.checks {
		effect, v := i.cfg.Checks[name], n.checks[name]
		if v == nil && !i.fate.running() && s.pending == "" {
			s.pending = fmt.Sprintf("check %q has no result yet", name)
		}
		healthy := v == nil || v.healthy
		switch {
		case effect.OnFailure == Weigh:
			if add := effect.Adds(healthy); add != 0 {
				s.terms = append(s.terms, Term{fmt.Sprintf("check %q", name), add})
			}
			if !healthy {
				s.lowered = append(s.lowered, fmt.Sprintf("check %q (weight %+d): %s", name, effect.Weight, v.reason))
				lost += max(effect.Weight, -effect.Weight)
			}
		case healthy:
		case effect.OnFailure == Release:
			if s.cannot == "" {
				s.cannot = fmt.Sprintf("check %q: %s", name, v.reason)
			}
		default:
			s.ill = append(s.ill, fmt.Sprintf("check %q: %s", name, v.reason))
		}
	}
	return lost
}
