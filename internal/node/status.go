package node

import (
	"fmt"
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
	Links     []LinkStatus     `json:"links,omitempty"`
	Groups    []GroupStatus    `json:"groups,omitempty"`
}

// GroupStatus is a group's part of it.
type GroupStatus struct {
	Name       string    `json:"name"`
	Instances  []string  `json:"instances"`
	State      State     `json:"state"`
	Since      time.Time `json:"since"`
	Why        string    `json:"why"`
	Priority   uint8     `json:"priority"` // the lowest effective one of its instances, which all of them advertise
	Unhealthy  []string  `json:"unhealthy,omitempty"`
	Waiting    []string  `json:"waiting,omitempty"` // who is still heard where, though some members' waits are over
	LastChange Change    `json:"last_change"`
}

// InstanceStatus is one instance's part of it.
type InstanceStatus struct {
	Name      string `json:"name"`
	Group     string `json:"group,omitempty"` // that it is in: its state, priority and illness are the group's
	Interface string `json:"interface"`
	VRID      uint8  `json:"vrid"`
	// VirtualMAC says that the addresses have the virtual router's MAC address.
	VirtualMAC bool      `json:"virtual_mac,omitempty"`
	State      State     `json:"state"`
	Since      time.Time `json:"since"`
	Why        string    `json:"why"`
	// Priority is the effective one; Terms are what the instance's own would be the sum of, Unhealthy why it is 1 instead.
	Priority  uint8         `json:"priority"`
	Own       uint8         `json:"own_priority"` // without its group and while healthy
	Terms     []Term        `json:"terms"`
	Unhealthy []string      `json:"unhealthy,omitempty"`
	Addresses []netip.Addr  `json:"addresses"`
	Holding   bool          `json:"holding"`            // they are wanted on this host
	Confirmed bool          `json:"confirmed"`          // and the kernel has them
	Lease     time.Duration `json:"lease_ns"`           // 0: none
	Leftover  *Leftover     `json:"leftover,omitempty"` // addresses that are still here although they are not wanted
	// Beside is what else on this host has its addresses, or runs its virtual router, while it holds them.
	Beside     string         `json:"beside,omitempty"`
	Routers    []RouterStatus `json:"routers"`
	LastChange Change         `json:"last_change"`
	LetGo      LetGo          `json:"let_go,omitzero"`
	// Contention is the newest evidence of a second master, also of one that was on its way out or in. TwoMasters says in words that there are
	// two now, and where to look.
	Contention *Contention `json:"contention,omitempty"`
	TwoMasters string      `json:"two_masters,omitempty"`
	// Unheeded says in words whose adverts this host refuses while it is master, and why: whose they are may be master too.
	Unheeded string `json:"unheeded,omitempty"`
	// Clash says in words that another virtual router on the link has one of the addresses, whose it is and what to do.
	Clash    string      `json:"clash,omitempty"`
	Compared *Comparison `json:"compared,omitempty"` // a shadow's
	Retry    time.Time   `json:"retry,omitzero"`     // when an address that could not be set is tried again
}

// RouterStatus is one virtual router's part: an instance has one for each family.
type RouterStatus struct {
	Family   string     `json:"family"`
	State    string     `json:"state"`
	Source   netip.Addr `json:"source,omitzero"`
	Peer     netip.Addr `json:"peer,omitzero"` // whose advert was heard last
	PeerPrio uint8      `json:"peer_priority,omitempty"`
	Heard    time.Time  `json:"heard,omitzero"`
	Waiting  string     `json:"waiting,omitempty"` // its own wait is over; another member still hears its master
	// MasterDown is how long a backup waits for its master (Master_Down_Interval), whose interval it learns in VRRPv3.
	MasterDown time.Duration   `json:"master_down_ns"`
	Speakers   []SpeakerStatus `json:"speakers,omitempty"` // whose adverts were accepted
	Counters   Counters        `json:"counters"`
	Refused    Tally           `json:"refused,omitempty"`
	Notices    Tally           `json:"notices,omitempty"`
	SendError  string          `json:"send_error,omitempty"` // why no advert leaves
	// Auth is nil without authentication.
	Auth *AuthStatus `json:"auth,omitempty"`
	// Own is what another daemon of this host sends; only a shadow hears it.
	Own *OwnAdverts `json:"own,omitempty"`
	// Unicast says that it speaks with its peers alone. One with peers that does not still speaks with the group, as it did before a
	// reload brought names, of which one leads nowhere.
	Unicast bool `json:"unicast,omitempty"`
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
	Former    bool       `json:"former,omitempty"`     // it counts on from before a reload, until each name that this one brought has an address
}

