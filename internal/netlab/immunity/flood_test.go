package immunity

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/vrrp"
)

const (
	settleBound = pairtest.SettleBound
	// fullRate is how many packets a second each victim's interface shall receive, and asked a little more, so that a rest that was
	// too long costs nothing.
	fullRate, asked = 50_000, 52_000
	// leastRate is what must come of it on the average where two processors do everything: the flooder, the switch, the daemons and
	// whatever else the machine is doing, unless that has most of them. A flooder that is below fullRate had no processor for a tenth of its time, or was never at
	// rest; or the test fails.
	leastRate = 20_000
	// lasts is how long a flood of one kind goes on that the kernel drops.
	lasts = 300 * time.Millisecond
	// calm is for how long a flood of all kinds goes on before the master is cut off, and cutLasts how long in all.
	calm, cutLasts = 200 * time.Millisecond, 1800 * time.Millisecond
	// toldBound is how long it may take until a packet that the kernel drops is counted.
	toldBound = 3 * time.Second
	// few is of how many packets the daemon sees one, at most, of a kind that the kernel drops.
	few = 16
)

// readLasts is how long a flood of one kind goes on that the daemons read: longer than a backup waits for an advert, so that one
// which hears none of its master's would rise.
func (w way) readLasts() time.Duration {
	interval, _ := w.beat()
	return w.down() + interval
}

// TestFlood tells of a stranger who floods a pair of ten instances, with one kind of packets after another: the masters stay
// master and keep their beat, the backups stay backup. When the master's host is cut off meanwhile its backup takes over as if there
// were no flood.
func TestFlood(t *testing.T) {
	f := newField(t)
	t.Run("none", func(t *testing.T) { f.cutOff(t) })
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { f.attack(t, f.scene(t, w)) })
	}
	f.judge(t)
	f.punctual(t)
}

