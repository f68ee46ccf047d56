package linux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// wish is a want of its own owner.
func wish(owner, ifName string, lifetime time.Duration, list ...string) Want {
	w := want(lifetime, list...)
	w.Owner, w.Interface = owner, ifName
	return w
}

// outcome is what went wrong, by owner and address.
func outcome(failed []AddressError) map[string]string {
	got := map[string]string{}
	for _, f := range failed {
		got[f.Owner+" "+f.IP.String()] = f.Error()
	}
	return got
}

// A renewal is of the interface that has the name now: what had it before may live on under another one, and has to let go.
func TestAddressesFollowTheNameOfAnInterface(t *testing.T) {
	for name, lifetime := range map[string]time.Duration{"with a lease": time.Minute, "for ever": 0} {
		t.Run(name, func(t *testing.T) {
			self, _ := pair(t)
			a := openAddresses(t, t.TempDir())
			list := []string{"10.9.0.100/24", "2001:db8::100"}
			web, mail := want(lifetime, list...), wish("mail", "v0", lifetime, "10.9.0.100")
			mustSet(t, a, web, mail)
			self.run("ip link set v0 name old0", "ip link add v0 type bridge", "ip link set v0 up")
			on := func() (there []string) {
				for _, ifName := range []string{"old0", "v0"} {
					for _, ip := range ips("10.9.0.100", "2001:db8::100") {
						if must(a.Present(ifName, ip)) {
							there = append(there, ifName+" "+ip.String())
						}
					}
				}
				return there
			}
			mustSet(t, a, web)
			if got, want := fmt.Sprint(on()), "[old0 10.9.0.100 v0 10.9.0.100 v0 2001:db8::100]"; got != want {
				t.Errorf("while another owner has not followed: %s, want %s", got, want)
			}
			mustSet(t, a, mail)
			if got, want := fmt.Sprint(on()), "[v0 10.9.0.100 v0 2001:db8::100]"; got != want {
				t.Errorf("it is %s, want %s", got, want)
			}
			if !self.has("10.9.0.100/32") {
				t.Error("it was set another way")
			}
			mustSet(t, a, want(lifetime), wish("mail", "v0", lifetime))
			if got := on(); len(got) > 0 {
				t.Errorf("after the release there is %s", got)
			}
		})
	}
}

// What one owner cannot have keeps no other from its own, in one batch of every kind of trouble.
func TestSetDoesTheRestOfABatch(t *testing.T) {
	self, _ := pair(t)
	self.run("ip addr add 10.9.0.50/24 dev v0", "ip link add br0 type bridge", "ip link set br0 up")
	self.sysctl("ipv6/conf/br0/disable_ipv6", "1")
	dir := t.TempDir()
	a := openAddresses(t, dir)
	mustSet(t, a, wish("leaves", "v0", 0, "10.9.0.110"), wish("moves", "v0", 0, "10.9.0.111"), wish("renews", "v0", time.Minute, "10.9.0.112"))

	failed := a.Set(
		wish("foreign", "v0", 0, "10.9.0.50", "10.9.0.101"),
		wish("leaves", "v0", 0),
		wish("missing", "nosuch", 0, "10.9.0.102", "10.9.0.103"),
		wish("moves", "br0", 0, "10.9.0.111"),
		wish("refused", "br0", 0, "2001:db8::100", "10.9.0.104"),
		wish("renews", "v0", time.Minute, "10.9.0.112"),
		wish("takes", "v0", time.Minute, "10.9.0.105", "2001:db8::101"),
	)
	got := outcome(failed)
	for who, text := range map[string]string{
		"foreign 10.9.0.50":     "10.9.0.50 is on v0 already and not ours",
		"missing 10.9.0.102":    `set 10.9.0.102 on "nosuch": interface "nosuch" does not exist`,
		"missing 10.9.0.103":    `set 10.9.0.103 on "nosuch": interface "nosuch" does not exist`,
		"refused 2001:db8::100": `set 2001:db8::100 on "br0": permission denied (IPv6 is off on it: put "net.ipv6.conf.br0.disable_ipv6 = 0" into /etc/sysctl.d/`,
	} {
		if !strings.HasPrefix(got[who], text) {
			t.Errorf("%s: got %q, want %q", who, got[who], text)
		}
		delete(got, who)
	}
	if len(got) > 0 {
		t.Errorf("failed too: %v", got)
	}
	var there []string
	for _, ip := range ips("10.9.0.101", "10.9.0.104", "10.9.0.105", "10.9.0.110", "10.9.0.111", "10.9.0.112", "2001:db8::101") {
		for _, on := range []string{"br0", "v0"} {
			if must(a.Present(on, ip)) {
				there = append(there, ip.String()+" "+on)
			}
		}
	}
	want := []string{"10.9.0.101 v0", "10.9.0.104 br0", "10.9.0.105 v0", "10.9.0.111 br0", "10.9.0.112 v0", "2001:db8::101 v0"}
	if diff := cmp.Diff(want, there); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	saved, _, err := newHeldFile(dir).load()
	if err != nil || len(saved) != len(want) {
		t.Errorf("held.json lists %v, %v", saved, err)
	}
}

