package node

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

const (
	// contentionGap is how long a contention of one master is one and the same: within it the log is told once.
	contentionGap = 10 * time.Second
	// contentionTold is how long it must last for that: of two backups that rise together one is gone within milliseconds.
	contentionTold = 100 * time.Millisecond
	// contentionSeen is the same where only announcements and answers are seen: who hands over still answers for a while.
	contentionSeen = time.Second
	// maxRerunGap bounds the doubling gap between two runs of a master's hooks for contentions, which begins with contentionGap, and
	// rerunsForgotten is after how long without one the next is the first again.
	maxRerunGap     = time.Minute
	rerunsForgotten = 5 * time.Minute
	// manyAnnouncements of one address are a master's, however close together: a stray one stays alone.
	manyAnnouncements = 3
)

// stir is the evidence of a second master since it was calm last.
type stir struct {
	since   time.Time
	adverts bool       // some of it is adverts
	ip      netip.Addr // the address that was announced first,
	times   int        // and how often it was, as far as it matters
}

// add takes up one more piece.
func (s *stir) add(c *Contention) {
	if c.Advertiser.IsValid() {
		s.adverts = true
	}
	if c.IP.IsValid() && !s.ip.IsValid() {
		s.ip = c.IP
	}
	if c.IP.IsValid() && s.ip == c.IP && s.times < manyAnnouncements {
		s.times++
	}
}

// reruns are the runs of a master's hooks that contentions bring. Nobody signs an announcement: who sends them must not have hooks run
// as often.
type reruns struct {
	at   time.Time // the next one; zero: none is due
	last time.Time
	gap  time.Duration // from the last one to the next
}

// ask has the hooks run again as soon as they may.
func (r *reruns) ask(now time.Time) {
	if now.Sub(r.last) >= rerunsForgotten {
		r.gap = 0
	}
	if r.at.IsZero() {
		r.at = now
		if next := r.last.Add(r.gap); r.gap > 0 && next.After(now) {
			r.at = next
		}
	}
}

// ran takes note of a run.
func (r *reruns) ran(now time.Time) {
	r.at, r.last, r.gap = time.Time{}, now, min(max(2*r.gap, contentionGap), maxRerunGap)
}

// Contention is the evidence of a second master.
type Contention struct {
	Advertiser netip.Addr `json:"advertiser,omitzero"` // whose adverts were heard
	Priority   uint8      `json:"priority,omitempty"`
	IP         netip.Addr `json:"address,omitzero"` // the address that another MAC announced
	MAC        string     `json:"mac,omitempty"`
	Refused    netip.Addr `json:"refused_from,omitzero"` // whose adverts are refused, and who is that other MAC then,
	Why        string     `json:"refused_why,omitempty"` // and what is wrong with them and what to do
	At         time.Time  `json:"at"`
	Began      time.Time  `json:"began"`
	Told       bool       `json:"told,omitempty"` // in the log
	Until      time.Time  `json:"until,omitzero"` // as long as this it is believed to last without further evidence, once it was told
}

// contended is a master that heard another one. Clients may have learned the other's MAC: announce again.
func (n *Node) contended(now time.Time, m *member, p vrrp.Peer) {
	i := m.of
	if m.machine.State() != vrrp.Master {
		return // the other one is better, and takes over as it should
	}
	// A master that was just pushed aside says so once; that is no contention.
	if now.Sub(i.since) >= contentionTold {
		n.contend(now, i, Contention{Advertiser: p.Address, Priority: p.Priority})
	}
	for _, each := range i.fate.instances { // who was master of one may have been of all
		each.announcer.restart(now)
	}
}

// contend keeps the newest evidence, and tells the log when it is time. Who becomes master anew begins anew: what was seen of the master
// that it pushed aside a moment ago says nothing about the one that it pushes aside now.
func (n *Node) contend(now time.Time, i *instance, c Contention) {
	if n.cfg.Shadow || n.explains(now, i, &c) {
		return // a shadow holds nothing, and nobody can have heard it
	}
	n.lookUp(now, i)
	c.At, c.Began = now, now
	if i.calm.IsZero() || i.stirred.since.Before(i.mastered) {
		i.stirred = stir{since: now}
	}
	i.stirred.add(&c)
	i.calm = now.Add(i.cfg.DeadInterval())
	if old := i.contention; old != nil && !old.At.Before(i.mastered) {
		c.goOn(old)
	}
	lasts := contentionTold
	if !c.Advertiser.IsValid() {
		lasts = contentionSeen
	}
	if !c.Told && now.Sub(c.Began) >= lasts {
		c.Told = true
		n.ascribe(i, &c)
		why := n.describeContention(i, &c) + n.droppedOn(i.cfg.Interface)
		n.do(Warned{i.cfg.Name, why})
		n.notifyContended(now, i, why, cmp.Or(c.Advertiser, c.Refused), c.MAC)
	}
	if c.Told || now.Before(c.Until) {
		c.Until = c.lasts(i)
	}
	i.contention = &c
}

