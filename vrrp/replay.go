package vrrp

import (
	"cmp"
	"crypto/hmac"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Limits of what is remembered of senders.
const (
	// maxSenders bounds the records: they are of hosts with the key, and of those that are to be heard from now on.
	maxSenders = 32
	// restoreSlack is by how much a sender's next advert after a restart may be older than its clock was expected to say:
	// clocks are adjusted, and the network's delay differs. What is older is early.
	restoreSlack = 100 * time.Millisecond
	// StartSlack is the same where nothing is known of the sender's clock. By no more than that this host's may be set unnoticed (look).
	StartSlack = time.Second
	// quickFor is for how long the quickest advert of a sender counts: clocks drift by less than restoreSlack meanwhile. What is later
	// by the sender's clock waited for a host that stood still, or that clock was set back since then.
	quickFor = 5 * time.Minute
)

// NewAuthenticator returns one that began to listen at an instant. What somebody caught before that instant and plays now has
// the right signature, lies within the window, and has not been heard; only its time speaks against it. But so does that of a
// living master whose clock is behind, and a host that refused to hear that one would become a second master. So what a
// sender's clock says was sent before is neither refused nor believed: it is early (Proof), and Early lets it make this host
// quieter: it waits, or gives way while it is unhealthy or leaves, as it does for a forged ARP announcement too, which nobody signs; it
// never takes over, and a healthy master stays. How long is bounded: nothing counts twice (but see weigh), and what is older than the window is
// refused; so whoever replays what a dead master sent holds up a host that was just started by a window, by what that master's clock
// was ahead, and by one Master_Down_Interval at most. A clock that is behind by less than the window is believed as soon as it has passed the
// start. keepalived 2.4 believes the first advert of each sender after its start, whatever it says, once; on the wire it is all
// the same.
//
// The sender's clock is known where Restore has a mark of it. Of any other it is taken that it agrees with this host's, to
// StartSlack: one that is further ahead gives away that much of the protection until the sender is heard once.
func NewAuthenticator(began time.Time) Authenticator {
	return Authenticator{floor: start(began), began: began, shown: SequenceAt(began)}
}

// start is what a sender must pass whom somebody begins to hear at an instant, knowing nothing of its clock.
func start(began time.Time) Sequence { return SequenceAt(began.Add(-StartSlack)) }

// Mark is the newest advert that a sender proved.
type Mark struct {
	Sender   netip.Addr `json:"sender"`
	Sequence Sequence   `json:"sequence"`
	Heard    time.Time  `json:"heard"` // wall clock
	Key      uint8      `json:"key"`
	Own      bool       `json:"own,omitempty"` // it was this host's; see Sign
	Set      bool       `json:"set,omitempty"` // this host's clock was set back since it was heard
	// Beside is what is not believed beside Sequence, as that does not cover it (weigh); 0: nothing. See follow.
	Beside Sequence `json:"beside,omitempty"`
	// Late is by how much longer it was under way than the quickest of the sender's, which was heard at Quick; zero: it was the quickest.
	Late  time.Duration `json:"late_ns,omitempty"`
	Quick time.Time     `json:"quick,omitzero"`
}

// Ahead is how far the sender's clock is before this host's; negative: behind it.
func (m Mark) Ahead() time.Duration { return -m.Sequence.behind(m.Heard) }

// Memory is what an Authenticator remembers, for another one to go on with.
type Memory struct {
	Sent  Sequence `json:"sent"`
	Marks []Mark   `json:"marks"`
}

// record is what is known of a sender. What was early leaves no mark: it says nothing certain about the sender's clock.
type record struct {
	newest Mark     // not early or early: what comes after it has not been heard yet; Sequence 0: nothing was
	mark   Mark     // the newest that was not early; zero: there is none
	floor  Sequence // what must be passed to be believed; 0: nothing
	past   bool     // newest lay outside the window when something older came: it refuses nothing any more; see weigh
}

// before says whether s is not newer than another one, by that much at most.
func (s Sequence) before(other Sequence, most time.Duration) bool {
	return other != 0 && !s.After(other) && s.near(other, most)
}

// stands says whether s is the next advert of the same time after the newest that its sender was believed, where that time lies too far in the
// future by now. Both clocks were set back then: the sender's stays where it was as far as it signs (next), and so is further ahead of this
// host's than it is. Whoever caught such an advert could have played it before this host's clock was set.
func (a *Authenticator) stands(cfg *Auth, now time.Time, sender netip.Addr, s Sequence) bool {
	last := a.senders[sender].mark.Sequence
	return last != 0 && s>>16 == last>>16 && s.After(last) && s.behind(now) < 0 && s.within(3*cfg.Window, now)
}

// weigh refuses what is not newer than what its sender sent before, and says of the rest whether it is early. A floor that lies outside
// the window is forgotten: what is older is stale, and in the future it was before this host's clock was set back.
//
// What was heard lies there, too, where the sender's clock was set back with this host's. Of what comes before it, by two windows at most,
// nothing is believed, whatever this host's clock shows by then. But it may be new: keepalived goes on after what it sent for one window only
// (next), and whoever lost that not at all. So it is early, and leaves no trace: neither has somebody who plays what he caught of a later time
// anything refused that a living sender goes on with, nor has what is early by the floor as well, up to three windows before, anything
// forgotten. Played again it holds up a host until a window after the newest of what was heard, as different ones would that somebody caught.
// A sender who is set back by more than two windows begins anew, and a time that comes twice may be played again.
func (a *Authenticator) weigh(cfg *Auth, now time.Time, m Mark) (early bool, err error) {
	passed := func(s Sequence) bool { return s == 0 || !s.within(cfg.Window, now) || m.Sequence.After(s) }
	r, known := a.senders[m.Sender]
	if !known {
		r.floor = a.floor
	}
	before := m.Sequence.before(r.newest.Sequence, 2*cfg.Window)
	switch {
	case before && !r.past && r.newest.Sequence.within(cfg.Window, now):
		return false, ErrAuthReplay
	case before || m.Sequence.before(r.newest.Beside, 2*cfg.Window):
		r.past = r.past || before
		a.keep(m.Sender, r)
		return true, nil
	}
	early = !passed(r.floor) || !passed(a.admitted(m.Key, r.mark))
	if early && m.Sequence.before(r.newest.Sequence, 3*cfg.Window) {
		r.past = true // it has nothing forgotten
		a.keep(m.Sender, r)
		return true, nil
	}
	m = m.follow(r.newest, cfg.Window)
	r.newest, r.past = m, false
	if !early {
		r.mark, r.floor = m.timed(r.mark), 0
	}
	a.keep(m.Sender, r)
	return early, nil
}

// follow returns a mark that comes after another one of its sender. Where the sender's clock went on by more than two windows, perhaps for a
// moment only, the newest of before that is not believed again. Where it was set back by more, what it sent until then is forgotten.
func (m Mark) follow(last Mark, window time.Duration) Mark {
	newer := m.Sequence.After(last.Sequence)
	switch {
	case last.Sequence == 0:
	case newer && m.Sequence.near(last.Sequence, 2*window):
		m.Beside = last.Beside
	case newer:
		m.Beside = last.Sequence
	}
	return m
}

// timed returns a mark that comes after the newest one of its sender that was believed. Who stood still hears late what waited for it, and
// must not take the sender's clock to be behind by that.
func (m Mark) timed(last Mark) Mark {
	quick := last.Heard
	if last.Late > 0 {
		quick = last.Quick
	}
	age, late := m.Heard.Sub(quick), last.Ahead()+last.Late-m.Ahead()
	if known := !last.Heard.IsZero() && !last.Own && !last.Set && !last.Sequence.stood(); known && late > 0 && age >= 0 && age < quickFor {
		m.Late, m.Quick = late, quick
	}
	return m
}

// unmeasured returns a mark after which a sender's adverts are measured anew: this host's clock went ahead, and by what it shows now all are
// later than those of before, though none of them waited.
func (m Mark) unmeasured() Mark {
	m.Late, m.Quick = max(m.Late, 1), time.Time{} // the quickest was long ago
	return m
}

// sign takes note of an advert of this host's own, as of one that was heard. Once its address is another host's, or nobody's, it is no
// longer known for our own when somebody plays it, and it has a key of ours.
func (a *Authenticator) sign(cfg *Auth, m Mark) {
	m.Own = true
	m = m.follow(a.senders[m.Sender].newest, cfg.Window)
	a.sent = m.Sequence
	a.keep(m.Sender, record{newest: m, mark: m})
}

// keep takes a record. Where there are too many, the one heard longest ago makes room, and nobody without a record is believed
// before it.
func (a *Authenticator) keep(sender netip.Addr, r record) {
	if a.senders == nil {
		a.senders = map[netip.Addr]record{}
	}
	if _, known := a.senders[sender]; !known && len(a.senders) >= maxSenders {
		oldest := slices.MinFunc(slices.Collect(maps.Values(a.senders)), func(x, y record) int { return byHeard(x.newest, y.newest) })
		delete(a.senders, oldest.newest.Sender)
		for _, s := range []Sequence{oldest.newest.Sequence, oldest.floor} {
			if s != 0 && s.After(a.floor) {
				a.floor = s
			}
		}
	}
	a.senders[sender] = r
}

// byHeard orders marks, the one that was heard longest ago first.
func byHeard(x, y Mark) int {
	return cmp.Or(x.Heard.Compare(y.Heard), x.Sender.Compare(y.Sender))
}

// Memory returns what is to outlive this Authenticator.
func (a *Authenticator) Memory() Memory {
	m := Memory{Sent: a.sent}
	for _, r := range a.senders {
		if !r.mark.Heard.IsZero() {
			m.Marks = append(m.Marks, r.mark)
		}
	}
	slices.SortFunc(m.Marks, byHeard)
	return m
}

// Restore goes on with what an earlier Authenticator remembered, however long ago. What that one heard is refused. What each
// sender sent after that and somebody caught is early: the sender's clock has gone on as this host's has. Where this host's was
// set back since then, that is not known, and the sender's clock is taken for one that agrees.
func (a *Authenticator) Restore(now time.Time, m Memory) {
	a.sent = m.Sent
	for _, mark := range m.Marks {
		mark.Heard = mark.Heard.Round(0) // who carried it over may have given it a monotonic reading, which knows of no sleep
		a.keep(mark.Sender, record{newest: mark, mark: mark, floor: passed(now, mark)})
	}
}

// passed is what a sender's clock must have passed by an instant, as far as a mark of it tells. Where this host's was set back since then,
// the mark is older than it seems. What was signed while the sender's clock stood is ahead of that clock, nobody knows how far.
func passed(now time.Time, mark Mark) Sequence {
	since := now.Sub(mark.Heard)
	expected := mark.Sequence.add(since + mark.Late - restoreSlack)
	switch {
	case since < 0, mark.Set && start(now).After(expected):
		return start(now)
	case since+mark.Late <= restoreSlack && !mark.Set:
		return 0
	case mark.Sequence.stood() && expected.After(start(now)):
		return start(now)
	}
	return expected
}

// look sees whether this host's clock was set since it looked last: what it shows went on by more or less than the monotonic reading of
// an instant did. It is asked with each advert, of others and of this host: a master that hears nobody must not learn of it only by
// the first advert of another one, who would be early from then on.
func (a *Authenticator) look(now time.Time) {
	if by := a.shown.behind(now) - now.Sub(a.began); !a.began.IsZero() && by.Abs() > StartSlack {
		a.clockSet(now, by > 0)
	}
}

// clockSet begins anew, as far as nothing was heard: by the old time adverts were refused as stale that by the new one are not, and no
// record was kept of them. By a clock that was set, that of a sender is not known either. But where it was ahead that it went, this
// host may have slept, and what is known of the sender's clock may be as good as before; who passed it is believed at once.
func (a *Authenticator) clockSet(now time.Time, ahead bool) {
	a.began, a.shown, a.floor, a.young = now, SequenceAt(now), start(now), nil
	for sender, r := range a.senders {
		r.floor = a.floor
		if known := passed(now, r.mark); ahead && !r.mark.Heard.IsZero() && a.floor.After(known) {
			r.floor = known
		}
		r.mark.Set = r.mark.Set || !ahead && !r.mark.Heard.IsZero()
		if ahead && !r.mark.Heard.IsZero() {
			r.mark = r.mark.unmeasured()
		}
		a.senders[sender] = r
	}
}

// Floors are what must be passed to be believed, and since when.
type Floors struct {
	Began   time.Time // when this host began to listen, or saw that its clock had been set
	Shown   Sequence  // what its clock showed then: who carries Began over to another clock leaves this as it is
	Others  Sequence  // everybody's of whom there is no record
	Senders []Floor
}

// Floor is what a sender must pass to be believed, and what it must pass to be heard.
type Floor struct {
	Sender   netip.Addr
	Sequence Sequence `json:",omitzero"` // 0: what its mark says, if there is one
	Newest   Sequence `json:",omitzero"` // the newest advert of the sender, if that was early,
	Beside   Sequence `json:",omitzero"` // and its Mark.Beside
	Past     bool     `json:",omitzero"` // the newest, early or not, refuses nothing any more
}

// Floors returns what Memory leaves out, since whoever begins to hear anew has higher ones, and hears anew. A process that goes on where
// this one was needs them: what was refused unheard does not become believable by that, what was early is not heard again, and a clock
// that was set since this one looked, or while nobody was there, has been set all the same.
func (a *Authenticator) Floors(now time.Time) Floors {
	floors := Floors{Began: a.began, Shown: a.shown, Others: a.floor}
	for sender, r := range a.senders {
		f := Floor{Sender: sender}
		unknown := r.mark.Heard.IsZero()
		if unknown || r.floor != passed(now, r.mark) {
			f.Sequence = r.floor
		}
		if r.newest.Sequence != r.mark.Sequence {
			f.Newest, f.Beside = r.newest.Sequence, r.newest.Beside
		}
		if f.Past = r.past; unknown || f.Sequence != 0 || f.Newest != 0 || f.Past {
			floors.Senders = append(floors.Senders, f)
		}
	}
	slices.SortFunc(floors.Senders, func(x, y Floor) int { return x.Sender.Compare(y.Sender) })
	return floors
}

// RestoreFloors takes them back, after Restore.
func (a *Authenticator) RestoreFloors(now time.Time, floors Floors) {
	a.began, a.shown, a.floor = floors.Began, floors.Shown, floors.Others
	maps.DeleteFunc(a.senders, func(_ netip.Addr, r record) bool { return r.mark.Heard.IsZero() })
	for _, f := range floors.Senders {
		r := a.senders[f.Sender]
		unknown := r.mark.Heard.IsZero()
		if unknown || f.Sequence != 0 {
			r.floor = f.Sequence
		}
		if unknown || f.Newest != 0 {
			r.newest = Mark{Sender: f.Sender, Sequence: f.Newest, Heard: now.Round(0), Beside: f.Beside}
		}
		r.past = f.Past
		a.keep(f.Sender, r)
	}
}

// Inherit takes over what a process verified with that was here until a while ago. Its configuration has no secrets; where the next one
// has these keys, nobody is heard who was not heard before. A while longer than StartSlack is another matter: at a start no more
// is given away.
func (a *Authenticator) Inherit(away time.Duration, keys []Fingerprint) {
	if away <= StartSlack {
		a.inherited = keys
	}
}

// know gives a configuration without secrets those that are known to be its own.
func (a *Authenticator) know(was *Config, is *Auth) *Config {
	known := *was
	if a.inherited == nil || was.Auth == nil || is == nil {
		return &known
	}
	auth := *was.Auth
	auth.Keys = slices.Clone(auth.Keys)
	for i, k := range auth.Keys {
		secret, ok := is.key(k.ID)
		if ok && slices.ContainsFunc(a.inherited, func(f Fingerprint) bool { return f.Key == k.ID && hmac.Equal(f.MAC, secret.fingerprint()) }) {
			auth.Keys[i].Secret = secret
		}
	}
	known.Auth = &auth
	return &known
}

// Reconfigure follows a change of what is heard, and of what is verified. Where more is believed than before, no record was kept of
// what was sent until now and refused, and somebody may have caught it: it is early, as if this Authenticator had begun to hear its
// sender now. What was heard is refused as ever. That is so for each new key by itself; see learn.
func (a *Authenticator) Reconfigure(now time.Time, was, is *Config) {
	known := a.know(was, is.Auth)
	a.inherited = nil
	senders, everybody := is.hearsMore(known)
	switch {
	case everybody:
		a.Deaf(now, is.Auth)
	case is.Auth != nil:
		a.learn(now, is.Auth.newKeys(known.Auth))
	}
	for _, sender := range senders {
		a.admit(now, sender)
	}
}

// Deaf says that until an instant nobody was heard, as where the interface was down. What was sent until then is early.
func (a *Authenticator) Deaf(now time.Time, cfg *Auth) {
	if cfg == nil || len(cfg.Keys) == 0 {
		return
	}
	a.look(now)
	if began := start(now); began.After(a.floor) || !a.floor.within(cfg.Window, now) {
		a.floor = began
	}
	for sender := range a.senders {
		a.admit(now, sender)
	}
}

// admit begins to hear a sender.
func (a *Authenticator) admit(now time.Time, sender netip.Addr) {
	r, known := a.senders[sender]
	if !known {
		r.newest = Mark{Sender: sender, Heard: now.Round(0)}
	}
	r.floor = start(now)
	if !r.mark.Heard.IsZero() {
		r.floor = passed(now, r.mark)
	}
	a.keep(sender, r)
}

// hearsMore says of whom an advert may be believed that was refused before, whatever it said: of these, or of everybody.
func (c *Config) hearsMore(was *Config) (senders []netip.Addr, everybody bool) {
	u, before := c.Unicast, was.Unicast
	switch {
	case c.Auth == nil || len(c.Auth.Keys) == 0:
		return nil, false
	case c.Auth.believesMore(was.Auth), c.Version != was.Version, u == nil && before != nil:
		return nil, true
	case u == nil:
		return nil, false
	case before == nil || u.MinTTL < before.MinTTL:
		return u.Peers, false
	}
	return slices.DeleteFunc(slices.Clone(u.Peers), func(ip netip.Addr) bool { return slices.Contains(before.Peers, ip) }), false
}

// believesMore says whether an advert may be believed that was refused before, with whatever key.
func (a *Auth) believesMore(was *Auth) bool { return was == nil || a.Window > was.Window }
