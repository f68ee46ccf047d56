package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// zone is a name service.
type zone struct {
	mu    sync.Mutex              // guards what follows
	ips   map[string][]netip.Addr // lb2.next is what the next search domain has of lb2
	slow  map[string]bool         // it never answers
	fails map[string]bool         // "ip6 lb2": it answers that with a failure
	asked []string                // each name with the second
}

func (z *zone) set(name string, ips ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.ips[name] = nil
	for _, ip := range ips {
		z.ips[name] = append(z.ips[name], netip.MustParseAddr(ip))
	}
}

// fail has it fail for names in a family, and for no others.
func (z *zone) fail(questions ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.fails = map[string]bool{}
	for _, q := range questions {
		z.fails[q] = true
	}
}

// resolver asks it. 10.0.0.11 and fe80::11 are this host's.
func (z *zone) resolver(started time.Time) resolver {
	ask := func(strict bool) lookup {
		return func(ctx context.Context, network, name string) ([]netip.Addr, error) {
			return z.answer(ctx, strict, network, name, time.Since(started))
		}
	}
	return resolver{ask(true), ask(false), func(ip netip.Addr) bool { return strings.HasSuffix(ip.String(), "11") }}
}

func (z *zone) answer(ctx context.Context, strict bool, network, name string, at time.Duration) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if strict && network == "ip" { // beside which the other questions are asked
		z.asked = append(z.asked, fmt.Sprintf("%s %s", name, at))
	}
	if z.slow[name] {
		z.mu.Unlock()
		<-ctx.Done()
		z.mu.Lock()
		return nil, ctx.Err()
	}
	fails := network != "ip6" && z.fails["ip4 "+name] || network != "ip4" && z.fails["ip6 "+name]
	ips := slices.DeleteFunc(slices.Clone(z.ips[name]), func(ip netip.Addr) bool {
		of := fmt.Sprintf("ip%d", vrrp.FamilyOf(ip.Unmap()))
		return network != "ip" && network != of || z.fails[of+" "+name]
	})
	if fails && !strict && len(ips) == 0 {
		ips = z.ips[name+".next"]
	}
	switch {
	case fails && (strict || len(ips) == 0):
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	case len(ips) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return ips, nil
}

// told takes what it was asked so far.
func (z *zone) told() []string {
	synctest.Wait()
	z.mu.Lock()
	defer z.mu.Unlock()
	asked := z.asked
	z.asked = nil
	return asked
}

// named is a daemon whose peers have names, with everything around the look-ups replaced.
type named struct {
	d       *Daemon
	z       *zone
	resolve chan node.Resolved
	opened  int // how often the sockets were told
	mu      sync.Mutex
	heard   map[string]time.Time
}

