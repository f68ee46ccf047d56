package mechanisms

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestVirtualMACOfARouter tells of a host that forwards, with what a switch floods since it does not know where the virtual MAC
// is: a backup discards it, and does not forward what is the master's to forward; the master forwards it.
func TestVirtualMACOfARouter(t *testing.T) {
	labtest.Require(t, "curl")
	t.Parallel()
	// lb1 never sends from the virtual MAC, so the switch floods what is for it.
	c := cluster(t, []string{"lb1", "lb2"}, instanceOf(`"10.0.0.100", "fd00::100"`, `mac = { lb1 = "interface", lb2 = "virtual" }[hostname]`)+page, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	run := func(h *netlab.Host, commands ...string) {
		t.Helper()
		for _, command := range commands {
			if out, err := h.Exec(t.Context(), strings.Fields(command)...); err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
		}
	}
	for _, key := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		if err := lb2.Sysctl(key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	// Behind lb2 is what lb1 has on its loopback interface. The user goes there by the virtual MAC.
	run(lb1.Host, "ip address add 198.51.100.9/32 dev lo", "ip address add 2001:db8:9::9/128 dev lo nodad")
	run(lb2.Host, "ip route add 198.51.100.9 via 10.0.0.11", "ip -6 route add 2001:db8:9::9 via fd00::11")
	run(c.User,
		"ip neigh replace 10.0.0.200 lladdr "+virtual4+" dev eth0", "ip route add 198.51.100.9 via 10.0.0.200",
		"ip -6 neigh replace fd00::200 lladdr "+virtual6+" dev eth0", "ip -6 route add 2001:db8:9::9 via fd00::200")
	begin(t, c)

	visits := []string{"curl -sS -m 1 http://198.51.100.9/healthz", "curl -sS -m 1 http://[2001:db8:9::9]/healthz"}
	for _, visit := range visits {
		if out, err := c.User.Exec(t.Context(), strings.Fields(visit)...); err == nil || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("the backup forwarded what was the master's: %v\n%s", err, out)
		}
	}
	lb1.Stop(t)
	c.Only(t, "lb2", moveBound)
	for _, visit := range visits {
		labtest.Eventually(t, moveBound, func() (bool, string) {
			out, err := c.User.Exec(t.Context(), strings.Fields(visit)...)
			return err == nil, fmt.Sprintf("the master forwards nothing: %s: %v", out, err)
		})
	}
	lb1.Start(t)
	c.Settled(t, "lb1")
	for _, visit := range visits {
		if out, err := c.User.Exec(t.Context(), strings.Fields(visit)...); err == nil {
			t.Errorf("the backup forwarded again what was the master's:\n%s", out)
		}
	}
}
