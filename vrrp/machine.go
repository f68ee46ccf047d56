package vrrp

import (
	"fmt"
	"net/netip"
	"time"
)

// State is where a virtual router stands.
type State uint8

// The states of RFC 9568 section 6.3, and Leaving: a master that hands over sends no advert and answers none.
const (
	Initialize State = iota
	Backup
	Master
	Leaving
)

// String returns the state's name in small letters.
func (s State) String() string {
	switch s {
	case Backup:
		return "backup"
	case Master:
		return "master"
	case Leaving:
		return "leaving"
	default:
		return "init"
	}
}

// Limits of the handover.
const (
	handoverInterval = centisecond // what a leaving master makes its backups learn
	releaseRepeats   = 2           // a priority 0 is repeated at most this often,
	releaseGap       = time.Millisecond
	// lastResortMargin is what an unhealthy backup waits beyond one interval at least, so that every healthy one is first.
	lastResortMargin = 200 * time.Millisecond
	// leaveMargin is what a leaving master waits beyond one interval; see LeaveWait.
	leaveMargin  = 100 * time.Millisecond
	maxLeaveWait = 5 * time.Second
	// reassertGap bounds how often lower adverts make a master answer: one answer is enough, a flood must not be doubled.
	reassertGap = centisecond
	// answerGap bounds how often priority 0 does, for the same reason: shorter than nearly every skew.
	answerGap = time.Millisecond
	// crossedClaim is how long after a claim that was given way to an advert of before that may still come: a master that gave way says so
	// again for 80 ms, until it saw its successor announce everything.
	crossedClaim = 100 * time.Millisecond
)

// Config is what a virtual router is configured with; it changes only by Reconfigure.
type Config struct {
	VRID        uint8
	Version     Version
	Family      Family
	Interval    time.Duration
	DeadAdverts int // Master_Down_Interval is this many intervals and the skew; the RFC's number is 3
	Preempt     bool
	Addresses   []netip.Addr
	Strict      bool
	Auth        *Auth    // nil: none
	Unicast     *Unicast // nil: multicast
	// SharedMAC says that the routers answer from one virtual MAC address: whoever spoke last has the switch's port.
	SharedMAC bool
	// TieWait is how long a master of equal priority and higher address must go on before this router gives way to it; 0 is at
	// once, as the RFC has it. Of several routers with one fate the first gives way at once, and the others wait until it must
	// have: where the hosts' addresses are ordered differently on two links, both hosts would give way else, again and again.
	TieWait time.Duration
}

// Unicast is with whom a router speaks that does not use the multicast group.
type Unicast struct {
	// Peers are the addresses of the other hosts, of the router's family, without zones. This host's own is not among them.
	Peers []netip.Addr
	// MinTTL is the least TTL or hop limit that is accepted: HopLimit, unless routers lie between the hosts.
	MinTTL uint8
}

// LeaveWait is how long a leaving master waits for a successor before it goes on without one.
func (c *Config) LeaveWait() time.Duration {
	if c.Version == V2 {
		return time.Second + leaveMargin // its skew does not grow with the interval
	}
	return min(c.Interval+leaveMargin, maxLeaveWait)
}

// Cause is why a backup's timer ran out.
type Cause uint8

// The causes, the least certain first. Only a silent master leaves doubt whether somebody else serves the addresses.
const (
	Silence   Cause = iota // Master_Down_Interval without an advert
	Outranked              // the master's priority fell below ours; it goes on serving until we take over
	Handover               // the master released or offered its addresses
	Owner                  // this router owns the addresses (priority 255) and need not wait
)

// Peer is the other router whose valid advert was heard last.
type Peer struct {
	Address  netip.Addr
	Priority uint8
	Interval time.Duration
	Heard    time.Time
}

// Machine is one virtual router (RFC 9568 section 6.4). Step feeds it; Deadline says when it wants an Elapsed. It is not
// safe for concurrent use.
//
// A backup whose timer has run out does not rise by itself: it is Ready, and Promote makes it master. So that several
// routers can rise as one.
type Machine struct {
	cfg      Config
	state    State
	priority uint8
	source   netip.Addr // our own address, for the tie-break and against our own echoes
	preempt  time.Time  // preemption rests until then

	deadline time.Time // zero: none
	ready    *readiness
	pending  readiness // why the timer runs shorter than Master_Down_Interval; empty when it does not

	learned      time.Duration // Master_Adver_Interval
	followed     Peer          // the master that a backup follows, as it advertised last; at priority 0 it outranks nobody
	heard        time.Time     // when a backup last accepted one, or started to listen
	firstRelease time.Time     // the first priority 0 that no advert followed; see releasedAgain
	lastPeer     Peer
	repeats      int       // priority-0 adverts still to send while leaving
	asserted     time.Time // the last answer to a lower advert
	tie          tie
	claim        claim
}

// claim is our last advert above priority 0: a lower master gives way once it hears it; see crossed.
type claim struct {
	at       time.Time
	priority uint8
	above    uint8      // the priority of an earlier one that was higher: who gave way to that one may still say so,
	fell     time.Time  // when that one was sent
	crossed  netip.Addr // whose advert crossed it
}

