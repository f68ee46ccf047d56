package node

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/vrrp"
)

// Status is an immutable picture of the node, with the reasons in it.
type Status struct {
	Node      string           `json:"node"`
	Shadow    bool             `json:"shadow,omitempty"` // all that follows is what it would be
	At        time.Time        `json:"at"`
	Stopping  bool             `json:"stopping,omitempty"`
	Drained   []string         `json:"drained,omitempty"`
	Instances []InstanceStatus `json:"instances"`
	Unknown   Tally            `json:"unknown,omitempty"` // packets that belong to no instance
}

// InstanceStatus is one instance's part of it.
type InstanceStatus struct {
	Name      string `json:"name"`
	Interface string `json:"interface"`
	VRID      uint8  `json:"vrid"`
	// VirtualMAC says that the addresses have the virtual router's MAC address.
	VirtualMAC bool      `json:"virtual_mac,omitempty"`
	State      State     `json:"state"`
	Since      time.Time `json:"since"`
	Why        string    `json:"why"`
	// Priority is the effective one; Terms are what it would be the sum of, Unhealthy why it is 1 instead.
	Priority   uint8          `json:"priority"`
	Terms      []Term         `json:"terms"`
	Unhealthy  []string       `json:"unhealthy,omitempty"`
	Addresses  []netip.Addr   `json:"addresses"`
	Holding    bool           `json:"holding"`   // they are wanted on this host
	Confirmed  bool           `json:"confirmed"` // and the kernel has them
	Lease      time.Duration  `json:"lease_ns"`  // 0: none
	Routers    []RouterStatus `json:"routers"`
	LastChange Change         `json:"last_change"`
	Contention *Contention    `json:"contention,omitempty"`
	Compared   *Comparison    `json:"compared,omitempty"` // a shadow's
	Retry      time.Time      `json:"retry,omitzero"`     // when an address that could not be set is tried again
}

// RouterStatus is one virtual router's part: an instance has one for each family.
type RouterStatus struct {
	Family    string     `json:"family"`
	State     string     `json:"state"`
	Source    netip.Addr `json:"source,omitzero"`
	Peer      netip.Addr `json:"peer,omitzero"` // whose advert was heard last
	PeerPrio  uint8      `json:"peer_priority,omitempty"`
	Heard     time.Time  `json:"heard,omitzero"`
	Waiting   string     `json:"waiting,omitempty"` // its own wait is over; another member still hears its master
	Counters  Counters   `json:"counters"`
	Refused   Tally      `json:"refused,omitempty"`
	Notices   Tally      `json:"notices,omitempty"`
	SendError string     `json:"send_error,omitempty"` // why no advert leaves
	// Auth is nil without authentication.
	Auth *AuthStatus `json:"auth,omitempty"`
	// Own is what another daemon of this host sends; only a shadow hears it.
	Own *OwnAdverts `json:"own,omitempty"`
	// Peers are the other hosts of a unicast instance.
	Peers []PeerStatus `json:"peers,omitempty"`
}

// PeerStatus is what is known of one of the other hosts.
type PeerStatus struct {
	Name      string     `json:"name,omitempty"` // as configured; empty for an address
	Address   netip.Addr `json:"address,omitzero"`
	Heard     time.Time  `json:"heard,omitzero"` // when an advert of it was accepted last: only masters send any
	Priority  uint8      `json:"priority,omitempty"`
	SendError string     `json:"send_error,omitempty"` // why the last advert to it did not leave
	Problem   string     `json:"problem,omitempty"`    // why its name has no address
}

// Status makes the picture of now.
func (n *Node) Status(now time.Time) *Status {
	s := &Status{Node: n.cfg.Name, Shadow: n.cfg.Shadow, At: now, Stopping: n.stopping, Drained: slices.Sorted(maps.Keys(n.drains)), Unknown: n.unknown.clone()}
	for _, i := range n.instances {
		s.Instances = append(s.Instances, n.instanceStatus(i))
	}
	return s
}

// instanceStatus copies what readers may keep.
func (n *Node) instanceStatus(i *instance) InstanceStatus {
	s := InstanceStatus{
		Name: i.cfg.Name, Interface: i.cfg.Interface, VRID: i.cfg.VRID, VirtualMAC: i.cfg.VirtualMAC, State: i.state, Since: i.since, Why: i.why,
		Priority: i.standing.priority(), Terms: slices.Clone(i.standing.terms), Unhealthy: slices.Clone(i.standing.ill),
		Addresses: i.ips(), Holding: i.holding, Confirmed: i.confirmed, Lease: n.lifetime(i),
		LastChange: i.lastChange, Retry: i.failure.retry,
	}
	if n.cfg.Shadow {
		s.Holding, s.Confirmed = false, false
		c := i.compared.Comparison
		s.Compared = &c
	}
	if i.contention != nil {
		c := *i.contention
		s.Contention = &c
	}
	for _, m := range i.members {
		s.Routers = append(s.Routers, n.routerStatus(m))
	}
	return s
}

// routerStatus copies what readers may keep.
func (n *Node) routerStatus(m *member) RouterStatus {
	p := m.machine.Peer()
	s := RouterStatus{
		Family: m.family.String(), State: m.machine.State().String(), Source: m.source, Peer: p.Address, PeerPrio: p.Priority,
		Heard: p.Heard, Counters: m.counters, Refused: m.refusals.clone(), Notices: m.notices.clone(), Peers: n.peerStatus(m),
		Auth: m.authStatus(), Own: m.ownStatus(),
	}
	_, s.SendError = m.silent()
	if _, why, ok := m.machine.Ready(); ok && m.machine.State() == vrrp.Backup {
		s.Waiting = why
	}
	return s
}
