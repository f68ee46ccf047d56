package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Bounds of looking up the peers' names.
const (
	lookupTimeout = 5 * time.Second
	// A name without an address, or whose host is not heard, is looked up again after 5, 10, 20, 30, 30 .. s: a backup is silent for
	// good, and may be another host by now. It is never looked up sooner than after the first of these, whoever asks for it, but for a
	// reload that needs it in another family.
	minLookupGap, maxLookupGap = 5 * time.Second, 30 * time.Second
	// maxNameAddresses is how many addresses of a name are used, in a family.
	maxNameAddresses = 16
	// askQueue is how many wishes of the loop may wait. One that finds no room is dropped: what it came of goes on, or was nothing.
	askQueue = 64
)

// names knows the addresses of the peers that are configured by name. The kernel and the name service may be slow: one
// goroutine waits for them, and the loop hears of what was found.
type names struct {
	*Daemon
	finder  resolver
	known   atomic.Pointer[map[string][]netip.Addr] // the newest addresses of each name
	renamed chan struct{}                           // there is a new configuration
	asked   chan []string                           // names that the loop wants looked up now

	of       map[string]*name // belongs to run
	followed *config.Config   // whose names these are
}

// name is one of them.
type name struct {
	families []vrrp.Family // in which addresses are needed; nil: not known yet
	ips      []netip.Addr
	sure     []netip.Addr // what they were when a look-up last ended without an error
	err      error
	known    bool      // it was looked up
	busy     bool      // it is being looked up
	wanted   bool      // somebody asked, since the last look-up began
	began    time.Time // when that did
	looked   time.Time // when it ended, or was found unnecessary
	at       time.Time // when the next one is due, if nobody asks
	gap      time.Duration
}

// next is when a name is to be looked up.
func (m *name) next() time.Time {
	if soonest := m.began.Add(minLookupGap); m.wanted && soonest.Before(m.at) {
		return soonest
	}
	return m.at
}

func newNames(d *Daemon) *names {
	n := &names{Daemon: d, finder: newResolver(d), renamed: make(chan struct{}, 1), asked: make(chan []string, askQueue), of: map[string]*name{}}
	n.known.Store(&map[string][]netip.Addr{})
	return n
}

// changed has the names of a new configuration looked up.
func (n *names) changed() {
	select {
	case n.renamed <- struct{}{}:
	default:
	}
}

// ask has names looked up as soon as they may be. It never waits.
func (n *names) ask(names []string) {
	select {
	case n.asked <- names:
	default:
	}
}

// found returns the addresses of a name; none while they are not known.
func (d *Daemon) found(name string) []netip.Addr { return (*d.names.known.Load())[name] }

