package node

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// member is one of an instance's virtual routers.
type member struct {
	of      *instance
	family  vrrp.Family
	machine *vrrp.Machine
	source  netip.Addr // the interface's own address
	auth    vrrp.Authenticator
	outlets []*outlet // where its adverts go
	alone   bool      // nowhere, and that was told

	own      *OwnAdverts // what another daemon of this host says; nil: nothing yet
	counters Counters
	refusals Tally
	notices  Tally
}

// newMember makes the virtual router of one family.
func newMember(i *instance, f vrrp.Family) *member {
	m := &member{of: i, family: f, refusals: Tally{}, notices: Tally{}}
	m.machine = vrrp.New(m.routerConfig())
	return m
}

// routerConfig is what the instance's configuration means for the member's family.
func (m *member) routerConfig() vrrp.Config {
	cfg := m.of.cfg
	var ips []netip.Addr
	for _, a := range cfg.Addresses {
		if vrrp.FamilyOf(a.IP) == m.family {
			ips = append(ips, a.IP)
		}
	}
	return vrrp.Config{
		VRID: cfg.VRID, Version: cfg.Version, Family: m.family, Interval: cfg.Interval, DeadAdverts: cfg.DeadAdverts,
		Preempt: cfg.Preempt, Addresses: ips, Strict: cfg.Strict, Auth: cfg.Auth, Unicast: m.unicast(), SharedMAC: cfg.VirtualMAC,
	}
}

// Counters are a virtual router's.
type Counters struct {
	Sent         uint64 `json:"sent"`
	Accepted     uint64 `json:"accepted"`
	PseudoHeader uint64 `json:"pseudo_header"` // accepted with that checksum form (VRRPv3 over IPv4)
	Message      uint64 `json:"rfc9568"`
	Signed       uint64 `json:"signed,omitempty"`   // accepted with a signature,
	Unsigned     uint64 `json:"unsigned,omitempty"` // and without one, where there are keys
	SendFailures uint64 `json:"send_failures"`
}

// accepted counts an advert, and tells once what is odd about its sender.
func (m *member) accepted(n *Node, ev Heard, notices []vrrp.Notice) {
	m.counters.Accepted++
	if m.family == vrrp.IPv4 && ev.Advert.Version == vrrp.V3 {
		if ev.Form == vrrp.ChecksumMessage {
			m.counters.Message++
		} else {
			m.counters.PseudoHeader++
		}
	}
	for _, notice := range notices {
		news := m.notices.add(ev.From, string(notice))
		if notice == vrrp.NoticeLinkLocal && !m.machine.Config().Addresses[0].IsLinkLocalUnicast() {
			continue // counted, but no news: this host's own adverts are the same
		}
		if news {
			n.do(Warned{m.of.cfg.Name, fmt.Sprintf("%s from %s, accepted all the same: %s", notice, ev.From, m.explain(notice, ev.Advert))})
		}
	}
}

// explain says what differs.
func (m *member) explain(notice vrrp.Notice, a vrrp.Advert) string {
	cfg := m.machine.Config()
	switch notice {
	case vrrp.NoticeAddresses:
		return fmt.Sprintf("it advertises %v, this host has %v; write the same addresses on all hosts", a.Addresses, cfg.Addresses)
	case vrrp.NoticeInterval:
		return fmt.Sprintf("its interval is %s, this host's %s; write the same advertise_interval on all hosts", a.Interval, cfg.Interval)
	case vrrp.NoticeOwner:
		return fmt.Sprintf("this host is the address owner (priority 255), and only one host may be; it advertises priority %d", a.Priority)
	case vrrp.NoticeSameOwn:
		return fmt.Sprintf("both hosts have priority %d, so the higher address wins; write different priorities", a.Priority)
	default:
		return fmt.Sprintf("its first address is %s; RFC 9568 wants a link-local one first", a.Addresses[0])
	}
}

// refuse counts an advert that is not accepted; each sender and reason is told once.
func (m *member) refuse(n *Node, from netip.Addr, err error) {
	if m.refusals.add(from, vrrp.ReasonOf(err)) {
		n.do(Warned{m.of.cfg.Name, fmt.Sprintf("adverts from %s are refused: %v", from, err)})
	}
}

// perform turns a virtual router's actions into the node's.
func (n *Node) perform(now time.Time, m *member, actions []vrrp.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case vrrp.Send:
			n.send(now, m, a)
		case vrrp.Contended:
			n.contended(now, m, a.Peer)
		case vrrp.Entered:
			switch {
			case a.From == vrrp.Master && a.To == vrrp.Backup:
				n.lost(now, m, a.Why)
			case a.From == vrrp.Leaving && a.To == vrrp.Backup:
				n.relieved(now, m, a.Why)
			}
		default:
			panic(fmt.Sprintf("node: unhandled %T", a))
		}
	}
}

// send marshals an advert, once for each destination: the checksum covers it.
func (n *Node) send(now time.Time, m *member, a vrrp.Send) {
	if !m.source.IsValid() {
		m.sendFailed(n, now, netip.Addr{}, errNoSource)
		return
	}
	trailer, err := m.sign(n, now, &a.Advert)
	if err != nil {
		m.sendFailed(n, now, netip.Addr{}, err)
		return
	}
	m.of.advertised = now
	for _, o := range m.outlets {
		payload, err := a.Advert.AppendSealed(nil, m.source, o.to, m.of.cfg.Checksum, trailer)
		if err != nil {
			panic(fmt.Sprintf("node: instance %q: %v", m.of.cfg.Name, err)) // the configuration was validated
		}
		if !n.cfg.Shadow { // whose counter is of the other daemon's
			m.counters.Sent++
		}
		o.sending()
		n.do(Send{
			Instance: m.of.cfg.Name, Interface: m.of.cfg.Interface, Family: m.family, Payload: payload,
			Source: m.source, Destination: o.to, Until: a.Until, VirtualMAC: m.of.virtualMAC(),
		})
	}
}
