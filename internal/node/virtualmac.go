package node

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// riseWait bounds how long an instance waits for its addresses before it says that it is master.
const riseWait = 200 * time.Millisecond

// maxGlimpses bounds the sightings that wait until their adverts are accepted: forged ones are among them.
const maxGlimpses = 8

// VirtualMAC is what is known of one virtual router's own MAC address on an interface.
type VirtualMAC struct {
	VRID   uint8
	Family vrrp.Family
	// Source is the link-local address that IPv6 adverts come from; those of IPv4 come from the interface's.
	Source netip.Addr
	// Reason says why it cannot be had; empty if it can.
	Reason string
	// Speaks says that it is there still, whatever the reason: a master can hand over by it.
	Speaks bool
	// Made counts how often it had to be made anew.
	Made int
}

// virtualMAC is the VRID whose MAC address the instance's frames have; 0: the interface's own.
func (i *instance) virtualMAC() uint8 {
	if i.cfg.VirtualMAC {
		return i.cfg.VRID
	}
	return 0
}

// routerMAC is the MAC address of the instance's virtual router of a family (RFC 9568 section 7.3), which any of its hosts may use.
func (i *instance) routerMAC(f vrrp.Family) string {
	family := 1
	if f == vrrp.IPv6 {
		family = 2
	}
	return fmt.Sprintf("%s%d:%02x", sharedMAC, family, i.cfg.VRID)
}

// virtual finds a virtual MAC address.
func (l *Link) virtual(vrid uint8, f vrrp.Family) (VirtualMAC, bool) {
	at := slices.IndexFunc(l.VirtualMACs, func(v VirtualMAC) bool { return v.VRID == vrid && v.Family == f })
	if at < 0 {
		return VirtualMAC{}, false
	}
	return l.VirtualMACs[at], true
}

// virtualSource is where adverts with a virtual MAC come from; ok is false where they come from where others do.
func (m *member) virtualSource(l *Link) (source netip.Addr, ok bool) {
	if !m.of.cfg.VirtualMAC {
		return netip.Addr{}, false
	}
	v, _ := l.virtual(m.of.cfg.VRID, m.family)
	switch {
	case v.Reason != "" && !v.Speaks: // nothing that they could leave through
		return netip.Addr{}, true
	case m.family == vrrp.IPv6:
		return v.Source, true
	}
	return netip.Addr{}, false
}

// families are those of all addresses, also of the unadvertised ones.
func (i *instance) families() []vrrp.Family {
	var fs []vrrp.Family
	for _, ip := range i.ips() {
		if f := vrrp.FamilyOf(ip); !slices.Contains(fs, f) {
			fs = append(fs, f)
		}
	}
	return fs
}

// assessVirtualMACs says what keeps the instance from having its virtual MAC addresses.
func (n *Node) assessVirtualMACs(i *instance, l *Link, s *standing) {
	if !i.cfg.VirtualMAC {
		return
	}
	for _, f := range i.families() {
		switch v, known := l.virtual(i.cfg.VRID, f); {
		case !known:
			s.pending = "its virtual MAC address was not made yet"
		case v.Reason != "" && s.cannot == "":
			s.cannot = v.Reason
		}
	}
}

// Swallower is a device of this host, none of ours, that has a virtual router's MAC address.
type Swallower struct{ Device, MAC string }

// assessSwallowers says what keeps the instance from hearing a master with the virtual MAC address. Adverts to this host's own address
// it hears all the same.
func assessSwallowers(i *instance, l *Link, s *standing) {
	for _, d := range l.Swallowers {
		ours := func(m *member) bool { return i.routerMAC(m.family) == d.MAC }
		if s.cannot == "" && len(i.cfg.Peers) == 0 && slices.ContainsFunc(i.members, ours) {
			s.cannot = fmt.Sprintf("%s on %q keeps for itself what a master sends from the virtual MAC address %s: stop what uses it, or, if keepalived "+
				"left it behind, ip link del %s", d.Device, l.Name, d.MAC, d.Device)
		}
	}
}