// Two owners of one address in one batch: it passes from one to the other without a gap, and stays until both let go.
func TestSetPassesAnAddressOnWithinABatch(t *testing.T) {
	orders := map[string][]Want{
		"the leaving one first": {wish("old", "v0", 0), wish("new", "v0", 0, "10.9.0.100")},
		"the taking one first":  {wish("new", "v0", 0, "10.9.0.100"), wish("old", "v0", 0)},
	}
	for name, batch := range orders {
		t.Run(name, func(t *testing.T) {
			self, _ := pair(t)
			a := openAddresses(t, t.TempDir())
			mustSet(t, a, wish("old", "v0", 0, "10.9.0.100"))
			x := watch(t, "v0")
			receive(t, x.links)
			mustSet(t, a, batch...)
			if !self.has("10.9.0.100/32") {
				t.Error("the address went with its old owner")
			}
			mustSet(t, a, wish("new", "v0", 0, "10.9.0.100", "10.9.1.100"), wish("third", "v0", 0, "10.9.1.100"))
			mustSet(t, a, wish("new", "v0", 0))
			x.lost("v0 10.9.0.100 expired=false")
			mustSet(t, a, wish("third", "v0", 0))
			x.lost("v0 10.9.1.100 expired=false")
		})
	}
}

// More requests than go into one message, some of which fail: each gets its own answer.
func TestSetMatchesAnswersToRequests(t *testing.T) {
	self, _ := pair(t)
	self.sysctl("ipv6/conf/v0/disable_ipv6", "1")
	a := openAddresses(t, t.TempDir())
	failed := a.Set(want(0, manyAddresses()...))
	if len(failed) != 100 {
		t.Errorf("%d failed, want the 100 of IPv6", len(failed))
	}
	for _, f := range failed {
		if f.IP.Is4() || f.Owner != "web" {
			t.Fatalf("%s of %q: %v", f.IP, f.Owner, f)
		}
	}
	if n := strings.Count(self.run("ip -4 -o addr show dev v0"), "noprefixroute"); n != 100 {
		t.Errorf("%d addresses are there", n)
	}
}

// A renewal asks for no list; but whatever happened to the address, its Set ends as any other.
func TestRenewalNoticesWhatHappened(t *testing.T) {
	lease := want(time.Minute, "10.9.0.100", "2001:db8::100")
	tests := []struct {
		name    string
		between func(self *host, a *Addresses)
		want    string // the error, or the address must be there
	}{
		{"nothing", func(*host, *Addresses) {}, ""},
		{"it was deleted", func(self *host, _ *Addresses) { self.run("ip addr del 10.9.0.100/32 dev v0") }, ""},
		{"it was deleted and missed", func(self *host, a *Addresses) {
			self.run("ip addr del 10.9.0.100/32 dev v0")
			must(a.Present("v0", netip.MustParseAddr("10.9.0.100")))
		}, ""},
		{"another took its place", func(self *host, a *Addresses) {
			self.run("ip addr del 10.9.0.100/32 dev v0", "ip addr add 10.9.0.100/24 dev v0")
			must(a.Missing("v0", ips("10.9.0.100")))
			self.run("ip addr del 10.9.0.100/24 dev v0")
			must(a.Missing("v0", ips("10.9.0.100")))
			self.run("ip addr add 10.9.0.100/24 dev v0")
		}, "not ours"},
		{"the interface came back with another index", func(self *host, _ *Addresses) {
			self.run("ip link del v0", "ip link add v0 type bridge", "ip link set v0 up")
		}, ""},
		{"the interface went", func(self *host, _ *Addresses) { self.run("ip link del v0") }, "does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			self, _ := pair(t)
			a := openAddresses(t, t.TempDir())
			mustSet(t, a, lease)
			tt.between(self, a)
			failed := a.Set(lease)
			if tt.want != "" {
				if len(failed) == 0 || !strings.Contains(failed[0].Error(), tt.want) {
					t.Errorf("got %v, want %q", failed, tt.want)
				}
				return
			}
			if len(failed) > 0 || !self.has("10.9.0.100/32") || !self.has("2001:db8::100/128") {
				t.Errorf("after the renewal: %v\n%s", failed, self.run("ip addr"))
			}
		})
	}
}

