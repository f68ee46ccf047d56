package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// becomeMaster sends the first advert before anything else: it is what ends the other backups' wait.
func (m *Machine) becomeMaster(now time.Time, why string) []Action {
	entered := m.enter(Master, why)
	m.firstRelease = time.Time{}
	return []Action{m.advertise(now), entered}
}

// advertise sends our advert and starts the next interval.
func (m *Machine) advertise(now time.Time) Send {
	m.deadline = now.Add(m.cfg.Interval)
	return m.send(now, m.priority, m.cfg.Interval)
}

// stepMaster is RFC 9568 section 6.4.3.
func (m *Machine) stepMaster(now time.Time, ev Event) []Action {
	switch ev := ev.(type) {
	case Shutdown:
		release := m.send(now, PriorityRelease, m.cfg.Interval)
		return []Action{release, m.enter(Initialize, ev.Why)}
	case Heard:
		return m.masterHeard(now, ev)
	case Elapsed:
		return m.masterElapsed(now)
	case SetPriority:
		if m.priority == ev.Priority {
			return nil
		}
		m.priority = ev.Priority
		return []Action{m.advertise(now)}
	case Assert:
		return []Action{m.send(now, m.priority, m.cfg.Interval)}
	case StepDown:
		return m.stepDown(now, ev)
	case Witnessed:
		if m.lastResort() {
			return m.stepDown(now, StepDown{Why: ev.Why})
		}
	case Leave:
		return m.leave(now, ev)
	}
	return nil
}

// masterElapsed advertises on a fixed beat; a beat that was missed altogether is not made up for.
func (m *Machine) masterElapsed(now time.Time) []Action {
	if m.deadline.IsZero() || now.Before(m.deadline) {
		return nil
	}
	due := m.deadline
	send := m.advertise(now)
	if now.Sub(due) < m.cfg.Interval/2 {
		m.deadline = due.Add(m.cfg.Interval)
	}
	return []Action{send}
}

// masterHeard is an advert in Master: a better one makes us backup, any other is answered.
func (m *Machine) masterHeard(now time.Time, ev Heard) []Action {
	m.lastPeer = Peer{ev.From, ev.Advert.Priority, ev.Advert.Interval, now}
	if ev.Advert.Priority == PriorityRelease {
		return m.answerRelease(now)
	}
	if !m.losesTo(ev.Advert.Priority, ev.From) {
		return m.reassert(now)
	}
	if ev.Advert.Priority == m.priority && !m.tieLasts(now) {
		return []Action{Contended{m.lastPeer}}
	}
	why := m.versus(ev.From, ev.Advert.Priority)
	if ev.Advert.Priority == m.priority {
		why = fmt.Sprintf("%s advertises our priority %d and has the higher address", ev.From, m.priority)
	}
	out := []Action{Contended{m.lastPeer}}
	if !m.cfg.SharedMAC {
		// One last advert tells the better master that there were two: it must announce itself again, or clients that
		// learned our MAC keep it (after a healed cut it may have heard nothing of us). Where it is the same MAC they have
		// learned nothing wrong, and the advert would take the switch's port back.
		out = []Action{m.send(now, m.priority, m.cfg.Interval), Contended{m.lastPeer}}
	}
	return append(out, m.follow(now, ev, why)...)
}

// answerRelease answers another master that goes, whose backups wait for their skew alone: at once and with a new interval (RFC
// 9568 section 6.4.3), but not within answerGap of our last advert. That one may have been sent before the backups heard the
// priority 0, so the answer is late rather than left out.
func (m *Machine) answerRelease(now time.Time) []Action {
	if next := m.claim.at.Add(answerGap); now.Before(next) {
		if next.Before(m.deadline) {
			m.deadline = next
		}
		return nil
	}
	return []Action{m.advertise(now)}
}

// versus says in words that another router's priority is above ours, or below it.
func (m *Machine) versus(from netip.Addr, priority uint8) string {
	return fmt.Sprintf("%s advertises priority %d, ours is %d", from, priority, m.priority)
}

// losesTo compares priorities, then addresses, unsigned and in network order (RFC 9568 section 6.4.3).
func (m *Machine) losesTo(priority uint8, from netip.Addr) bool {
	return m.loses(m.priority, priority, from)
}

// loses compares one of our priorities.
func (m *Machine) loses(ours, priority uint8, from netip.Addr) bool {
	return priority > ours || priority == ours && plain(from).Compare(plain(m.source)) > 0
}

