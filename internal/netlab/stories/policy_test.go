package stories

import (
	"errors"
	"fmt"
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

// sick makes the check NAME of a host fail from its next run on, or succeed again.
func sick(c *pairtest.Cluster, host, name string, sick bool) error {
	path := filepath.Join(c.Lab.Dir(), host, "sick-"+name)
	if sick {
		return os.WriteFile(path, nil, 0o644)
	}
	return os.Remove(path)
}

// The policies' addresses, one instance for each.
var (
	small  = netip.MustParseAddr("10.0.0.101")
	big    = netip.MustParseAddr("10.0.0.102")
	sticky = netip.MustParseAddr("10.0.0.103")
	equal  = netip.MustParseAddr("10.0.0.104")
	rising = netip.MustParseAddr("10.0.0.105")
	fate4  = netip.MustParseAddr("10.0.0.106")
	fate6  = netip.MustParseAddr("fd00::106")
)

// policyInstance is an instance of the pair with one check of its own.
func policyInstance(name string, vrid int, addresses, more string) string {
	return fmt.Sprintf(`
instance %[1]q {
  interface          = "eth0"
  vrid               = %[2]d
  addresses          = [%[3]s]
  advertise_interval = "100ms"
  checks             = [%[1]q]
  %[4]s
}
`, name, vrid, addresses, more)
}

// policyCheck is a check that sick switches.
func policyCheck(name, more string) string {
	return fmt.Sprintf(`
check "script" %[1]q {
  command  = ["/usr/bin/test", "!", "-e", "LAB/${hostname}/sick-%[1]s"]
  interval = "400ms"
  %[2]s
}
`, name, more)
}

const ranked = `priority = { lb1 = 150, lb2 = 100 }[hostname]`

func policyShape() pairtest.Shape {
	return pairtest.Shape{
		Hosts: []string{"lb1", "lb2"},
		VIPs: map[string]time.Duration{
			small.String(): 20 * time.Millisecond, big.String(): 10 * time.Millisecond, sticky.String(): 20 * time.Millisecond,
			equal.String(): 20 * time.Millisecond, rising.String(): 0, fate4.String(): 20 * time.Millisecond, fate6.String(): 20 * time.Millisecond,
		},
		Config: policyInstance("small", 1, `"10.0.0.101"`, ranked) + policyCheck("small", "weight = -49") +
			policyInstance("big", 2, `"10.0.0.102"`, ranked) + policyCheck("big", "weight = -51") +
			policyInstance("sticky", 3, `"10.0.0.103"`, ranked+"\n  preempt = false") + policyCheck("sticky", "") +
			policyInstance("equal", 4, `"10.0.0.104"`, "priority = 100") + policyCheck("equal", "") +
			policyInstance("rising", 5, `"10.0.0.105"`, ranked) + `
check "script" "rising" {
  command          = ["SCRIPTS/plan", "LAB/${hostname}"]
  interval         = "600ms"
  pending_interval = "100ms"
  rise             = 4
  fall             = 3
}
` + policyInstance("fate", 6, `"10.0.0.106", "fd00::106"`, ranked) + policyCheck("fate", ""),
	}
}

// planned is the script of a check that returns the words of a plan, one at a time; the last one again and again.
var planned = map[string]string{"plan": `
read -r result rest <"$1/plan"
[ -z "$rest" ] || { echo "$rest" >"$1/plan.rest" && mv "$1/plan.rest" "$1/plan"; }
echo "the plan says $result"
exit "$result"`}

// TestPolicies tells what the configuration of an instance decides. Every story has an instance of its own, all on one pair.
func TestPolicies(t *testing.T) {
	t.Parallel()
	c := newCluster(t, policyShape(), planned)
	for _, h := range c.Hosts {
		plan(t, h, "0")
	}
	c.Start(t, "lb1")
	c.Only(t, "lb1", pairtest.SettleBound)
	c.Start(t, "lb2")
	for _, h := range c.Hosts {
		labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) { return h.AtHome(t, h.Name() == "lb1") })
	}

	t.Run("a weight that is too small moves nothing", func(t *testing.T) { smallWeight(t, c) })
	t.Run("a weight that is large enough moves the address", func(t *testing.T) { bigWeight(t, c) })
	t.Run("without preemption the better host comes back for nothing", func(t *testing.T) { stays(t, c) })
	t.Run("equal priorities settle by the address", func(t *testing.T) { equals(t, c) })
	t.Run("a script's rise and fall", func(t *testing.T) { riseAndFall(t, c) })
	t.Run("one family's adverts are lost", func(t *testing.T) { oneFate(t, c) })
}