func newNamed(t *testing.T, peers ...string) *named {
	t.Helper()
	n := &named{z: &zone{ips: map[string][]netip.Addr{}, slow: map[string]bool{}}, resolve: make(chan node.Resolved, 100), heard: map[string]time.Time{}}
	n.d = newDaemon(withPeers(peers...), Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	n.d.names.finder = n.z.resolver(time.Now())
	return n
}

func withPeers(peers ...string) *config.Config {
	i := on("web", "eth0", 71, "192.0.2.10")
	for _, p := range peers {
		i.Peers = append(i.Peers, node.Peer{Name: p})
	}
	return &config.Config{Node: "lb1", Instances: []node.Instance{i}}
}

// run runs the look-ups, and is loop and sockets for them, until the returned function is called.
func (n *named) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := n.d.names.run(ctx); err != nil {
			t.Error(err)
		}
	})
	tasks.Go(func() {
		for {
			select {
			case followed := <-n.d.changes:
				n.opened++
				close(followed)
			case ev := <-n.d.events:
				n.resolve <- ev.(node.Resolved)
			case s := <-n.d.steers:
				n.snapshot()
				close(s.taken)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); tasks.Wait() }
}

// snapshot is a status with what was heard.
func (n *named) snapshot() {
	n.mu.Lock()
	defer n.mu.Unlock()
	var peers []node.PeerStatus
	for name, at := range n.heard {
		peers = append(peers, node.PeerStatus{Name: name, Heard: at})
	}
	n.d.snapshot.Store(&node.Status{Instances: []node.InstanceStatus{{Name: "web", Routers: []node.RouterStatus{{Peers: peers}}}}})
}

func (n *named) hear(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard[name] = time.Now()
}

// told takes what the node was told so far.
func (n *named) told() []string {
	synctest.Wait()
	var out []string
	for len(n.resolve) > 0 {
		r := <-n.resolve
		out = append(out, fmt.Sprintf("%s %v %v", r.Name, r.Addresses, r.Err))
	}
	slices.Sort(out)
	return out
}

func equal(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestNamesAreResolvedAndFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t, "lb1", "lb2", "lb3")
		n.z.set("lb1", "::ffff:10.0.0.11", "10.0.0.11", "fe80::11%eth0")
		n.z.set("lb2", "10.0.0.12")
		n.z.slow["lb3"] = true
		stop := n.run(t)
		defer stop()
		equal(t, "at start", []string{"lb1 [10.0.0.11] <nil>", "lb2 [10.0.0.12] <nil>"}, n.told())
		time.Sleep(6 * time.Second)
		equal(t, "later, of a name service that does not answer", []string{"lb3 [] IPv4: context deadline exceeded"}, n.told())
		if got := n.d.accept(&n.d.cfg.Load().Instances[0], 4).Peers; fmt.Sprint(got) != "[10.0.0.11 10.0.0.12]" || n.opened != 2 {
			t.Errorf("after %d changes the sockets hear %v", n.opened, got)
		}
		time.Sleep(time.Hour)
		equal(t, "what is not new", nil, n.told())
		n.z.set("lb2", "10.0.0.22")
		n.z.set("lb1")
		time.Sleep(maxLookupGap + lookupTimeout)
		equal(t, "a name that is another host's, and one that is lost", []string{"lb1 [] lookup lb1: no such host", "lb2 [10.0.0.22] <nil>"}, n.told())
		if got := n.d.found("lb1"); fmt.Sprint(got) != "[10.0.0.11]" {
			t.Errorf("of the lost name the sockets know %v", got)
		}
		n.z.set("lb1", "10.0.0.11", "fe80::11")
		time.Sleep(2 * maxLookupGap)
		equal(t, "the lost name that is found again", []string{"lb1 [10.0.0.11] <nil>"}, n.told())
	})
}

// TestNamesAreAskedLessAndLess: a silent name after 5, 10, 20, 30, 30 .. s, a heard one not at all, and one that falls silent soon.
func TestNamesAreAskedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t, "lb2")
		n.z.set("lb2", "10.0.0.12")
		stop := n.run(t)
		defer stop()
		time.Sleep(130 * time.Second)
		equal(t, "silent", []string{"lb2 0s", "lb2 5s", "lb2 15s", "lb2 35s", "lb2 1m5s", "lb2 1m35s", "lb2 2m5s"}, n.z.told())
		for range 600 {
			n.hear("lb2")
			time.Sleep(time.Second)
		}
		equal(t, "heard", nil, n.z.told())
		time.Sleep(20 * time.Second)
		if asked := n.z.told(); len(asked) != 2 {
			t.Errorf("within 20s of silence it was asked %v, want twice", asked)
		}
	})
}

// TestNamesAreAskedAtOnce: what the loop asks for is looked up at once, whether or not its host is heard, and again soon after; but
// whoever floods it with reasons to ask, each name 5 s after its last look at the soonest.
func TestNamesAreAskedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t, "lb2", "lb3")
		n.z.set("lb2", "10.0.0.12")
		n.z.slow["lb3"] = true
		stop := n.run(t)
		defer stop()
		time.Sleep(125*time.Second + time.Millisecond)
		n.z.told()
		n.told()
		n.z.set("lb2", "10.0.0.22")
		n.hear("lb2")
		time.Sleep(10 * time.Second)
		n.d.names.ask([]string{"lb2", "nobody"})
		equal(t, "asked for", []string{"lb2 2m15.001s"}, n.z.told())
		equal(t, "and found", []string{"lb2 [10.0.0.22] <nil>"}, n.told())
		for range 100 * askQueue {
			n.d.names.ask([]string{"lb2", "lb3"})
		}
		n.z.told()
		began := time.Now()
		for time.Since(began) < 20*time.Second {
			for range 1000 {
				n.d.names.ask([]string{"lb2", "lb3"})
			}
			time.Sleep(10 * time.Millisecond)
		}
		asked := n.z.told()
		if of2, of3 := count(asked, "lb2"), count(asked, "lb3"); of2 != 4 || of3 < 2 || of3 > 4 {
			t.Errorf("in a flood of 20s it was asked %v", asked)
		}
	})
}

