package vrrp

import (
	"fmt"
	"time"
)

// enterBackup starts to listen, with a full Master_Down_Interval.
func (m *Machine) enterBackup(now time.Time) {
	m.state, m.pending = Backup, readiness{}
	m.heard = now
	m.deadline = now.Add(m.masterDown())
}

// stepBackup is RFC 9568 section 6.4.2, with our rules for priority 1.
func (m *Machine) stepBackup(now time.Time, ev Event) []Action {
	switch ev := ev.(type) {
	case Shutdown:
		return []Action{m.enter(Initialize, ev.Why)}
	case Heard:
		m.backupHeard(now, ev)
	case Elapsed:
		m.backupElapsed(now)
	case Promote:
		return m.becomeMaster(now, ev.Why)
	case SetPriority:
		m.backupPriority(now, ev.Priority)
	case HandedOver:
		// This member's own offer may have been lost: what the other one learned from it holds here too.
		wait := min(m.skewTime(), m.cfg.skew(m.priority, ev.Interval))
		if !m.heard.After(ev.Since) && !m.lastResort() && m.shorten(now.Add(wait)) {
			m.pending = readiness{Handover, ev.Why}
		}
	case Witnessed:
		if ev.Asked && now.Sub(m.followed.Heard) >= m.masterDown() {
			m.followed = Peer{} // it is gone: whoever else offers its addresses is believed
		}
		if m.lastResort() || ev.Asked {
			m.restart(now)
		}
	}
	return nil
}

// backupHeard is an advert in Backup. It restarts the timer, shortens it, or leaves it alone.
func (m *Machine) backupHeard(now time.Time, ev Heard) {
	if ev.Advert.Priority == PriorityRelease {
		m.backupReleased(now, ev)
		return
	}
	m.lastPeer = Peer{ev.From, ev.Advert.Priority, ev.Advert.Interval, now}
	m.firstRelease = time.Time{}
	if m.listening() {
		m.restart(m.heard) // it has been a backup since it woke: a lower advert prolongs nothing
		m.deadline = later(now, m.deadline)
	}
	if m.followed.Address == ev.From {
		m.followed = m.lastPeer // also where it fell below us, and its adverts are discarded
	}
	if m.preemptable(now, ev.Advert.Priority) {
		m.backupPreempts(now, ev)
		return
	}
	if m.outranked(now, m.lastPeer) {
		m.learn(max(m.learned, ev.Advert.Interval)) // it may be the successor of one whose priority 0 was lost
	} else {
		m.followed = m.lastPeer
		m.learn(ev.Advert.Interval)
	}
	m.restart(now)
}

// outranked says whether an advert is of a master that gives way to the one that we follow, or did before it can have heard of it: its
// last advert tells the better one that there were two. Who followed it would not believe the better one's priority 0.
func (m *Machine) outranked(now time.Time, p Peer) bool {
	f := m.followed
	if f.Address == p.Address || f.Interval == handoverInterval || p.Interval == handoverInterval || now.Sub(f.Heard) >= time.Duration(m.cfg.DeadAdverts)*f.Interval {
		return false // who offered has left, whether its priority 0 came or not; and who offers served, so that the better one did not
	}
	return f.Priority > p.Priority || f.Priority == p.Priority && plain(f.Address).Compare(plain(p.Address)) > 0
}

// listening says whether a router that woke late waits for any advert at all; see StepDown. Once it has listened it knows.
func (m *Machine) listening() bool {
	return m.ready == nil && m.pending.why != "" && m.pending.cause == Silence
}

// preemptable says whether a master of that priority is one that we may push aside. Health beats stickiness: one that
// offers its addresses (priority 1) always is.
func (m *Machine) preemptable(now time.Time, priority uint8) bool {
	if priority >= m.priority {
		return false
	}
	if priority == PriorityIll || m.priority == PriorityOwner {
		return true
	}
	return m.cfg.Preempt && !now.Before(m.preempt)
}

// backupPreempts is a lower advert. The RFC leaves the timer alone; when the master that we followed fell below us there
// is nothing to wait for but the skew, which lets a better backup go first.
func (m *Machine) backupPreempts(now time.Time, ev Heard) {
	followed, ill := m.followed.Address == ev.From, ev.Advert.Priority == PriorityIll
	if !followed && (!ill || m.followed.Address.IsValid()) {
		return
	}
	m.learn(ev.Advert.Interval)
	why := readiness{Outranked, m.versus(ev.From, ev.Advert.Priority)}
	if ill {
		why = readiness{Handover, fmt.Sprintf("%s is unhealthy and offers its addresses (priority 1)", ev.From)}
	}
	switch {
	case m.shorten(now.Add(m.skewTime())):
		m.pending = why
	case ill:
		m.offered(why)
	}
}

// offered is a master that fell below us and now gives up as well: a wait that is over for the first is over for the second.
func (m *Machine) offered(why readiness) {
	if m.pending.cause == Outranked {
		m.pending = why
	}
	if m.ready != nil && m.ready.cause == Outranked {
		m.ready = &why
	}
}