// next is the claim after this one.
func (c claim) next(now time.Time, priority uint8) claim {
	above, fell := c.above, c.fell
	if c.priority > priority && c.priority >= c.highest(now) {
		above, fell = c.priority, c.at
	}
	return claim{at: now, priority: priority, above: above, fell: fell}
}

// highest is the highest priority that somebody may have given way to within the last crossedClaim.
func (c claim) highest(now time.Time) uint8 {
	if now.Sub(c.fell) < crossedClaim {
		return max(c.priority, c.above)
	}
	return c.priority
}

// tie is another master of our priority that has the higher address, and was not given way to yet; see Config.TieWait.
type tie struct{ first, last time.Time }

// readiness is a backup's finished wait.
type readiness struct {
	cause Cause
	why   string
}

// New returns a virtual router in Initialize.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, learned: cfg.Interval}
}

// Event is something that happens to a virtual router.
type Event interface{ event() }

// The events.
type (
	// Startup begins the election (RFC 9568 section 6.4.1).
	Startup struct {
		Priority uint8
		Source   netip.Addr
	}
	// Shutdown ends it; a master sends priority 0, a leaving one has done so.
	Shutdown struct{ Why string }
	// Heard is an advert that Refuse let pass.
	Heard struct {
		Advert Advert
		From   netip.Addr
	}
	// Early is an advert that its sender may have sent before this host listened or a clock was set, so that somebody may have caught it and play it
	// now (NewAuthenticator). It counts where it makes the router quieter: a backup waits for a master whom it would not
	// preempt, a master at priority 1 gives way to who is better, and a leaving one is relieved. It ends no wait: its priority 0
	// and its short interval are nothing, nor does it end a handover that is under way, or a healthy master.
	Early struct {
		Advert Advert
		From   netip.Addr
	}
	// Elapsed says that Deadline may have come; it is a no-op when it has not.
	Elapsed struct{}
	// Promote makes a backup master.
	Promote struct{ Why string }
	// Assert makes a master advertise at once.
	Assert struct{}
	// StepDown makes a master backup without a word: another member of its group heard a better master. With Listen, the
	// router woke late and does not know who is master now: it listens that long, and any advert at all makes it an
	// ordinary backup.
	StepDown struct {
		Why    string
		Listen time.Duration
	}
	// SetPriority changes the effective priority.
	SetPriority struct{ Priority uint8 }
	// SetSource changes our own address.
	SetSource struct{ Source netip.Addr }
	// HoldPreempt makes preemption rest until an instant (preempt_delay).
	HoldPreempt struct{ Until time.Time }
	// Leave hands over: with an offer, one advert of that priority with an interval of one centisecond, from which the
	// backups learn a skew of milliseconds; then priority 0, repeated. Without an offer (0), priority 0 alone.
	Leave struct {
		Offer uint8
		Why   string
	}
	// Resume ends leaving without a successor: master again, with an advert at once.
	Resume struct{ Why string }
	// HandedOver says that the master gave up on another member of the group, for the first time at Since, and which interval
	// that member had learned by then. An advert that came here later says more.
	HandedOver struct {
		Why      string
		Interval time.Duration
		Since    time.Time
	}
	// Witnessed says that another host answers for the addresses; at priority 1 that counts like an advert. Asked says that it was
	// asked, since it may be a master that this host cannot hear: then it counts for any backup.
	Witnessed struct {
		Why   string
		Asked bool
	}
	// Reconfigure changes the configuration in place; VRID, version and family stay.
	Reconfigure struct{ Config Config }
)

func (Startup) event()     {}
func (Shutdown) event()    {}
func (Heard) event()       {}
func (Early) event()       {}
func (Elapsed) event()     {}
func (Promote) event()     {}
func (Assert) event()      {}
func (StepDown) event()    {}
func (SetPriority) event() {}
func (SetSource) event()   {}
func (HoldPreempt) event() {}
func (Leave) event()       {}
func (Resume) event()      {}
func (HandedOver) event()  {}
func (Witnessed) event()   {}
func (Reconfigure) event() {}

// Action is what a step asks for.
type Action interface{ action() }

// The actions.
type (
	// Send wants an advert out at once; past Until it is stale and must be dropped.
	Send struct {
		Advert Advert
		Until  time.Time
	}
	// Entered says that the state changed, and why.
	Entered struct {
		From, To State
		Why      string
	}
	// Contended says that a master heard another master.
	Contended struct{ Peer Peer }
)

func (Send) action()      {}
func (Entered) action()   {}
func (Contended) action() {}

// State returns where the router stands.
func (m *Machine) State() State { return m.state }

// Priority returns the effective priority.
func (m *Machine) Priority() uint8 { return m.priority }

// Learned returns Master_Adver_Interval: the master's interval, as far as it was heard.
func (m *Machine) Learned() time.Duration { return m.learned }

