package linux

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

func TestUntilWhole(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name    string
		answers []error
		tries   int
		whole   bool
		err     error
	}{
		{"whole at once", []error{nil}, 1, true, nil},
		{"interrupted twice", []error{nl.ErrDumpInterrupted, nl.ErrDumpInterrupted, nil}, 3, true, nil},
		{"interrupted every time", []error{nl.ErrDumpInterrupted, nl.ErrDumpInterrupted, nl.ErrDumpInterrupted, nl.ErrDumpInterrupted, nl.ErrDumpInterrupted}, dumpTries, false, nil},
		{"broken", []error{nl.ErrDumpInterrupted, broken}, 2, false, broken},
	}
	for _, tt := range tests {
		tries := 0
		whole, err := untilWhole(func() error { tries++; return tt.answers[tries-1] })
		if whole != tt.whole || !errors.Is(err, tt.err) || tries != tt.tries {
			t.Errorf("%s: whole %v, error %v after %d tries; want %v, %v after %d", tt.name, whole, err, tries, tt.whole, tt.err, tt.tries)
		}
	}
}

func TestUnionOfInterruptedLists(t *testing.T) {
	list := func(prefixes ...string) (l []address) {
		for k, p := range prefixes {
			l = append(l, address{index: 1, prefix: netip.MustParsePrefix(p), valid: uint32(k)})
		}
		return l
	}
	got := union(list("10.9.0.1/24", "10.9.0.2/24", "10.9.0.1/16"), list("10.9.0.3/24", "10.9.0.2/24"))
	want := list("10.9.0.1/24", "10.9.0.2/24", "10.9.0.1/16", "10.9.0.3/24")
	want[1].valid, want[3].valid = 1, 0
	if diff := cmp.Diff(want, got, compareAddresses, cmp.AllowUnexported(address{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// restless gives v0 so many addresses that the kernel tells of them in several pieces, and takes one of the first away
// between two pieces of every list: none is ever whole, and each lacks an address that stays.
func restless(t *testing.T, self *host, kernels ...*rtnetlink) (stays []netip.Addr) {
	t.Helper()
	const doomed, most, piece = 100, 1000, 200
	handle := must(netlink.NewHandle())
	t.Cleanup(handle.Close)
	link := must(netlink.LinkByName("v0"))
	var list []*netlink.Addr
	for k := range most {
		ip := netip.AddrFrom4([4]byte{10, 50, byte(k / 250), byte(k%250 + 1)})
		list = append(list, must(netlink.ParseAddr(ip.String()+"/32")))
		if err := handle.AddrAdd(link, list[k]); err != nil {
			t.Fatal(err)
		}
		if k >= doomed {
			stays = append(stays, ip)
		}
	}
	for _, kernel := range kernels {
		kernel.dump = func(take func(address)) error {
			n := 0
			return kernel.dumpAddresses(func(a address) {
				if n++; n == piece && len(list) > most-doomed {
					_ = handle.AddrDel(link, list[0])
					list = list[1:]
				}
				take(a)
			})
		}
	}
	return stays
}

// Something else on the host, the network of containers or a router, may change addresses without end.
func TestAddressesThatNeverRest(t *testing.T) {
	self, _ := pair(t)
	kernel := must(openRtnetlink())
	t.Cleanup(kernel.close)
	a := openAddresses(t, t.TempDir())
	stays := restless(t, self, kernel, a.kernel)

	list, whole, err := kernel.look()
	if err != nil || whole {
		t.Fatalf("whole %v, %v", whole, err)
	}
	there := map[netip.Addr]bool{}
	for _, x := range list {
		there[x.prefix.Addr()] = true
	}
	for _, ip := range stays {
		if !there[ip] {
			t.Errorf("%s was there all the time, and is missing", ip)
		}
	}
	mustSet(t, a, want(0, "10.9.0.100"))
	if missing, err := a.Missing("v0", ips("10.9.0.100", "10.9.0.101")); err != nil || fmt.Sprint(missing) != "[10.9.0.101]" {
		t.Errorf("missing %v, %v", missing, err)
	}
	mustSet(t, a, want(0))
}

func TestWatcherOfAddressesThatNeverRest(t *testing.T) {
	self, _ := pair(t)
	a := openAddresses(t, t.TempDir())
	w := must(OpenWatcher([]string{"v0"}, func(ip netip.Addr) bool {
		return strings.HasPrefix(ip.String(), "10.50.") || ip == netip.MustParseAddr("10.9.0.100")
	}))
	t.Cleanup(func() { w.Close() })
	w.Trouble = func(err error) { t.Errorf("trouble: %v", err) }
	restless(t, self, w.kernel)
	x := &watched{t: t, w: w, links: make(chan Link, 100), gone: make(chan string, 2000)}
	start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) { x.links <- l }, func(_ string, ip netip.Addr, _ bool) { x.gone <- ip.String() })
	})
	x.until("it is up", func(l Link) bool { return l.Up })
	mustSet(t, a, want(0, "10.9.0.100"))
	self.run("ip link set v0 mtu 1400")
	x.until("the MTU changed", func(l Link) bool {
		if l.Source4.String() != "10.9.0.1" {
			t.Errorf("the source is %s", l.Source4)
		}
		return l.MTU == 1400
	})
	mustSet(t, a, want(0))
	for receive(t, x.gone) != "10.9.0.100" {
	}
}

// What the kernel does not tell is asked for again, and said once.
func TestWatcherThatCannotAsk(t *testing.T) {
	pair(t)
	w := must(OpenWatcher([]string{"v0"}, func(netip.Addr) bool { return false }))
	t.Cleanup(func() { w.Close() })
	works, broken := w.kernel, must(openRtnetlink())
	broken.close()
	w.kernel = broken
	var told []string
	w.Trouble = func(err error) {
		told = append(told, fmt.Sprint(err))
		w.kernel = works
	}
	links := make(chan Link, 10)
	stop := start(t, func(ctx context.Context) error {
		return w.Run(ctx, func(l Link) { links <- l }, func(string, netip.Addr, bool) {})
	})
	if l := receive(t, links); !l.Up {
		t.Errorf("v0 is %+v", l)
	}
	stop()
	want := []string{"list addresses: use of closed file", "<nil>"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
