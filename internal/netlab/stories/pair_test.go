package stories

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// The pair's addresses.
var (
	slow4 = netip.MustParseAddr("10.0.0.100") // default interval
	fast6 = netip.MustParseAddr("fd00::100")
	both4 = netip.MustParseAddr("10.0.0.101")
	both6 = netip.MustParseAddr("fd00::101")
	old4  = netip.MustParseAddr("10.0.0.102") // VRRPv2
)

// pairShape is a pair as many run it, with one instance for each family and version. Its hooks are always there, the one that
// hangs too: it must not be noticed in any story.
var pairShape = shape{
	hosts: []string{"lb1", "lb2"},
	// Connections that a move breaks must not keep old workers alive for longer.
	nginx: "client_header_timeout 2s;",
	vips: map[string]time.Duration{
		"10.0.0.100": 5 * time.Millisecond, "fd00::100": 10 * time.Millisecond, "10.0.0.101": 50 * time.Millisecond,
		"fd00::101": 20 * time.Millisecond, "10.0.0.102": 20 * time.Millisecond,
	},
	scripts: map[string]string{
		"tell": `shift; echo "$*" >>"$0.$UNDERSTUDY_NODE"; [ "$3" != STOP ] || ip -oneline address show dev eth0 >"$0.$UNDERSTUDY_NODE.stop"`,
		"hang": `exec sleep 60`,
	},
	config: `
instance "v4" {
  interface = "eth0"
  vrid      = 1
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.100"]
  expect "lb1" {}
  expect "lb2" {}
}
instance "v6" {
  interface          = "eth0"
  vrid               = 2
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["fd00::100"]
  advertise_interval = "200ms"
}
instance "both" {
  interface          = "eth0"
  vrid               = 3
  priority           = { lb1 = 150, lb2 = 100 }[hostname]
  addresses          = ["10.0.0.101", "fd00::101"]
  advertise_interval = "200ms"
}
instance "v2" {
  interface = "eth0"
  vrid      = 4
  version   = 2
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["10.0.0.102"]
}
check "process" "nginx" {
  pid_file = "LAB/${hostname}/nginx/nginx.pid"
}
check "http" "page" {
  url      = "http://127.0.0.1/healthz"
  interval = "400ms"
}
notify "script" "tell" {
  on        = ["master", "backup", "fault", "stop"]
  instances = ["v4"]
  command   = ["SCRIPTS/tell", "an argument"]
}
notify "nginx" "reload" {
  on     = ["master"]
  config = "LAB/${hostname}/nginx/nginx.conf"
  prefix = "LAB/${hostname}/nginx"
}
notify "script" "hang" {
  on        = ["master", "backup"]
  instances = ["v6"]
  command   = ["SCRIPTS/hang"]
  timeout   = "2s"
}
`,
}

// TestPair tells what happens to a pair, one story after another. Each begins and ends with everything on lb1.
func TestPair(t *testing.T) {
	t.Parallel()
	c := newCluster(t, pairShape)
	from := time.Now()
	c.start(t)
	c.settled(t, "lb1")
	for _, vip := range c.vips {
		// The other one may have been first, when its daemon started sooner.
		if moves := c.owners.History().Moves(vip, from, time.Now()); moves > 1 {
			t.Errorf("%v moved %d times in the first election", vip, moves)
		}
		c.overlap(t, vip, from, lingers)
	}
	for _, story := range []struct {
		name string
		tell func(*testing.T, *cluster)
	}{
		{"an address is deleted by hand", deletedByHand},
		{"nginx is killed", nginxKilled},
		{"nginx on the backup is killed", backupKilled},
		{"the health page answers 500", healthPage500},
		{"nginx hangs", nginxHangs},
		{"nginx is upgraded", nginxUpgraded},
		{"the daemon is stopped", daemonStopped},
		{"the daemon is killed", daemonKilled},
		{"the daemon is killed and started again", daemonRestarted},
		{"the host is cut off and healed", hostCutOff},
		{"the cable is pulled", carrierLost},
		{"packets that are no adverts of a peer", strangePackets},
	} {
		ok := t.Run(story.name, func(t *testing.T) {
			story.tell(t, c)
			c.settled(t, "lb1")
		})
		if !ok {
			c.restore(t)
			c.settled(t, "lb1")
		}
	}
}

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
		k := r.Checks[slices.IndexFunc(r.Checks, func(k controlCheck) bool { return k.Name == "nginx" })]
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

