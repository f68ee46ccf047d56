package vrrp

import "time"

// skew is Skew_Time: in VRRPv3 a share of the interval (RFC 9568 section 6.1), in VRRPv2 of a second (RFC 3768 section
// 6.1), whatever the interval.
func (c *Config) skew(priority uint8, interval time.Duration) time.Duration {
	if c.Version == V2 {
		interval = time.Second
	}
	return time.Duration(256-int(priority)) * interval / 256
}

// MasterDown is Master_Down_Interval (RFC 9568 section 6.1) for a priority of ours and a master's interval.
func (c *Config) MasterDown(priority uint8, interval time.Duration) time.Duration {
	return time.Duration(c.DeadAdverts)*interval + c.skew(priority, interval)
}

// skewTime is the Skew_Time of now: our priority, the master's interval.
func (m *Machine) skewTime() time.Duration {
	return m.cfg.skew(m.priority, m.learned)
}

// masterDown is the Master_Down_Interval of now. A last resort waits at least long enough for every healthy
// host to be first.
func (m *Machine) masterDown() time.Duration {
	interval := m.learned
	if m.lastResort() {
		interval = max(interval, m.cfg.Interval)
	}
	d := m.cfg.MasterDown(m.priority, interval)
	if m.lastResort() {
		d = max(d, interval+lastResortMargin)
	}
	return d
}

// lastResort says whether this router takes the addresses only when nobody else does.
func (m *Machine) lastResort() bool { return m.priority == PriorityIll }

// learn takes the master's interval (RFC 9568 section 6.4.2). VRRPv2 has none to learn; a last resort never learns a
// shorter one than its own, so that a handover's single centisecond does not make it jump.
func (m *Machine) learn(interval time.Duration) {
	switch {
	case m.cfg.Version == V2:
		m.learned = m.cfg.Interval
	case m.lastResort():
		m.learned = max(interval, m.cfg.Interval)
	default:
		m.learned = interval
	}
}

// shorten brings the deadline forward, never back.
func (m *Machine) shorten(to time.Time) bool {
	if m.ready != nil || !to.Before(m.deadline) {
		return false
	}
	m.deadline = to
	return true
}

// becomeReady ends a backup's wait.
func (m *Machine) becomeReady(cause Cause, why string) {
	m.ready = &readiness{cause, why}
	m.deadline = time.Time{}
}
