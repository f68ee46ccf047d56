package sim

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// maxCaught is how many adverts somebody on the link remembers.
	maxCaught = 200
	// startSlack is by how much another host's clock may be ahead before what it sent just before a start can be played after it.
	startSlack = time.Second
	// memorySlack is by how much what was sent just before a start may be played after it where the host remembers the sender from
	// before: its clock is known then, but for how long the advert was under way by which it is.
	memorySlack = 100 * time.Millisecond
)

// caught is a signed advert that somebody on the link remembers.
type caught struct {
	node.Send
	by  *Host
	at  time.Time // the cluster's clock,
	own time.Time // and what is signed; the sender's may have been set back since it showed that
}

// speaker is who signs for a virtual router.
type speaker struct {
	link string
	vrid uint8
	from netip.Addr
}

// recollection is what a host must remember of the adverts that it was given, whatever its node says.
type recollection struct {
	node  *node.Node
	heard map[speaker]hearing
	saved map[speaker]hearing // what of that outlives the process
	at    time.Time           // when that was saved,
	saves int                 // and how often anything was
	began time.Time           // when the process, or the instance, began to listen
	noted time.Time           // when what the process has of the one before it was saved; zero: it has nothing
	sure  time.Time           // what was signed before that, by the host's clock, it may not believe
	anew  bool                // its next reload may bring an instance that it lacked, which begins to hear anew
	down  map[string]bool     // the links of which the process was told that they are down
	sent  uint64              // the newest sequence of its own,
	fore  uint64              // and of those that said more than its clock did, which was set back before
	set   time.Time           // when its wall clock was set last
	sets  []time.Duration     // and by how much it had been set before each time, since the process began
	// blurred is when it was set last by so little, or so secretly, that no process notices.
	blurred time.Time
	seen    map[speaker]bool // which virtual routers may have seen that since, by their group's address; nil: it was not set
}

// sequence reads it from a signed advert.
func sequence(payload []byte) uint64 {
	return binary.BigEndian.Uint64(payload[len(payload)-vrrp.TrailerLen+4:])
}

// signedAt is what the sender's clock showed, by a sequence.
func signedAt(sequence uint64) time.Time {
	return time.Unix(int64(sequence>>32), int64(sequence>>16&0xffff)*int64(time.Second)>>16)
}

// catch has somebody remember what the hosts send, and keeps what each of them must remember.
func (s *scenario) catch() {
	observe := s.c.Observe
	s.c.Observe = func(h *Host, ev node.Event, actions []node.Action) {
		observe(h, ev, actions)
		s.recollect(h, ev)
		for _, a := range actions {
			if a, ok := a.(node.Send); ok && isSigned(a) {
				if len(s.keys.caught) == maxCaught {
					s.keys.caught = s.keys.caught[1:]
				}
				s.keys.caught = append(s.keys.caught, caught{a, h, s.c.now, signedAt(sequence(a.Payload))})
				s.sees(h, speaker{a.Interface, a.Payload[1], a.Family.Group()})
				x := s.plights[h]
				if x.sent = max(x.sent, sequence(a.Payload)); signedAt(sequence(a.Payload)).After(h.now().Add(atOnce).Round(0)) {
					x.fore = sequence(a.Payload)
				}
			}
		}
	}
}

// atOnce is by how much a signed time may come before the clock where several adverts are signed at once.
const atOnce = 16 * time.Millisecond

// isSigned says whether an advert is. A host that signs by now may still have a removed instance that does not.
func isSigned(a node.Send) bool {
	size := 4
	if a.Family == vrrp.IPv6 {
		size = 16
	}
	bare := 8 + size*int(a.Payload[3])
	if heading(a.Payload).Version == vrrp.V2 {
		bare += vrrp.MaxPasswordLen
	}
	return len(a.Payload) == bare+vrrp.TrailerLen
}

