package stories

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// told is what the hook on a host was told so far.
func told(t *testing.T, c *pairtest.Cluster, host string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Scripts, "tell."+host))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// tells waits until the hook on a host was told some lines, and nothing else, beyond the first n.
func tells(t *testing.T, c *pairtest.Cluster, host string, n int, want ...string) {
	t.Helper()
	var got []string
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		got = told(t, c, host)[n:]
		return len(got) >= len(want), fmt.Sprintf("the hook on %s was told %q, not yet %q", host, got, want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the hook on %s was told (-want +got)\n%s", host, diff)
	}
}

// reloads counts how often nginx on a host was reloaded.
func reloads(t *testing.T, h *pairtest.Server) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir(), "nginx", "error.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "(SIGHUP) received from")
}

func nginxKilled(t *testing.T, c *pairtest.Cluster) {
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	told1, told2, before := len(told(t, c, "lb1")), len(told(t, c, "lb2")), reloads(t, lb2)
	from := pairtest.Step(t, func() error { return lb1.Nginx.Kill(t.Context()) })
	c.Only(t, "lb2", 5*time.Second)
	// Fast although the interval is 1 s: the kernel tells of the death, and the handover does not wait for the skew.
	c.Outage(t, slow4, from, noise, "lb2")
	c.Outage(t, fast6, from, noise, "lb2")
	c.Outage(t, both6, from, noise, "lb2")
	// VRRPv2 cannot be told to be faster than its skew of (256-100)/256 s.
	c.Outage(t, old4, from, 610*time.Millisecond+noise, "lb2")
	for _, vip := range c.VIPs {
		c.Moved(t, vip, from, "lb2")
		c.Overlap(t, vip, from, pairtest.Lingers)
		c.Reaches(t, vip, "lb2", 2*time.Second)
	}
	if lb1.Logged(`unhealthy: check=nginx why="[^"]*pid \d+`) == 0 {
		t.Error("the log of lb1 does not name the process that died")
	}
	tells(t, c, "lb1", told1, "INSTANCE v4 BACKUP 1")
	tells(t, c, "lb2", told2, "INSTANCE v4 MASTER 100")
	labtest.Eventually(t, 5*time.Second, func() (bool, string) { return reloads(t, lb2) > before, "nginx on lb2 was not reloaded" })

	from = pairtest.Step(t, func() error { return lb1.Nginx.Start(t.Context()) })
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
	tells(t, c, "lb1", told1, "INSTANCE v4 BACKUP 1", "INSTANCE v4 MASTER 150")
	tells(t, c, "lb2", told2, "INSTANCE v4 MASTER 100", "INSTANCE v4 BACKUP 100")
}

func backupKilled(t *testing.T, c *pairtest.Cluster) {
	lb2 := c.Get("lb2")
	from := pairtest.Step(t, func() error { return lb2.Nginx.Kill(t.Context()) })
	lb2.AwaitInstance(t, "v4", 5*time.Second, func(i node.InstanceStatus) bool { return i.Priority == 1 && i.State == node.Backup })
	c.Rests(t, from, time.Now().Add(500*time.Millisecond))
	// nginx that listens on the address itself could not even start there.
	lb2.Says(t, `unhealthy: check=nginx why=.*net\.ipv[46]\.ip_nonlocal_bind is 0`, 2*time.Second)
	if err := lb2.Nginx.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func healthPage500(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	from := pairtest.Step(t, func() error { return lb1.Nginx.SetHealthy(false) })
	c.Only(t, "lb2", 5*time.Second)
	c.Planned(t, from, "lb2")
	if lb1.Logged(`unhealthy: check=page why=.*500`) == 0 {
		t.Error("the log of lb1 does not name the status 500")
	}
	from = pairtest.Step(t, func() error { return lb1.Nginx.SetHealthy(true) })
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
}

func nginxHangs(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	from := pairtest.Step(t, lb1.Nginx.Freeze)
	c.Only(t, "lb2", 8*time.Second)
	// Until the next check, its timeout, the pause before its repetition, and the timeout again: 400, 400, 80 and 400 ms.
	const noticed = 1300 * time.Millisecond
	c.Outage(t, slow4, from, noticed+noise, "lb2")
	c.Outage(t, fast6, from, noticed+noise, "lb2")
	for _, vip := range c.VIPs {
		c.Moved(t, vip, from, "lb2")
		c.Overlap(t, vip, from, pairtest.Lingers)
	}
	from = pairtest.Step(t, lb1.Nginx.Thaw)
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
}

func nginxUpgraded(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	before, err := lb1.Report(t)
	if err != nil {
		t.Fatal(err)
	}
	bad := lb1.Logged("unhealthy")
	old, err := lb1.Nginx.MasterPID()
	if err != nil {
		t.Fatal(err)
	}
	from := pairtest.Step(t, func() error { return lb1.Nginx.Upgrade(t.Context()) })
	pid, err := lb1.Nginx.MasterPID()
	if err != nil || pid == old {
		t.Fatalf("nginx's master is %d, before %d, %v", pid, old, err)
	}
	// The check watches the new master now.
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		r, err := lb1.Report(t)
		if err != nil {
			return false, err.Error()
		}
		k := r.Checks[slices.IndexFunc(r.Checks, func(k node.CheckReport) bool { return k.Name == "nginx" })]
		return k.Healthy && strings.Contains(k.Output, fmt.Sprint(pid)), fmt.Sprintf("check nginx says %q, %q, not yet pid %d", k.Reason, k.Output, pid)
	})
	c.Rests(t, from, time.Now().Add(500*time.Millisecond))
	if now := lb1.Logged("unhealthy"); now != bad {
		t.Errorf("%d checks failed over the upgrade", now-bad)
	}
	after, err := lb1.Instance(t, "v4")
	if err != nil || !after.Since.Equal(before.Node.Instances[0].Since) {
		t.Errorf("v4 is %s since %v, want no change; %v", after.State, after.Since, err)
	}
}