// crossed says whether an advert was sent before its sender can have heard our last one above priority 0. Who loses to that one
// gives way when it hears it, so its advert relieves nobody yet: letting go for it would leave the addresses to nobody until the
// sender's skew after our priority 0 is over. A successor does not come sooner than that skew, which a handover's interval makes. But
// FRR reckons it in whole centiseconds, as none, and answers each priority 0 then: who advertises a second time serves.
func (m *Machine) crossed(now time.Time, ev Heard) bool {
	soonest := time.Duration(256-int(ev.Advert.Priority)) * handoverInterval / 256 // also in VRRPv2, where a skew is longer
	if now.Sub(m.claim.at) >= soonest || m.loses(m.claim.highest(now), ev.Advert.Priority, ev.From) || m.claim.crossed == ev.From {
		return false
	}
	m.claim.crossed = ev.From
	return true
}

// tieLasts says whether a master of equal priority and higher address goes on for so long that this router must give way.
func (m *Machine) tieLasts(now time.Time) bool {
	if now.Sub(m.tie.last) > m.cfg.TieWait+m.cfg.Interval {
		m.tie.first = now // the other one has been away
	}
	m.tie.last = now
	return now.Sub(m.tie.first) >= m.cfg.TieWait
}

// reassert answers a lower master. RFC 9568 section 6.4.3 sends an advert at once and leaves the timer; RFC 3768 is
// silent.
func (m *Machine) reassert(now time.Time) []Action {
	contended := Contended{m.lastPeer}
	if m.cfg.Version == V2 || now.Sub(m.asserted) < reassertGap {
		return []Action{contended}
	}
	m.asserted = now
	return []Action{m.send(now, m.priority, m.cfg.Interval), contended}
}

// follow makes a master or leaving router the backup of one that it heard.
func (m *Machine) follow(now time.Time, ev Heard, why string) []Action {
	from := m.state
	m.followed = Peer{ev.From, ev.Advert.Priority, ev.Advert.Interval, now}
	m.learn(ev.Advert.Interval)
	m.enterBackup(now)
	return []Action{Entered{from, Backup, why}}
}

// stepDown makes a master backup without having heard an advert itself.
func (m *Machine) stepDown(now time.Time, ev StepDown) []Action {
	from := m.state
	m.learned, m.followed = m.cfg.Interval, Peer{}
	m.enterBackup(now)
	if ev.Listen > 0 {
		m.deadline = now.Add(ev.Listen)
		m.pending = readiness{Silence, "woke late, and nobody else was heard"}
	}
	return []Action{Entered{from, Backup, ev.Why}}
}

// leave sends the adverts of a handover: (a) the offer, (b) priority 0, whose repeats follow by the timer.
func (m *Machine) leave(now time.Time, ev Leave) []Action {
	var out []Action
	if ev.Offer > PriorityIll && m.cfg.Version == V3 {
		out = append(out, m.send(now, ev.Offer, handoverInterval))
	}
	out = append(out, m.send(now, PriorityRelease, m.cfg.Interval))
	if m.state != Leaving {
		out = append(out, m.enter(Leaving, ev.Why))
	}
	m.repeats, m.deadline = releaseRepeats, now.Add(releaseGap)
	return out
}

// stepLeaving is a master that goes: it sends nothing but the repeats, answers nothing, and ends when another router is
// heard, or is told to.
func (m *Machine) stepLeaving(now time.Time, ev Event) []Action {
	switch ev := ev.(type) {
	case Shutdown:
		return []Action{m.enter(Initialize, ev.Why)}
	case Heard:
		if ev.Advert.Priority == PriorityRelease || m.crossed(now, ev) {
			return nil
		}
		m.lastPeer = Peer{ev.From, ev.Advert.Priority, ev.Advert.Interval, now}
		return m.follow(now, ev, fmt.Sprintf("relieved by %s (priority %d)", ev.From, ev.Advert.Priority))
	case Elapsed:
		return m.leavingElapsed(now)
	case SetPriority:
		m.priority = ev.Priority
	case StepDown:
		return m.stepDown(now, ev)
	case Leave:
		return m.leave(now, ev)
	case Resume:
		return m.becomeMaster(now, ev.Why)
	}
	return nil
}

// leavingElapsed repeats priority 0.
func (m *Machine) leavingElapsed(now time.Time) []Action {
	if m.repeats == 0 || now.Before(m.deadline) {
		return nil
	}
	m.repeats--
	m.deadline = now.Add(releaseGap)
	if m.repeats == 0 {
		m.deadline = time.Time{}
	}
	return []Action{m.send(now, PriorityRelease, m.cfg.Interval)}
}
