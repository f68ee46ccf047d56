package node

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// The notices of authentication.
const (
	noticeUnsigned vrrp.Notice = "unsigned"
	noticeSkew     vrrp.Notice = "clock-skew"
	noticeEarly    vrrp.Notice = "early"
)

// memoryFor is how long the memory of a virtual router that is gone is kept: what was caught earlier is stale by then,
// whatever the window.
const memoryFor = 300 * time.Second

// RouterMemory is what one virtual router's authentication remembers, for another process to go on with.
type RouterMemory struct {
	Interface string      `json:"interface"`
	VRID      uint8       `json:"vrid"`
	Family    vrrp.Family `json:"family"`
	vrrp.Memory
}

// memory is what the node remembers of virtual routers that it does not run now.
type memory struct {
	gone    map[memberKey]vrrp.Memory
	version uint64 // goes on with each change
}

// key is the virtual router's identity.
func (m *member) key() memberKey { return memberKey{m.of.cfg.Interface, m.of.cfg.VRID, m.family} }

// remembered takes back what an earlier process remembered.
func (n *Node) remembered(now time.Time, ev Remembered) {
	for _, r := range ev.Routers {
		n.memory.gone[memberKey{r.Interface, r.VRID, r.Family}] = r.Memory
	}
	for _, m := range n.byMember {
		n.remind(now, m)
	}
}

// register makes a virtual router known; one that it replaces is still on its way out.
func (n *Node) register(now time.Time, m *member) {
	if old := n.byMember[m.key()]; old != nil {
		n.forget(old)
	}
	n.byMember[m.key()] = m
	m.auth = vrrp.NewAuthenticator(now)
	n.remind(now, m)
}

// remind gives a new virtual router what is known of an earlier one in its place.
func (n *Node) remind(now time.Time, m *member) {
	if known, ok := n.memory.gone[m.key()]; ok {
		m.auth.Restore(now, known)
		delete(n.memory.gone, m.key())
	}
}

// forget keeps what a virtual router remembered that a reload removed: another one may put it back.
func (n *Node) forget(m *member) {
	if known := m.auth.Memory(); len(known.Marks) > 0 || known.Sent != 0 {
		n.memory.gone[m.key()] = known
		n.memory.version++
	}
}

// MemoryVersion changes when Memory does. Without authentication it is 0.
func (n *Node) MemoryVersion() uint64 { return n.memory.version }

// Memory is what must outlive this process, so that adverts that somebody caught are refused after it too.
func (n *Node) Memory(now time.Time) []RouterMemory {
	var out []RouterMemory
	add := func(key memberKey, m vrrp.Memory) {
		if len(m.Marks) > 0 || m.Sent != 0 {
			out = append(out, RouterMemory{key.Interface, key.VRID, key.Family, m})
		}
	}
	for key, m := range n.byMember {
		add(key, m.auth.Memory())
	}
	for key, m := range n.memory.gone {
		if len(m.Marks) == 0 || now.Sub(m.Marks[len(m.Marks)-1].Heard) > memoryFor {
			delete(n.memory.gone, key)
			continue
		}
		add(key, m)
	}
	slices.SortFunc(out, func(a, b RouterMemory) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.VRID, b.VRID), cmp.Compare(a.Family, b.Family))
	})
	return out
}

// sign proves an advert of ours; the trailer that it returns goes to every destination.
func (m *member) sign(n *Node, now time.Time, a *vrrp.Advert) ([]byte, error) {
	trailer, err := m.auth.Sign(m.of.cfg.Auth, now, a, m.source)
	if trailer != nil {
		n.memory.version++
	}
	return trailer, err
}

// verifier proves the sender of an advert, and keeps what it found.
func (m *member) verifier(n *Node, now time.Time, proof *vrrp.Proof) func(vrrp.Received) error {
	return func(r vrrp.Received) (err error) {
		*proof, err = m.auth.Verify(m.of.cfg.Auth, now, r)
		if proof.Signed {
			n.memory.version++
		}
		return err
	}
}