// Followed is the master that a backup follows, as it advertised last; zero: it has followed none since the start. Of two masters it is
// the better one, whoever was heard last.
func (m *Machine) Followed() Peer { return m.followed }

// Released says when the master first gave up, if no advert has come since then.
func (m *Machine) Released() time.Time { return m.firstRelease }

// Config returns the configuration.
func (m *Machine) Config() *Config { return &m.cfg }

// Peer returns the router whose advert was heard last; its Heard is zero if there was none.
func (m *Machine) Peer() Peer { return m.lastPeer }

// Ready says whether a backup's wait is over, and why.
func (m *Machine) Ready() (cause Cause, why string, ok bool) {
	if m.state != Backup || m.ready == nil {
		return 0, "", false
	}
	return m.ready.cause, m.ready.why, true
}

// Deadline says when the router wants an Elapsed.
func (m *Machine) Deadline() (time.Time, bool) {
	return m.deadline, !m.deadline.IsZero()
}

// Step feeds one event at an instant and returns what is to be done, in order.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	switch ev := ev.(type) {
	case SetSource:
		m.source = ev.Source
		return nil
	case HoldPreempt:
		m.preempt = ev.Until
		return nil
	case Reconfigure:
		return m.reconfigure(now, ev.Config)
	case Early:
		return m.early(now, ev)
	}
	switch m.state {
	case Initialize:
		return m.stepInitialize(now, ev)
	case Backup:
		return m.stepBackup(now, ev)
	case Master:
		return m.stepMaster(now, ev)
	case Leaving:
		return m.stepLeaving(now, ev)
	default:
		panic(fmt.Sprintf("vrrp: impossible state %d", m.state))
	}
}

// stepInitialize is RFC 9568 section 6.4.1. Anything but Startup is ignored, a new priority is taken note of.
func (m *Machine) stepInitialize(now time.Time, ev Event) []Action {
	switch ev := ev.(type) {
	case SetPriority:
		m.priority = ev.Priority
	case Startup:
		m.priority, m.source = ev.Priority, ev.Source
		m.learned, m.followed, m.lastPeer, m.firstRelease = m.cfg.Interval, Peer{}, Peer{}, time.Time{}
		m.enterBackup(now)
		if m.priority == PriorityOwner {
			m.becomeReady(Owner, "address owner (priority 255)")
		}
		return []Action{Entered{Initialize, Backup, "started"}}
	}
	return nil
}

// early is an advert that counts only where it makes the router quieter.
func (m *Machine) early(now time.Time, ev Early) []Action {
	a := ev.Advert
	if a.Priority == PriorityRelease {
		return nil
	}
	quieter := m.state == Leaving
	switch m.state {
	case Backup:
		moving := m.ready != nil && m.ready.cause != Silence || m.pending.why != "" && m.pending.cause != Silence
		quieter = !moving && !m.preemptable(now, a.Priority)
	case Master:
		quieter = m.lastResort() && m.losesTo(a.Priority, ev.From)
	}
	if !quieter {
		return nil
	}
	a.Interval = max(a.Interval, m.learned, m.cfg.Interval) // an offer's would make it hasty
	waited := time.Time{}
	if m.state == Backup {
		waited = m.deadline // who woke late may listen for longer than it waits for a master
	}
	out := m.Step(now, Heard{a, ev.From})
	if m.state == Backup {
		m.deadline = later(waited, m.deadline)
	}
	if m.followed.Address == ev.From {
		m.followed.Priority = PriorityRelease // it may be gone for long: it outranks nobody
	}
	return out
}

// reconfigure takes a new configuration; a running timer follows a new interval.
func (m *Machine) reconfigure(now time.Time, cfg Config) []Action {
	was := m.cfg
	m.cfg = cfg
	if m.state == Master && was.Interval != cfg.Interval {
		m.deadline = now
	}
	if m.state != Backup || was.Interval == cfg.Interval && was.DeadAdverts == cfg.DeadAdverts {
		return nil
	}
	if cfg.Version == V2 || !m.followed.Address.IsValid() {
		m.learned = cfg.Interval // in VRRPv3 the master that we follow goes on at the interval that it told us
	}
	if m.ready == nil && m.pending.why == "" {
		m.deadline = m.heard.Add(m.masterDown())
	}
	return nil
}

// advert is one of ours.
func (m *Machine) advert(priority uint8, interval time.Duration) Advert {
	return Advert{Version: m.cfg.Version, VRID: m.cfg.VRID, Priority: priority, Interval: interval, Addresses: m.cfg.Addresses}
}

// send makes an advert that is stale after one interval: a later one says more.
func (m *Machine) send(now time.Time, priority uint8, interval time.Duration) Send {
	if priority != PriorityRelease {
		m.claim = m.claim.next(now, priority)
	}
	return Send{m.advert(priority, interval), now.Add(m.cfg.Interval)}
}

// enter changes the state; the timer of the old one ends.
func (m *Machine) enter(to State, why string) Entered {
	from := m.state
	m.state, m.ready, m.deadline, m.tie = to, nil, time.Time{}, tie{}
	return Entered{from, to, why}
}
