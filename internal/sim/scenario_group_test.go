package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// groupScenario is what one seed draws for hosts whose instances, each on a link of its own, are in one group.
type groupScenario struct {
	r     *rand.Rand
	c     *Cluster
	nodes map[string]node.Config // as each host is configured in the end
	chaos time.Duration
	ill   bool // it ends with every host unhealthy
	ended bool
}

// What TestRandomGroups has of TestRandom's: one in so many seeds, which take three times as long each, and of the time.
const (
	groupSeeds = 10
	groupTime  = 4
)

// TestRandomGroups lets clusters of groups live through random faults. A failure prints its seed; with it the run repeats
// exactly.
func TestRandomGroups(t *testing.T) {
	n := max(1, *runs/groupSeeds)
	if *runs == 0 {
		n = defaultRuns / 5
	}
	explore(t, n, *budget/groupTime, func(s uint64) []string { return playGroups(s, false).c.Faults() }, explainGroups)
}

// explainGroups tells what is wrong with a seed.
func explainGroups(seed uint64, whole bool) string {
	s := playGroups(seed, true)
	trace := s.c.Trace()
	if !whole {
		trace = trace[max(0, len(trace)-60):]
	}
	return fmt.Sprintf("seed %d: %s\n%s\nthe end of its trace:\n%s\nrepeat with: go test ./internal/sim -run TestRandomGroups -runs 1 -seed %d",
		seed, s, strings.Join(s.c.Faults(), "\n"), strings.Join(trace, "\n"), seed)
}

// TestSameSeedSameGroups keeps the runs repeatable.
func TestSameSeedSameGroups(t *testing.T) {
	for s := *seed; s < *seed+5; s++ {
		if diff := cmp.Diff(playGroups(s, true).c.Trace(), playGroups(s, true).c.Trace()); diff != "" {
			t.Fatalf("seed %d (-first +second):\n%s", s, diff)
		}
	}
}

// playGroups runs the scenario of one seed. A panic is as wrong as anything.
func playGroups(seed uint64, trace bool) (s *groupScenario) {
	s = drawGroups(seed, trace)
	defer func() {
		if r := recover(); r != nil {
			s.c.Fault("panic: %v\n%s", r, debug.Stack())
		}
	}()
	w := watchOver(s.c)
	s.play()
	s.settle(w)
	return s
}

// drawGroups makes a cluster from a seed: 2 to 4 hosts, 2 or 3 links, on which the hosts' addresses are ordered differently.
func drawGroups(seed uint64, trace bool) *groupScenario {
	s := &groupScenario{r: rand.New(rand.NewPCG(seed, 2)), nodes: map[string]node.Config{}}
	s.ill = s.chance(0.25)
	var shared []node.Instance
	for k := range 2 + s.r.IntN(2) {
		shared = append(shared, s.drawInstance(k))
	}
	step := min(2*time.Millisecond, s.fastest(shared)/10)
	cfg := Config{
		Seed: seed, Trace: trace, Kernel: s.upTo(2 * time.Millisecond), Jitter: s.upTo(step),
		Network: Network{MinDelay: 50 * time.Microsecond, MaxDelay: 50*time.Microsecond + s.upTo(step)},
	}
	if s.chance(0.5) {
		cfg.Network.Loss, cfg.Network.Duplicates = 0.3*s.r.Float64(), 0.1*s.r.Float64()
	}
	if s.chance(0.3) { // everything at the same instant: nothing but the rules breaks a tie
		cfg.Jitter, cfg.Network.MaxDelay = 0, cfg.Network.MinDelay
	}
	hosts := 2 + s.r.IntN(3)
	for k := range hosts {
		n := node.Config{Name: string(rune('a' + k))}
		p := uint8(2 + s.r.IntN(253))
		if s.chance(0.5) {
			p = uint8(100 + s.r.IntN(2))
		}
		group := node.Group{Name: "edge"}
		for _, i := range shared {
			i.Priority = p
			if s.chance(0.3) {
				i.Priority = uint8(2 + s.r.IntN(253))
			}
			n.Instances = append(n.Instances, i)
			group.Instances = append(group.Instances, i.Name)
		}
		n.Groups = []node.Group{group}
		s.nodes[n.Name] = n
		cfg.Hosts = append(cfg.Hosts, n)
	}
	s.c = New(cfg)
	for k := range shared[1:] {
		order := s.r.Perm(hosts)
		for at, h := range s.c.hosts {
			l := h.Links()[k+1]
			l.Source4 = netip.AddrFrom4([4]byte{10, byte(k + 1), 0, byte(1 + order[at])})
			h.SetLink(l)
		}
	}
	s.chaos = 2*time.Second + 20*s.slowest(shared)
	return s
}