// pair is lb1, which is master of everything, and lb2.
func pair(t *testing.T) *pairtest.Cluster {
	t.Helper()
	var config strings.Builder
	vips := map[string]time.Duration{}
	for _, w := range ways {
		more := ""
		if w.unicast {
			more = map[vrrp.Family]string{vrrp.IPv4: `peers = ["10.0.0.11", "10.0.0.12"]`, vrrp.IPv6: `peers = ["fd00::11", "fd00::12"]`}[w.family]
		}
		config.WriteString(w.instance(w.vrid, more))
		more += "\nauth {\nactive = 1\nkey \"1\" {\nfile = \"LAB/${hostname}/key\"\n}\n}"
		config.WriteString(w.instance(w.signed, more))
		for _, vrid := range []uint8{w.vrid, w.signed} {
			vips[vip(w.family, vrid).String()] = 0
		}
	}
	c := pairtest.New(t, pairtest.Shape{Program: program, Hosts: []string{"lb1", "lb2"}, VIPs: vips, Config: config.String()})
	for _, h := range c.Hosts {
		if err := os.WriteFile(filepath.Join(h.Dir(), "key"), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
		h.Start(t)
	}
	c.Settled(t, "lb1")
	return c
}

// instance is one with an address.
func (w way) instance(vrid uint8, more string) string {
	interval, dead := w.beat()
	return fmt.Sprintf(`
instance %q {
  interface          = "eth0"
  vrid               = %d
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = [%q]
  advertise_interval = %q
  dead_adverts       = %d
  %s
}
`, nameOf(vrid), vrid, vip(w.family, vrid), interval, dead, more)
}

// nameOf is the name of the instance with a VRID.
func nameOf(vrid uint8) string { return fmt.Sprintf("web%d", vrid) }

// evil is the host of the stranger. What it sends to the groups goes to the pair only, as a switch does that snoops: two processors
// are all there is.
func evil(t *testing.T, c *pairtest.Cluster) *netlab.Host {
	t.Helper()
	for _, h := range c.Lab.Hosts() {
		if !slices.ContainsFunc(c.Hosts, func(s *pairtest.Server) bool { return s.Host == h }) {
			if err := h.NoMulticast(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return labtest.Host(t, c.Lab, "evil", "10.0.0.66/24", "fd00::66/64")
}

// field is where the floods take place.
type field struct {
	c               *pairtest.Cluster
	evil            *netlab.Host
	beats           *voice            // lb1's adverts
	queues          map[string]*queue // where each host's daemon waits for a processor
	rates           []int             // that reached the victims
	flooded, waited time.Duration     // of all floods: how long they went on, and how long they had no processor
	timed           int               // adverts and takeovers
	overdue         []time.Duration   // of those that were late: by how much beyond what others had of the machine
}

func newField(t *testing.T) *field {
	t.Helper()
	c := pair(t)
	lb1 := c.Get("lb1")
	f := &field{c: c, evil: evil(t, c), beats: watch(t, lb1.Host), queues: map[string]*queue{}}
	for _, h := range c.Hosts {
		f.queues[h.Name()] = watchQueue(t, h.Daemon.PID())
	}
	return f
}

// scene is a way with its ends.
func (f *field) scene(t *testing.T, w way) scene {
	t.Helper()
	lb1, lb2 := f.c.Get("lb1"), f.c.Get("lb2")
	return scene{w, w.end(t, f.evil), w.end(t, lb1.Host), w.end(t, lb2.Host)}
}

// end is a host with the address that it sends adverts from.
func (w way) end(t *testing.T, h *netlab.Host) end {
	t.Helper()
	for _, p := range h.Addresses() {
		if vrrp.FamilyOf(p.Addr()) == w.family && (w.unicast || w.family == vrrp.IPv4) {
			return end{h.Name(), p.Addr(), h.MAC()}
		}
	}
	return end{h.Name(), linkLocal(t, h), h.MAC()}
}

// linkLocal is the link-local address of a host's interface.
func linkLocal(t *testing.T, h *netlab.Host) (ip netip.Addr) {
	t.Helper()
	err := h.Do(func() error {
		link, err := netlink.LinkByName(netlab.Interface)
		if err != nil {
			return err
		}
		list, err := netlink.AddrList(link, netlink.FAMILY_V6)
		for _, a := range list {
			if a.IP.IsLinkLocalUnicast() {
				ip, _ = netip.AddrFromSlice(a.IP)
			}
		}
		return err
	})
	if err != nil || !ip.IsValid() {
		t.Fatalf("link-local address of %s: %v %v", h.Name(), ip, err)
	}
	return ip
}

// attack floods one way: with each kind of packets, and with all of them while the master's host is cut off. In all this time no
// virtual router of the pair moves or misses a beat, but for the cut.
func (f *field) attack(t *testing.T, s scene) {
	kinds := append(s.kinds(), s.signedKinds(f.c.Get("lb2").Host)...)
	from, lines := time.Now(), f.logged()
	counts := map[string]*tally{}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f.endure(t, s, k, counts) })
	}
	for _, c := range counts {
		f.told(t, s, c)
	}
	for name, n := range f.logged() {
		// Six a minute at most of each virtual router, and of each sender at first only.
		if more := n - lines[name]; more > 6*len(kinds) {
			t.Errorf("%d lines in the log of %s", more, name)
		}
	}
	f.unmoved(t, from)
	t.Run("all of them, and the master is cut off", func(t *testing.T) {
		var frames [][]byte
		for _, k := range kinds {
			frames = append(frames, k.frames(t)...)
		}
		wave := startFlood(t, f.evil, asked*len(s.targets()), cutLasts, frames)
		pairtest.Until(t, time.Now().Add(calm))
		f.cutOff(t)
		t.Logf("flooded with %d packets a second", wave.end(t).rate())
	})
}

// tally is what a host counts under one reason, of the floods of one way.
type tally struct {
	kind    kind
	before  uint64 // what it had counted
	packets int
}

// counter is the virtual router that counts a kind of packets.
func (s scene) counter(k kind) uint8 {
	if strings.HasPrefix(k.reason, "auth-") {
		return s.signed
	}
	return s.vrid
}

// endure floods the pair with one kind of packets.
func (f *field) endure(t *testing.T, s scene, k kind, counts map[string]*tally) {
	frames := k.frames(t)
	if before := counts[k.at+k.reason]; before != nil {
		f.told(t, s, before) // each kind is counted by itself
	}
	c := &tally{kind: k, before: f.refused(t, k, s.counter(k))}
	counts[k.at+k.reason] = c
	span := lasts
	if !k.kernel {
		span = s.readLasts()
	}
	used, before := cpu(t, f.c), received(t, f.c)
	from := time.Now()
	o := startFlood(t, f.evil, asked*victims(frames), span, frames).end(t)
	took, after, use := time.Since(from), received(t, f.c), cpu(t, f.c)
	rate := 0
	for name := range after {
		rate = max(rate, int(float64(after[name]-before[name])/o.Took.Seconds()))
	}
	f.rates, f.flooded, f.waited = append(f.rates, rate), f.flooded+o.Took, f.waited+o.waited()
	c.packets = o.Packets
	t.Logf("%d packets a second, of %d that the machine can carry; lb1 used %.0f%%, lb2 %.0f%% of a core", rate, o.limit(),
		100*(use["lb1"]-used["lb1"]).Seconds()/took.Seconds(), 100*(use["lb2"]-used["lb2"]).Seconds()/took.Seconds())
	if busy := o.Took * 9 / 10; rate < fullRate && o.Ran < busy && o.waited() < o.Took-busy {
		t.Errorf("%d packets a second reached the victim of a flooder that ran for %v and waited for a processor for %v of %v", rate, o.Ran, o.waited(), o.Took)
	}
}

// told asserts what a host counted of the packets of one reason. What the kernel drops is looked at now and then, and told later.
func (f *field) told(t *testing.T, s scene, c *tally) {
	t.Helper()
	var now uint64
	labtest.Eventually(t, toldBound, func() (bool, string) {
		now = f.refused(t, c.kind, s.counter(c.kind))
		return now > c.before, fmt.Sprintf("%s counts nothing as %s", c.kind.at, c.kind.reason)
	})
	told := now - c.before
	t.Logf("%s counts %d packets as %s, of %d that were sent", c.kind.at, told, c.kind.reason, c.packets)
	if most := uint64(c.packets)/few + 64; c.kind.kernel && told > most {
		t.Errorf("%s counts %d of %d packets as %s; the kernel should have dropped all but %d", c.kind.at, told, c.packets, c.kind.reason, most)
	}
}

// victims is to how many hosts frames go, each of which has its share.
func victims(frames [][]byte) int {
	to := slices.SortedFunc(slices.Values(frames), func(a, b []byte) int { return bytes.Compare(a[:6], b[:6]) })
	return len(slices.CompactFunc(to, func(a, b []byte) bool { return bytes.Equal(a[:6], b[:6]) }))
}

// logged counts each host's lines about refused adverts.
func (f *field) logged() map[string]int {
	lines := map[string]int{}
	for _, h := range f.c.Hosts {
		lines[h.Name()] = h.Logged("are refused: ")
	}
	return lines
}

// refused is how many packets of a kind its host has counted.
func (f *field) refused(t *testing.T, k kind, vrid uint8) uint64 {
	t.Helper()
	i, err := f.c.Get(k.at).Instance(t, nameOf(vrid))
	if err != nil {
		t.Fatal(err)
	}
	if count := i.Routers[0].Refused[k.reason]; count != nil {
		return count.Count
	}
	return 0
}

// judge asserts of all floods that they were floods.
func (f *field) judge(t *testing.T) {
	total, full := 0, 0
	for _, r := range f.rates {
		total += r
		if r >= fullRate {
			full++
		}
	}
	average := total / max(len(f.rates), 1)
	t.Logf("%d of %d floods reached the victims with %d packets a second or more; the average is %d, the least %d; for %v of %v the flooder had no processor", full, len(f.rates), fullRate, average, slices.Min(f.rates), f.waited, f.flooded)
	if average < leastRate && f.waited < f.flooded/2 {
		t.Errorf("the floods had %d packets a second on the average, want %d; the flooder waited for a processor for %v of %v", average, leastRate, f.waited, f.flooded)
	}
}