// A renewal writes nothing, and a lease's route is looked after all the same, though not at each.
func TestRenewalLeavesTheFileAlone(t *testing.T) {
	self, _ := pair(t)
	dir := t.TempDir()
	a := openAddresses(t, dir)
	w := want(time.Minute, "172.30.0.9/24")
	mustSet(t, a, w)
	before := must(os.Stat(filepath.Join(dir, HeldName)))
	self.run("ip route del 172.30.0.0/24")
	mustSet(t, a, w)
	if !os.SameFile(before, must(os.Stat(filepath.Join(dir, HeldName)))) {
		t.Error("held.json was written again")
	}
	a.routed = time.Now().Add(-routeGap)
	mustSet(t, a, w)
	if !strings.Contains(self.run("ip route"), "172.30.0.0/24 dev v0") {
		t.Error("the route is still missing")
	}
}

func TestMissingListsWhatIsNotThere(t *testing.T) {
	pair(t)
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, want(0, "10.9.0.100"))
	got := must(a.Missing("v0", ips("10.9.0.1", "10.9.0.99", "10.9.0.100", "2001:db8::1")))
	if diff := cmp.Diff(ips("10.9.0.99", "2001:db8::1"), got, compareAddresses); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if got, err := a.Missing("nosuch", ips("10.9.0.1")); !errors.Is(err, unix.ENODEV) {
		t.Errorf("on a missing interface: %v, %v", got, err)
	}
}

// A kernel that does not answer makes an error of each request, and a late answer is not taken for another's.
func TestAnswers(t *testing.T) {
	answer := func(sequence uint32, code int32) []byte {
		b := make([]byte, 36)
		h := []uint32{36, unix.NLMSG_ERROR, sequence, 0, uint32(code)}
		for i, v := range h {
			at := []int{0, 4, 8, 12, 16}[i]
			copyUint32(b[at:], v)
		}
		return b
	}
	refusal := -int32(unix.EPERM)
	tests := []struct {
		name    string
		answers [][]byte
		want    []error
	}{
		{"none", nil, []error{errNoAnswer, errNoAnswer}},
		{"both, in another order", [][]byte{answer(8, refusal), answer(7, 0)}, []error{nil, unix.EPERM}},
		{"one of an earlier exchange", [][]byte{answer(6, refusal), answer(7, 0)}, []error{nil, errNoAnswer}},
		{"one from the future", [][]byte{answer(9, 0)}, []error{errNoAnswer, errNoAnswer}},
		{"the same twice", [][]byte{answer(7, 0), answer(7, refusal)}, []error{nil, errNoAnswer}},
		{"a cut one", [][]byte{answer(7, 0)[:18]}, []error{errNoAnswer, errNoAnswer}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := []request{{err: errNoAnswer}, {err: errNoAnswer}}
			n := 0
			for _, b := range tt.answers {
				n += answers(b, 7, list)
			}
			for i, want := range tt.want {
				if !errors.Is(list[i].err, want) {
					t.Errorf("request %d: %v, want %v", i, list[i].err, want)
				}
				if want == nil || want == unix.EPERM {
					n--
				}
			}
			if n != 0 {
				t.Errorf("%d answers too many counted", n)
			}
		})
	}
}

// FuzzAnswers reads what a netlink socket may deliver: an address counts as set only where the kernel said so of that very request,
// and each answer counts once.
func FuzzAnswers(f *testing.F) {
	answer := func(seq, code uint32) []byte {
		b := make([]byte, unix.NLMSG_HDRLEN+4)
		copyUint32(b, uint32(len(b)))
		binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
		copyUint32(b[8:], seq)
		copyUint32(b[unix.NLMSG_HDRLEN:], code)
		return b
	}
	refusal := -int32(unix.EPERM)
	f.Add(slices.Concat(answer(7, 0), answer(8, uint32(refusal)), answer(9, 1<<31)), uint32(7), uint8(3))
	f.Add(slices.Concat(answer(10, 0), answer(7, 0), answer(7, 0)), uint32(7), uint8(3))
	f.Add(answer(1, 0), ^uint32(0), uint8(3)) // the sequence has gone round
	f.Add(answer(6, 0), uint32(7), uint8(1))
	f.Add(answer(7, 0)[:18], uint32(7), uint8(1))
	f.Add([]byte{}, uint32(0), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, first uint32, count uint8) {
		list := make([]request, count%maxRequests)
		for i := range list {
			list[i].err = errNoAnswer
		}
		n := answers(b, first, list)
		for i := range list {
			if !errors.Is(list[i].err, errNoAnswer) {
				n--
			}
			if list[i].err == nil && !bytes.Contains(b, binary.NativeEndian.AppendUint32(nil, first+uint32(i))) {
				t.Errorf("%x answers request %d", b, first+uint32(i))
			}
			_ = fmt.Sprint(list[i].err)
		}
		if n != 0 {
			t.Errorf("%x: %d answers too many were counted", b, n)
		}
	})
}