// remade says whether a virtual MAC address of the instance is on another device than before.
func (i *instance) remade(old *link, l *Link) bool {
	return i.cfg.VirtualMAC && old != nil && slices.ContainsFunc(i.families(), func(f vrrp.Family) bool {
		was, known := old.virtual(i.cfg.VRID, f)
		is, _ := l.virtual(i.cfg.VRID, f)
		return known && was.Made != is.Made
	})
}

// setAgain sets the addresses on the new device: those that were on the old one went with it, and nobody need have told so.
func (n *Node) setAgain(now time.Time, i *instance) {
	if i.holding {
		i.muted = now
	}
	switch {
	case !i.holding:
	case i.fate.doubtful(now):
		i.confirmed = false // see wake
	default:
		n.take(now, i)
	}
}

// sayAgain repeats what a master advertised while the device of its virtual MAC was mute: for the kernel it was sent, but nobody heard it, and
// the next one comes an interval later. Another backup rises meanwhile.
func (n *Node) sayAgain(now time.Time, i *instance) {
	if !i.cfg.VirtualMAC || i.muted.IsZero() || i.advertised.Before(i.muted) {
		return
	}
	for _, m := range i.members {
		if m.machine.State() == vrrp.Master {
			c := m.machine.Config()
			n.send(now, m, vrrp.Send{
				Advert: vrrp.Advert{Version: c.Version, VRID: c.VRID, Priority: m.machine.Priority(), Interval: c.Interval, Addresses: c.Addresses},
				Until:  now.Add(c.Interval),
			})
		}
	}
}

// awaitAddresses says whether a fate that is about to rise has to wait for the addresses of an instance. With a virtual MAC its first
// advert turns the switches to this host, and what comes before the addresses are there is lost; whoever still serves answers
// from the same MAC meanwhile. And a master that it pushes aside may let go at that advert, as keepalived does: the announcement
// must follow at once, or nobody has the addresses for as long as the kernel takes to set them. Its advert waits behind them, for riseWait
// at most, and nobody waits for it: the other one serves. Else there is nobody to serve meanwhile, or it lingers, and the advert
// comes first: it ends the other backups' wait.
func (n *Node) awaitAddresses(now time.Time, f *fate) (waits bool) {
	pushes, by := f.pushes(now), f.risesBy(now)
	for _, i := range f.instances {
		begins := i.rising.IsZero()
		given := !pushes && (begins || f.ticking) // up by time alone, and by nothing that somebody says
		if !i.cfg.VirtualMAC && given || i.holding && i.confirmed {
			continue
		}
		i.rising = by // a reload may have put together what waited already
		if begins {
			f.probed = time.Time{}
			n.take(now, i)
		}
		waits = waits || now.Before(i.rising) || !f.ticking
	}
	return waits
}

// pushes says whether the fate is about to push aside a master that still advertises: one advert of it may be missing. In a handover
// another host may rise together with this one, and is not the one that was followed: this one's advert ends its wait.
func (f *fate) pushes(now time.Time) bool {
	for m := range f.members() {
		p, followed := m.machine.Peer(), m.machine.Followed().Address
		if p.Priority != vrrp.PriorityRelease && now.Sub(p.Heard) < 2*m.machine.Learned() && (!followed.IsValid() || followed == p.Address) {
			return true
		}
	}
	return false
}

// risesBy is until when the instances wait for their addresses: no longer than the one that has waited for the longest.
func (f *fate) risesBy(now time.Time) time.Time {
	by := now.Add(riseWait)
	for _, i := range f.instances {
		by = earliest(by, i.rising)
	}
	return by
}

// rising says whether an instance waits for its addresses.
func (f *fate) rising() bool {
	return slices.ContainsFunc(f.instances, func(i *instance) bool { return !i.rising.IsZero() })
}

// riseLater is a fate that was about to rise and heard somebody after all. Where that is a master, afterHeard has let the
// addresses go already.
func (n *Node) riseLater(now time.Time, f *fate) {
	for _, i := range f.instances {
		if !due(now, i.rising) {
			continue
		}
		i.rising = time.Time{}
		if f.linger == nil {
			n.release(now, i, "")
		}
	}
}

