package mechanisms

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	settleBound = pairtest.SettleBound
	noise       = pairtest.Noise
	// moveBound is how long a move may take that waits for no timer of a second.
	moveBound = 5 * time.Second
	// down is the Master_Down_Interval of a host of priority 100 at the default interval.
	down = 3*time.Second + 610*time.Millisecond
)

// What a single move to keepalived or FRR at the default interval may take and cost: as much as in package interop, which makes every
// one of them. They, or the kernel, may come to a processor late, which the client does not notice; of several moves the one in the
// middle loses nothing.
const (
	prompt = 60*time.Millisecond + 150*time.Millisecond // and what a busy machine adds
	felt   = 4*every + 50*time.Millisecond              // the connections that are open at that instant break, and a hiccup
	skew   = 610 * time.Millisecond                     // of a successor of priority 100 that learns no interval: VRRPv2
)

// The addresses of nearly every story.
var (
	web4 = netip.MustParseAddr("10.0.0.100")
	web6 = netip.MustParseAddr("fd00::100")
)

// every is how often the clients of a cluster connect.
const every = 5 * time.Millisecond

// page is the check of nginx that the stories have which are not about checks.
const page = `
check "http" "page" {
  url      = "http://127.0.0.1/healthz"
  interval = "400ms"
}
`

// instance is an instance of VRID 71 with an IPv4 address.
func instance(more string) string { return instanceOf(`"10.0.0.100"`, more) }

// instanceOf is an instance of VRID 71 on up to three hosts.
func instanceOf(addresses, more string) string {
	return fmt.Sprintf(`
instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100, lb3 = 99 }[hostname]
  addresses = [%s]
  %s
}
`, addresses, more)
}

// switched is a check that sick switches.
func switched(name, more string) string {
	return fmt.Sprintf(`
check "script" %[1]q {
  command  = ["/usr/bin/test", "!", "-e", "LAB/${hostname}/sick-%[1]s"]
  interval = "400ms"
  rise     = 1
  fall     = 1
  %[2]s
}
`, name, more)
}

// sick makes a check of a host fail from its next run on, or succeed again.
func sick(h *pairtest.Server, check string, ill bool) error {
	path := filepath.Join(h.Dir(), "sick-"+check)
	if ill {
		return os.WriteFile(path, nil, 0o644)
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// pair makes lb1 and lb2 with one configuration and starts both; lb1 has everything.
func pair(t *testing.T, config string, vips ...netip.Addr) *pairtest.Cluster {
	t.Helper()
	c := cluster(t, []string{"lb1", "lb2"}, config, vips...)
	begin(t, c)
	return c
}

// cluster makes hosts, and starts no daemon. Without addresses it has web4.
func cluster(t *testing.T, hosts []string, config string, vips ...netip.Addr) *pairtest.Cluster {
	t.Helper()
	if len(vips) == 0 {
		vips = []netip.Addr{web4}
	}
	s := pairtest.Shape{Program: program, Hosts: hosts, Config: config, VIPs: map[string]time.Duration{}}
	for _, vip := range vips {
		s.VIPs[vip.String()] = every
	}
	return pairtest.New(t, s)
}

// begin starts every daemon; the first host has everything in the end.
func begin(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	c.Begin(t, c.Hosts[0].Name())
}

// beginAlone starts the first host's daemon.
func beginAlone(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	lb1 := c.Hosts[0]
	lb1.Start(t)
	c.Farewell(t)
	c.Settled(t, lb1.Name())
}

// status is the instance web on a host.
func status(t *testing.T, h *pairtest.Server) node.InstanceStatus {
	t.Helper()
	i, err := h.Instance(t, "web")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// await waits until the instance web on a host is as wanted, and returns it.
func await(t *testing.T, h *pairtest.Server, bound time.Duration, want func(node.InstanceStatus) bool) node.InstanceStatus {
	t.Helper()
	return h.AwaitInstance(t, "web", bound, want)
}

// state waits for a state of the instance web on a host, whose reason has some words.
func state(t *testing.T, h *pairtest.Server, s node.State, why string, bound time.Duration) {
	t.Helper()
	await(t, h, bound, func(i node.InstanceStatus) bool { return i.State == s && strings.Contains(i.Why, why) })
}

// capture begins to print what a host sees on the wire, each line with its time in seconds since 1970.
func capture(t *testing.T, h *netlab.Host, filter string) *netlab.Proc {
	t.Helper()
	labtest.Require(t, "tcpdump")
	p, err := h.Start("tcpdump", "-ttlnn", "-s", "256", "-B", "8192", "--immediate-mode", "-i", netlab.Interface, filter)
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, moveBound, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s saw:\n%s", h.Name(), p.Output())
		}
	})
	return p
}

// seen is when a host saw the packets whose lines have some words.
func seen(t *testing.T, p *netlab.Proc, words string) []time.Time {
	t.Helper()
	var at []time.Time
	for line := range strings.Lines(p.Output()) {
		if when, ok := instant(line); ok && strings.Contains(line, words) {
			at = append(at, when)
		}
	}
	return at
}

// instant is the time of a line that capture printed.
func instant(line string) (time.Time, bool) {
	stamp, _, _ := strings.Cut(line, " ")
	var sec, micro int64
	n, _ := fmt.Sscanf(stamp, "%d.%d", &sec, &micro)
	return time.Unix(sec, micro*1000), n == 2
}

// at is when a host saw the first packet after an instant whose line has some words.
func at(t *testing.T, p *netlab.Proc, words string, from time.Time) time.Time {
	t.Helper()
	for _, at := range seen(t, p, words) {
		if at.After(from) {
			return at
		}
	}
	t.Fatalf("no packet with %q since %s:\n%s", words, pairtest.Stamp(from), p.Output())
	return time.Time{}
}

// between counts the instants between two others.
func between(at []time.Time, from, to time.Time) int {
	n := 0
	for _, a := range at {
		if a.After(from) && a.Before(to) {
			n++
		}
	}
	return n
}
