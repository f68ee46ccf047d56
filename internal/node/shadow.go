package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// shadowPatience is how long a shadow and the other daemon may differ, beyond its dead intervals, before the log is told: two
// implementations act at different instants, most of all where one that is better comes back.
const shadowPatience = time.Second

// ownUnknown is the reason under which a shadow counts this host's adverts for virtual routers that no instance has.
const ownUnknown = "own-unknown-vrid"

// OwnAdverts is what another VRRP daemon of this host says for a virtual router. Only a shadow hears it.
type OwnAdverts struct {
	From     netip.Addr    `json:"from"`
	MAC      string        `json:"mac,omitempty"` // the last one's sender
	TTL      int           `json:"ttl"`           // or hop limit
	Priority uint8         `json:"priority"`      // of the last one; 0: it gave the addresses up
	Version  vrrp.Version  `json:"version"`
	Interval time.Duration `json:"interval_ns"`
	Count    uint64        `json:"count"`
	Heard    time.Time     `json:"heard"`
	// Differs says in words how they differ from what this daemon would send, and what to write to keep it; Same names what is alike.
	Differs []string `json:"differs,omitempty"`
	Same    []string `json:"same,omitempty"`

	last    vrrp.Received
	steady  bool                     // Interval is what it always sends
	to      map[netip.Addr]time.Time // where they went of late
	again   bool                     // to one of these twice: so far to all
	told    bool                     // the log was told
	differs string                   // of this
}

// Comparison is what a shadow would be beside what this host's own adverts say that the other daemon is.
type Comparison struct {
	Agrees bool      `json:"agrees"`
	Since  time.Time `json:"since"`
	Why    string    `json:"why"`
}

// comparison is a Comparison with what the log was told of it.
type comparison struct {
	Comparison
	began    time.Time
	at       time.Time // when it may be another without an event
	disputed bool      // the log was told of a difference
}

// silent says whether an action is left out by a shadow: what speaks on the link.
func silent(a Action) bool {
	switch a.(type) {
	case Send, Announce, Probe:
		return true
	default:
		return false
	}
}

// ownAdvert takes note of what the other daemon of this host sends. It is nobody's opponent, so it moves nothing.
func (n *Node) ownAdvert(now time.Time, ev OwnAdvert) {
	if !n.cfg.Shadow {
		return
	}
	key := memberKey{ev.Interface, ev.Advert.VRID, vrrp.FamilyOf(ev.From)}
	m := n.byMember[key]
	if m == nil {
		n.ownStray(now, key, ev)
		return
	}
	m.counters.Sent++
	if m.own == nil {
		m.own = &OwnAdverts{to: map[netip.Addr]time.Time{}}
	}
	m.own.hear(now, ev)
	n.compare(now, m.of)
	n.plan(m.of.fate)
}

// ownStray counts an advert of the other daemon for a virtual router that no instance has. Of each it is told once, to the instance
// that has an address of it, or to the first one of the interface.
func (n *Node) ownStray(now time.Time, key memberKey, ev OwnAdvert) {
	here := func(i *instance) bool { return i.cfg.Interface == key.Interface }
	shares := func(i *instance) bool { return here(i) && slices.ContainsFunc(ev.Advert.Addresses, i.owns) }
	at, what := slices.IndexFunc(n.instances, shares), fmt.Sprintf("which has addresses of this instance: write vrid = %d", key.VRID)
	if at < 0 {
		at, what = slices.IndexFunc(n.instances, here), "and no instance has that vrid on this interface"
	}
	if at < 0 {
		return // a reload has just removed the last one
	}
	text := fmt.Sprintf("this host advertises virtual router %d over %s with %v, %s", key.VRID, key.Family, ev.Advert.Addresses, what)
	a := n.aroundOf(key.Interface)
	a.stray.add(ownUnknown, Count{Last: ev.From, MAC: ev.MAC, VRID: key.VRID, At: now}, func() string { return text })
	if !a.own[key] {
		a.own[key] = true
		n.do(Warned{n.instances[at].cfg.Name, text})
	}
}

// forgetOwn forgets what this host was found to advertise and no instance had: the configuration may have it now, and what it has not is
// found again at the next advert.
func (n *Node) forgetOwn() {
	for _, a := range n.around {
		delete(a.stray, ownUnknown)
		clear(a.own)
	}
}

