package sim

import (
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// rollout changes what may differ between hosts while it is rolled out, one host after the other.
func (s *scenario) rollout(d dice, _ *Host) {
	i := s.common
	switch d.IntN(3) {
	case 0:
		if e, ok := i.Checks[weighs]; ok {
			i.Checks = map[string]node.Effect{yields: {}, releases: {OnFailure: node.Release}, weighs: {OnFailure: node.Weigh, Weight: -e.Weight}}
		}
	case 1:
		i.Announce = node.Announcing{Refresh: time.Duration(d.IntN(2)) * time.Minute, Interval: d.upTo(10 * time.Millisecond)}
	case 2:
		if _, ok := i.Checks[weighs]; !ok { // weights and preempt = false do not go together
			i.Preempt = !i.Preempt
		}
	}
	// What the MACs are is drawn apart; see drawMACs. The instant is as good as the fault's number.
	if macs := newDice(s.seed, macStream+uint64(s.c.Since())); s.o.rolls && len(i.Peers) == 0 && macs.chance(0.3) {
		i = s.common
		i.VirtualMAC = !i.VirtualMAC
		s.c.Note("** virtual MACs: %t", i.VirtualMAC)
		s.rolled++
	}
	s.roll(d, i)
}

// macStream is the first of the streams that say which rollouts are of MACs.
const macStream = 1 << 40

// overhaul changes what all hosts must have the same. Until the last has it they are not one cluster.
func (s *scenario) overhaul(d dice, _ *Host) {
	i := s.common
	switch d.IntN(4) {
	case 0:
		if i.Version == 2 {
			i.Interval = time.Duration(1+d.IntN(3)) * time.Second
		} else {
			i.Interval = drawInterval(d)
			// The faults were planned for another interval: much shorter ones would take too many steps, longer ones too long.
			i.Interval = min(max(i.Interval, (s.common.Interval/4).Truncate(10*time.Millisecond)), 4*s.common.Interval)
		}
	case 1:
		i.Addresses = drawAddresses(d, i.Version)
		s.moved = true
	case 2:
		i.VRID += 10
		s.moved = true
	case 3:
		i.DeadAdverts = pick(d, 2, 3, 4)
	}
	s.roll(d, i)
}

// roll gives each host the new configuration, in any order. A host that has no process has it when it starts.
func (s *scenario) roll(d dice, i node.Instance) {
	s.common = i
	s.version++
	version := s.version
	s.renewed()
	most := pick(d, 0, s.common.Interval/2, s.o.chaos/8)
	for _, h := range s.c.hosts {
		s.then(d.upTo(most), hard, func() {
			if s.version == version { // else a newer one is on its way
				s.c.Note("** reload %s: interval %s, vrid %d, %v, preempt %t", h.Name, i.Interval, i.VRID, i.Addresses, i.Preempt)
				s.configure(h, s.plights[h].absent)
			}
		})
	}
}
