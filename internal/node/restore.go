package node

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Restore makes a node that goes on where a sealed one was, and says what is to be done first. In between nobody heard or sent
// anything: a backup's wait is as much longer, and a master that was silent for longer than the others wait listens first. The
// configuration is the sealed one; a newer one follows as a reload. The error says what of it no node can be.
func Restore(s *Sealed, now time.Time) (*Node, []Action, error) {
	if err := s.check(now); err != nil {
		return nil, nil, fmt.Errorf("restore the state: %w", err)
	}
	n := New(s.Config, now)
	n.out = nil
	n.restoreAround(s)
	n.remembered(now, Remembered{s.Memory})
	for k, i := range n.instances {
		if err := n.restoreInstance(now, i, &s.Instances[k], now.Sub(s.At)); err != nil {
			return nil, nil, fmt.Errorf("restore the state: instance %q: %w", i.cfg.Name, err)
		}
	}
	for k, f := range n.fates {
		f.restore(&s.Fates[k])
	}
	if err := n.consistent(); err != nil {
		return nil, nil, fmt.Errorf("restore the state: %w", err)
	}
	for _, f := range n.fates {
		n.assess(now, f)
		if f.doubtful(now) {
			n.listen(now, f, fmt.Sprintf("was away for %s while it was exchanged, so another host may be master", now.Sub(s.At).Round(time.Millisecond)), "")
		}
	}
	for _, i := range n.instances {
		if i.holding { // what something else removed meanwhile is told to nobody
			n.setAddresses(now, i, time.Time{})
		}
	}
	n.reindex()
	return n, n.out, nil
}

// errMismatch says that the state is not of its configuration.
var errMismatch = errors.New("it does not match its configuration")

// check says what of it does not fit together, as far as the making of a node relies on it.
func (s *Sealed) check(now time.Time) error {
	if s.At.IsZero() || now.Before(s.At) || len(s.Instances) != len(s.Config.Instances) || s.Config.Shadow {
		return errMismatch
	}
	grouped := map[string]bool{}
	for _, g := range s.Config.Groups {
		for _, name := range g.Instances {
			known := slices.ContainsFunc(s.Config.Instances, func(i Instance) bool { return i.Name == name })
			if !known || grouped[name] {
				return errMismatch
			}
			grouped[name] = true
		}
		if len(g.Instances) == 0 {
			return errMismatch
		}
	}
	if len(s.Fates) != len(s.Config.Groups)+len(s.Config.Instances)-len(grouped) {
		return errMismatch
	}
	return nil
}

// restoreAround takes back what is known beside the instances.
func (n *Node) restoreAround(s *Sealed) {
	for _, l := range s.Links {
		for k := range l.Link.VirtualMACs {
			l.Link.VirtualMACs[k].Made = 0 // they are counted anew
		}
		n.links[l.Link.Name] = &link{l.Link, l.Since, l.Bare}
	}
	for name, r := range s.Names {
		n.names[name] = &resolved{ips: r.IPs}
		if r.Err != "" {
			n.names[name].err = errors.New(r.Err)
		}
	}
	for name, v := range s.Checks {
		n.checks[name] = &verdict{v.Healthy, v.Reason}
	}
	for _, who := range s.Drains {
		n.drains[who] = true
	}
	for name, x := range s.Around {
		a := n.aroundOf(name)
		a.overlooked = x.Overlooked
		a.stray.restore(x.Stray)
		for ip, mac := range x.MACs {
			a.macs[ip] = macs{mac[0], mac[1]}
		}
	}
}

// restore takes back counts.
func (t Tally) restore(from Tally) {
	for reason, c := range from {
		if c != nil {
			t[reason] = c
		}
	}
}

func (f *fate) restore(s *SealedFate) {
	f.state, f.why, f.since, f.mastered = s.State, s.Why, s.Since, s.Since
	f.generation, f.told, f.lastChange = s.Generation, s.Told, s.LastChange
	f.offers, f.unheard = offers{s.OffersAt, s.OffersGap}, s.Unheard
}

