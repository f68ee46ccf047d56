package linux

import (
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// Remains looks at a device that Ensure could not bring to what it should be, and changes nothing. ok says that it can still be handed
// over by: what is sent through it leaves, and the interface hears who answers.
func (s *Macvlans) Remains(m Macvlan) (state MacvlanState, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent, err := s.kernel.handle.LinkByName(m.Parent)
	if err != nil {
		return MacvlanState{}, false
	}
	link, err := s.kernel.handle.LinkByName(m.Name())
	if err != nil {
		return MacvlanState{}, false
	}
	at := link.Attrs()
	understudy, others := aliasOwner(at.Alias, s.mark) // one without was never whole
	if !understudy || others || at.ParentIndex != parent.Attrs().Index || at.Flags&net.FlagUp == 0 || !slices.Equal(at.HardwareAddr, m.MAC()) {
		return MacvlanState{}, false
	}
	state.Index = at.Index
	if !m.V6 {
		return state, true
	}
	if m.obstacle6() != nil {
		return MacvlanState{}, false // nobody who answers is heard
	}
	state.Source6 = m.Source6(parent.Attrs().HardwareAddr)
	list, err := s.kernel.addresses()
	there := slices.ContainsFunc(list, func(a address) bool {
		return a.index == at.Index && a.prefix.Addr() == state.Source6 && a.flags&unix.IFA_F_TENTATIVE == 0
	})
	return state, err == nil && there
}
