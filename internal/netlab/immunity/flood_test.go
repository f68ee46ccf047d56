package immunity

import (
	"fmt"
	"math"
	"net"
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
	// fullRate is how many packets of each kind a second each victim's interface receives at least, and asked a little more, so that a
	// rest that was too long costs nothing.
	fullRate, asked = 50_000, 52_000
	// floods is how often it is tried: somebody else may have the processors.
	floods = 3
	// lasts is how long a flood of one kind goes on that the kernel drops: longer than the daemon rests before it looks again.
	lasts = 300 * time.Millisecond
	// calm is for how long a flood of all kinds goes on before the master is cut off.
	calm = 200 * time.Millisecond
	// turns is how many packets of a kind take their turn in a flood of all of them, so that none is most of it.
	turns = 16
	// toldBound is how long it may take until a packet that the kernel drops is counted.
	toldBound = 3 * time.Second
	// few is of how many packets the daemon sees one, at most, of a kind that the kernel drops.
	few = 16
)

// readLasts is how long a flood of one kind goes on that the daemons read: longer than a backup waits for an advert, so that one
// which hears none of its master's would rise. VRRPv2's waits for so long that the next kinds have begun.
func (w way) readLasts() time.Duration {
	if w.old {
		return time.Second + lasts
	}
	interval, _ := w.beat()
	return w.down() + interval
}

// TestFlood tells of a stranger who floods a pair of twelve instances, with one kind of packets after another: the masters stay
// master and keep their beat, the backups stay backup. When the master's host is cut off meanwhile its backup takes over as if there
// were no flood. Here all have the same processors, and what the pair does not get of them excuses it; TestFloodApart floods the other ways, too.
func TestFlood(t *testing.T) { newField(t, ways).story(t, ways[:1]) }

// story floods some ways of the field's, one after another.
func (f *field) story(t *testing.T, ways []way) {
	t.Run("none", func(t *testing.T) { f.cutOff(t, f.ways...) })
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { f.attack(t, f.scene(t, w)) })
	}
	f.judge(t)
	f.punctual(t)
}

// pair is lb1, which is master of everything, and lb2.
func pair(t *testing.T, ways []way) *pairtest.Cluster {
	t.Helper()
	var config strings.Builder
	vips := map[string]time.Duration{}
	for _, w := range ways {
		plain, signed := w.settings()
		config.WriteString(w.instance(w.vrid, plain))
		config.WriteString(w.instance(w.signed, signed))
		for _, vrid := range w.vrids() {
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

// settings are what sets the way's instances apart from others, the one without and the one with authentication.
func (w way) settings() (plain, signed string) {
	switch {
	case w.old:
		return "version = 2", fmt.Sprintf("version = 2\nauth {\npassword = %q\n}", password)
	case w.unicast && w.family == vrrp.IPv4:
		plain = `peers = ["10.0.0.11", "10.0.0.12"]`
	case w.unicast:
		plain = `peers = ["fd00::11", "fd00::12"]`
	case w.virtual:
		plain = `mac = "virtual"`
	}
	return plain, plain + "\nauth {\nactive = 1\nkey \"1\" {\nfile = \"LAB/${hostname}/key\"\n}\n}"
}

// masterPriority is lb1's, backupPriority lb2's.
const masterPriority, backupPriority = 150, 100

// instance is one with an address.
func (w way) instance(vrid uint8, more string) string {
	interval, dead := w.beat()
	return fmt.Sprintf(`
instance %q {
  interface          = "eth0"
  vrid               = %d
  priority           = { lb1 = %d, lb2 = %d }[hostname]
  addresses          = [%q]
  advertise_interval = %q
  dead_adverts       = %d
  %s
}
`, nameOf(vrid), vrid, masterPriority, backupPriority, vip(w.family, vrid), interval, dead, more)
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
	ways []way
	c    *pairtest.Cluster
	evil *netlab.Host
	// beats are lb1's adverts as it sends them, heard as lb2 receives them, and rises are lb2's.
	beats, heard, rises *voice
	queues              map[string]*queue // where each host's daemon waits for a processor
	still               *standstills
	flooder             *int  // the processor that is the flooder's alone
	rates               []int // that reached the victims, of each kind the best
	adverts, takeovers  delays
}

func newField(t *testing.T, ways []way) *field {
	t.Helper()
	c := pair(t, ways)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	senders := []net.HardwareAddr{lb1.MAC()}
	for _, w := range ways {
		if w.virtual {
			senders = append(senders, virtualMAC(w.vrid), virtualMAC(w.signed))
		}
	}
	second := watch(t, lb2.Host, senders...)
	f := &field{
		ways: ways, c: c, evil: evil(t, c), beats: watch(t, lb1.Host), heard: second.of(masterPriority), rises: second.of(backupPriority), queues: map[string]*queue{},
	}
	for _, h := range c.Hosts {
		f.queues[h.Name()] = watchQueue(t, h.Daemon.PID())
	}
	f.still = watchStandstills(t, f.evil)
	return f
}

// virtualMAC is that of a virtual router over IPv4.
func virtualMAC(vrid uint8) net.HardwareAddr { return net.HardwareAddr{0, 0, 0x5e, 0, 1, vrid} }

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
	kinds := s.kinds(f.c.Get("lb2").Host)
	from, lines := time.Now(), f.logged()
	counts := map[count]*tally{}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { f.endure(t, s, k, counts) })
	}
	for _, c := range counts {
		f.told(t, c)
	}
	for name, n := range f.logged() {
		// Six a minute at most of each virtual router, and of each sender at first only.
		if more := n - lines[name]; more > 6*len(kinds) {
			t.Errorf("%d lines in the log of %s", more, name)
		}
	}
	f.unmoved(t, from)
	var mixed [][]byte
	for _, k := range kinds {
		list := k.frames(t)
		mixed = append(mixed, list[:min(len(list), turns)]...)
	}
	t.Run("all of them, and the master is cut off", func(t *testing.T) { f.besiege(t, s, mixed) })
}