// backupReleased is an advert of priority 0. It counts only from the master that we followed, or when there was none.
func (m *Machine) backupReleased(now time.Time, ev Heard) {
	if m.followed.Address.IsValid() && m.followed.Address != ev.From {
		return
	}
	m.lastPeer = Peer{ev.From, PriorityRelease, ev.Advert.Interval, now}
	m.followed.Priority = PriorityRelease // whoever advertises now relieves it
	if again := m.releasedAgain(now); m.lastResort() && !again {
		return
	}
	why := fmt.Sprintf("handed over by %s", ev.From)
	if m.ready != nil {
		if m.ready.cause < Handover {
			m.ready = &readiness{Handover, why} // it was no deafness; the node, or another member of the group, still waits
		}
		return
	}
	wait := m.skewTime()
	if m.lastResort() {
		wait = m.cfg.skew(m.priority, handoverInterval)
	}
	m.deadline = now.Add(wait)
	// No longer than for silence: a master that offers its addresses again and again would hold off a backup whose skew is longer
	// than the pauses between.
	if down := m.heard.Add(m.masterDown()); down.Before(m.deadline) {
		m.deadline = later(now, down)
	}
	m.pending = readiness{Handover, why}
}

// releasedAgain says whether a master that goes was relieved by nobody: its second priority 0, with no advert since the
// first, comes when its first wait (LeaveWait) is over. Only then may an unhealthy host jump.
func (m *Machine) releasedAgain(now time.Time) bool {
	if m.firstRelease.IsZero() {
		m.firstRelease = now
		return false
	}
	return now.Sub(m.firstRelease) >= m.cfg.LeaveWait()-centisecond
}

// restart waits a full Master_Down_Interval again.
func (m *Machine) restart(now time.Time) {
	m.heard, m.ready, m.pending, m.firstRelease = now, nil, readiness{}, time.Time{}
	m.deadline = now.Add(m.masterDown())
}

// backupElapsed ends the wait once its deadline has come.
func (m *Machine) backupElapsed(now time.Time) {
	if m.deadline.IsZero() || now.Before(m.deadline) {
		return
	}
	if m.pending.why != "" {
		m.becomeReady(m.pending.cause, m.pending.why)
		return
	}
	m.becomeReady(Silence, m.silence(now))
}

// silence says why the timer ran out by itself. It runs on under a lower master, whose adverts are discarded: that one is pushed
// aside, and was not silent.
func (m *Machine) silence(now time.Time) string {
	who, since := m.followed.Address, m.heard
	if p := m.lastPeer; p.Heard.After(since) {
		if p.Priority != PriorityRelease && now.Sub(p.Heard) < time.Duration(m.cfg.DeadAdverts)*p.Interval {
			return m.versus(p.Address, p.Priority)
		}
		if !who.IsValid() {
			who, since = p.Address, p.Heard
		}
	}
	silent := now.Sub(since).Round(time.Millisecond)
	if !who.IsValid() {
		return fmt.Sprintf("nobody advertised for %s", silent)
	}
	return fmt.Sprintf("%s is silent for %s", who, silent)
}

// backupPriority follows a changed effective priority. The timer always counts from the last advert heard, so that a
// host that falls ill does not wait longer, and one that recovers no longer than it has to.
func (m *Machine) backupPriority(now time.Time, priority uint8) {
	was := m.priority
	if was == priority {
		return
	}
	m.priority = priority
	m.acceptLate(now)
	recovered := was == PriorityIll
	switch {
	case m.lastResort():
		m.learned = max(m.learned, m.cfg.Interval)
		m.ready, m.pending = nil, readiness{}
		m.deadline = m.heard.Add(m.masterDown())
	case m.pending.why != "":
		// A handover is under way; its skew stands.
	case m.ready == nil || recovered:
		m.ready = nil
		m.deadline = m.heard.Add(m.masterDown())
		if recovered && m.masterIll(now) && m.shorten(now.Add(m.skewTime())) {
			m.pending = readiness{Handover, fmt.Sprintf("%s is unhealthy and offers its addresses (priority 1)", m.followed.Address)}
		}
	}
}

// acceptLate takes the last advert for our master's after all, when it was discarded at a higher priority of ours and
// would not be now. Without it, a host that falls while it pushes a living master aside takes the addresses from a better one.
func (m *Machine) acceptLate(now time.Time) {
	p := m.lastPeer
	if p.Priority == PriorityRelease || !p.Heard.After(m.heard) || m.preemptable(now, p.Priority) {
		return
	}
	if f := m.followed; f.Heard.After(m.heard) && m.outranked(now, p) {
		p = f
	}
	m.followed, m.heard = p, p.Heard
	m.learn(p.Interval)
	m.ready, m.pending = nil, readiness{}
}

// masterIll says whether the master that we follow advertised priority 1 and is still alive.
func (m *Machine) masterIll(now time.Time) bool {
	p := m.lastPeer
	return p.Priority == PriorityIll && p.Address == m.followed.Address && now.Sub(p.Heard) < m.masterDown()
}

// later returns the later of two instants.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