func daemonStopped(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	told := len(c.told(t, "lb1"))
	from := begin(t, func() error { return lb1.daemon.Signal(syscall.SIGTERM) })
	lb1.ended(t)
	c.only(t, "lb2", time.Second)
	c.planned(t, from, "lb2")
	for _, vip := range c.vips {
		c.reaches(t, vip, "lb2")
	}
	// Not after the skew of 610 ms: the handover makes the successor's timer run for milliseconds.
	if took := gets(c.owners.History(), "lb2", slow4, from).Sub(from); took > 250*time.Millisecond+noise/2 {
		t.Errorf("lb2 had %v %v after the signal", slow4, took)
	}
	c.tells(t, "lb1", told, "INSTANCE v4 STOP 150")
	held, err := os.ReadFile(filepath.Join(c.scripts, "tell.lb1.stop"))
	if err != nil || len(held) == 0 {
		t.Fatalf("the stop hook on lb1 saw %q, %v", held, err)
	}
	if strings.Contains(string(held), " "+slow4.String()+"/") {
		t.Errorf("%v was still on lb1 when the stop hook ran\n%s", slow4, held)
	}
	from = begin(t, func() error { c.start(t, "lb1"); return nil })
	c.settled(t, "lb1")
	c.planned(t, from, "lb1")
}

// gets is when a host got an address after an instant.
func gets(history netlab.History, host string, vip netip.Addr, from time.Time) time.Time {
	for _, change := range history {
		if change.Host == host && change.Addr == vip && change.Held && change.At.After(from) {
			return change.At
		}
	}
	return from.Add(time.Hour)
}

// loses is when a host lost an address after an instant.
func loses(history netlab.History, host string, vip netip.Addr, from time.Time) time.Time {
	for _, change := range history {
		if change.Host == host && change.Addr == vip && !change.Held && change.At.After(from) {
			return change.At
		}
	}
	return from.Add(time.Hour)
}

func daemonKilled(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	from := begin(t, lb1.daemon.Kill)
	c.only(t, "lb2", 10*time.Second)
	for _, vip := range c.vips {
		c.moved(t, vip, from, "lb2")
	}
	const down = 3*time.Second + 610*time.Millisecond
	// At the default interval the lease is over before anybody else comes; the kernel takes up to 2.5 s.
	c.overlap(t, slow4, from, 0)
	c.overlap(t, old4, from, 0)
	c.overlap(t, fast6, from, 2500*time.Millisecond+noise)
	c.overlap(t, both4, from, 2500*time.Millisecond+noise)
	c.outage(t, slow4, from, down-1400*time.Millisecond+noise, "lb2")
	c.outage(t, old4, from, down-1400*time.Millisecond+noise, "lb2")
	// Here the other host comes first, 724 ms after the last advert, and is announced.
	c.outage(t, fast6, from, 300*time.Millisecond+noise, "lb2")
	if took := gets(c.owners.History(), "lb2", slow4, from).Sub(from); took > down+noise {
		t.Errorf("lb2 had %v %v after lb1's last sign, want %v", slow4, took, down)
	}
	from = begin(t, func() error { c.start(t, "lb1"); return nil })
	c.settled(t, "lb1")
	c.planned(t, from, "lb1")
}

func daemonRestarted(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	if err := lb1.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	swept := lb1.logged("removed an address that an earlier daemon left behind")
	from := begin(t, func() error { c.start(t, "lb1"); return nil })
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		now := lb1.logged("removed an address that an earlier daemon left behind") - swept
		return now == len(c.vips), fmt.Sprintf("lb1 removed %d of %d addresses of the dead daemon", now, len(c.vips))
	})
	for _, vip := range c.vips {
		// The lease alone would last until 1.4 s after the death at least.
		if took := loses(c.owners.History(), "lb1", vip, from).Sub(from); took > 1200*time.Millisecond {
			t.Errorf("%v was on lb1 for %v after the restart", vip, took)
		}
	}
	c.settled(t, "lb1")
	c.overlap(t, slow4, from, lingers)
}