// Status makes the picture of now.
func (n *Node) Status(now time.Time) *Status {
	s := &Status{Node: n.cfg.Name, Shadow: n.cfg.Shadow, At: now, Stopping: n.stopping, Drained: slices.Sorted(maps.Keys(n.drains)), Links: n.linkStatuses()}
	for _, i := range n.instances {
		s.Instances = append(s.Instances, n.instanceStatus(now, i))
	}
	for _, f := range n.fates {
		if f.group != "" {
			s.Groups = append(s.Groups, f.status())
		}
	}
	return s
}

// status copies what readers may keep.
func (f *fate) status() GroupStatus {
	s := GroupStatus{
		Name: f.group, State: f.state, Since: lasting(f.state, f.since, f.mastered), Why: f.why, Priority: f.standing.priority(),
		Unhealthy: slices.Clone(f.standing.ill), Waiting: f.waiting(), LastChange: f.lastChange,
	}
	for _, i := range f.instances {
		s.Instances = append(s.Instances, i.cfg.Name)
	}
	return s
}

// waiting lists what a backup waits for although some of its members wait no longer.
func (f *fate) waiting() (heard []string) {
	over := false
	for m := range f.members() {
		if _, _, ok := m.machine.Ready(); ok {
			over = true
			continue
		}
		where := fmt.Sprintf("%s (%s)", m.of.cfg.Name, m.family)
		switch p := m.machine.Peer(); {
		case !m.of.state.takesPart():
			heard = append(heard, fmt.Sprintf("%s is %s: %s", where, m.of.state, m.of.why))
		case p.Heard.IsZero():
			heard = append(heard, where+" listens")
		default:
			heard = append(heard, fmt.Sprintf("%s hears %s with priority %d", where, p.Address, p.Priority))
		}
	}
	if f.state != Backup || !over {
		return nil
	}
	return heard
}

// instanceStatus copies what readers may keep.
func (n *Node) instanceStatus(now time.Time, i *instance) InstanceStatus {
	s := InstanceStatus{
		Name: i.cfg.Name, Group: i.fate.group, Interface: i.cfg.Interface, VRID: i.cfg.VRID, VirtualMAC: i.cfg.VirtualMAC,
		State: i.state, Since: lasting(i.state, i.since, i.mastered), Why: i.why,
		Priority: i.fate.standing.priority(), Own: i.standing.healthy, Terms: slices.Clone(i.standing.terms), Unhealthy: slices.Clone(i.fate.standing.ill),
		Addresses: i.ips(), Holding: i.holding, Confirmed: i.confirmed, Lease: i.lease(),
		LastChange: i.lastChange, LetGo: i.letGo, Retry: i.failure.retry, Clash: n.clashes(now, i),
	}
	if n.cfg.Shadow {
		s.Holding, s.Confirmed, s.LetGo = false, false, LetGo{}
		c := i.compared.Comparison
		s.Compared = &c
	}
	if i.holding {
		s.Beside = n.bars[i.cfg.Name]
	}
	s.Contention, s.TwoMasters = n.evidence(now, i)
	s.Unheeded = n.unheeded(now, i)
	if i.leftover != nil {
		s.Leftover = new(*i.leftover)
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
		MasterDown: m.masterDown(m.machine.Learned()), Speakers: m.speakerStatuses(n),
		Auth: m.authStatus(), Own: n.ownStatus(m), Unicast: m.machine.Config().Unicast != nil,
	}
	_, s.SendError = m.silent()
	if _, why, ok := m.machine.Ready(); ok && m.machine.State() == vrrp.Backup {
		s.Waiting = why
	}
	return s
}

// PeersHeard says when an advert of each named peer was accepted last, by any instance. One that has addresses in both families has moved
// in one, perhaps, while the other's adverts come: it is heard as of the family in which it was silent for longer.
func (s *Status) PeersHeard() map[string]time.Time {
	families := map[string]map[string]time.Time{} // family -> name -> when
	for _, i := range s.Instances {
		for _, r := range i.Routers {
			last := families[r.Family]
			if last == nil {
				last = map[string]time.Time{}
				families[r.Family] = last
			}
			for _, p := range r.Peers {
				if at, known := last[p.Name]; !known || p.Heard.After(at) {
					last[p.Name] = p.Heard
				}
			}
		}
	}
	all := map[string]time.Time{}
	for _, last := range families {
		for name, at := range last {
			if other, known := all[name]; !known || at.Before(other) {
				all[name] = at
			}
		}
	}
	return all
}