// proven counts an accepted advert by its proof, and tells once what is odd about that.
func (m *member) proven(n *Node, now time.Time, from netip.Addr, proof vrrp.Proof) {
	auth := m.of.cfg.Auth
	switch {
	case auth == nil || !auth.Password.Empty():
	case !proof.Signed:
		m.counters.Unsigned++
		m.notice(n, now, from, noticeUnsigned, func() string { return fmt.Sprintf("mode is %q here; give that host the same keys", auth.Mode) })
	case proof.Early:
		m.counters.Signed++
		m.notice(n, now, from, noticeEarly, func() string {
			why := fmt.Sprintf("it was sent %s ago, before this host listened or a clock was set: that clock is behind", (-proof.Mark.Ahead()).Round(time.Millisecond))
			if ahead := proof.Mark.Ahead(); ahead > 0 {
				why = fmt.Sprintf("it comes from %s ahead: that clock or this host's was set", ahead.Round(time.Millisecond))
			}
			return fmt.Sprintf("by its clock %s (set both by NTP), or somebody caught it and plays it again; until that clock has passed the start it can make this host wait, or give way "+
				"while it is unhealthy or leaves, and never take over", why)
		})
	default:
		m.counters.Signed++
		if ahead := proof.Mark.Ahead(); max(ahead, -ahead) > auth.Window/2 {
			m.notice(n, now, from, noticeSkew, func() string {
				unless := ""
				if proof.Mark.Late > auth.Window/2 {
					unless = ", unless this host or the network held this advert up"
				}
				return fmt.Sprintf("its clock is %s this host's%s, and at more than %s its adverts are refused; set both clocks by NTP", aheadOf(ahead), unless, auth.Window)
			})
		}
	}
}

// early gives an advert that may be an old one to the virtual router that it is for. The instance hears of it only where that one
// has become quieter for it.
func (n *Node) early(now time.Time, m *member, ev Heard) {
	if m.machine.State() == vrrp.Initialize {
		n.newcomerHears(now, m, ev, true)
		return
	}
	n.perform(now, m, m.machine.Step(now, vrrp.Early{Advert: ev.Advert, From: ev.From}))
	if p := m.machine.Peer(); p.Address == ev.From && p.Heard.Equal(now) && ev.Advert.Priority != vrrp.PriorityRelease {
		n.afterHeard(now, m, ev)
		n.rival(now, m, ev)
	}
	n.settle(now, m.of.fate)
	n.plan(m.of.fate)
}

// aheadOf is a difference of clocks in words.
func aheadOf(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Millisecond).String() + " behind"
	}
	return d.Round(time.Millisecond).String() + " ahead of"
}

// AuthStatus is how a virtual router proves its adverts, and who proved theirs.
type AuthStatus struct {
	Mode string `json:"mode"` // or "password"
	// Active is the key that signs, Keys are all that verify.
	Active  uint8          `json:"active,omitempty"`
	Keys    []uint8        `json:"keys,omitempty"`
	Senders []SenderStatus `json:"senders,omitempty"`
}

// SenderStatus is the newest proof of one other host.
type SenderStatus struct {
	Address netip.Addr    `json:"address"`
	Key     uint8         `json:"key"`
	Heard   time.Time     `json:"heard"`
	Ahead   time.Duration `json:"clock_ahead_ns"` // its clock, compared with this host's
}

// authStatus copies what readers may keep; nil without authentication.
func (m *member) authStatus() *AuthStatus {
	auth := m.of.cfg.Auth
	switch {
	case auth == nil:
		return nil
	case !auth.Password.Empty():
		return &AuthStatus{Mode: "password"}
	}
	s := &AuthStatus{Mode: auth.Mode.String(), Active: auth.Active}
	for _, k := range auth.Keys {
		s.Keys = append(s.Keys, k.ID)
	}
	for _, mark := range m.auth.Memory().Marks {
		if !mark.Own {
			s.Senders = append(s.Senders, SenderStatus{mark.Sender, mark.Key, mark.Heard, mark.Ahead()})
		}
	}
	return s
}
