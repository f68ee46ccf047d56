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
	"github.com/understudy-ha/understudy/internal/node"
)

// told is what the hook on a host was told so far.
func (c *cluster) told(t *testing.T, host string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.scripts, "tell."+host))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// tells waits until the hook on a host was told some lines, and nothing else, beyond the first n.
func (c *cluster) tells(t *testing.T, host string, n int, want ...string) {
	t.Helper()
	var got []string
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		got = c.told(t, host)[n:]
		return len(got) >= len(want), fmt.Sprintf("the hook on %s was told %q, not yet %q", host, got, want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the hook on %s was told (-want +got)\n%s", host, diff)
	}
}

// reloads counts how often nginx on a host was reloaded.
func (h *server) reloads(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir(), "nginx", "error.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "(SIGHUP) received from")
}

func nginxKilled(t *testing.T, c *cluster) {
	lb1, lb2 := c.host("lb1"), c.host("lb2")
	told1, told2, reloads := len(c.told(t, "lb1")), len(c.told(t, "lb2")), lb2.reloads(t)
	from := begin(t, func() error { return lb1.nginx.Kill(t.Context()) })
	c.only(t, "lb2", 5*time.Second)
	// Fast although the interval is 1 s: the kernel tells of the death, and the handover does not wait for the skew.
	c.outage(t, slow4, from, noise, "lb2")
	c.outage(t, fast6, from, noise, "lb2")
	c.outage(t, both6, from, noise, "lb2")
	// VRRPv2 cannot be told to be faster than its skew of (256-100)/256 s.
	c.outage(t, old4, from, 610*time.Millisecond+noise, "lb2")
	for _, vip := range c.vips {
		c.moved(t, vip, from, "lb2")
		c.overlap(t, vip, from, lingers)
		c.reaches(t, vip, "lb2")
	}
	if lb1.logged(`unhealthy: check=nginx why="[^"]*pid \d+`) == 0 {
		t.Error("the log of lb1 does not name the process that died")
	}
	c.tells(t, "lb1", told1, "INSTANCE v4 BACKUP 1")
	c.tells(t, "lb2", told2, "INSTANCE v4 MASTER 100")
	labtest.Eventually(t, 5*time.Second, func() (bool, string) { return lb2.reloads(t) > reloads, "nginx on lb2 was not reloaded" })

	from = begin(t, func() error { return lb1.nginx.Start(t.Context()) })
	c.settled(t, "lb1")
	c.planned(t, from, "lb1")
	c.tells(t, "lb1", told1, "INSTANCE v4 BACKUP 1", "INSTANCE v4 MASTER 150")
	c.tells(t, "lb2", told2, "INSTANCE v4 MASTER 100", "INSTANCE v4 BACKUP 100")
}

func backupKilled(t *testing.T, c *cluster) {
	lb2 := c.host("lb2")
	from := begin(t, func() error { return lb2.nginx.Kill(t.Context()) })
	lb2.awaitInstance(t, "v4", 5*time.Second, func(i node.InstanceStatus) bool { return i.Priority == 1 && i.State == node.Backup })
	c.rests(t, from, time.Since(from)+500*time.Millisecond)
	// nginx that listens on the address itself could not even start there.
	lb2.says(t, `unhealthy: check=nginx why=.*net\.ipv[46]\.ip_nonlocal_bind is 0`, 2*time.Second)
	if err := lb2.nginx.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func healthPage500(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	from := begin(t, func() error { return lb1.nginx.SetHealthy(false) })
	c.only(t, "lb2", 5*time.Second)
	c.planned(t, from, "lb2")
	if lb1.logged(`unhealthy: check=page why=.*500`) == 0 {
		t.Error("the log of lb1 does not name the status 500")
	}
	from = begin(t, func() error { return lb1.nginx.SetHealthy(true) })
	c.settled(t, "lb1")
	c.planned(t, from, "lb1")
}

func nginxHangs(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	from := begin(t, lb1.nginx.Freeze)
	c.only(t, "lb2", 8*time.Second)
	// Until the next check, its timeout, the pause before its repetition, and the timeout again: 400, 400, 80 and 400 ms.
	const noticed = 1300 * time.Millisecond
	c.outage(t, slow4, from, noticed+noise, "lb2")
	c.outage(t, fast6, from, noticed+noise, "lb2")
	for _, vip := range c.vips {
		c.moved(t, vip, from, "lb2")
		c.overlap(t, vip, from, lingers)
	}
	from = begin(t, lb1.nginx.Thaw)
	c.settled(t, "lb1")
	c.planned(t, from, "lb1")
}

func nginxUpgraded(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	before, err := lb1.report(t)
	if err != nil {
		t.Fatal(err)
	}
	bad := lb1.logged("unhealthy")
	old, err := lb1.nginx.MasterPID()
	if err != nil {
		t.Fatal(err)
	}
	from := begin(t, func() error { return lb1.nginx.Upgrade(t.Context()) })
	pid, err := lb1.nginx.MasterPID()
	if err != nil || pid == old {
		t.Fatalf("nginx's master is %d, before %d, %v", pid, old, err)
	}
	// The check watches the new master now.
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		r, err := lb1.report(t)
		if err != nil {
			return false, err.Error()
		}
		k := r.Checks[slices.IndexFunc(r.Checks, func(k node.CheckReport) bool { return k.Name == "nginx" })]
		return k.Healthy && strings.Contains(k.Output, fmt.Sprint(pid)), fmt.Sprintf("check nginx says %q, %q, not yet pid %d", k.Reason, k.Output, pid)
	})
	c.rests(t, from, time.Since(from)+500*time.Millisecond)
	if now := lb1.logged("unhealthy"); now != bad {
		t.Errorf("%d checks failed over the upgrade", now-bad)
	}
	after, err := lb1.instance(t, "v4")
	if err != nil || !after.Since.Equal(before.Node.Instances[0].Since) {
		t.Errorf("v4 is %s since %v, want no change; %v", after.State, after.Since, err)
	}
}
