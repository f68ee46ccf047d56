package mechanisms

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// cleaning kills the daemon of lb1, which from then on hears of no successor, and returns the cleanup that runs after it once lb2
// has the address, too.
func cleaning(t *testing.T, c *pairtest.Cluster) *netlab.Proc {
	t.Helper()
	lb1 := c.Get("lb1")
	pairtest.Step(t, lb1.Daemon.Kill)
	deafen(t, lb1, netlab.DropIn(netlab.VRRPv4), netlab.DropIn(netlab.VRRPv6))
	cleanup := lb1.Begins(t, "cleanup")
	both(t, c, moveBound)
	labtest.Eventually(t, moveBound, func() (bool, string) {
		out, err := lb1.Exec(t.Context(), "ip", "-o", "address", "show", "to", web4.String())
		return err == nil && strings.Contains(cleanup.Output(), "adopted") && !strings.Contains(out, "valid_lft forever"),
			fmt.Sprintf("the cleanup says %q, and the address is %s; %v", cleanup.Output(), out, err)
	})
	select {
	case <-cleanup.Done():
		t.Fatalf("the cleanup ended while lb1 had the address: %s", cleanup.Output())
	default:
	}
	return cleanup
}

// deafen sets a host's firewall, or opens it again.
func deafen(t *testing.T, h *pairtest.Server, rules ...netlab.Rule) {
	t.Helper()
	if err := h.Firewall(t.Context(), rules...); err != nil {
		t.Fatal(err)
	}
}

// TestCleanupKilled tells of a cleanup that is killed after another host has taken over for it: what it left goes with a lease of 2 s,
// as after a daemon that is killed. Where there is no lease it goes all the same, which after a daemon it would not.
func TestCleanupKilled(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		more  string
		vips  []netip.Addr
		lease time.Duration
	}{
		"leased":          {"", []netip.Addr{web4, web6}, 2 * time.Second},
		"a long interval": {`advertise_interval = "2s"`, []netip.Addr{web4, web6}, 2 * time.Second},
		// The answer, two waits for a successor, the longest linger, 2 s: 5.25 s, in whole seconds.
		"without a lease": {"advertise_interval = \"500ms\"\n  lease = false", []netip.Addr{web4}, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addresses := `"10.0.0.100"`
			if len(tt.vips) > 1 {
				addresses += `, "fd00::100"`
			}
			c := pair(t, instanceOf(addresses, tt.more)+page, tt.vips...)
			cleanup := cleaning(t, c)
			from := pairtest.Step(t, cleanup.Kill)
			c.Only(t, "lb2", tt.lease+500*time.Millisecond+noise)
			for _, vip := range tt.vips {
				stayed := c.Owners.History().Loses("lb1", vip, from).Sub(from)
				t.Logf("%v stayed for %v after the cleanup", vip, stayed)
				if stayed > tt.lease+500*time.Millisecond+noise {
					t.Error("that is too long")
				}
				c.Reaches(t, vip, "lb2", time.Second)
			}
			lb1 := c.Get("lb1")
			deafen(t, lb1)
			again := time.Now()
			lb1.Start(t)
			c.Settled(t, "lb1")
			c.Planned(t, again, "lb1")
		})
	}
}

// TestCleanupTerminated tells of a cleanup that a service manager ends, since it waits for a successor whom it does not hear: it
// releases what it has, and says so.
func TestCleanupTerminated(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page, web4, web6)
	cleanup := cleaning(t, c)
	from := pairtest.Step(t, func() error { return cleanup.Signal(syscall.SIGTERM) })
	c.Only(t, "lb2", moveBound)
	for _, vip := range c.VIPs {
		if stayed := c.Owners.History().Loses("lb1", vip, from).Sub(from); stayed > noise {
			t.Errorf("%v stayed for %v after the signal", vip, stayed)
		}
	}
	labtest.Eventually(t, moveBound, func() (bool, string) {
		select {
		case <-cleanup.Done():
			return true, ""
		default:
			return false, "the cleanup has not ended"
		}
	})
	const says = "understudy: cleanup: signal: terminated; the addresses of [web] are released"
	if err := cleanup.Wait(t.Context()); err == nil || !strings.Contains(cleanup.Output(), says) {
		t.Errorf("the cleanup ends with %v, and says %q, want %q", err, cleanup.Output(), says)
	}
}

// TestCleanupWithoutNameService tells of a daemon that dies together with the name service of its host: the cleanup knows where its
// peers' names led, and hands over at once.
func TestCleanupWithoutNameService(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance(`peers = ["lb1.lab", "lb2.lab"]`)+page)
	for _, h := range c.Hosts {
		nameService(t, h, "10.0.0.11")
	}
	begin(t, c)
	lb1 := c.Get("lb1")
	for _, broke := range []error{lb1.SetNames("127.0.0.1 localhost\n"), lb1.SetNameServer(netip.MustParseAddr("10.0.0.250"))} { // nobody is there
		if broke != nil {
			t.Fatal(broke)
		}
	}
	from := pairtest.Step(t, lb1.Daemon.Kill)
	if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "every address that was left behind has gone to another host") {
		t.Errorf("cleanup says %q", out)
	}
	c.Only(t, "lb2", time.Second)
	c.Planned(t, from, "lb2")
}

// TestCleanupWithAPassword tells of a daemon that dies whose VRRPv2 password stands in its configuration, which is gone by then: the
// cleanup hands over with it, and keeps the address for the next daemon where nobody is there.
func TestCleanupWithAPassword(t *testing.T) {
	t.Parallel()
	c := pair(t, instance("version = 2\n  lease = false\n  auth {\n    password = \"1111\"\n  }")+page)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	from := pairtest.Step(t, lb1.Daemon.Kill)
	config := lb1.ConfigFile()
	if err := os.Rename(config, config+".gone"); err != nil {
		t.Fatal(err)
	}
	if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "every address that was left behind has gone to another host") {
		t.Errorf("cleanup says %q", out)
	}
	c.Only(t, "lb2", time.Second)
	c.Outage(t, web4, from, skew+prompt, "lb2")
	pairtest.Step(t, lb2.Daemon.Kill)
	if out := lb2.Does(t, 0, "cleanup"); !strings.Contains(out, "nobody took [web]: the addresses stay for 10s") {
		t.Errorf("cleanup says %q", out)
	}
	lb2.Start(t)
	lb2.Says(t, "adopted the addresses", moveBound)
}