// drawInstance draws what the hosts have in common on one link.
func (s *groupScenario) drawInstance(k int) node.Instance {
	i := node.Instance{
		Name: []string{"web", "inside", "lab"}[k], Interface: fmt.Sprintf("eth%d", k), VRID: uint8(51 + k), Version: vrrp.V3, DeadAdverts: 3,
		Preempt: true, Lease: s.chance(0.7), Announce: node.Announcing{Refresh: time.Minute},
		Interval:  []time.Duration{20, 100, 1000, 1000}[s.r.IntN(4)] * time.Millisecond,
		Addresses: []node.Address{{IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 * (k + 1))})}},
		Checks:    map[string]node.Effect{yields: {}},
	}
	switch s.r.IntN(3) {
	case 0:
		i.Addresses = append(i.Addresses, node.Address{IP: netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 13: byte(k), 15: 1})})
	case 1:
		i.Unadvertised = []node.Address{{IP: netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 13: byte(k), 15: 1})}}
	}
	if s.chance(0.5) {
		i.Checks[releases] = node.Effect{OnFailure: node.Release}
	}
	if s.chance(0.2) {
		i.PreemptDelay = s.upTo(2 * i.Interval)
	}
	i.VirtualMAC = s.chance(0.2)
	return i
}

func (s *groupScenario) chance(p float64) bool { return s.r.Float64() < p }

func (s *groupScenario) upTo(d time.Duration) time.Duration {
	return time.Duration(s.r.Int64N(int64(d) + 1))
}

func (s *groupScenario) fastest(is []node.Instance) time.Duration {
	return slices.MinFunc(is, func(a, b node.Instance) int { return int(a.Interval - b.Interval) }).Interval
}

func (s *groupScenario) slowest(is []node.Instance) time.Duration {
	return slices.MaxFunc(is, func(a, b node.Instance) int { return int(a.Interval - b.Interval) }).Interval
}

// play lets the faults happen, and ends them all.
func (s *groupScenario) play() {
	for _, h := range s.c.hosts {
		s.later(s.upTo(s.chaos/4), h.Start)
	}
	for range 2 + s.r.IntN(14) {
		s.later(s.upTo(s.chaos), s.fault)
	}
	s.c.Run(s.chaos)
	s.end()
}

// later plans what is drawn; after the end of the faults it no longer happens.
func (s *groupScenario) later(d time.Duration, do func()) {
	s.c.after(d, func() {
		if !s.ended {
			do()
		}
	})
}

// fault does one thing to the cluster.
func (s *groupScenario) fault() {
	h := s.c.hosts[s.r.IntN(len(s.c.hosts))]
	links := h.Links()
	l := links[s.r.IntN(len(links))]
	switch s.r.IntN(10) {
	case 0:
		s.verdict(h, yields, s.chance(0.5))
	case 1:
		s.verdict(h, releases, s.chance(0.5))
	case 2:
		on := s.chance(0.6)
		s.c.Note("** drain %s %t", h.Name, on)
		h.Feed(node.Drain{Who: "admin", On: on})
	case 3:
		s.c.Note("** pause %s", h.Name)
		h.Pause()
		s.later(s.upTo(s.chaos/4), h.Resume)
	case 4:
		s.away(h)
	case 5:
		s.c.Note("** link %s of %s %t", l.Name, h.Name, !l.Up)
		l.Up, l.Reason = !l.Up, "no carrier"
		h.SetLink(l)
	case 6:
		s.cut(h, l.Name)
	case 7:
		s.c.Note("** heal")
		s.c.Heal()
	case 8:
		s.reload(h)
	case 9:
		s.c.Note("** exchange the process of %s", h.Name)
		exchange(h, s.upTo(300*time.Millisecond))
	}
}

func (s *groupScenario) verdict(h *Host, check string, healthy bool) {
	s.c.Note("** check %s %s %t", h.Name, check, healthy)
	h.SetCheck(check, &Verdict{healthy, "drawn"})
}

// away ends a host's process or the host, and starts it later.
func (s *groupScenario) away(h *Host) {
	switch s.r.IntN(3) {
	case 0:
		s.c.Note("** stop %s", h.Name)
		h.Feed(node.Stop{})
	case 1:
		s.c.Note("** kill %s", h.Name)
		h.Kill()
	default:
		s.c.Note("** crash %s", h.Name)
		h.Crash()
	}
	s.later(s.upTo(s.chaos/2), h.Start)
}

// cut stops a host's traffic of one link, one way or both.
func (s *groupScenario) cut(h *Host, link string) {
	what := []Traffic{Everything, Everything, AdvertsIPv4, Announcements}[s.r.IntN(4)]
	cuts := []Cut{{From: h.Name, What: what, Link: link}, {To: h.Name, What: what, Link: link}}
	if k := s.r.IntN(3); k < 2 {
		cuts = cuts[k : k+1]
	}
	for _, c := range cuts {
		s.c.Note("** cut %q %q %s %s", c.From, c.To, c.What, link)
		s.c.Cut(c)
	}
}

