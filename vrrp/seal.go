package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Sealed is a virtual router that is not leaving, for another process of this host to go on with. Its configuration is not in
// it. Whoever writes it down must carry the instants over to the other process's clock.
type Sealed struct {
	State        State
	Priority     uint8
	Source       netip.Addr `json:",omitzero"`
	Preempt      time.Time  `json:",omitzero"`
	Deadline     time.Time  `json:",omitzero"`
	Ready        *SealedWait
	Pending      SealedWait
	Learned      time.Duration
	Followed     Peer
	Heard        time.Time `json:",omitzero"`
	FirstRelease time.Time `json:",omitzero"`
	LastPeer     Peer
	Asserted     time.Time `json:",omitzero"`
	TieFirst     time.Time `json:",omitzero"`
	TieLast      time.Time `json:",omitzero"`
}

// SealedWait is why a backup's timer runs shorter than Master_Down_Interval, or why it has run out.
type SealedWait struct {
	Cause Cause
	Why   string
}

// Handover says whether its master gives up: a backup is about to rise, or will at the second try that nobody else follows.
func (m *Machine) Handover() bool {
	return m.state == Backup && m.ready == nil && (m.pending.why != "" || !m.firstRelease.IsZero())
}

// Seal returns what the router is.
func (m *Machine) Seal() Sealed {
	s := Sealed{
		State: m.state, Priority: m.priority, Source: m.source, Preempt: m.preempt, Deadline: m.deadline,
		Pending: SealedWait{m.pending.cause, m.pending.why}, Learned: m.learned, Followed: m.followed, Heard: m.heard,
		FirstRelease: m.firstRelease, LastPeer: m.lastPeer, Asserted: m.asserted, TieFirst: m.tie.first, TieLast: m.tie.last,
	}
	if m.ready != nil {
		s.Ready = &SealedWait{m.ready.cause, m.ready.why}
	}
	return s
}

// errSealed says what no router can be.
var errSealed = errors.New("no virtual router can be that")

// Restore makes a new router go on where another one was sealed. It was deaf since then: what it did not hear for so long is
// no silence of its master, so a backup waits for as much longer. The error says what is impossible about it.
func (m *Machine) Restore(s Sealed, deaf time.Duration) error {
	timed := !s.Deadline.IsZero()
	switch {
	case s.State > Master || s.Learned <= 0 || deaf < 0,
		s.State != Initialize && s.Priority == 0,
		s.State == Backup && timed == (s.Ready != nil),
		s.State == Master && (!timed || s.Ready != nil):
		return fmt.Errorf("state %s, priority %d, interval %s, timer runs %t, wait over %t: %w", s.State, s.Priority, s.Learned, timed, s.Ready != nil, errSealed)
	}
	m.state, m.priority, m.source, m.preempt, m.deadline = s.State, s.Priority, s.Source, s.Preempt, s.Deadline
	m.ready, m.pending = nil, readiness{s.Pending.Cause, s.Pending.Why}
	if s.Ready != nil {
		m.ready = &readiness{s.Ready.Cause, s.Ready.Why}
	}
	m.learned, m.followed, m.heard, m.firstRelease = s.Learned, s.Followed, s.Heard, s.FirstRelease
	m.lastPeer, m.asserted, m.tie = s.LastPeer, s.Asserted, tie{s.TieFirst, s.TieLast}
	if m.state == Backup {
		m.heard = m.heard.Add(deaf)
		for _, p := range []*Peer{&m.followed, &m.lastPeer} {
			if !p.Heard.IsZero() {
				p.Heard = p.Heard.Add(deaf)
			}
		}
		if timed {
			m.deadline = m.deadline.Add(deaf)
		}
	}
	return nil
}