// run looks names up until ctx ends. Each by itself: one that nobody answers for keeps no other waiting.
func (n *names) run(ctx context.Context) error {
	var lookups sync.WaitGroup
	defer lookups.Wait()
	results := make(chan node.Resolved)
	n.save()
	for {
		n.follow(n.cfg.Load())
		now := time.Now()
		for _, text := range n.due(ctx, now) {
			m := n.of[text]
			families, sure := m.families, m.sure
			m.begin(now)
			lookups.Go(func() { n.look(ctx, text, families, sure, results) })
		}
		timer := time.NewTimer(n.idle())
		select {
		case <-n.renamed:
		case names := <-n.asked:
			n.want(names)
		case r := <-results:
			if ctx.Err() == nil { // else it says only that nobody waits for it any more
				n.take(ctx, time.Now(), r)
			}
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// begin takes note that a name is being looked up.
func (m *name) begin(now time.Time) { m.busy, m.wanted, m.began = true, false, now }

// look looks one name up, and hands over what it found.
func (n *names) look(ctx context.Context, text string, families []vrrp.Family, sure []netip.Addr, results chan<- node.Resolved) {
	look, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	select {
	case results <- n.finder.find(look, text, families, sure):
	case <-ctx.Done():
	}
}

// idle is how long there is nothing to look up, if nobody asks.
func (n *names) idle() time.Duration {
	wait := maxLookupGap
	for _, m := range n.of {
		if !m.busy {
			wait = min(wait, time.Until(m.next()))
		}
	}
	return wait
}

// want takes note that names are asked for. They are looked up again soon, too: a name service may know of a change late.
func (n *names) want(names []string) {
	for _, text := range names {
		if m := n.of[text]; m != nil {
			m.wanted, m.gap = true, 0
		}
	}
}

// follow brings the list to a configuration.
func (n *names) follow(cfg *config.Config) {
	if cfg == n.followed {
		return
	}
	n.followed = cfg
	needed := map[string][]vrrp.Family{}
	for _, i := range cfg.Instances {
		for _, p := range i.Peers {
			if p.Name != "" {
				needed[p.Name] = append(needed[p.Name], i.Families()...)
			}
		}
	}
	wanted := map[string]*name{}
	for text, families := range needed {
		if wanted[text] = n.of[text]; wanted[text] == nil {
			wanted[text] = &name{}
		}
		wanted[text].need(families)
	}
	n.of = wanted
}

// need takes note of the families in which a name needs addresses. It is looked up at once for one that a reload brings, and for one
// in which the program before found nothing: it may have been about to.
func (m *name) need(families []vrrp.Family) {
	if slices.ContainsFunc(families, func(f vrrp.Family) bool { return !m.sought(f) }) {
		m.wanted, m.at = true, time.Time{}
	}
	slices.Sort(families)
	m.families = slices.Compact(families)
}

// sought says whether addresses of a family have been looked for, as far as is known; what failed is tried again in its time.
func (m *name) sought(f vrrp.Family) bool {
	if m.families != nil {
		return slices.Contains(m.families, f)
	}
	return m.err != nil || slices.ContainsFunc(m.ips, func(ip netip.Addr) bool { return vrrp.FamilyOf(ip) == f })
}

// due lists the names to look up. One whose host is heard needs no look, unless somebody asks for it.
func (n *names) due(ctx context.Context, now time.Time) []string {
	var due []string
	var heard map[string]time.Time
	for text, m := range n.of {
		if m.busy || now.Before(m.next()) {
			continue
		}
		if m.known && m.err == nil && !m.wanted && heard == nil {
			heard = n.heard(ctx)
		}
		if m.err == nil && !m.wanted && heard[text].After(m.looked) {
			m.gap = minLookupGap
			m.looked, m.at = now, now.Add(m.gap)
			continue
		}
		due = append(due, text)
	}
	slices.Sort(due)
	return due
}

// heard says when an advert of each name's host was accepted last.
func (n *names) heard(ctx context.Context) map[string]time.Time {
	_, _ = n.steer(ctx, nil) // for a new snapshot; an old one only means a look-up more
	return n.snapshot.Load().PeersHeard()
}

// take tells the log, the sockets and the node of what is new in a result.
func (n *names) take(ctx context.Context, now time.Time, r node.Resolved) {
	m := n.of[r.Name]
	if m == nil || !m.busy {
		return // a reload removed it meanwhile
	}
	first, failed, ips := !m.known, m.err, node.Keep(m.ips, r.Addresses)
	m.known, m.busy, m.err, m.looked = true, false, r.Err, now
	m.gap = min(max(2*m.gap, minLookupGap), maxLookupGap)
	m.at = now.Add(m.gap)
	if r.Err == nil {
		m.sure = ips
	}
	same := slices.Equal(m.ips, ips)
	switch {
	case same && r.Err != nil && failed != nil && failed.Error() == r.Err.Error():
		return
	case r.Err != nil:
		n.log.Warn("a peer's name cannot be resolved", "peer", r.Name, "addresses", ips, "error", r.Err)
	case same && failed == nil && !first:
		return
	case same:
		n.log.Info("a peer's name is resolved again", "peer", r.Name, "addresses", ips)
	default:
		n.log.Info("a peer's name is resolved", "peer", r.Name, "addresses", ips, "before", m.ips)
	}
	if !same {
		m.ips = ips
		n.open(ctx)
	}
	n.save()
	n.post(ctx, r)
}

// open lets the new addresses through the sockets before the node sends to them.
func (n *names) open(ctx context.Context) {
	known := map[string][]netip.Addr{}
	for text, m := range n.of {
		known[text] = m.ips
	}
	n.known.Store(&known)
	_ = n.openUp(ctx) // who ends opens nothing
}

// save keeps where the names lead, for a cleanup after this daemon: what takes the daemon away may take the name service, too.
func (n *names) save() {
	if n.opts.Shadow {
		return // it leaves nothing to clean up
	}
	led := map[string]node.SealedName{}
	for text, m := range n.of {
		switch {
		case len(m.ips) > 0:
			led[text] = node.SealedName{IPs: m.ips}
		case m.err != nil:
			led[text] = node.SealedName{Err: m.err.Error()}
		}
	}
	if err := saveNames(n.opts.RuntimeDir, led); err != nil {
		n.log.Warn("cleanup after a crash would have to look up the peers' names", "error", err)
	}
}

// recall has the names lead where they led the daemon that died, and tells the node that.
func (n *names) recall() (told []node.Resolved) {
	led, err := loadNames(n.opts.RuntimeDir)
	if err != nil {
		n.log.Warn("where the peers' names led is lost; they are looked up", "error", err)
	}
	n.restore(led)
	for text, s := range led {
		told = append(told, node.Resolved{Name: text, Addresses: s.IPs, Err: n.of[text].err})
	}
	return told
}

// plain sorts addresses, each once and in its own family's form, and cuts a family's list that is no host's.
func plain(ips []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(ips))
	for k, ip := range ips {
		out[k] = ip.Unmap().WithZone("")
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	first6 := slices.IndexFunc(out, netip.Addr.Is6)
	if first6 < 0 {
		first6 = len(out)
	}
	return slices.Concat(out[:min(first6, maxNameAddresses)], out[first6:min(len(out), first6+maxNameAddresses)])
}
