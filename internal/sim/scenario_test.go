package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// scenario is what one seed draws: the hosts, what goes wrong, and how it ends.
type scenario struct {
	seed    uint64
	o       options
	c       *Cluster
	w       *watch
	p       *promises
	keys    keys
	common  node.Instance // the newest configuration of the first instance, without a priority
	version int           // of that configuration
	plights map[*Host]*plight
	widest  time.Duration  // the longest interval of any configuration so far
	refused int            // how often addresses were refused: the wait for another try doubles
	late    time.Time      // when the last of what a storm or a lag holds comes
	slowest time.Duration  // how long a packet was under way so far, at most
	noises  map[string]int // by what was wrong with it
	rolled  int            // how often the MACs were
	ended   bool
	moved   bool  // addresses went from one virtual router to another
	woke    bool  // at the end some host had just stood still
	waits   *Host // who did not take part when it was looked last
}

// plight is what was done to a host.
type plight struct {
	priority uint8
	version  int // of its configuration
	vrid     uint8
	families []vrrp.Family
	absent   bool
	stopping bool
	drained  bool
	refused  bool
	balked   bool         // addresses were refused
	walled   bool         // its adverts did not leave it
	refuses  []netip.Addr // which
	links    []node.Link  // as they are when nothing is wrong with them
	exchange unrest       // what an exchange of its process is
	step     int          // of the way to the next key
	amiss    bool         // its clock is further from the others' than it may be
	recollection
	acquaintance
	settledness
	deafness
	sick    map[string]bool // the checks that fail
	steps   int             // of all its processes
	looked  int             // how many these were when it was looked whether it takes part,
	partake bool            // and whether it did
	deleted []time.Time
	// believed is until when the others wait for what the host said last.
	believed time.Time
}

// unlike is the version of a configuration that is not like the others'.
const unlike = -1

// draw makes a cluster from a seed. The faults of skip are left out.
func draw(seed uint64, k species, trace bool, skip map[int]bool) *scenario {
	d := newDice(seed, 1)
	s := &scenario{seed: seed, common: drawInstance(d), plights: map[*Host]*plight{}, noises: map[string]int{}}
	var kin []kin
	if k == groups {
		kin = drawKin(newDice(seed, 4), s.common)
	}
	s.keys = drawKeys(newDice(seed, 6), s.common.Interval)
	s.o = drawOptions(d, s.common, kin, s.keys.signed)
	s.o.drawMACs(newDice(seed, 9))
	if d.chance(0.2) {
		s.common.Peers, s.common.MinTTL, s.common.VirtualMAC = everyHost(s.o.hosts, 0, false), vrrp.HopLimit, false // the configuration refuses both
	}
	s.drawNames(newDice(seed, 10))
	s.drawUnplugging(newDice(seed, 11))
	cfg := Config{
		Seed: seed, Trace: trace, Kernel: s.o.kernel, KernelMore: s.o.busy, Jitter: s.o.jitter, Network: s.o.network, Lookout: s.o.lookout,
		LeaseEarly: 50 * time.Millisecond, LeaseLate: 980 * time.Millisecond, // measured: 1.95 to 2.95 s for a lease of 2 s
	}
	for k := range s.o.hosts {
		cfg.Hosts = append(cfg.Hosts, node.Config{Name: string(rune('a' + k)), Instances: s.o.siblings(s.common)})
	}
	s.c = New(cfg)
	s.shuffle(newDice(seed, 5))
	for k, h := range s.c.hosts {
		s.plights[h] = &plight{priority: s.o.priority[k], vrid: s.common.VRID, families: s.common.Families(), links: h.Links(), step: s.keys.step, sick: map[string]bool{}}
		h.SetClock(d.IntN(2*s.o.drift+1)-s.o.drift, s.offset(d))
		h.Reconfigure(s.config(h, s.common))
	}
	s.slowest = s.o.network.MaxDelay
	s.w = watchOver(s.c)
	s.p = promise(s.c, s.w, s.health, s.calm, s.recovery, s.effective)
	s.p.quiet, s.p.signed, s.p.groups = s.quiet, s.keys.signed, s.o.grouped()
	s.c.Exchanged = func(h *Host, next *node.Node, actions []node.Action) {
		s.tell(s.plights[h].exchange)
		s.p.exchanged(h)
		s.plights[h].node, s.plights[h].meets, s.plights[h].process = next, next, next
		s.relearn(h)
		s.w.exchanged(h, next, actions)
	}
	s.haunt()
	s.renewed()
	s.plan(d, skip)
	s.introduce()
	if s.keys.signed {
		s.catch()
		s.intrude(newDice(seed, 7))
	}
	return s
}

