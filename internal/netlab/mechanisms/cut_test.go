package mechanisms

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// both waits until two hosts have an address.
func both(t *testing.T, c *pairtest.Cluster, bound time.Duration) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		owners := c.Owners.Owners(web4)
		return fmt.Sprint(owners) == "[lb1 lb2]", fmt.Sprintf("owners of %v are %v", web4, owners)
	})
}

// TestHeal tells of silent cuts that heal: the two masters meet, one goes, and the clients follow the other at once, whichever of
// them speaks first.
func TestHeal(t *testing.T) {
	t.Parallel()
	const interval = 500 * time.Millisecond
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, `advertise_interval = "500ms"`)+page, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	wire, arp := capture(t, c.User, "ip proto 112"), frames(t, c)
	first := map[string]int{}
	for heal := range 6 {
		pairtest.Step(t, lb1.Cut)
		both(t, c, moveBound)
		for _, vip := range c.VIPs {
			c.Reaches(t, vip, "lb2", moveBound)
		}
		// Right after an advert of the one, the other is first.
		speaks := []*pairtest.Server{lb1, lb2}[heal%2]
		sent := status(t, speaks).Routers[0].Counters.Sent
		await(t, speaks, 2*interval, func(i node.InstanceStatus) bool { return i.Routers[0].Counters.Sent > sent })
		pairtest.Until(t, time.Now().Add(30*time.Millisecond))

		from := pairtest.Step(t, lb1.Heal)
		for _, vip := range c.VIPs {
			c.Reaches(t, vip, "lb1", interval+200*time.Millisecond)
		}
		reached := time.Since(from)
		c.Only(t, "lb1", interval+pairtest.Lingers)
		for _, vip := range c.VIPs {
			c.Overlap(t, vip, from, interval+pairtest.Lingers)
			saw := c.Clients[vip].Between(from, time.Now().Add(200*time.Millisecond))
			if saw.Outage() > netlab.Prompt+saw.Stall()+c.Slack(saw.From, saw.To) || saw.LastServer() != "lb1" {
				t.Errorf("heal %d: %v", heal, saw)
			}
		}
		// It stays so: what either of them had still planned to announce is not the last word.
		pairtest.Until(t, time.Now().Add(300*time.Millisecond))
		for _, vip := range c.VIPs {
			c.Reaches(t, vip, "lb1", time.Millisecond)
		}
		order := "the loser"
		if after := firstAfter(t, wire, from, "10.0.0.11", "10.0.0.12"); after == "10.0.0.11" {
			order = "the winner"
		}
		first[order]++
		t.Logf("heal %d: %s was first; the client reached lb1 after %v", heal, order, reached)
	}
	t.Logf("who was first: %v", first)
	if len(first) != 2 {
		t.Errorf("of both orders only one was seen: %v", first)
	}
	hushed(t, arp, lb2)
}

// hushed asserts that a host which stepped down announced nothing any more that it had planned while it was master, for a second and more.
func hushed(t *testing.T, arp *netlab.Proc, h *pairtest.Server) {
	t.Helper()
	var announced []time.Time
	said := regexp.MustCompile(`(?m)^.* ` + h.MAC().String() + ` > (?:ff:ff:ff:ff:ff:ff|33:33:00:00:00:01), .*(?:10\.0\.0\.100 is-at|tgt is fd00::100).*$`)
	for _, line := range said.FindAllString(arp.Output(), -1) {
		if at, ok := instant(line); ok {
			announced = append(announced, at)
		}
	}
	rises, ends := append(changed(t, h, node.Backup, node.Master), time.Now()), changed(t, h, node.Master, node.Backup)
	for n, end := range ends {
		if while := between(announced, rises[n].Add(-noise), end); while == 0 {
			t.Errorf("%s announced nothing while it was master, from %s on", h.Name(), pairtest.Stamp(rises[n]))
		}
		if after := between(announced, end.Add(5*time.Millisecond), rises[n+1].Add(-5*time.Millisecond)); after > 0 {
			t.Errorf("%s announced %d times after it had stepped down at %s", h.Name(), after, pairtest.Stamp(end))
		}
	}
}

// firstAfter is which of some addresses was the first to send after an instant.
func firstAfter(t *testing.T, p *netlab.Proc, from time.Time, sources ...string) string {
	t.Helper()
	first, who := from.Add(time.Hour), ""
	for _, source := range sources {
		for _, at := range seen(t, p, source+" >") {
			if at.After(from) && at.Before(first) {
				first, who = at, source
			}
		}
	}
	return who
}