// besiege cuts the master's host off in a flood. VRRPv2's backups wait for long, and are looked at in their turn.
func (f *field) besiege(t *testing.T, s scene, frames [][]byte) {
	soon := slices.DeleteFunc(slices.Clone(f.ways), func(w way) bool { return w.old && !s.old })
	longest := time.Duration(0)
	for _, w := range soon {
		longest = max(longest, w.down())
	}
	wave := f.flood(t, asked*len(s.targets()), calm+longest+2*pairtest.Noise, frames)
	pairtest.Until(t, time.Now().Add(calm))
	f.cutOff(t, soon...)
	rate := wave.end(t).rate()
	t.Logf("flooded with %d packets a second", rate)
	if f.flooder != nil && rate < fullRate*len(s.targets()) {
		t.Errorf("that is less than %d", fullRate*len(s.targets()))
	}
}

// count is what a host counts of a virtual router.
type count struct {
	host   string
	vrid   uint8
	reason string
}

// tally is what came of a count in the floods of one kind.
type tally struct {
	kind    kind
	before  uint64 // what it had counted
	packets int
}

// endure floods the pair with one kind of packets.
func (f *field) endure(t *testing.T, s scene, k kind, counts map[count]*tally) {
	frames := k.frames(t)
	key := count{k.at, k.vrid, k.reason}
	if before := counts[key]; before != nil {
		f.told(t, before) // each kind is counted by itself
	}
	c := &tally{kind: k, before: f.refused(t, k)}
	counts[key] = c
	span := lasts
	if !k.kernel {
		span = s.readLasts()
	}
	best, excuse := 0, ""
	for range floods {
		rate, o := f.pour(t, s, frames, span)
		best, c.packets = max(best, rate), c.packets+o.Packets
		if best >= fullRate {
			break
		}
		if o.waited() > o.Took/10 && f.flooder == nil {
			excuse = fmt.Sprintf("; the flooder waited for a processor for %v of %v", o.waited(), o.Took)
		}
	}
	f.rates = append(f.rates, best)
	if best < fullRate && excuse == "" {
		t.Errorf("%d packets a second reached the victims, want %d", best, fullRate)
	} else if best < fullRate {
		t.Logf("%d packets a second reached the victims, not %d%s", best, fullRate, excuse)
	}
}

// pour floods once. It returns how many packets a second reached each victim.
func (f *field) pour(t *testing.T, s scene, frames [][]byte, span time.Duration) (rate int, o outpour) {
	t.Helper()
	victims, streams := s.victims(frames)
	used, before, from := cpu(t, f.c), received(t, f.c), time.Now()
	o = f.flood(t, asked*streams, span, frames).end(t)
	took, after, use := time.Since(from), received(t, f.c), cpu(t, f.c)
	rate = math.MaxInt
	for _, name := range victims {
		rate = min(rate, int(float64(after[name]-before[name])/o.Took.Seconds()))
	}
	t.Logf("%d packets a second, of %d that the machine can carry; lb1 used %.0f%%, lb2 %.0f%% of a core", rate, o.limit()/streams,
		100*(use["lb1"]-used["lb1"]).Seconds()/took.Seconds(), 100*(use["lb2"]-used["lb2"]).Seconds()/took.Seconds())
	return rate, o
}

// victims are the hosts that frames go to, and streams how many times these must be sent that each has its share: what goes to the
// group the switch sends to both.
func (s scene) victims(frames [][]byte) (hosts []string, streams int) {
	macs := map[string]bool{}
	for _, f := range frames {
		macs[string(f[:6])] = true
	}
	for _, e := range s.ends() {
		if macs[string(e.mac)] || macs[string(groupMACs[s.family])] {
			hosts = append(hosts, e.name)
		}
	}
	return hosts, len(macs)
}

// told asserts what a host counted of the packets of one reason. What the kernel drops is looked at now and then, and told later.
func (f *field) told(t *testing.T, c *tally) {
	t.Helper()
	var now uint64
	labtest.Eventually(t, toldBound, func() (bool, string) {
		now = f.refused(t, c.kind)
		return now > c.before, fmt.Sprintf("%s counts nothing as %s", c.kind.at, c.kind.reason)
	})
	told := now - c.before
	t.Logf("%s counts %d packets as %s, of %d that were sent", c.kind.at, told, c.kind.reason, c.packets)
	if most := uint64(c.packets)/few + 64; c.kind.kernel && told > most {
		t.Errorf("%s counts %d of %d packets as %s; the kernel should have dropped all but %d", c.kind.at, told, c.packets, c.kind.reason, most)
	}
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
func (f *field) refused(t *testing.T, k kind) uint64 {
	t.Helper()
	i, err := f.c.Get(k.at).Instance(t, nameOf(k.vrid))
	if err != nil {
		t.Fatal(err)
	}
	if count := i.Routers[0].Refused[k.reason]; count != nil {
		return count.Count
	}
	return 0
}

// judge says of all floods how large they were.
func (f *field) judge(t *testing.T) {
	full := 0
	for _, r := range f.rates {
		if r >= fullRate {
			full++
		}
	}
	t.Logf("%d of %d kinds reached the victims with %d packets a second or more, the least with %d", full, len(f.rates), fullRate, slices.Min(f.rates))
}