// offset draws when a host's clock began. Without keys it does not matter how far it is from the others'.
func (s *scenario) offset(d dice) time.Duration {
	if s.keys.signed {
		return d.upTo(s.keys.ahead)
	}
	return d.upTo(time.Hour)
}

// everyHost is one list of peers for all hosts on a link.
func everyHost(hosts, link int, byName bool) []node.Peer {
	var peers []node.Peer
	for k := range hosts {
		if byName {
			peers = append(peers, node.Peer{Name: nameOf(string(rune('a'+k)), fmt.Sprintf("eth%d", link))})
			continue
		}
		l := newLink("", link, k+1)
		peers = append(peers, node.Peer{IP: l.Source4}, node.Peer{IP: l.Source6})
	}
	return peers
}

// plan draws when the hosts start and what happens when.
func (s *scenario) plan(d dice, skip map[int]bool) {
	for _, h := range s.c.hosts {
		s.then(d.upTo(s.o.chaos/4), gentle, func() { s.start(h) })
	}
	total := 0
	for _, k := range s.o.kinds {
		total += k.weight
	}
	for n := range s.o.faults {
		own := newDice(s.seed, uint64(100+n))
		at, h := own.upTo(s.o.chaos), s.c.hosts[own.IntN(len(s.c.hosts))]
		k := s.o.kind(own.IntN(total))
		if !skip[n] {
			s.then(at, k.unrest, func() {
				s.c.Note("** fault %d: %s on %s", n, k.name, h.Name)
				k.do(s, own, h)
			})
		}
	}
}

// kind finds the kind of fault that a drawn weight falls on.
func (o *options) kind(at int) kind {
	for _, k := range o.kinds {
		if at -= k.weight; at < 0 {
			return k
		}
	}
	return o.kinds[0]
}

// then plans what is drawn; after the end of the faults it no longer happens.
func (s *scenario) then(d time.Duration, u unrest, do func()) {
	s.c.after(d, func() {
		if s.ended {
			return
		}
		s.tell(u)
		do()
		s.tell(u)
	})
}

// tell lets the promises know.
func (s *scenario) tell(u unrest) {
	switch u {
	case gentle:
		s.p.news()
	case planned:
		s.p.mayMove()
	default:
		s.p.disturbed()
	}
}

// start starts a host's process, once a cleanup is through.
func (s *scenario) start(h *Host) {
	if h.Cleaning() || h.Frozen() {
		s.then(100*time.Millisecond, planned, func() { s.start(h) })
		return
	}
	if h.Running() {
		return
	}
	s.c.Note("** start %s", h.Name)
	s.plights[h].stopping, s.plights[h].drained = false, false
	s.hush(h)
	h.Start()
	s.greet(h)
}

// renewed takes note of a new configuration of the first instance.
func (s *scenario) renewed() {
	instances := s.o.siblings(s.common)
	s.widest = max(s.widest, slowestOf(instances).Interval)
	s.p.lookAfter(instances, s.bounds())
}

// bounds are those of the newest configuration.
func (s *scenario) bounds() bounds {
	if s.o.grouped() {
		return boundsOfGroup(s.o.siblings(s.common), s.widest, s.w.slack)
	}
	return boundsOf(s.common, s.widest, s.w.slack)
}

// configure gives a host the newest configuration, or none.
func (s *scenario) configure(h *Host, absent bool) {
	x := s.plights[h]
	if all := x.absent || x.vrid != s.common.VRID; !absent && (all || !slices.Equal(x.families, s.common.Families())) {
		began := x.began
		if s.hush(h); !all { // some of its virtual routers are new, the others have listened all the time
			x.began = began
		}
	}
	if x.vrid != s.common.VRID && !absent && s.p.overlaps() {
		// Both keep the addresses of the old virtual router for the new one, and neither says so: they stay two for as long.
		s.late = later(s.late, s.c.now.Add(s.bounds().keeps()))
		s.c.after(s.bounds().keeps(), s.p.disturbed)
	}
	x.vrid, x.families = s.common.VRID, s.common.Families()
	if x.version == unlike {
		x.anew = true
		s.p.disturbed() // until now its group was another one than the others', which wait for the rest of it
	}
	x.absent, x.version = absent, s.version
	cfg := node.Config{Name: h.Name}
	if !absent {
		i := s.common
		i.Checks = maps.Clone(i.Checks)
		cfg = s.config(h, i)
	}
	if h.Cleaning() {
		h.cfg = cfg // a cleanup has the configuration of the dead process
		return
	}
	h.Reconfigure(cfg)
}