func (n *Node) restoreInstance(now time.Time, i *instance, s *SealedInstance, deaf time.Duration) error {
	i.state, i.why, i.since, i.mastered, i.generation, i.told = s.State, s.Why, s.Since, s.Since, s.Generation, s.Told
	i.linkReady, i.advertised, i.formerDead = s.LinkReady, s.Advertised, s.Patience
	i.holding, i.confirmed = s.Holding, s.Holding
	a := &s.Announcer
	i.announcer = announcer{i.cfg.Announce, a.Began, a.Round, a.Next, a.Queue, a.Emitted, a.Silent, a.Answer, a.Answers, a.Hushed}
	i.failure = failure{why: s.Failure.Why, retry: s.Failure.Retry, gap: s.Failure.Gap}
	i.wary = wary{on: s.Wary, peerless: s.Peerless} // asks again: answers were not heard
	i.mute = mute{why: s.Mute, at: s.MuteAt}
	i.repair = repair{losses: s.Losses, until: s.YieldUntil}
	i.unproven, i.lastChange, i.letGo, i.calm, i.contention = s.Unproven, s.LastChange, s.LetGo, s.Calm, s.Contention
	i.stirred = stir{s.Stirred.Since, s.Stirred.Adverts, s.Stirred.IP, s.Stirred.Times}
	i.reruns = reruns{s.Reruns.At, s.Reruns.Last, s.Reruns.Gap}
	if len(i.members) != len(s.Members) {
		return errMismatch
	}
	i.newcomer.restore(i.members, s, deaf)
	for k, m := range i.members {
		if err := n.restoreMember(now, m, &s.Members[k], deaf); err != nil {
			return err
		}
	}
	return nil
}

// fits says whether an address is of the member's family, or none.
func (m *member) fits(ip netip.Addr) bool { return !ip.IsValid() || vrrp.FamilyOf(ip) == m.family }

func (n *Node) restoreMember(now time.Time, m *member, s *SealedMember, deaf time.Duration) error {
	if m.family != s.Family || !m.fits(s.Source) || !m.fits(s.Known) {
		return errMismatch
	}
	m.outlets = nil
	for _, x := range s.Outlets {
		if !x.To.IsValid() || vrrp.FamilyOf(x.To) != m.family {
			return errMismatch
		}
		m.outlets = append(m.outlets, &outlet{to: x.To, name: x.Name, former: x.Former, failed: x.Failed, failing: x.Failing, why: x.Why, heard: x.Heard, priority: x.Priority})
	}
	m.awaited = s.Awaited
	m.auth.RestoreFloors(now, s.Floors)
	m.auth.Inherit(deaf, s.Keys)
	m.machine.Step(now, vrrp.Reconfigure{Config: m.routerConfig()}) // with these as its peers
	if err := m.machine.Restore(s.Machine, deaf); err != nil {
		return err
	}
	m.alone, m.source, m.counters, m.news = s.Alone, s.Source, s.Counters, allowance{s.NewsFrom, s.NewsLeft}
	m.known, m.listed = s.Known, s.Listed
	m.refusals.restore(s.Refusals)
	m.notices.restore(s.Notices)
	for _, x := range s.Senders {
		told := map[string]time.Time{}
		maps.Copy(told, x.Told)
		var held []news
		for _, line := range x.Held {
			held = append(held, news{line.Before, line.After})
			n.aroundOf(m.of.cfg.Interface).awaited[x.From] = true
		}
		m.senders[x.From] = &sender{at: x.At, refused: x.Refused, turned: x.Turned.restore(), told: told, held: held, priority: x.Priority, interval: x.Interval, accepted: x.Accepted, pseudo: x.Pseudo, msg: x.Message, form: x.Form}
	}
	for _, x := range s.Sent {
		m.sent = append(m.sent, sent{x.Priority, x.Interval, x.At})
	}
	return nil
}

// consistent says whether states, machines and addresses fit together, as they do between two events of a calm node.
func (n *Node) consistent() error {
	for _, f := range n.fates {
		if f.state == Leaving || f.state.distance() < 0 || f.state == Stopped {
			return fmt.Errorf("state %q: %w", f.state, errMismatch)
		}
		for _, i := range f.instances {
			fits := i.state == f.state || f.running() && (i.state == Init || i.state == Fault)
			if !fits || i.holding && i.state != Master {
				return fmt.Errorf("instance %q is %q, with its addresses %t: %w", i.cfg.Name, i.state, i.holding, errMismatch)
			}
			for _, m := range i.members {
				switch is := m.machine.State(); {
				case is == vrrp.Initialize:
				case is == vrrp.Backup && i.state == Backup, is == vrrp.Master && i.state == Master:
				default:
					return fmt.Errorf("instance %q is %q and its router %s: %w", i.cfg.Name, i.state, is, errMismatch)
				}
			}
		}
	}
	return nil
}