func hostCutOff(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	from := begin(t, lb1.Cut)
	for _, vip := range c.vips {
		labtest.Eventually(t, 8*time.Second, func() (bool, string) {
			owners := c.owners.Owners(vip)
			return fmt.Sprint(owners) == "[lb1 lb2]", fmt.Sprintf("owners of %v are %v", vip, owners)
		})
	}
	const down = 3*time.Second + 610*time.Millisecond
	c.outage(t, slow4, from, down+noise, "lb2")
	c.outage(t, fast6, from, down/5+noise, "lb2")
	c.outage(t, both6, from, down/5+noise, "lb2")
	c.outage(t, old4, from, down+noise, "lb2")

	from = begin(t, lb1.Heal)
	c.settled(t, "lb1")
	for _, vip := range c.vips {
		interval := 200 * time.Millisecond
		if vip == slow4 || vip == old4 {
			interval = time.Second
		}
		c.overlap(t, vip, from, interval+lingers)
		c.reaches(t, vip, "lb1")
	}
	for _, vip := range []netip.Addr{slow4, fast6, both6, old4} {
		saw := c.clients[vip].Between(time.Now(), time.Now().Add(300*time.Millisecond))
		if saw.Servers()["lb1"] == 0 || saw.Servers()["lb2"] > 0 || len(saw.Failed()) > 0 {
			t.Errorf("%v after the heal: %v", vip, saw)
		}
	}
}

func carrierLost(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	from := begin(t, lb1.CarrierDown)
	c.only(t, "lb2", 8*time.Second)
	for _, vip := range c.vips {
		c.moved(t, vip, from, "lb2")
		c.overlap(t, vip, from, 0)
		if took := loses(c.owners.History(), "lb1", vip, from).Sub(from); took > noise {
			t.Errorf("%v was on lb1 for %v after its carrier was lost", vip, took)
		}
	}
	lb1.awaitInstance(t, "both", time.Second, func(i node.InstanceStatus) bool {
		return i.State == node.Fault && strings.Contains(i.Why, "carrier")
	})
	c.outage(t, slow4, from, 3610*time.Millisecond+noise, "lb2")
	c.outage(t, fast6, from, 722*time.Millisecond+noise, "lb2")
	from = begin(t, lb1.CarrierUp)
	c.settled(t, "lb1")
	c.planned(t, from, "lb1")
}

func deletedByHand(t *testing.T, c *cluster) {
	lb1 := c.host("lb1")
	// The announcements of the election end 5 s after it: what is heard from then on is for the deletion.
	lb1.awaitInstance(t, "v4", 10*time.Second, func(i node.InstanceStatus) bool { return time.Since(i.Since) > 5500*time.Millisecond })
	heard, err := c.user.Start("tcpdump", "-lnn", "-i", "eth0", "arp or icmp6")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heard.Kill() }()
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return strings.Contains(heard.Output(), "listening on"), "tcpdump says " + heard.Output()
	})
	from := begin(t, func() error {
		if err := lb1.RemoveAddress(netip.PrefixFrom(slow4, 32)); err != nil {
			return err
		}
		return lb1.RemoveAddress(netip.PrefixFrom(fast6, 128))
	})
	labtest.Eventually(t, time.Second, func() (bool, string) {
		text := heard.Output()
		arp := strings.Contains(text, "Request who-has 10.0.0.100") && strings.Contains(text, "Reply 10.0.0.100 is-at "+lb1.MAC().String())
		return arp && strings.Contains(text, "tgt is fd00::100"), "announced again on the wire: " + text
	})
	for _, vip := range []netip.Addr{slow4, fast6} {
		c.only(t, "lb1", time.Second, vip)
		if gap := c.owners.History().Gap(vip, from, time.Now()); gap == 0 || gap > 100*time.Millisecond {
			t.Errorf("%v was gone for %v", vip, gap)
		}
		c.outage(t, vip, from, noise, "lb1")
		lb1.says(t, "something else deleted "+vip.String(), time.Second)
	}
}