// do is a step that switches a check.
func do(t *testing.T, c *pairtest.Cluster, host, check string, ill bool) time.Time {
	t.Helper()
	return pairtest.Step(t, func() error { return sick(c, host, check, ill) })
}

func smallWeight(t *testing.T, c *pairtest.Cluster) {
	from := do(t, c, "lb1", "small", true)
	c.Get("lb1").AwaitInstance(t, "small", 5*time.Second, func(i node.InstanceStatus) bool { return i.Priority == 101 })
	c.Rests(t, from, time.Now().Add(time.Second), small) // 10 intervals
	do(t, c, "lb1", "small", false)
	c.Get("lb1").AwaitInstance(t, "small", 5*time.Second, func(i node.InstanceStatus) bool { return i.Priority == 150 })
	c.Rests(t, from, time.Now().Add(300*time.Millisecond), small)
}

func bigWeight(t *testing.T, c *pairtest.Cluster) {
	from := do(t, c, "lb1", "big", true)
	c.Only(t, "lb2", 5*time.Second, big)
	c.Planned(t, from, "lb2", big)
	c.Get("lb2").Says(t, `instance=big from=backup to=master why="10.0.0.11 advertises priority 99, ours is 100"`, time.Second)
	from = do(t, c, "lb1", "big", false)
	c.Only(t, "lb1", 5*time.Second, big)
	c.Planned(t, from, "lb1", big)
}

func stays(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	from := do(t, c, "lb1", "sticky", true)
	c.Only(t, "lb2", 5*time.Second, sticky) // health beats stickiness
	c.Planned(t, from, "lb2", sticky)
	from = do(t, c, "lb1", "sticky", false)
	lb1.AwaitInstance(t, "sticky", 5*time.Second, func(i node.InstanceStatus) bool { return i.Priority == 150 })
	c.Rests(t, from, time.Now().Add(time.Second), sticky)
	// The one that has it is ill now.
	from = do(t, c, "lb2", "sticky", true)
	c.Only(t, "lb1", 5*time.Second, sticky)
	c.Planned(t, from, "lb1", sticky)
	do(t, c, "lb2", "sticky", false)
}

func equals(t *testing.T, c *pairtest.Cluster) {
	// The higher address of lb2 alone is no reason to preempt.
	from := time.Now()
	c.Rests(t, from, from.Add(500*time.Millisecond), equal)
	// Two masters meet after a cut: the higher address stays.
	pairtest.Step(t, c.Get("lb1").Cut)
	labtest.Eventually(t, 5*time.Second, func() (bool, string) {
		owners := c.Owners.Owners(equal)
		return fmt.Sprint(owners) == "[lb1 lb2]", fmt.Sprintf("owners of %v are %v", equal, owners)
	})
	from = pairtest.Step(t, c.Get("lb1").Heal)
	c.Only(t, "lb2", 5*time.Second, equal)
	c.Overlap(t, equal, from, 100*time.Millisecond+pairtest.Lingers)
	from = time.Now()
	c.Rests(t, from, from.Add(500*time.Millisecond), equal)
	c.Reaches(t, equal, "lb2", 2*time.Second)
	for _, vip := range c.VIPs { // the other instances settle, too
		if vip != equal {
			c.Only(t, "lb1", pairtest.SettleBound, vip)
		}
	}
}

