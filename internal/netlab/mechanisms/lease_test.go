package mechanisms

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// entry is what the kernel of a host says of a virtual address, in one line of ip; empty when it has none.
func entry(t *testing.T, h *pairtest.Server, vip netip.Addr) string {
	t.Helper()
	out, err := h.Exec(t.Context(), "ip", "-oneline", "address", "show", "dev", "eth0")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, " "+vip.String()+"/") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

// remaining is for how long an address is still valid, in the kernel's whole seconds, and -1 when it is for ever.
func remaining(t *testing.T, h *pairtest.Server, vip netip.Addr) int {
	t.Helper()
	line := entry(t, h, vip)
	if strings.Contains(line, "valid_lft forever") {
		return -1
	}
	found := regexp.MustCompile(`valid_lft (\d+)sec`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("%v on %s has no lifetime: %q", vip, h.Name(), line)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// renewed counts the events of an address between two instants in what ip printed, with times of the local clock.
func renewed(output string, vip netip.Addr, from, to time.Time) (n int) {
	for line := range strings.Lines(output) {
		stamp, event, _ := strings.Cut(strings.TrimPrefix(line, "["), "] ")
		at, err := time.ParseInLocation("2006-01-02T15:04:05.000000", stamp, time.Local)
		if err == nil && at.After(from) && at.Before(to) && strings.Contains(event, " "+vip.String()+"/") {
			n++
		}
	}
	return n
}

// TestLease tells how addresses are in the kernel, for how long, and where no lease is.
func TestLease(t *testing.T) {
	t.Parallel()
	config := instanceOf(`"10.0.0.100/24", "fd00::100", "192.0.2.100/24"`, "") + page
	c := cluster(t, []string{"lb1"}, config, web4, web6)
	begin(t, c)
	lb1 := c.Get("lb1")
	change := func(t *testing.T, config string, want time.Duration) {
		t.Helper()
		pairtest.Step(t, func() error { lb1.Configure(t, config); return nil })
		await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Lease == want && i.Confirmed })
	}

	t.Run("they are never the host's first choice", func(t *testing.T) { neverFirst(t, lb1) })
	t.Run("adverts come from the host's own address", func(t *testing.T) {
		wire := capture(t, c.User, "proto 112")
		labtest.Eventually(t, moveBound, func() (bool, string) {
			return len(seen(t, wire, "10.0.0.11 > 224.0.0.18")) > 1 && len(seen(t, wire, " > ff02::12")) > 1, wire.Output()
		})
		if n := len(seen(t, wire, "10.0.0.100 >")) + len(seen(t, wire, "fd00::")); n > 0 {
			t.Errorf("%d adverts from a virtual address", n)
		}
	})
	t.Run("2 s, renewed every second", func(t *testing.T) {
		if i := status(t, lb1); i.Lease != 2*time.Second {
			t.Errorf("the lease is %v", i.Lease)
		}
		renewals, err := lb1.Host.Start("ip", "-ts", "-oneline", "monitor", "address", "dev", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		labtest.Eventually(t, moveBound, func() (bool, string) { return renewals.Output() != "", "ip shows no renewal" })
		from := time.Now()
		for time.Since(from) < 3*time.Second {
			for _, vip := range c.VIPs {
				// After a second of 2 s the kernel, which counts whole seconds, has 1 or 2 left.
				if left := remaining(t, lb1, vip); (left < 1 || left > 2) && c.Slack(from, time.Now()) == 0 {
					t.Errorf("%v has %d s left", vip, left)
				}
			}
			pairtest.Until(t, time.Now().Add(100*time.Millisecond))
		}
		to := time.Now()
		if err := renewals.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, vip := range c.VIPs {
			const gap = time.Second
			n, slack := renewed(renewals.Output(), vip, from, to), c.Slack(from, to)
			if least, most := int((to.Sub(from)-slack)/gap)-1, int(to.Sub(from)/gap)+1; n < least || n > most {
				t.Errorf("%v was renewed %d times within %v, want every %v:\n%s", vip, n, to.Sub(from), gap, renewals.Output())
			}
		}
		c.Rests(t, from, to)
		neverFirst(t, lb1) // each renewal repeats what it is set with
	})
	t.Run("9 s where five intervals of 2 s are silence", func(t *testing.T) {
		change(t, strings.Replace(config, "vrid ", "advertise_interval = \"2s\"\n  dead_adverts = 5\n  vrid ", 1), 9*time.Second)
		labtest.Eventually(t, 2*time.Second, func() (bool, string) {
			return remaining(t, lb1, web4) >= 8 && remaining(t, lb1, web6) >= 8, entry(t, lb1, web4) + entry(t, lb1, web6)
		})
	})
	t.Run("none above 64 addresses", func(t *testing.T) {
		many := make([]string, 0, 62)
		for n := range 62 {
			many = append(many, fmt.Sprintf(`"10.0.1.%d"`, n+1))
		}
		change(t, strings.Replace(config, `"fd00::100",`, `"fd00::100", `+strings.Join(many, ", ")+",", 1), 0)
		labtest.Eventually(t, 2*time.Second, func() (bool, string) {
			return remaining(t, lb1, web4) == -1 && remaining(t, lb1, web6) == -1, entry(t, lb1, web4) + entry(t, lb1, web6)
		})
		if out := lb1.Does(t, 0, "status"); !strings.Contains(out, "without a lease") {
			t.Errorf("status does not say that there is no lease:\n%s", out)
		}
		change(t, config, 2*time.Second)
		labtest.Eventually(t, 2*time.Second, func() (bool, string) {
			left := remaining(t, lb1, web4)
			return left == 1 || left == 2, entry(t, lb1, web4)
		})
	})
}

// neverFirst asserts how the addresses of TestLease are set: a host's own packets never have one for their source.
func neverFirst(t *testing.T, h *pairtest.Server) {
	for vip, want := range map[netip.Addr][]string{
		web4: {"10.0.0.100/32", "noprefixroute"},
		web6: {"fd00::100/128", "nodad", "noprefixroute", "preferred_lft 0sec"},
	} {
		for _, word := range want {
			if line := entry(t, h, vip); !strings.Contains(line, word) {
				t.Errorf("%v is set without %q: %s", vip, word, line)
			}
		}
	}
	// What a written prefix means where the host has no such network.
	out, err := h.Exec(t.Context(), "ip", "-4", "route", "show", "192.0.2.0/24")
	if err != nil || !strings.Contains(out, "dev eth0") {
		t.Errorf("the network of 192.0.2.100/24 is routed by %q; %v", out, err)
	}
}