func copyUint32(b []byte, v uint32) { binary.NativeEndian.PutUint32(b, v) }

// The echoes of our own renewals ask the kernel, and the daemon, nothing.
func TestWatcherIgnoresEchoesOfRenewals(t *testing.T) {
	pair(t)
	a := openAddresses(t, t.TempDir())
	mustSet(t, a, want(0, "10.9.0.100"))
	needTags(t, a)
	w := echoWatcher()
	for _, b := range echoes(t, 100) {
		if lost := w.handle(must(syscall.ParseNetlinkMessage(b)), nil); len(lost) > 0 {
			t.Fatal(lost)
		}
	}
	if len(w.present) != 100 {
		t.Errorf("%d of 100 are noted", len(w.present))
	}
}

// Receiving makes no garbage: for IPv6 only the source's address, which the system call's wrapper allocates twice.
func TestReceivingAllocatesNothing(t *testing.T) {
	const packets = 300
	onWires(t, func(t *testing.T, w wire, peer *host) {
		c := open(t, "v0", w.v6, 7)
		var from *Conn
		peer.do(func() { from = open(t, "v1", w.v6, 7) })
		for range packets {
			if err := from.Send(advert(0x31, 7), w.peer, w.group); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "packets are there", func() bool { return must(c.Pending()) })
		done := make(chan uint64, 1)
		var before, after runtime.MemStats
		n := 0
		start(t, func(ctx context.Context) error {
			return c.Run(ctx, func(Packet) {
				switch n++; n {
				case 1:
					runtime.ReadMemStats(&before)
				case packets:
					runtime.ReadMemStats(&after)
					done <- after.Mallocs - before.Mallocs
				}
			})
		})
		limit := uint64(packets / 10)
		if w.v6 {
			limit += 2 * packets
		}
		if got := receive(t, done); got > limit {
			t.Errorf("%d allocations for %d packets", got, packets)
		}
	})
}

// Nearly all ARP on a link is about others: a look at it costs nothing.
func TestWitnessPassesOthersByWithoutAllocation(t *testing.T) {
	w := &Witness{mac: testMAC}
	w.SetAddresses(ips("10.9.0.100", "2001:db8::100"))
	for _, other := range ips("10.9.0.7", "2001:db8::7") {
		c := arpClaims
		if !other.Is4() {
			c = ndClaims
		}
		frame := must(announcements(testMAC, other, false))[0]
		if n := testing.AllocsPerRun(100, func() { w.claim(frame, c) }); n > 0 {
			t.Errorf("%s: %v allocations", other, n)
		}
	}
	for _, frame := range [][]byte{nil, make([]byte, 20), make([]byte, 61)} {
		if a, ok := w.claim(frame, ndClaims); ok {
			t.Errorf("a frame of %d bytes: %v", len(frame), a)
		}
	}
}

func TestLedgerIndexes(t *testing.T) {
	ip := netip.MustParseAddr("172.30.0.9")
	network := netip.MustParsePrefix("172.30.0.0/24")
	h := func(owner string, index int) Held {
		return Held{Owner: owner, Interface: "v0", Index: index, IP: ip, Network: network}
	}
	l := newLedger([]Held{h("a", 2), h("b", 2)})
	if l.changed {
		t.Error("changed by what was loaded")
	}
	if l.put(h("a", 2)); l.changed {
		t.Error("changed by what it had")
	}
	l.put(h("a", 3)) // the interface came back with another index
	if !l.changed || len(l.places[place{2, ip}]) != 1 || len(l.places[place{3, ip}]) != 1 || l.networks[connected{2, network}] != 1 {
		t.Errorf("places %v, networks %v", l.places, l.networks)
	}
	for _, r := range l.all() {
		l.drop(r)
	}
	if n := fmt.Sprint(len(l.owners), len(l.places), len(l.networks)); n != "0 0 0" {
		t.Errorf("left: %s", n)
	}
}
