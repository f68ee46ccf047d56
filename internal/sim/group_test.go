package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// What TestRandomGroups has of TestRandom's: one in so many seeds, and of the time.
const (
	groupSeeds = 10
	groupTime  = 4
)

// TestRandomGroups lets clusters whose hosts have one group each, on several links, live through the same faults, and holds the
// same promises. A failure prints its seed and the faults that it needs; with that seed the run repeats exactly.
func TestRandomGroups(t *testing.T) {
	n := max(1, *runs/groupSeeds)
	if *runs == 0 {
		n = defaultRuns / 5
	}
	explore(t, n, *budget/groupTime, *effort/groupTime, groups)
}

// kin is how a further instance of a group differs from the first: it has its own link, timers and addresses.
type kin struct {
	link         int
	times, by    time.Duration // its interval, compared with the first instance's
	family       vrrp.Family   // the only one that it has, if the first has it; 0: those of the first
	unadvertised bool
	virtual      bool
	leased       bool
	delays       bool
	holdsOn      bool  // it has no check that releases
	lower        uint8 // its base is so much lower on one host
	lowerOn      int   // that host's number
}

// grouped says whether each host's instances are one group.
func (o *options) grouped() bool { return len(o.kin) > 0 }

// drawKin draws one or two further instances.
func drawKin(d dice, web node.Instance) (ks []kin) {
	link := 0
	for range 1 + d.IntN(2) {
		x := kin{unadvertised: d.chance(0.3), virtual: d.chance(0.2), leased: d.chance(0.7), delays: d.chance(0.5), holdsOn: d.chance(0.5)}
		if d.chance(0.85) { // else two virtual routers are on one link
			link++
			x.link = link
		}
		pace := pick(d, [2]time.Duration{1, 1}, [2]time.Duration{1, 1}, [2]time.Duration{1, 2}, [2]time.Duration{1, 10}, [2]time.Duration{1, 50}, [2]time.Duration{2, 1})
		x.times, x.by = pace[0], pace[1]
		if families := web.Families(); len(families) == 2 && d.chance(0.5) {
			x.family = pick(d, families...)
		}
		if d.chance(0.3) {
			x.lower, x.lowerOn = uint8(d.IntN(100)), 1+d.IntN(2)
		}
		ks = append(ks, x)
	}
	return ks
}

// become makes a copy of the first instance a further one.
func (k *kin) become(i *node.Instance, hosts int) {
	i.Interface = fmt.Sprintf("eth%d", k.link)
	i.Interval = i.Interval * k.times / k.by
	if i.Version == vrrp.V2 {
		i.Interval = min(max(i.Interval.Truncate(time.Second), time.Second), 3*time.Second)
	} else {
		i.Interval = min(max(i.Interval.Truncate(10*time.Millisecond), 10*time.Millisecond), 40950*time.Millisecond)
	}
	i.VirtualMAC, i.Lease = k.virtual && len(i.Peers) == 0, k.leased
	if !k.delays {
		i.PreemptDelay = 0
	}
	if slices.Contains(i.Families(), k.family) {
		i.Addresses = slices.DeleteFunc(i.Addresses, func(a node.Address) bool { return vrrp.FamilyOf(a.IP) != k.family })
	}
	if k.unadvertised {
		i.Unadvertised = []node.Address{{IP: netip.AddrFrom4([4]byte{198, 51, 100, i.VRID})}}
	}
	if k.holdsOn {
		i.Checks = maps.Clone(i.Checks)
		delete(i.Checks, releases)
	}
	if len(i.Peers) > 0 {
		i.Peers = everyHost(hosts, k.link, byName(i))
	}
}

// config is a host's with the first instance given: its priority is the host's.
func (s *scenario) config(h *Host, web node.Instance) node.Config {
	web.Priority = s.plights[h].priority
	web.Auth = s.auth(s.plights[h].step)
	cfg := node.Config{Name: h.Name, Instances: s.o.siblings(web)}
	if !s.o.grouped() {
		return cfg
	}
	group := node.Group{Name: "edge"}
	for k := range cfg.Instances {
		i := &cfg.Instances[k]
		group.Instances = append(group.Instances, i.Name)
		if k > 0 && s.o.kin[k-1].lowerOn == s.number(h) {
			i.Priority = max(i.Priority-min(i.Priority, s.o.kin[k-1].lower), 2)
		}
	}
	cfg.Groups = []node.Group{group}
	return cfg
}

// shuffle orders the hosts' addresses differently on each link: the first decides between equals.
func (s *scenario) shuffle(d dice) {
	for k := range s.c.hosts[0].links[1:] {
		order := d.Perm(len(s.c.hosts))
		for at, h := range s.c.hosts {
			l := h.links[k+1]
			l.Source4 = newLink(l.Name, k+1, order[at]+1).Source4
			h.SetLink(l)
		}
	}
}

// ungroup is a reload of one host that takes the group away, an instance out of it, an instance away, or only its name.
func (s *scenario) ungroup(d dice, h *Host) {
	x := s.plights[h]
	if x.version != s.version || x.absent || h.Cleaning() {
		return
	}
	cfg := s.config(h, s.common)
	group := cfg.Groups[0]
	without := func(at int) []node.Group {
		return []node.Group{{Name: group.Name, Instances: slices.Delete(slices.Clone(group.Instances), at, at+1)}}
	}
	how := pick(d, "without the group", "with an instance outside the group", "without an instance", "with another name of the group")
	switch how {
	case "without the group":
		cfg.Groups = nil
	case "with an instance outside the group":
		cfg.Groups = without(d.IntN(len(cfg.Instances)))
	case "without an instance":
		at := 1 + d.IntN(len(cfg.Instances)-1) // the first is the one that the other faults change
		cfg.Groups = without(at)
		cfg.Instances = slices.Delete(cfg.Instances, at, at+1)
	default:
		cfg.Groups = []node.Group{{Name: "border", Instances: group.Instances}}
	}
	s.c.Note("** reload %s %s", h.Name, how)
	x.version = unlike
	h.Reconfigure(cfg)
	s.then(s.some(d), hard, func() {
		if x.version == unlike {
			s.c.Note("** reload %s as it was", h.Name)
			s.configure(h, x.absent)
		}
	})
}

// fastestOf is the instance with the shortest interval.
func fastestOf(instances []node.Instance) node.Instance {
	return slices.MinFunc(instances, func(a, b node.Instance) int { return int(a.Interval - b.Interval) })
}
