package stories

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// TestHostIsUntouched moves addresses 50 times, and asserts that the hosts' own addresses, routes and choice of source
// addresses are the same as before: those that an administrator wrote, and those that a router advertises. And that the old holder
// lets go soon after the new one has the addresses: it sees them announced, in both families.
func TestHostIsUntouched(t *testing.T) {
	t.Parallel()
	for _, promote := range []string{"0", "1"} {
		t.Run("promote_secondaries "+promote, func(t *testing.T) {
			t.Parallel()
			untouched(t, promote)
		})
	}
}

// advertised is the prefix that the router advertises; every host has an address of it, and one virtual address is in it.
var advertised = netip.MustParsePrefix("2001:db8:5::/64")

func untouched(t *testing.T, promote string) {
	const moves = 50
	c := newCluster(t, pairtest.Shape{
		Hosts: []string{"lb1", "lb2"},
		VIPs: map[string]time.Duration{
			"10.0.0.100": 0, "10.0.0.101": 0, "192.0.2.100": 0, "fd00::100": 0, "2001:db8:5::100": 0,
		},
		// A short interval, so that 50 moves are short.
		Config: `
instance "web" {
  interface          = "eth0"
  vrid               = 1
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["10.0.0.100", "10.0.0.101/24", "192.0.2.100", "fd00::100/64", "2001:db8:5::100"]
  advertise_interval = "50ms"
}
check "process" "app" {
  pid_file = "LAB/${hostname}/app.pid"
  rise     = 1
  fall     = 1
}
`,
	}, nil)
	router := labtest.Host(t, c.Lab, "router", "10.0.0.1/24", "fd00::1/64")
	for _, h := range c.Hosts {
		furnish(t, h, promote)
		app(t, h, true)
	}
	if err := router.AdvertiseRouter(advertised, 30*time.Minute); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, h := range c.Hosts {
		labtest.Eventually(t, 5*time.Second, func() (bool, string) {
			before[h.Name()] = own(t, c, h)
			return strings.Count(before[h.Name()], "2001:db8:5:") >= 2, h.Name() + " has no address from the router:\n" + before[h.Name()]
		})
		if !strings.Contains(before[h.Name()], "proto ra") {
			t.Fatalf("%s learned no route from the router:\n%s", h.Name(), before[h.Name()])
		}
	}
	source := map[string]string{}
	for _, h := range c.Hosts {
		source[h.Name()] = sources(t, c, h)
	}

	c.Start(t)
	c.Settled(t, "lb1")
	lb1 := c.Get("lb1")
	kept := lingers{}
	for move := range moves {
		owner, other := []string{"lb2", "lb1"}[move%2], []string{"lb1", "lb2"}[move%2]
		from := time.Now()
		app(t, lb1, owner == "lb1")
		c.Only(t, owner, 10*time.Second)
		kept.add(c, other, owner, from)
		h := c.Get(owner)
		if diff := cmp.Diff(source[owner], sources(t, c, h)); diff != "" {
			t.Fatalf("move %d: where %s sends from (-before +with the addresses)\n%s", move+1, owner, diff)
		}
		if diff := cmp.Diff(before[owner], own(t, c, h)); diff != "" {
			t.Fatalf("move %d: %s's own (-before +with the addresses)\n%s", move+1, owner, diff)
		}
	}
	kept.brief(t)
	for _, h := range c.Hosts {
		h.Stop(t)
		if diff := cmp.Diff(before[h.Name()], own(t, c, h)); diff != "" {
			t.Errorf("%s's own (-before +after %d moves)\n%s", h.Name(), moves, diff)
		}
		whole, err := h.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, vip := range c.VIPs {
			if strings.Contains(whole, vip.String()) {
				t.Errorf("%v is left on %s\n%s", vip, h.Name(), whole)
			}
		}
	}
}

// lingers are for how long the old holder kept each address after the new one had it, in each move.
type lingers map[netip.Addr][]time.Duration

func (l lingers) add(c *pairtest.Cluster, holder, successor string, from time.Time) {
	history := c.Owners.History()
	for _, vip := range c.VIPs {
		l[vip] = append(l[vip], history.Loses(holder, vip, from).Sub(history.Gets(successor, vip, from)))
	}
}

// brief asserts that the median of them is what it is for a holder that sees the address announced.
func (l lingers) brief(t *testing.T) {
	t.Helper()
	for vip, list := range l {
		median := pairtest.Median(list)
		if median > pairtest.Brief {
			t.Errorf("%v: its holder let go %v after its successor had it, want at most %v; all of them: %v", vip, median, pairtest.Brief, list)
		}
		t.Logf("%v: its holder let go %v after its successor had it", vip, median)
	}
}

// furnish gives a host what an administrator might: a second address of the same network, which is a secondary, and routes.
func furnish(t *testing.T, h *pairtest.Server, promote string) {
	t.Helper()
	n := h.Addresses()[0].Addr().As4()[3]
	if err := h.Sysctl("net.ipv4.conf.eth0.promote_secondaries", promote); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		fmt.Sprintf("ip address add 10.0.0.%d/24 dev eth0", n+100),
		fmt.Sprintf("ip address add fd00::%d/64 dev eth0 nodad", n+100),
		"ip route add default via 10.0.0.1",
		"ip route add 10.9.0.0/16 via 10.0.0.1",
		"ip -6 route add fd09::/32 via fd00::1",
	} {
		if _, err := h.Exec(t.Context(), strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
}

// own is a host's addresses, routes and rules without those of the virtual addresses.
func own(t *testing.T, c *pairtest.Cluster, h *pairtest.Server) string {
	t.Helper()
	text, err := h.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for line := range strings.Lines(text) {
		if !virtual(c, line) {
			own = append(own, line)
		}
	}
	return strings.Join(own, "")
}

// virtual says whether a word of a line is a virtual address: the kernel's entry for the address itself, or something that
// names it as a source.
func virtual(c *pairtest.Cluster, line string) bool {
	fields := strings.Fields(line)
	for _, vip := range c.VIPs {
		for n, f := range fields {
			ip, _, _ := strings.Cut(f, "/")
			// "local 10.0.0.100 dev eth0 ... src 10.0.0.100", "... inet 10.0.0.100/32 ...", and nothing else is the address's own.
			if ip == vip.String() && n <= 3 {
				return true
			}
		}
	}
	return false
}

// lifetime is what changes by itself in a route.
var lifetime = regexp.MustCompile(`expires \d+sec`)

// app makes a host's process check pass or fail: its process is the test's own.
func app(t *testing.T, h *pairtest.Server, healthy bool) {
	t.Helper()
	path := filepath.Join(h.Dir(), "app.pid")
	err := os.Remove(path)
	if healthy {
		err = os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o644)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// sources is which address a host sends from to hosts near and far.
func sources(t *testing.T, c *pairtest.Cluster, h *pairtest.Server) string {
	t.Helper()
	var script strings.Builder
	for _, to := range []string{"10.0.0.50", "10.0.0.1", "10.9.0.1", "198.51.100.1", "192.0.2.7", "fd00::50", "fd09::1", "2001:db8:5::50", "2001:db8:ffff::1"} {
		fmt.Fprintf(&script, "ip -oneline route get %s; ", to)
	}
	text, err := h.Exec(t.Context(), "sh", "-c", script.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, vip := range c.VIPs {
		if strings.Contains(text, "src "+vip.String()+" ") {
			t.Fatalf("%s sends from the virtual address %v\n%s", h.Name(), vip, text)
		}
	}
	return lifetime.ReplaceAllString(text, "")
}