// reload takes the group away, an instance out of it, an instance away, or makes everything what it was.
func (s *groupScenario) reload(h *Host) {
	cfg := s.nodes[h.Name]
	last := len(cfg.Instances) - 1
	switch s.r.IntN(5) {
	case 0:
		s.c.Note("** reload %s without the group", h.Name)
		cfg.Groups = nil
	case 1:
		s.c.Note("** reload %s with an instance outside the group", h.Name)
		cfg.Groups = []node.Group{{Name: "edge", Instances: cfg.Groups[0].Instances[:last]}}
	case 2:
		s.c.Note("** reload %s without an instance", h.Name)
		cfg.Groups = []node.Group{{Name: "edge", Instances: cfg.Groups[0].Instances[:last]}}
		cfg.Instances = cfg.Instances[:last]
	case 3:
		s.c.Note("** reload %s with another name of the group", h.Name)
		cfg.Groups = []node.Group{{Name: "border", Instances: cfg.Groups[0].Instances}}
	case 4:
		s.c.Note("** reload %s as it was", h.Name)
	}
	h.Reconfigure(cfg)
}

// end heals the network and says how each host is from now on.
func (s *groupScenario) end() {
	s.c.Note("** the end of the faults")
	s.ended = true
	s.c.Heal()
	s.c.Network.Loss, s.c.Network.Duplicates = 0, 0
	keep := s.r.IntN(len(s.c.hosts)) // lives on, and is healthy if any is
	for k, h := range s.c.hosts {
		h.Return()
		h.Reconfigure(s.nodes[h.Name])
		if k != keep && s.chance(0.3) {
			s.c.Note("** crash %s", h.Name)
			h.Crash()
			continue
		}
		h.Resume()
		if st := h.Status(); st != nil && st.Stopping {
			h.Crash() // it would end by itself in a while
		}
		for _, l := range h.Links() {
			if !l.Up {
				l.Up, l.Reason = true, ""
				h.SetLink(l)
			}
		}
		s.verdict(h, releases, k == keep || s.ill || s.chance(0.9))
		s.verdict(h, yields, !s.ill && (k == keep || s.chance(0.7)))
		h.Feed(node.Drain{Who: "admin"})
		h.Start()
	}
}

// settle checks that a healed cluster converges to one host that holds everything, the best one if any is healthy, and rests
// there.
//
// The bound is that of one instance with the slowest of its intervals, and twice that: a group
// that steps down for a better one on one link waits for all of its links anew.
func (s *groupScenario) settle(w *watch) {
	var bound time.Duration
	for _, i := range s.c.cfg.Hosts[0].Instances {
		b := boundsOf(i, 0, w.slack)
		bound = max(bound, b.rest(), b.converge())
	}
	s.c.Run(2 * bound)
	var masters []string
	for _, h := range s.c.hosts {
		if st := h.Status(); st != nil && (st.Groups[0].State == node.Master || s.ill && st.Groups[0].State == node.Leaving) {
			masters = append(masters, h.Name)
		}
	}
	want := s.best()
	if len(masters) != 1 || !s.ill && !slices.Contains(want, masters[0]) {
		s.c.Fault("%s after the last fault the masters are %v, want one of %v", 2*bound, masters, want)
		return
	}
	since := s.c.Now()
	w.reset()
	s.c.Run(bound)
	for _, ip := range s.c.addresses() {
		periods := s.c.Owners.Periods(ip, since)
		if len(periods) != 1 || !slices.Equal(periods[0].Hosts, masters) {
			s.c.Fault("the address moves although nothing happens, %v should have it: %s", masters, s.c.Owners.Describe(ip, since, s.c.Now()))
		}
	}
	if w.changes > 0 {
		s.c.Fault("%d changes within %s although nothing happens", w.changes, bound)
	}
}

// best lists the running hosts that may end as master: the healthy ones of the highest priority.
func (s *groupScenario) best() (names []string) {
	top := uint8(vrrp.PriorityIll)
	for _, h := range s.c.hosts {
		st := h.Status()
		if st == nil {
			continue
		}
		g := st.Groups[0]
		switch {
		case g.Priority < top || g.Priority == vrrp.PriorityIll || g.State == node.Fault || g.State == node.Init:
		case g.Priority > top:
			top, names = g.Priority, []string{h.Name}
		default:
			names = append(names, h.Name)
		}
	}
	return names
}

// String describes the scenario for a failure.
func (s *groupScenario) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "all unhealthy at the end %t;", s.ill)
	for _, i := range s.c.cfg.Hosts[0].Instances {
		fmt.Fprintf(&text, " %s every %s with %d addresses", i.Name, i.Interval, len(i.Addresses)+len(i.Unadvertised))
	}
	for _, h := range s.c.cfg.Hosts {
		fmt.Fprintf(&text, "; %s", h.Name)
		for _, i := range h.Instances {
			fmt.Fprintf(&text, " %d", i.Priority)
		}
	}
	return text.String()
}