// plan writes what the script check on a host returns from its next run on. The plan before must have come to its end.
func plan(t *testing.T, h *pairtest.Server, results string) {
	t.Helper()
	path := filepath.Join(h.Dir(), "plan")
	// In one step, so that no run reads half of it.
	if err := errors.Join(os.WriteFile(path+".next", []byte(results+"\n"), 0o644), os.Rename(path+".next", path)); err != nil {
		t.Fatal(err)
	}
}

// performed waits until the plan has come to its end.
func performed(t *testing.T, h *pairtest.Server) {
	t.Helper()
	labtest.Eventually(t, 10*time.Second, func() (bool, string) {
		left, err := os.ReadFile(filepath.Join(h.Dir(), "plan"))
		return err == nil && len(strings.Fields(string(left))) == 1, fmt.Sprintf("%s still has the plan %q, %v", h.Name(), left, err)
	})
}

func riseAndFall(t *testing.T, c *pairtest.Cluster) {
	lb1 := c.Get("lb1")
	// fall is 3: one or two failures in a row are nothing.
	from := pairtest.Step(t, func() error { plan(t, lb1, "2 0 2 2 0 2 2 0"); return nil })
	performed(t, lb1)
	c.Rests(t, from, time.Now().Add(300*time.Millisecond), rising)
	// Three are enough, and rise is 4: three successes in a row are nothing.
	from = pairtest.Step(t, func() error { plan(t, lb1, "2 2 2 0 2 0 0 0 2 0 0 0 2"); return nil })
	c.Only(t, "lb2", 10*time.Second, rising)
	performed(t, lb1)
	c.Rests(t, time.Now(), time.Now().Add(300*time.Millisecond), rising)
	c.Moved(t, rising, from, "lb2")
	lb1.Says(t, `unhealthy: check=rising why="the plan says 2 \(exit status 2\)`, time.Second)
	from = pairtest.Step(t, func() error { plan(t, lb1, "0 0 0 2 0 0 0 2 0 0 0 0"); return nil })
	performed(t, lb1)
	c.Only(t, "lb1", 10*time.Second, rising)
	c.Moved(t, rising, from, "lb1")
}

func oneFate(t *testing.T, c *pairtest.Cluster) {
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	v6 := func(h *pairtest.Server, rules ...netlab.Rule) time.Time {
		t.Helper()
		return pairtest.Step(t, func() error { return h.Firewall(t.Context(), rules...) })
	}
	// The backup hears no advert over IPv6 any more: it waits, since IPv4's master is still there.
	from := v6(lb2, netlab.DropIn(netlab.VRRPv6))
	lb2.AwaitInstance(t, "fate", 5*time.Second, func(i node.InstanceStatus) bool {
		for _, r := range i.Routers {
			if r.Waiting != "" {
				return i.State == node.Backup
			}
		}
		return false
	})
	c.Rests(t, from, time.Now().Add(700*time.Millisecond), fate4, fate6)
	// Even so the families move together.
	from = do(t, c, "lb1", "fate", true)
	c.Only(t, "lb2", 5*time.Second, fate4, fate6)
	c.Planned(t, from, "lb2", fate4, fate6)
	from = do(t, c, "lb1", "fate", false)
	c.Only(t, "lb1", 5*time.Second, fate4, fate6)
	c.Planned(t, from, "lb1", fate4, fate6)
	v6(lb2)
	// The master's own firewall refuses them: nobody else is heard, so it goes on.
	from = v6(lb1, netlab.DropOut(netlab.VRRPv6))
	lb1.AwaitInstance(t, "fate", 5*time.Second, func(i node.InstanceStatus) bool {
		for _, r := range i.Routers {
			if r.SendError != "" {
				return true
			}
		}
		return false
	})
	c.Rests(t, from, time.Now().Add(700*time.Millisecond), fate4, fate6)
	v6(lb1)
}
