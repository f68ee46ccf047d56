package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Sealed is a node between two events, for another process of this host to go on with. It is made of a calm node only: a
// handover, a linger, an address on its way into the kernel are over within seconds, and are waited for. Whoever writes it down
// must carry its instants over to the other process's clock; secrets are not in it.
type Sealed struct {
	At        time.Time // when it was sealed
	Config    Config
	Checks    map[string]SealedCheck
	Drains    []string
	Names     map[string]SealedName
	Links     []SealedLink
	Around    map[string]SealedAround
	Memory    []RouterMemory
	Fates     []SealedFate
	Instances []SealedInstance
}

// The parts of a sealed node, named after what they are of.
type (
	// SealedCheck is a check's verdict.
	SealedCheck struct {
		Healthy bool
		Reason  string
	}
	// SealedName is what is known of a peer's name.
	SealedName struct {
		IPs []netip.Addr
		Err string
	}
	// SealedLink is an interface.
	SealedLink struct {
		Link  Link
		Since time.Time
		Bare  time.Time `json:",omitzero"`
	}
	// SealedAround is what else speaks VRRP on an interface.
	SealedAround struct {
		MACs       map[netip.Addr][2]string // the last one, and the one before
		Stray      Tally
		Overlooked uint64
	}
	// SealedFate is what is decided for several instances.
	SealedFate struct {
		Group      string
		State      State
		Why        string
		Since      time.Time
		Generation uint64
		Told       State
		LastChange Change
		OffersAt   time.Time `json:",omitzero"`
		OffersGap  time.Duration
		Unheard    string // what was told of a host that answered, and that is not heard
	}
	// SealedInstance is an instance.
	SealedInstance struct {
		State      State
		Why        string
		Since      time.Time
		Generation uint64
		Told       State
		LinkReady  time.Time `json:",omitzero"`
		Advertised time.Time `json:",omitzero"`
		Patience   time.Duration
		Holding    bool // the addresses are there
		Announcer  SealedAnnouncer
		Failure    SealedFailure
		Wary       bool
		Peerless   bool
		Mute       string
		MuteAt     time.Time `json:",omitzero"`
		Losses     []time.Time
		YieldUntil time.Time `json:",omitzero"`
		Unproven   bool
		LastChange Change
		LetGo      LetGo     `json:",omitzero"`
		Calm       time.Time `json:",omitzero"`
		Contention *Contention
		Stirred    SealedStir
		Reruns     SealedReruns
		Listened   bool // of a newcomer
		Offered    bool // for a newcomer
		Members    []SealedMember
	}
	// SealedAnnouncer is where an instance's announcements are.
	SealedAnnouncer struct {
		Began   time.Time `json:",omitzero"`
		Round   int
		Next    time.Time `json:",omitzero"`
		Queue   []netip.Addr
		Emitted time.Time `json:",omitzero"`
		Silent  bool
		Answer  time.Time `json:",omitzero"`
		Answers int
		Hushed  time.Time `json:",omitzero"`
	}
	// SealedStir is the evidence of a second master since it was calm last.
	SealedStir struct {
		Since   time.Time `json:",omitzero"`
		Adverts bool
		IP      netip.Addr `json:",omitzero"`
		Times   int
	}
	// SealedReruns are the runs of a master's hooks that contentions bring.
	SealedReruns struct {
		At   time.Time `json:",omitzero"`
		Last time.Time `json:",omitzero"`
		Gap  time.Duration
	}
	// SealedFailure is an address that could not be set.
	SealedFailure struct {
		Why   string
		Retry time.Time `json:",omitzero"`
		Gap   time.Duration
	}
	// SealedMember is a virtual router.
	SealedMember struct {
		Family   vrrp.Family
		Source   netip.Addr `json:",omitzero"`
		Known    netip.Addr `json:",omitzero"` // by which the peers know the host
		Listed   bool       // and whether it was among them
		Alone    bool
		Awaited  []string // names
		Floors   vrrp.Floors
		Keys     []vrrp.Fingerprint
		Machine  vrrp.Sealed
		Outlets  []SealedOutlet
		Counters Counters
		Refusals Tally
		Notices  Tally
		Senders  []SealedSender
		NewsFrom time.Time `json:",omitzero"`
		NewsLeft int
		Sent     []SealedSent
		Listens  time.Time `json:",omitzero"` // a newcomer, until then
		Other    SealedMaster
	}
	// SealedMaster is another master that a newcomer has beside it.
	SealedMaster struct {
		Who      netip.Addr `json:",omitzero"` // none: there is none
		Priority uint8
		Interval time.Duration
		Better   bool
		Until    time.Time `json:",omitzero"`
		Left     time.Time `json:",omitzero"`
	}
	// SealedOutlet is one destination of a virtual router's adverts.
	SealedOutlet struct {
		To       netip.Addr
		Name     string // the peer's
		Former   bool
		Failed   bool
		Failing  time.Time `json:",omitzero"`
		Why      string
		Heard    time.Time `json:",omitzero"`
		Priority uint8
	}
	// SealedSender is a host that a virtual router hears.
	SealedSender struct {
		From     netip.Addr
		At       time.Time
		Refused  string
		Turned   SealedTurned
		Told     map[string]time.Time
		Held     []SealedNews // what is not in the log yet, though it counts as told
		Priority uint8
		Interval time.Duration
		Accepted uint64
		Pseudo   uint64
		Message  uint64
		Form     vrrp.ChecksumForm // of the last one
	}
	// SealedTurned is why the last advert of a sender was turned away.
	SealedTurned struct {
		Why  string // empty: it was accepted
		Pace time.Duration
		At   time.Time `json:",omitzero"`
	}
	// SealedNews is one line about a sender, without its name.
	SealedNews struct{ Before, After string }
	// SealedSent is an advert of this host.
	SealedSent struct {
		Priority uint8
		Interval time.Duration
		At       time.Time
	}
)