// TestContention tells of a backup that cannot hear the master, and becomes one too: each has its word of the other, in the log and for
// the hooks of a contention, and when it is over the master's hooks run once more.
func TestContention(t *testing.T) {
	t.Parallel()
	scripts := commandtest.Dir(t)
	commandtest.Script(t, scripts, "tell", `echo "$3 $UNDERSTUDY_PREVIOUS" >>"$0.$UNDERSTUDY_NODE"`)
	commandtest.Script(t, scripts, "alarm", `echo "$3 $UNDERSTUDY_PREVIOUS $UNDERSTUDY_PEER $UNDERSTUDY_PEER_MAC" >>"$0.$UNDERSTUDY_NODE"`)
	c := pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Scripts: scripts, VIPs: map[string]time.Duration{web4.String(): every},
		Config: instance(`advertise_interval = "200ms"`) + page + `
notify "script" "tell" {
  on      = ["master", "backup", "fault", "stop"]
  command = ["SCRIPTS/tell"]
}

notify "script" "alarm" {
  on      = ["contention"]
  command = ["SCRIPTS/alarm"]
}
`,
	})
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	lb1.Start(t)
	c.Only(t, "lb1", settleBound) // before the other one comes: what the hooks are told is looked at from the beginning
	lb2.Start(t)
	c.Settled(t, "lb1")
	ran := func(hook, host string) []string {
		text, err := os.ReadFile(filepath.Join(scripts, hook+"."+host))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	}
	told := func(host string) []string { return ran("tell", host) }
	labtest.Eventually(t, moveBound, func() (bool, string) {
		return len(told("lb1")) == 2 && len(told("lb2")) == 1, fmt.Sprintf("the hooks were told %q and %q", told("lb1"), told("lb2"))
	})

	from := pairtest.Step(t, func() error { return lb2.Firewall(t.Context(), netlab.DropIn(netlab.VRRPPriority(150))) })
	both(t, c, moveBound)
	pairtest.Until(t, time.Now().Add(time.Second))
	lb1.Says(t, `10\.0\.0\.12 advertises priority 100 for the same VRID while this host is master \(priority 150\), and `+
		lb2.MAC().String()+` answers for 10\.0\.0\.100: two masters.*IP protocol 112`, time.Second)
	evidence(t, lb1, "10.0.0.12", lb2.MAC().String())
	// lb2, which hears no advert, sees who else announces the address; what both know wakes somebody.
	lb2.Says(t, lb1.MAC().String()+` answers for 10\.0\.0\.100 while this host is master, and no advert of it is heard: two masters`, moveBound)
	alarms := map[string]string{"lb1": "[CONTENTION master 10.0.0.12 " + lb2.MAC().String() + "]", "lb2": "[CONTENTION master  " + lb1.MAC().String() + "]"}
	for host, want := range alarms {
		labtest.Eventually(t, moveBound, func() (bool, string) {
			got := fmt.Sprint(ran("alarm", host))
			return got == want, fmt.Sprintf("the contention hook on %s was told %s, want %s", host, got, want)
		})
	}
	mended := pairtest.Step(t, func() error { return lb2.Firewall(t.Context()) })
	c.Settled(t, "lb1")
	c.Overlap(t, web4, mended, 200*time.Millisecond+pairtest.Lingers)
	c.Reaches(t, web4, "lb1", 200*time.Millisecond+noise)
	c.Unharmed(t, web4, from, time.Now(), 0)
	labtest.Eventually(t, moveBound, func() (bool, string) {
		got := fmt.Sprint(told("lb1"))
		return got == "[BACKUP init MASTER backup MASTER master]", "the hook on lb1 was told " + got
	})
	if got := fmt.Sprint(told("lb2")); got != "[BACKUP init MASTER backup BACKUP master]" {
		t.Errorf("the hook on lb2 was told %s", got)
	}
	if n, runs := lb1.Logged("two masters"), len(ran("alarm", "lb1")); n != 1 || runs != 1 {
		t.Errorf("lb1 told of one contention %d times, and its hook %d times", n, runs)
	}
}

// evidence asserts what status --json says of the second master.
func evidence(t *testing.T, h *pairtest.Server, address, mac string) {
	t.Helper()
	out := h.Does(t, 0, "status", "web", "--json")
	var r node.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("status --json: %v\n%s", err, out)
	}
	k := r.Node.Instances[0].Contention
	if k == nil || k.Advertiser.String() != address || k.Priority != 100 || k.MAC != mac || k.IP != web4 {
		t.Errorf("status --json has the contention %+v, want %s at %s", k, address, mac)
	}
}

// TestDeaf tells of the usual split, two hosts whose firewalls let no advert in: both are masters, both say what they see of each
// other and that it is their own firewall, and it ends when the adverts get through.
func TestDeaf(t *testing.T) {
	t.Parallel()
	c := pair(t, instance(`advertise_interval = "200ms"`)+page)
	for _, h := range c.Hosts {
		pairtest.Step(t, func() error { return h.Firewall(t.Context(), netlab.DropIn(netlab.VRRPv4)) })
	}
	both(t, c, moveBound)
	for n, h := range c.Hosts {
		other := c.Hosts[1-n]
		h.Says(t, other.MAC().String()+` answers for 10\.0\.0\.100 while this host is master, and no advert of it is heard: two masters.*IP protocol 112`, moveBound)
		if k := status(t, h).Contention; k == nil || k.MAC != other.MAC().String() || k.Advertiser.IsValid() {
			t.Errorf("%s has the contention %+v", h.Name(), k)
		}
		drops := fmt.Sprintf("adverts of %s reach eth0 and are dropped on this host: look at its firewall (INPUT, protocol 112) and rp_filter", []string{"10.0.0.12", "10.0.0.11"}[n])
		h.Says(t, regexp.QuoteMeta(drops), moveBound)
		if out := h.Does(t, 4, "status"); !strings.Contains(out, drops) || !strings.Contains(out, "TWO MASTERS: "+other.MAC().String()) {
			t.Errorf("the status of %s does not say that there are two masters, or that %s:\n%s", h.Name(), drops, out)
		}
	}
	from := time.Now()
	for _, h := range c.Hosts {
		pairtest.Step(t, func() error { return h.Firewall(t.Context()) })
	}
	c.Settled(t, "lb1")
	c.Overlap(t, web4, from, 200*time.Millisecond+pairtest.Lingers)
	c.Reaches(t, web4, "lb1", 200*time.Millisecond+noise)
	c.Unharmed(t, web4, from, time.Now(), 0)
	if out := c.Get("lb2").Does(t, 0, "status"); strings.Contains(out, "are dropped on this host") {
		t.Errorf("the adverts get through, and the status of lb2 says:\n%s", out)
	}
}
