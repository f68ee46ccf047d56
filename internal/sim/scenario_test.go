package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// scenario is what one seed draws: the hosts, what goes wrong, and how it ends.
type scenario struct {
	r          *rand.Rand
	c          *Cluster
	instance   node.Instance // without priority
	ill        bool          // it ends with every host unhealthy
	chaos      time.Duration
	priorities map[string]uint8 // by host
	second     bool             // each host has another instance besides
	deletes    int
	ended      bool
}

// Checks of every host in a random run.
const (
	yields   = "yields"
	releases = "releases"
	weighs   = "weighs"
)

// draw makes a cluster from a seed.
func draw(seed uint64, trace bool) *scenario {
	s := &scenario{r: rand.New(rand.NewPCG(seed, 1)), priorities: map[string]uint8{}}
	s.instance = s.drawInstance()
	s.ill = s.chance(0.3)
	step := min(2*time.Millisecond, s.instance.Interval/10)
	cfg := Config{
		Seed: seed, Trace: trace, Kernel: s.upTo(2 * time.Millisecond), Jitter: s.upTo(step),
		Network: Network{MinDelay: 50 * time.Microsecond, MaxDelay: 50*time.Microsecond + s.upTo(step)},
	}
	if s.chance(0.5) {
		cfg.Network.Loss, cfg.Network.Duplicates = 0.3*s.r.Float64(), 0.1*s.r.Float64()
	}
	s.second = s.chance(0.3)
	close := s.chance(0.5)
	hosts := 2 + s.r.IntN(4)
	if seed%5 == 0 {
		s.instance.Peers, s.instance.MinTTL = everyHost(hosts), vrrp.HopLimit
	}
	for k := range hosts {
		i := s.instance
		i.Priority = uint8(2 + s.r.IntN(253))
		if close {
			i.Priority = uint8(100 + s.r.IntN(4))
		}
		name := string(rune('a' + k))
		s.priorities[name] = i.Priority
		cfg.Hosts = append(cfg.Hosts, node.Config{Name: name, Instances: s.instances(i)})
	}
	s.c = New(cfg)
	s.chaos = 2*time.Second + 30*s.instance.Interval
	return s
}

// everyHost is one list of peers for all hosts.
func everyHost(hosts int) []node.Peer {
	var peers []node.Peer
	for k := range hosts {
		l := newHost(nil, k+1, node.Config{}).Link()
		peers = append(peers, node.Peer{IP: l.Source4}, node.Peer{IP: l.Source6})
	}
	return peers
}

// drawInstance draws what the hosts have in common.
func (s *scenario) drawInstance() node.Instance {
	i := node.Instance{
		Name: "web", Interface: Interface, VRID: 51, Version: vrrp.V3, DeadAdverts: 3, Preempt: s.chance(0.7), Lease: s.chance(0.7),
		Announce: node.Announcing{Refresh: time.Minute},
		Checks:   map[string]node.Effect{yields: {}, releases: {OnFailure: node.Release}},
	}
	i.Interval = []time.Duration{10, 20, 100, 300, 1000, 1000, 1000, 3000}[s.r.IntN(8)] * time.Millisecond
	v4, v6 := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")
	switch family := s.r.IntN(4); {
	case s.chance(0.2):
		i.Version, i.Interval = vrrp.V2, time.Duration(1+s.r.IntN(2))*time.Second
		i.Addresses = []node.Address{{IP: v4}}
	case family < 2:
		i.Addresses = []node.Address{{IP: v4}, {IP: v4.Next()}}
	case family == 2:
		i.Addresses = []node.Address{{IP: v6}}
	default:
		i.Addresses = []node.Address{{IP: v4}, {IP: v6}}
	}
	if i.Preempt {
		i.Checks[weighs] = node.Effect{OnFailure: node.Weigh, Weight: s.r.IntN(120) - 60}
	}
	if s.chance(0.2) {
		i.PreemptDelay = s.upTo(5 * i.Interval)
	}
	i.VirtualMAC = s.chance(0.3)
	return i
}