// Unrest says why the node cannot be sealed now, but may be soon; empty: it can.
func (n *Node) Unrest(now time.Time) string {
	if n.stopping {
		return "the daemon stops"
	}
	if at, ok := n.Deadline(); ok && due(now, at) {
		return "a timer is overdue" // and what it is for would be reckoned by the restored node only
	}
	for _, f := range n.fates {
		if why := n.unrestOf(now, f); why != "" {
			name := f.group
			if name == "" {
				name = f.instances[0].cfg.Name
			}
			return name + ": " + why
		}
	}
	return ""
}

// unrestOf is a fate's.
func (n *Node) unrestOf(now time.Time, f *fate) string {
	switch {
	case f.removed:
		return "it is no longer configured, and hands over"
	case f.state == Leaving, f.leave != nil, f.linger != nil:
		return "it hands over"
	case !f.probed.IsZero(), !f.witness.at.IsZero():
		return "it looks whether another host serves its addresses"
	case !f.recheck.ends.IsZero():
		return "it asks its checks before it takes over"
	case f.doubtful(now), !f.woken.IsZero():
		return "it woke late"
	}
	for m := range f.members() {
		if m.machine.Handover() {
			return "its master gives up"
		}
	}
	for _, i := range f.instances {
		switch {
		case i.adopting:
			return "what a dead daemon left is being adopted"
		case i.mute.tried:
			return "it tries whether its adverts leave this host"
		case i.holding != i.confirmed, i.holding && i.state != Master, !i.rising.IsZero():
			return "its addresses are not all set"
		}
	}
	return ""
}