// health is what is known of a host from what was done to it.
func (s *scenario) health(h *Host) health {
	x := s.plights[h]
	switch {
	case h.node == nil, h.cleaning, h.paused, h.frozen, x.stopping, x.absent, x.refused, !sound(h), x.sick[releases], s.worn(h), x.settledness.displaced(h):
		return unknown
	case x.sick[yields], x.drained:
		return ill
	default:
		return well
	}
}

// What a host that is well again may have to wait for, beyond what all may.
const (
	mutePause   = 6 * time.Second   // one whose adverts did not leave it tries every 5 s whether they do
	wornPause   = 75 * time.Second  // one whose addresses were deleted too often offers them to others for a minute
	balkedPause = 310 * time.Second // one whose addresses were refused tries again after at most 300 s
	waryPause   = 2 * time.Second   // one whose addresses were another virtual router's asks every second whether somebody still serves them
)

// recovery is how long a host may need to take part again, by what was done to it and to the cluster.
func (s *scenario) recovery(h *Host) time.Duration {
	x, b := s.plights[h], s.p.bound
	d := b.recovers(s.o.grouped()) + s.common.LinkDelay + s.asks(h)
	if s.moved {
		d += b.keeps() + waryPause
	}
	if x.walled {
		d += mutePause
	}
	if s.worn(h) {
		d += wornPause
	}
	if x.balked {
		d += balkedPause
	}
	return d
}

// sound says whether a host can hear and be heard.
func sound(h *Host) bool {
	dumb := func(l node.Link) bool { return !l.Up || !l.Source4.IsValid() || !l.Source6.IsValid() }
	return h.Firewall == "" && h.Lag == 0 && !slices.ContainsFunc(h.links, dumb)
}

// worn says whether so many addresses of a host were deleted that it may offer them to others for a minute of its own.
func (s *scenario) worn(h *Host) bool {
	n := 0
	for _, at := range s.plights[h].deleted {
		if h.now().Sub(at) < wornPause {
			n++
		}
	}
	return n >= 5
}

// calm says whether the link and the hosts are as they should be, apart from their checks, and each host knows the others.
func (s *scenario) calm() bool { return s.quiet() && !s.o.naming.strange && s.stranger(false) == nil }

// quiet is the first half of that.
func (s *scenario) quiet() bool {
	n := s.c.Network
	if len(s.c.cuts) > 0 || s.c.now.Before(s.keys.deaf) || n.Loss > 0 || n.MaxDelay > s.o.network.MaxDelay || !s.c.now.After(s.late.Add(s.widest)) {
		return false
	}
	for _, h := range s.c.hosts {
		x := s.plights[h]
		if h.paused || h.Away() || h.frozen || s.haunted(h) || x.refused || x.amiss || x.version != s.version || !sound(h) || s.worn(h) {
			return false
		}
	}
	return true
}

// play lets the faults happen and ends them all.
func (s *scenario) play() {
	s.c.Run(s.o.chaos)
	s.ended = true
	s.calmNetwork()
	clocks := newDice(s.seed, 8)
	for _, h := range s.c.hosts {
		s.catchUp(h)
		s.setRight(clocks, h)
	}
	s.c.Run(s.late.Sub(s.c.now)) // what a storm or a lag holds still comes
	s.end(newDice(s.seed, 2))
}

// end heals everything, and says how each host is from now on.
func (s *scenario) end(d dice) {
	s.c.Note("** the end of the faults")
	s.p.disturbed()
	s.c.Heal()
	s.c.Network.Loss, s.c.Network.Duplicates = 0, 0
	keep := d.IntN(len(s.c.hosts)) // lives on, and is healthy if any is
	for k, h := range s.c.hosts {
		s.woke = s.woke || h.Frozen() || h.Paused() || h.Away() || s.c.now.Sub(h.resumed) <= s.bounds().wakes()
		if h.Frozen() {
			s.thaw(d, h, s.awakening(d))
		}
		h.Firewall = ""
		s.plights[h].find()
		h.Return()
		s.refuse(h, "")
		h.Resume()
		if s.o.absent && k != keep && d.chance(0.3) || s.plights[h].stopping || h.Cleaning() {
			s.c.Note("** crash %s", h.Name) // one that stops would end by itself in a while
			h.Crash()
		}
		s.configure(h, false)
		s.mend(h)
		s.verdict(h, releases, k == keep || s.o.ill || d.chance(0.9))
		s.verdict(h, weighs, d.chance(0.5))
		healthy := !s.o.ill && (k == keep || d.chance(0.7))
		drained := !healthy && d.chance(0.5)
		s.verdict(h, yields, healthy || drained)
		if !s.o.absent || k == keep || d.chance(0.7) {
			s.start(h)
		}
		s.drain(h, drained)
	}
	s.p.disturbed()
}