// turned lets an instance with a virtual MAC go once another host has spoken from each such MAC: the switches send there now, and
// what this host sent from it would turn them back. A family alone is not enough: for the other one they still send here. One that
// was only about to rise has served nobody, and waits for nothing.
func (n *Node) turned(now time.Time, f *fate) {
	for _, i := range f.instances {
		if i.holding && (!i.rising.IsZero() || i.cfg.VirtualMAC && i.tookOver()) {
			n.release(now, i, i.successor())
			f.forget(i)
		}
	}
	f.linger.shorten(now, f.held())
}

// sighting is where another host's frame came from.
type sighting struct {
	from netip.Addr
	mac  string
	at   time.Time
	// trailer is the advert's signature: where adverts are signed, what was not accepted says nothing, nor what is played again.
	trailer string
}

// claims are the addresses that another host announced, with the MAC address that it announced them for.
type claims map[netip.Addr]string

// tookOver says whether another host has spoken from the virtual MAC of each address of an instance: it has advertised from
// there, or announced the address for it. With one that uses its interface's own MAC it is as if this host did too: clients send here
// until they see the announcement.
func (i *instance) tookOver() bool {
	l := i.fate.linger
	return !slices.ContainsFunc(i.ips(), func(ip netip.Addr) bool {
		family := vrrp.FamilyOf(ip)
		shared := i.routerMAC(family)
		return l.seen[ip] != shared && !slices.ContainsFunc(i.members, func(m *member) bool { return m.family == family && l.from(m) == shared })
	})
}

// from is the MAC address that who advertised to a member last did so from; empty: it was not seen. An advert may be read a little
// later than it is seen. What was seen before that says nothing: a reload may have given the host another MAC since.
func (l *linger) from(m *member) string {
	if by, spoke := l.spoke[m]; !spoke || m.sighted.from != by || l.heard.Sub(m.sighted.at) >= lingerBase {
		return ""
	}
	return m.sighted.mac
}

// sight takes note of where an advert for a virtual router with its own MAC came from: that may be all that a linger waits for.
func (n *Node) sight(now time.Time, ev Seen) {
	m := n.byMember[memberKey{ev.Interface, ev.VRID, vrrp.FamilyOf(ev.From)}]
	if m == nil || !m.of.cfg.VirtualMAC {
		return
	}
	if !m.sees(sighting{ev.From, ev.MAC, now, ev.Trailer}) {
		return
	}
	if m.of.holding && m.of.fate.linger != nil {
		n.turned(now, m.of.fate)
		n.plan(m.of.fate)
	}
}

// sees takes note of a sighting. It says whether it counts: one that comes before its advert is accepted waits for that.
func (m *member) sees(s sighting) bool {
	auth, same := m.of.cfg.Auth, func(g sighting) bool { return g.trailer == s.trailer }
	switch {
	case auth == nil:
	case s.trailer == "" && auth.Mode == vrrp.Enforce && auth.Password.Empty():
		return false // nor will it be accepted
	case s.trailer != "" && (same(m.sighted) || slices.ContainsFunc(m.glimpses, same)):
		return false
	case s.trailer != m.proved:
		if s.trailer == "" { // there is nothing to tell two of them apart, and the last one is to count
			m.glimpses = slices.DeleteFunc(m.glimpses, func(g sighting) bool { return same(g) && g.from == s.from })
		}
		m.glimpses = append(m.glimpses[max(0, len(m.glimpses)-maxGlimpses+1):], s)
		return false
	}
	m.sighted = s
	return true
}

// accepts takes note that an advert was accepted: a sighting of it counts.
func (m *member) accepts(r vrrp.Received) {
	m.proved = r.Trailer()
	at := slices.IndexFunc(m.glimpses, func(g sighting) bool { return g.from == r.From && g.trailer == m.proved })
	if at >= 0 {
		m.sighted = m.glimpses[at]
		m.glimpses = slices.Delete(m.glimpses, at, at+1)
	}
}

// answersFrom says in words who answers for an address: with a virtual MAC that is the same for all.
func (c *Contention) answersFrom(i *instance) string {
	if i.cfg.VirtualMAC {
		return fmt.Sprintf("another host answers for %s from %s", c.IP, c.MAC)
	}
	return fmt.Sprintf("%s answers for %s", c.MAC, c.IP)
}