// notifyContended queues the hooks of a contention.
func (n *Node) notifyContended(now time.Time, i *instance, why string, peer netip.Addr, mac string) {
	i.generation++
	n.do(Notify{
		Instance: i.cfg.Name, Interface: i.cfg.Interface, State: Contended, Previous: i.state, Priority: i.fate.standing.priority(),
		Group: i.fate.group, Why: why, Addresses: i.ips(), Generation: i.generation, At: now, Peer: peer, PeerMAC: mac,
	})
}

// goOn makes it the same contention as an earlier one of the same master.
func (c *Contention) goOn(old *Contention) {
	c.Until = old.Until
	recent := c.At.Sub(old.At) <= contentionGap
	if recent {
		c.Began, c.Told = old.Began, old.Told
		if !c.Advertiser.IsValid() {
			c.Advertiser, c.Priority = old.Advertiser, old.Priority
		}
		if !c.IP.IsValid() {
			c.IP, c.MAC = old.IP, old.MAC
		}
	}
	if (recent || c.At.Before(old.Until)) && c.MAC == old.MAC && c.Advertiser != old.Refused { // else its adverts are accepted now
		c.Refused, c.Why = old.Refused, old.Why
	}
}

// lasts is until when a second master is believed in. Where no advert of it is heard its announcements are what there is, and once
// each has had its say they come no oftener than the addresses are announced again.
func (c *Contention) lasts(i *instance) time.Time {
	if c.Advertiser.IsValid() {
		return i.calm
	}
	return c.At.Add(contentionGap + i.cfg.Announce.Refresh)
}

// evidence is a copy of the newest one for status, as far as the host behind it is known now, and in words that there are two masters, as long
// as that is believed; empty: there are not.
func (n *Node) evidence(now time.Time, i *instance) (c *Contention, twoMasters string) {
	if i.contention == nil {
		return nil, ""
	}
	c = new(*i.contention)
	if i.state != Master || c.At.Before(i.mastered) || !now.Before(c.Until) {
		return c, ""
	}
	n.ascribe(i, c)
	return c, n.describeContention(i, c)
}

// describeContention is the evidence in words, with the cause where that is known, or with what usually is.
func (n *Node) describeContention(i *instance, c *Contention) string {
	adverts := "a firewall that drops IP protocol 112, multicast snooping, another interval, version or key"
	if i.cfg.unicast() {
		adverts = "a firewall that drops IP protocol 112, other peers, a TTL below min_ttl, another interval, version or key"
	}
	answers, refused := "", n.describeRefused(i, c)
	if c.IP.IsValid() {
		answers = c.answersFrom(i)
	}
	switch where := "look on both hosts for " + adverts; {
	case c.Advertiser.IsValid():
	case refused == "":
		return fmt.Sprintf("%s while this host is master, and no advert of it is heard: two masters; %s", answers, where)
	case n.fitOf(i.cfg.Interface, c.Refused, c.MAC) < surely:
		return fmt.Sprintf("%s while this host is master: two masters; %s; if those are another host's, %s", answers, refused, where)
	default:
		return fmt.Sprintf("%s while this host is master: two masters; %s", answers, refused)
	}
	if answers != "" {
		answers = ", and " + answers
	}
	if refused != "" {
		refused = "; " + refused
	}
	return fmt.Sprintf("%s advertises priority %d for the same VRID while this host is master (priority %d)%s: two masters; if it lasts, look there for %s%s",
		c.Advertiser, c.Priority, i.fate.standing.priority(), answers, adverts, refused)
}

// sawMaster says whether the evidence since it was calm last is of another master: its advert, or what comes again. keepalived sends its
// announcements back to back, and understudy's second round may be seen a little early. One that does not hear this host contradicts it
// and may fall before that is told; a stray announcement stays alone, and anybody can send one.
func (i *instance) sawMaster() bool {
	c, s := i.contention, &i.stirred
	again := func() bool { return s.times >= manyAnnouncements || c.At.Sub(s.since) >= contentionTold/2 }
	return c != nil && !c.At.Before(i.mastered) && (s.adverts || again())
}

// reassert runs the hooks of a master once more when a contention is over that did not change its state, nor came before it: the other master's
// hooks may have undone what they did.
func (n *Node) reassert(now time.Time, i *instance) {
	if due(now, i.calm) {
		i.calm, i.announcer.answers = time.Time{}, 0
		if i.sawMaster() {
			i.reruns.ask(now)
		}
	}
	if !due(now, i.reruns.at) {
		return
	}
	switch serves := i.told == Master && (i.state == Master || i.state == Leaving); {
	case !serves: // if it is to be master, it has its hooks run then
		i.reruns.at = time.Time{}
	case i.state == Leaving || !i.confirmed: // it may serve on
		i.reruns.at = now.Add(contentionTold)
	default:
		i.reruns.ran(now)
		n.notify(now, i, Master, Master, true)
	}
}