// recollect takes note of an advert that a host was given, and of what a new process can know of the old one's. What was too long
// under way may have been refused.
func (s *scenario) recollect(h *Host, ev node.Event) {
	x := &s.plights[h].recollection
	if h.saves != x.saves { // after the step before this one, which may have been the last of another process
		x.saves, x.at, x.saved = h.saves, h.memorized, maps.Clone(x.heard)
	}
	if h.node != x.node {
		x.node, x.began, x.sure, x.sets, x.seen, x.noted = h.node, s.c.now, s.c.now, nil, nil, time.Time{}
		x.heard, x.down = map[speaker]hearing{}, map[string]bool{}
		s.plights[h].since = nil
		s.plights[h].configured(h.heeds.Instances, s.c.now)
		if h.memory != nil {
			maps.Copy(x.heard, x.saved)
			x.noted = x.at
		}
		x.unlearn()
	}
	if r, reloads := ev.(node.Reconfigured); reloads {
		s.plights[h].configured(r.Config.Instances, s.c.now)
		if x.anew || len(r.Config.Instances) == 0 {
			x.anew = false
			x.unlearn()
		}
	}
	if l, ok := ev.(node.LinkChanged); ok {
		s.linked(h, l.Link)
	}
	heard, ok := ev.(node.Heard)
	if !ok || heard.Sealed == nil || h.cleaning || !listens(h, speaker{heard.Interface, heard.Advert.VRID, heard.From}) {
		return
	}
	s.sees(h, speaker{heard.Interface, heard.Advert.VRID, vrrp.FamilyOf(heard.From).Group()})
	seq := sequence(heard.Sealed)
	sure := h.clock.of(x.sure)
	if s.keys.set {
		sure = sure.Add(2 * s.keys.ahead)
	}
	// By its sender's clock it may be older than the process, or by what is reckoned from a former advert, when that clock stands.
	early := seq>>32 <= uint64(sure.Unix()) || s.signedAhead(heard.Interface, heard.From, seq) || s.missed(h, heard) || s.misjudges(h, heard)
	off := h.now().Sub(time.Unix(int64(seq>>32), 0)).Abs()
	if key := (speaker{heard.Interface, heard.Advert.VRID, heard.From}); off < s.keys.window+2*time.Second {
		certain := off < s.keys.window-time.Second
		given := x.heard[key].with(seq, certain, early, s.keys.window)
		given.waited = given.waited.with(s.underWay(heard), h.now().Round(0), certain && !early)
		if by := signedAt(seq).Sub(h.now()); by < s.keys.window+time.Second { // else it is refused
			given.ahead = given.ahead.with(by, h.now().Round(0), certain && !early)
		}
		x.heard[key] = given
	}
}

// underWay is for how long an advert has been by now, from when it was sent to when the host is given it; somebody may have played it.
func (s *scenario) underWay(heard node.Heard) time.Duration {
	for _, c := range slices.Backward(s.keys.caught) {
		if c.Source == heard.From && sequence(c.Payload) == sequence(heard.Sealed) {
			return s.c.now.Sub(c.at)
		}
	}
	return s.slowest
}

// signedAhead says whether the host that has an address signed an advert, or a later one, ahead of its own clock.
func (s *scenario) signedAhead(link string, from netip.Addr, seq uint64) bool {
	return slices.ContainsFunc(s.c.hosts, func(h *Host) bool {
		l := h.LinkOn(link)
		return (l.Source4 == from || l.Source6 == from) && seq <= s.plights[h].fore
	})
}

// listens says whether a host has a virtual router that hears a speaker, and verifies it.
func listens(h *Host, who speaker) bool {
	for k := range h.heeds.Instances {
		if i := &h.heeds.Instances[k]; i.Interface == who.link && i.VRID == who.vrid && i.Auth != nil && slices.Contains(i.Families(), vrrp.FamilyOf(who.from)) && finds(h, i, who.from) {
			return true
		}
	}
	return false
}

// maxIntrusions is how often at most somebody forges or plays an advert in a run, beside those of a host's start.
const maxIntrusions = 30

// intrude plans what somebody does who has caught adverts, and has no key.
func (s *scenario) intrude(d dice) {
	for range d.IntN(maxIntrusions + 1) {
		h := s.c.hosts[d.IntN(len(s.c.hosts))]
		s.then(d.upTo(s.o.chaos), gentle, func() {
			if d.chance(0.5) {
				s.forge(d, h)
			} else {
				s.playAgain(d, h, d.chance(0.5))
			}
		})
	}
}

// greet plays old adverts to a host that has just begun to listen.
func (s *scenario) greet(h *Host) {
	d := newDice(s.seed, uint64(1000+len(s.keys.caught)))
	for range d.IntN(10) {
		s.then(d.upTo(s.common.Interval), gentle, func() { s.playAgain(d, h, true) })
	}
}