func (s *scenario) chance(p float64) bool { return s.r.Float64() < p }

func (s *scenario) upTo(d time.Duration) time.Duration {
	return time.Duration(s.r.Int64N(int64(d) + 1))
}

func (s *scenario) host() *Host { return s.c.hosts[s.r.IntN(len(s.c.hosts))] }

// start starts a host with all checks healthy but what the scenario draws.
func (s *scenario) start(h *Host) {
	if !h.Running() {
		s.c.Note("** start %s", h.Name)
		h.Start()
	}
}

// play lets the faults happen, ends them all, and returns the instant of the last.
func (s *scenario) play() time.Time {
	for _, h := range s.c.hosts {
		s.later(s.upTo(s.chaos/4), func() { s.start(h) })
	}
	for range 2 + s.r.IntN(14) {
		s.later(s.upTo(s.chaos), s.fault)
	}
	s.c.Run(s.chaos)
	s.end()
	return s.c.Now()
}

// later plans what is drawn; after the end of the faults it no longer happens.
func (s *scenario) later(d time.Duration, do func()) {
	s.c.after(d, func() {
		if !s.ended {
			do()
		}
	})
}

// fault does one thing to the cluster.
func (s *scenario) fault() {
	h := s.host()
	switch s.r.IntN(13) {
	case 0, 1:
		s.verdict(h, yields, s.chance(0.5))
	case 2:
		s.verdict(h, releases, s.chance(0.5))
	case 3:
		s.verdict(h, weighs, s.chance(0.5))
	case 4:
		s.drain(h, s.chance(0.6))
	case 5:
		s.pause(h)
	case 6:
		s.away(h)
	case 7:
		s.link(h, !h.Linked())
	case 8, 9:
		s.cut(h)
	case 10:
		s.c.Note("** heal")
		s.c.Heal()
	case 11:
		if s.deletes < 4 { // the fifth within 10 s is a yield for a minute, which the bounds below do not know
			s.deletes++
			ip := s.instance.Addresses[0].IP
			s.c.Note("** delete %s %s", h.Name, ip)
			h.Delete(ip)
		}
	case 12:
		s.reload(h, s.r.IntN(3))
	}
}

// instances are those of one host: the second differs in nothing but its identity.
func (s *scenario) instances(web node.Instance) []node.Instance {
	if !s.second {
		return []node.Instance{web}
	}
	inside := web
	inside.Name, inside.VRID, inside.Addresses = "inside", 52, nil
	for _, a := range web.Addresses {
		ip := a.IP.As16()
		ip[14]++
		inside.Addresses = append(inside.Addresses, node.Address{IP: netip.AddrFrom16(ip).Unmap()})
	}
	return []node.Instance{web, inside}
}

// reload takes the instance away, gives it another priority, or makes it what it was.
func (s *scenario) reload(h *Host, k int) {
	cfg := node.Config{Name: h.Name}
	i := s.instance
	i.Priority = s.priorities[h.Name]
	switch k {
	case 0:
		s.c.Note("** reload %s without its instance", h.Name)
		h.Reconfigure(cfg)
		return
	case 1:
		i.Priority = uint8(2 + s.r.IntN(253))
	}
	s.c.Note("** reload %s with priority %d", h.Name, i.Priority)
	cfg.Instances = s.instances(i)
	h.Reconfigure(cfg)
}

func (s *scenario) verdict(h *Host, check string, healthy bool) {
	if _, ok := s.instance.Checks[check]; !ok {
		return
	}
	s.c.Note("** check %s %s %t", h.Name, check, healthy)
	h.SetCheck(check, &Verdict{healthy, "drawn"})
}

func (s *scenario) drain(h *Host, on bool) {
	s.c.Note("** drain %s %t", h.Name, on)
	h.Feed(node.Drain{Who: "admin", On: on})
}

func (s *scenario) pause(h *Host) {
	s.c.Note("** pause %s", h.Name)
	h.Pause()
	s.later(s.upTo(s.chaos/4), func() {
		s.c.Note("** resume %s", h.Name)
		h.Resume()
	})
}

