package node

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// member is one of an instance's virtual routers.
type member struct {
	of       *instance
	family   vrrp.Family
	patient  bool // another member of the fate decides ties
	machine  *vrrp.Machine
	source   netip.Addr // the interface's own address
	known    netip.Addr // the one by which the other hosts know this one, as far as can be told
	listed   bool       // known was among the peers while the interface had it
	auth     vrrp.Authenticator
	outlets  []*outlet // where its adverts go
	alone    bool      // nowhere, and that was told
	awaited  []string  // names for which the outlets of before a reload count on
	quitter  quitter
	sighted  sighting   // the last advert that was seen on the link,
	glimpses []sighting // the last ones that may not be what they say,
	proved   string     // and the trailer of the last one that was accepted

	own      *OwnAdverts // what another daemon of this host says; nil: nothing yet
	counters Counters
	refusals Tally
	notices  Tally
	senders  map[netip.Addr]*sender
	news     allowance
	sent     []sent // our last adverts
}

// tieMargin is what a member that does not decide ties waits beyond one interval for the one that does.
const tieMargin = 100 * time.Millisecond

// newMember makes the virtual router of one family.
func newMember(i *instance, f vrrp.Family) *member {
	m := &member{of: i, family: f, refusals: Tally{}, notices: Tally{}, senders: map[netip.Addr]*sender{}}
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
	wait := time.Duration(0)
	if m.patient {
		wait = cfg.Interval + tieMargin
	}
	return vrrp.Config{
		VRID: cfg.VRID, Version: cfg.Version, Family: m.family, Interval: cfg.Interval, DeadAdverts: cfg.DeadAdverts,
		Preempt: cfg.Preempt, Addresses: ips, Strict: cfg.Strict, Auth: cfg.Auth, Unicast: m.unicast(), SharedMAC: cfg.VirtualMAC,
		TieWait: wait,
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
	m.remember(now, a.Advert)
	if !m.known.IsValid() { // else another one stands in for it
		m.known = m.source
	}
	m.of.advertised, m.of.formerDead = now, 0
	n.renewWith(now, m)
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
