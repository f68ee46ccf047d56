package node

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// contentionGap is how long a contention is one and the same: within it the log is told once.
const contentionGap = 10 * time.Second

// Contention is the evidence of a second master.
type Contention struct {
	Advertiser netip.Addr `json:"advertiser,omitzero"` // whose adverts were heard
	Priority   uint8      `json:"priority,omitempty"`
	IP         netip.Addr `json:"address,omitzero"` // the address that another MAC announced
	MAC        string     `json:"mac,omitempty"`
	At         time.Time  `json:"at"`
}

// contended is a master that heard another one. Clients may have learned the other's MAC: announce again.
func (n *Node) contended(now time.Time, m *member, p vrrp.Peer) {
	i := m.of
	if m.machine.State() != vrrp.Master {
		return // the other one is better, and takes over as it should
	}
	if i.contend(now, Contention{Advertiser: p.Address, Priority: p.Priority}) {
		n.do(Warned{i.cfg.Name, fmt.Sprintf("%s advertises priority %d for the same VRID while this host is master (priority %d): two masters", p.Address, p.Priority, m.machine.Priority())})
	}
	i.announcer.restart(now)
}

// contend keeps the newest evidence, and says whether it is news.
func (i *instance) contend(now time.Time, c Contention) (news bool) {
	news = i.contention == nil || now.Sub(i.contention.At) > contentionGap
	c.At = now
	i.contention = &c
	return news
}