// away ends a host's process or the host, and starts it later.
func (s *scenario) away(h *Host) {
	switch k := s.r.IntN(3); {
	case k == 0:
		s.c.Note("** stop %s", h.Name)
		h.Feed(node.Stop{})
	case k == 1 && s.instance.Lease:
		s.c.Note("** kill %s", h.Name)
		h.Kill()
	default:
		s.c.Note("** crash %s", h.Name)
		h.Crash()
	}
	s.later(s.upTo(s.chaos/2), func() { s.start(h) })
}

func (s *scenario) link(h *Host, up bool) {
	s.c.Note("** link %s %t", h.Name, up)
	l := h.Link()
	l.Up, l.Reason = up, "no carrier"
	h.SetLink(l)
}

// cut stops some traffic of a host, one way or both.
func (s *scenario) cut(h *Host) {
	what := []Traffic{Everything, AdvertsIPv4, AdvertsIPv6, Announcements}[s.r.IntN(4)]
	cuts := []Cut{{From: h.Name, What: what}, {To: h.Name, What: what}, {From: h.Name, To: s.host().Name, What: what}}
	if s.chance(0.5) {
		cuts = cuts[:2]
	} else {
		k := s.r.IntN(3)
		cuts = cuts[k : k+1]
	}
	for _, c := range cuts {
		s.c.Note("** cut %q %q %s", c.From, c.To, c.What)
		s.c.Cut(c)
	}
}

// end heals the network and says how each host is from now on.
func (s *scenario) end() {
	s.c.Note("** the end of the faults")
	s.ended = true
	s.c.Heal()
	s.c.Network.Loss, s.c.Network.Duplicates = 0, 0
	keep := s.r.IntN(len(s.c.hosts)) // lives on, and is healthy if any is
	for k, h := range s.c.hosts {
		s.reload(h, 2)
		if k != keep && s.chance(0.3) {
			s.c.Note("** crash %s", h.Name)
			h.Crash()
			continue
		}
		h.Resume()
		if s := h.Status(); s != nil && s.Stopping {
			h.Crash() // it would end by itself in a while
		}
		if !h.Linked() {
			s.link(h, true)
		}
		s.verdict(h, releases, k == keep || s.ill || s.chance(0.9))
		s.verdict(h, weighs, s.chance(0.5))
		healthy := !s.ill && (k == keep || s.chance(0.7))
		drained := !healthy && s.chance(0.5)
		s.verdict(h, yields, healthy || drained)
		s.start(h)
		s.drain(h, drained)
	}
}

// best lists the running hosts that may end as master with preemption: the healthy ones of the highest priority.
func (s *scenario) best() (names []string) {
	top := 0
	for _, h := range s.healthy() {
		p := int(h.Status().Instances[0].Priority)
		if p > top {
			top, names = p, nil
		}
		if p == top {
			names = append(names, h.Name)
		}
	}
	return names
}

// healthy lists the running hosts that are neither ill nor out of the election.
func (s *scenario) healthy() (hosts []*Host) {
	for _, h := range s.c.hosts {
		if !h.Running() {
			continue
		}
		i := h.Status().Instances[0]
		if i.Priority > vrrp.PriorityIll && i.State != node.Fault && i.State != node.Init {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// String describes the scenario for a failure.
func (s *scenario) String() string {
	var text strings.Builder
	text.WriteString(fmt.Sprintf("%d hosts, v%d, interval %s, preempt %t after %s, lease %t, addresses %v, all unhealthy at the end %t:",
		len(s.c.hosts), s.instance.Version, s.instance.Interval, s.instance.Preempt, s.instance.PreemptDelay, s.instance.Lease, s.instance.Addresses, s.ill))
	for _, h := range s.c.hosts {
		text.WriteString(fmt.Sprintf(" %s %d", h.Name, h.cfg.Instances[0].Priority))
	}
	return text.String()
}