// count says how many of the questions were for a name.
func count(asked []string, name string) (n int) {
	for _, a := range asked {
		if strings.HasPrefix(a, name+" ") {
			n++
		}
	}
	return n
}

func TestNamesOfAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t)
		n.z.set("lb2", "10.0.0.12")
		stop := n.run(t)
		defer stop()
		time.Sleep(time.Minute)
		equal(t, "without names", nil, n.z.told())
		n.d.cfg.Store(withPeers("lb2"))
		n.d.names.changed()
		equal(t, "a name that a reload brings", []string{"lb2 [10.0.0.12] <nil>"}, n.told())
		n.d.cfg.Store(withPeers())
		n.d.names.changed()
		n.z.told()
		time.Sleep(time.Hour)
		equal(t, "after it has gone", nil, n.z.told())
	})
}

// TestNamesAfterAnExchange: the program before may have been about to look for addresses of a family that a reload had brought.
func TestNamesAfterAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNamed(t, "lb2", "lb3", "lb4")
		n.d.names.restore(map[string]node.SealedName{
			"lb2": {IPs: []netip.Addr{netip.MustParseAddr("10.0.0.12")}},
			"lb3": {IPs: []netip.Addr{netip.MustParseAddr("fe80::13")}},
			"lb4": {Err: "no such host"},
		})
		stop := n.run(t)
		defer stop()
		time.Sleep(minLookupGap - time.Millisecond)
		equal(t, "looked up before the others", []string{"lb3 0s"}, n.z.told())
	})
}

// TestNamesOutliveTheDaemon: a cleanup knows of the names what the daemon knew, and looks up no more than the others. A daemon after it
// begins anew.
func TestNamesOutliveTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := newNamed(t, "lb1", "lb2", "lb3", "lb4")
		dead.z.set("lb1", "10.0.0.11")
		dead.z.set("lb2", "10.0.0.12", "fe80::12")
		dead.z.slow["lb4"] = true
		stop := dead.run(t)
		dead.told()
		stop()

		cleanup := newNamed(t, "lb1", "lb2", "lb3", "lb4")
		cleanup.d.opts.RuntimeDir = dead.d.opts.RuntimeDir
		var recalled []string
		for _, r := range cleanup.d.names.recall() {
			recalled = append(recalled, fmt.Sprintf("%s %v %v", r.Name, r.Addresses, r.Err))
		}
		slices.Sort(recalled)
		equal(t, "it knows", []string{"lb1 [10.0.0.11] <nil>", "lb2 [10.0.0.12] <nil>", "lb3 [] lookup lb3: no such host"}, recalled)
		if got := cleanup.d.accept(&cleanup.d.cfg.Load().Instances[0], 4).Peers; fmt.Sprint(got) != "[10.0.0.11 10.0.0.12]" {
			t.Errorf("the sockets hear %v", got)
		}
		stop = cleanup.run(t)
		time.Sleep(minLookupGap - time.Millisecond)
		equal(t, "looked up", []string{"lb4 0s"}, cleanup.z.told())
		stop()

		next := newNamed(t, "lb1")
		next.d.opts.RuntimeDir = dead.d.opts.RuntimeDir
		next.z.slow["lb1"] = true
		next.run(t)()
		if recalled := next.d.names.recall(); len(recalled) > 0 {
			t.Errorf("after a daemon that knew nothing: %v", recalled)
		}
	})
}