// playAgain plays one advert, of those that were sent before the host listened or of all. One that it was given, or a newer one of its
// sender, must do nothing. An old one that it was not given may make it quieter, and so may one that is older than what it was given and
// lay outside the window once its clock was set back: a living sender whose clock was set, too, may be there.
func (s *scenario) playAgain(d dice, h *Host, old bool) {
	x := s.plights[h]
	of := s.keys.caught
	if old {
		of = slices.DeleteFunc(slices.Clone(of), func(c caught) bool { return !s.isOld(h, c) })
	}
	if len(of) == 0 || !sound(h) || h.cleaning || !h.Running() {
		return
	}
	c := pick(d, of...)
	key := speaker{c.Interface, c.Payload[1], c.Source}
	l := h.LinkOn(c.Interface)
	if !listens(h, key) || !c.Destination.IsMulticast() && c.Destination != l.Source4 && c.Destination != l.Source6 {
		return
	}
	switch {
	case c.by == h, x.heard[key].refuses(sequence(c.Payload), s.keys.window):
		s.keys.count.played++
		h.Intrude(c.Interface, c.Payload, c.Source, c.Destination, vrrp.HopLimit)
	case s.isOld(h, c), x.heard[key].doubts(sequence(c.Payload), s.keys.window):
		s.keys.count.old++
		s.p.disturbed()
		h.Replay(c.Interface, c.Payload, c.Source, c.Destination)
	}
}

// forge sends one: a better master's advert from the address of another host, or from any.
func (s *scenario) forge(d dice, h *Host) {
	x := s.plights[h]
	auth := s.auth(x.step)
	if auth == nil || x.absent || len(h.cfg.Instances) == 0 || !sound(h) || h.cleaning || !h.Running() {
		return
	}
	i, other := pick(d, h.cfg.Instances...), pick(d, s.c.hosts...)
	if !sound(other) {
		return
	}
	family := pick(d, i.Families()...)
	from, to := other.LinkOn(i.Interface).Source4, h.LinkOn(i.Interface).Source4
	if family == vrrp.IPv6 {
		from, to = other.LinkOn(i.Interface).Source6, h.LinkOn(i.Interface).Source6
	}
	if len(i.Peers) == 0 {
		to = family.Group()
	}
	a := vrrp.Advert{Version: i.Version, VRID: i.VRID, Priority: pick[uint8](d, 255, 254, 1, 0), Interval: i.Interval}
	for _, w := range i.Addresses {
		if vrrp.FamilyOf(w.IP) == family {
			a.Addresses = append(a.Addresses, w.IP)
		}
	}
	signed, at, key, as := a, h.now(), vrrp.Key{ID: auth.Active, Secret: secret(keyText(auth.Active))}, from
	switch d.IntN(6) {
	case 0:
		key.Secret = secret("somebody else's")
	case 1:
		key = vrrp.Key{ID: 200, Secret: key.Secret}
	case 2:
		at = at.Add(pick[time.Duration](d, -1, 1) * (s.keys.window + 2*time.Second))
	case 3:
		signed.Priority = 100
	case 4:
		as = from.Next()
	case 5:
		key = vrrp.Key{}
	}
	var signer vrrp.Authenticator
	cfg := &vrrp.Auth{Mode: vrrp.Enforce, Active: key.ID, Keys: []vrrp.Key{key}, Window: s.keys.window}
	trailer, err := signer.Sign(cfg, at, &signed, as)
	if err != nil && auth.Mode != vrrp.Enforce {
		return // it may be accepted without a signature
	}
	b, err := a.AppendSealed(nil, from, to, i.Checksum, trailer)
	if err != nil {
		panic(err)
	}
	s.keys.count.forged++
	h.Intrude(i.Interface, b, from, to, vrrp.HopLimit)
}

// TestIntrudersTry holds that the random runs are what they are meant to be: somebody forges adverts and plays old ones, and the keys
// change.
func TestIntrudersTry(t *testing.T) {
	for _, k := range []species{single, groups} {
		var sum counts
		all := func() bool { return sum.forged > 0 && sum.played > 0 && sum.old > 0 && sum.steps > 0 }
		for s := *seed; s < *seed+400 && !all(); s++ {
			if draw(s, k, false, nil).keys.signed {
				n := play(s, k, false, nil).keys.count
				sum.forged, sum.played, sum.old, sum.steps = sum.forged+n.forged, sum.played+n.played, sum.old+n.old, sum.steps+n.steps
			}
		}
		if !all() {
			t.Errorf("%s: in 400 seeds they did %+v, want some of each", k, sum)
		}
	}
}