// Seal returns what the node is. It must be calm; see Unrest.
func (n *Node) Seal(now time.Time) Sealed {
	s := Sealed{
		At: now, Config: n.cfg, Memory: n.Memory(now), Drains: slices.Sorted(maps.Keys(n.drains)),
		Checks: map[string]SealedCheck{}, Names: map[string]SealedName{}, Around: map[string]SealedAround{},
	}
	for name, v := range n.checks {
		s.Checks[name] = SealedCheck{v.healthy, v.reason}
	}
	for name, r := range n.names {
		sealed := SealedName{IPs: r.ips}
		if r.err != nil {
			sealed.Err = r.err.Error()
		}
		s.Names[name] = sealed
	}
	for _, name := range slices.Sorted(maps.Keys(n.links)) {
		l := n.links[name]
		s.Links = append(s.Links, SealedLink{l.Link, l.since, l.bare})
	}
	for name, a := range n.around {
		sealed := SealedAround{map[netip.Addr][2]string{}, a.stray.clone(), a.overlooked}
		for ip, mac := range a.macs {
			sealed.MACs[ip] = [2]string{mac.last, mac.before}
		}
		s.Around[name] = sealed
	}
	for _, f := range n.fates {
		s.Fates = append(s.Fates, f.seal())
	}
	for _, i := range n.instances {
		s.Instances = append(s.Instances, i.seal(now))
	}
	return s
}

func (f *fate) seal() SealedFate {
	return SealedFate{
		Group: f.group, State: f.state, Why: f.why, Since: lasting(f.state, f.since, f.mastered),
		Generation: f.generation, Told: f.told, LastChange: f.lastChange, OffersAt: f.offers.at, OffersGap: f.offers.gap, Unheard: f.unheard,
	}
}

func (i *instance) seal(now time.Time) SealedInstance {
	a := &i.announcer
	s := SealedInstance{
		State: i.state, Why: i.why, Since: lasting(i.state, i.since, i.mastered), Generation: i.generation, Told: i.told, LinkReady: i.linkReady,
		Advertised: i.advertised, Patience: i.formerDead, Holding: i.holding, Failure: SealedFailure{i.failure.why, i.failure.retry, i.failure.gap},
		Announcer: SealedAnnouncer{a.began, a.round, a.next, slices.Clone(a.queue), a.emitted, a.silent, a.answer, a.answers, a.hushed},
		Wary:      i.wary.on, Peerless: i.wary.peerless, Mute: i.mute.why, MuteAt: i.mute.at,
		Losses: slices.Clone(i.repair.losses), YieldUntil: i.repair.until, Unproven: i.unproven, LastChange: i.lastChange, LetGo: i.letGo, Calm: i.calm,
		Stirred: SealedStir{i.stirred.since, i.stirred.adverts, i.stirred.ip, i.stirred.times}, Reruns: SealedReruns{i.reruns.at, i.reruns.last, i.reruns.gap},
		Listened: i.newcomer.known, Offered: i.newcomer.offered,
	}
	if i.contention != nil {
		s.Contention = new(*i.contention)
	}
	for _, m := range i.members {
		s.Members = append(s.Members, m.seal(now))
	}
	return s
}

func (m *member) seal(now time.Time) SealedMember {
	s := SealedMember{
		Family: m.family, Source: m.source, Known: m.known, Listed: m.listed, Alone: m.alone, Awaited: slices.Clone(m.awaited), Floors: m.auth.Floors(now), Keys: m.auth.Fingerprints(now, m.of.cfg.Auth), Machine: m.machine.Seal(), Counters: m.counters,
		Refusals: m.refusals.clone(), Notices: m.notices.clone(), NewsFrom: m.news.from, NewsLeft: m.news.left, Listens: m.of.newcomer.until[m],
	}
	if o := m.of.newcomer.masters[m]; o != nil {
		s.Other = SealedMaster{o.who, o.priority, o.interval, o.better, o.until, o.left}
	}
	for _, o := range m.outlets {
		s.Outlets = append(s.Outlets, SealedOutlet{o.to, o.name, o.former, o.failed, o.failing, o.why, o.heard, o.priority})
	}
	for _, from := range slices.SortedFunc(maps.Keys(m.senders), netip.Addr.Compare) {
		x := m.senders[from]
		var held []SealedNews
		for _, line := range x.held {
			held = append(held, SealedNews{line.before, line.after})
		}
		s.Senders = append(s.Senders, SealedSender{from, x.at, x.refused, x.turned.seal(), maps.Clone(x.told), held, x.priority, x.interval, x.accepted, x.pseudo, x.msg, x.form})
	}
	for _, x := range m.sent {
		s.Sent = append(s.Sent, SealedSent{x.priority, x.interval, x.at})
	}
	return s
}