// lives is until when the other daemon counts as master, as far as its last advert says. One that hears a better master goes
// silent without a word: then the first advert that is missing tells.
func (m *member) lives() time.Time {
	o := m.own
	if o == nil || o.Priority == vrrp.PriorityRelease {
		return time.Time{}
	}
	if p := m.machine.Peer(); p.Priority != vrrp.PriorityRelease && p.Heard.After(o.Heard) {
		return o.Heard.Add(o.Interval * 3 / 2)
	}
	return o.Heard.Add(time.Duration(m.of.cfg.DeadAdverts+1) * o.Interval)
}

// compare brings an instance's comparison up to date, and tells the log of one that lasts.
func (n *Node) compare(now time.Time, i *instance) {
	if !n.cfg.Shadow {
		return
	}
	c := &i.compared
	if i.fate.removed {
		c.at = time.Time{}
		return
	}
	if c.began.IsZero() {
		c.began = now
	}
	agrees, why := i.judge(now)
	if agrees != c.Agrees || c.Since.IsZero() {
		c.Since = now
	}
	c.Agrees, c.Why, c.at = agrees, why, time.Time{}
	if until := i.listened(); now.Before(until) {
		c.at = until
	}
	for _, m := range i.members {
		if until := m.lives(); now.Before(until) {
			c.at = earliest(c.at, until)
		}
	}
	told := c.Since.Add(i.cfg.DeadInterval() + i.cfg.Interval + shadowPatience)
	switch {
	case agrees && c.disputed:
		c.disputed = false
		n.do(Compared{i.cfg.Name, true, why})
	case agrees || c.disputed:
	case now.Before(told):
		c.at = earliest(c.at, told)
	default:
		c.disputed = true
		n.do(Compared{i.cfg.Name, false, why})
	}
	n.tellContrast(i)
}

// judge compares one host's two daemons: each holds the addresses or not.
func (i *instance) judge(now time.Time) (agrees bool, why string) {
	mine := i.state == Master
	for _, m := range i.members {
		if m.own == nil && m.machine.Peer().Heard.IsZero() && now.Before(i.listened()) {
			return false, fmt.Sprintf("%s, and nothing was heard yet", i.would())
		}
		if theirs := now.Before(m.lives()); theirs != mine {
			return false, fmt.Sprintf("%s, and %s%s", i.would(), m.said(now), m.others(now))
		}
	}
	m := i.members[0]
	return true, fmt.Sprintf("%s, and %s%s", i.would(), m.said(now), m.others(now))
}

// listened is when an election would have been over: silence means nothing before.
func (i *instance) listened() time.Time {
	return i.compared.began.Add(i.cfg.DeadInterval() + i.cfg.Interval)
}

// would is what the instance would be.
func (i *instance) would() string {
	return fmt.Sprintf("would be %s with priority %d (%s)", i.state, i.standing.priority(), i.why)
}

// said is what this host's adverts say.
func (m *member) said(now time.Time) string {
	switch o := m.own; {
	case o == nil:
		return "this host advertises nothing"
	case now.Before(m.lives()):
		return fmt.Sprintf("this host advertises priority %d", o.Priority)
	case o.Priority == vrrp.PriorityRelease:
		return "this host gave the addresses up (priority 0)"
	default:
		return fmt.Sprintf("this host advertises nothing any more (last priority %d)", o.Priority)
	}
}

// others names the master that is heard from the link.
func (m *member) others(now time.Time) string {
	p := m.machine.Peer()
	if p.Heard.IsZero() || p.Priority == vrrp.PriorityRelease || now.Sub(p.Heard) > time.Duration(m.of.cfg.DeadAdverts+1)*max(p.Interval, m.of.cfg.Interval) {
		return ""
	}
	return fmt.Sprintf("; %s advertises priority %d", p.Address, p.Priority)
}

// ownStatus copies what readers may keep.
func (n *Node) ownStatus(m *member) *OwnAdverts {
	if m.own == nil {
		return nil
	}
	o, c := *m.own, n.contrast(m)
	o.Differs, o.Same, o.last, o.to = c.differs, c.same, vrrp.Received{}, nil
	return &o
}
