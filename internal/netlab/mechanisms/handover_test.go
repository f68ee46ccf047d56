package mechanisms

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// other4 is the address of a second instance, which the removal of the first one must not touch.
var other4 = netip.MustParseAddr("10.0.0.101")

// other is that instance.
const other = `
instance "other" {
  interface = "eth0"
  vrid      = 72
  priority  = { lb1 = 150, lb2 = 100, lb3 = 99 }[hostname]
  addresses = ["10.0.0.101"]
  checks    = ["page"]
}
`

// TestHandover tells of every planned loss of mastership: nobody's new connection is lost, and the address is on the other host
// without a wait for the skew of 610 ms.
func TestHandover(t *testing.T) {
	t.Parallel()
	whole := instanceOf(`"10.0.0.100", "fd00::100"`, "") + other + page + switched("app", "") + switched("site", `on_failure = "release"`)
	c := pair(t, whole, web4, web6, other4)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	back := func(t *testing.T, do func() error) {
		t.Helper()
		from := pairtest.Step(t, do)
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1", web4, web6)
	}
	webs := []netip.Addr{web4, web6}
	// Not after the skew of 610 ms, counted from when lb1 said that it goes: the command itself takes its time to start.
	within := func(t *testing.T, from time.Time) {
		t.Helper()
		c.Only(t, "lb2", moveBound, webs...)
		if took := c.Owners.History().Gets("lb2", web4, from).Sub(left(t, lb1)); took > 250*time.Millisecond+noise/2 {
			t.Errorf("the move took %v", took)
		}
		c.Planned(t, from, "lb2", webs...)
	}

	t.Run("drain and undrain", func(t *testing.T) {
		wire := capture(t, c.User, "proto 112")
		from := time.Now()
		// Each of the two may be heard by either family first.
		told := regexp.MustCompile(`^(drained: (10\.0\.0\.12|fe80::ff:fe00:2) has (web, other|web|other)\n){1,2}$`)
		if out := lb1.Does(t, 0, "drain"); !told.MatchString(out) {
			t.Errorf("drain says %q", out)
		}
		within(t, from)
		offered(t, c, wire, "10.0.0.11 >", from)
		offered(t, c, wire, "fe80::ff:fe00:1 >", from)
		lb1.Does(t, 4, "status", "web")
		lb2.Does(t, 0, "status", "web")
		back(t, func() error { lb1.Does(t, 0, "undrain"); return nil })
	})
	t.Run("a check yields", func(t *testing.T) {
		within(t, pairtest.Step(t, func() error { return sick(lb1, "app", true) }))
		back(t, func() error { return sick(lb1, "app", false) })
	})
	t.Run("a check releases", func(t *testing.T) {
		from := pairtest.Step(t, func() error { return sick(lb1, "site", true) })
		c.Only(t, "lb2", moveBound, webs...)
		c.Planned(t, from, "lb2", webs...)
		state(t, lb1, node.Fault, `check "site"`, time.Second)
		back(t, func() error { return sick(lb1, "site", false) })
	})
	t.Run("the announcements of the other host are not seen", func(t *testing.T) { unseen(t, c, web4, other4) })
	t.Run("a reload removes the instance", func(t *testing.T) {
		from := pairtest.Step(t, func() error { lb1.Configure(t, other+page); return nil })
		c.Only(t, "lb2", moveBound, webs...)
		c.Planned(t, from, "lb2", webs...)
		c.Rests(t, from, time.Now().Add(200*time.Millisecond), other4)
		back(t, func() error { lb1.Configure(t, whole); return nil })
	})
	t.Run("a reload removes a family", func(t *testing.T) { familyRemoved(t, c, whole) })
	t.Run("a reload adds a family", func(t *testing.T) {
		from := pairtest.Step(t, func() error { lb1.Configure(t, whole); return nil })
		c.Only(t, "lb1", moveBound, webs...)
		// It does not wait for the Master_Down_Interval of the new family.
		if took := c.Owners.History().Gets("lb1", web6, from).Sub(from); took > time.Second+noise {
			t.Errorf("lb1 had %v %v after the reload", web6, took)
		}
		c.Rests(t, from, time.Now().Add(noise), web4)
		pairtest.Step(t, func() error { lb2.Configure(t, whole); return nil })
		c.Settled(t, "lb1")
	})
}

// unseen drains lb1 while it sees nothing of what lb2 announces by ARP: it serves on for 80 ms after lb2 is there, and 0.5 ms more for each
// of the three addresses that it has, and nobody notices.
func unseen(t *testing.T, c *pairtest.Cluster, vips ...netip.Addr) {
	const want, early = 81500 * time.Microsecond, 20 * time.Millisecond // the wait begins with the advert, the addresses come after it
	lb1 := c.Get("lb1")
	pairtest.Step(t, func() error { return lb1.Broadcasts(t.Context(), false) })
	from := pairtest.Step(t, func() error { lb1.Does(t, 0, "drain"); return nil })
	c.Only(t, "lb2", moveBound)
	pairtest.Step(t, func() error { return lb1.Broadcasts(t.Context(), true) })
	history := c.Owners.History()
	for _, vip := range vips {
		c.Moved(t, vip, from, "lb2")
		c.Ungapped(t, vip, from)
		kept := history.Loses("lb1", vip, from).Sub(history.Gets("lb2", vip, from))
		if kept < want-early-c.Slack(from, time.Now()) || kept > want+noise+c.Slack(from, time.Now()) {
			t.Errorf("%v: lb1 let go %v after lb2 had it, want %v", vip, kept, want)
		}
	}
	c.Unharmed(t, web4, from, time.Now(), 0)
	from = pairtest.Step(t, func() error { lb1.Does(t, 0, "undrain"); return nil })
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1", vips...)
}

// offered asserts what a host said when it left: one advert whose interval is a centisecond, with its priority from before; then
// the release, up to three times within milliseconds; and no more.
func offered(t *testing.T, c *pairtest.Cluster, wire *netlab.Proc, source string, from time.Time) {
	t.Helper()
	var all, offers, releases []time.Time
	for _, line := range regexp.MustCompile(`(?m)^.* vrid 71,.*$`).FindAllString(wire.Output(), -1) {
		at, ok := instant(line)
		if !ok || at.Before(from) || !strings.Contains(line, source) {
			continue
		}
		all = append(all, at)
		switch {
		case strings.Contains(line, "prio 150, intvl 1cs"):
			offers = append(offers, at)
		case strings.Contains(line, "prio 0,"):
			releases = append(releases, at)
		}
	}
	if len(offers) != 1 || len(releases) < 1 || len(releases) > 3 {
		t.Fatalf("%d offers and %d releases from %s, want one, and up to three:\n%s", len(offers), len(releases), source, wire.Output())
	}
	if offers[0].After(releases[0]) || releases[len(releases)-1].Sub(offers[0]) > 20*time.Millisecond+c.Slack(from, time.Now()) {
		t.Errorf("offered at %v, released at %v", offers, releases)
	}
	if n := between(all, releases[len(releases)-1], time.Now()); n > 0 {
		t.Errorf("%d adverts from %s after its release:\n%s", n, source, wire.Output())
	}
}

// left is when the instance web on a host began to leave the last time, as its log says.
func left(t *testing.T, h *pairtest.Server) time.Time {
	t.Helper()
	list := changed(t, h, node.Master, node.Leaving)
	if len(list) == 0 {
		t.Fatalf("web has not left %s", h.Name())
	}
	return list[len(list)-1]
}

// changed is when the instance web on a host went from one state to another, each time, as its log says.
func changed(t *testing.T, h *pairtest.Server, from, to node.State) (list []time.Time) {
	t.Helper()
	pattern := fmt.Sprintf(`(?m)^(\S+) .* instance=web (?:group=\S+ )?from=%s to=%s `, from, to)
	for _, line := range regexp.MustCompile(pattern).FindAllStringSubmatch(h.Log(), -1) {
		at, err := time.Parse(time.RFC3339, line[1])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, at)
	}
	return list
}

// familyRemoved takes IPv6 out of the instance, on the master first: IPv4 notices nothing, and in the end nobody has the address.
func familyRemoved(t *testing.T, c *pairtest.Cluster, whole string) {
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	less := strings.Replace(whole, `"10.0.0.100", "fd00::100"`, `"10.0.0.100"`, 1)
	from := pairtest.Step(t, func() error { lb1.Configure(t, less); return nil })
	lb1.SaysAgain(t, "configuration reloaded", 0, moveBound)
	await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return len(i.Routers) == 1 && i.State == node.Master })
	pairtest.Until(t, from.Add(5*time.Second)) // the one that was removed has left by then, after two waits
	c.Only(t, "lb1", time.Second, web4, other4)
	c.Unharmed(t, web4, from, time.Now(), 0)
	pairtest.Step(t, func() error { lb2.Configure(t, less); return nil })
	c.Only(t, "", settleBound, web6)
	c.Only(t, "lb1", time.Second, web4, other4)
	c.Unharmed(t, web4, from, time.Now(), 0)
}

// TestHandoverToNobodyBetter tells that an unhealthy host takes the addresses of one that goes for good, and none of one that can
// stay.
func TestHandoverToNobodyBetter(t *testing.T) {
	t.Parallel()
	c := pair(t, instance("")+page+switched("app", ""))
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	pairtest.Step(t, func() error { return sick(lb2, "app", true) })
	await(t, lb2, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 1 })

	t.Run("a drain", func(t *testing.T) {
		from := time.Now()
		if out := lb1.Does(t, 4, "drain"); !strings.Contains(out, "nobody took over web") {
			t.Errorf("drain says %q", out)
		}
		// Longer than a last resort would wait, and the first repeated offers.
		c.Rests(t, from, time.Now().Add(5*time.Second))
		lb1.Does(t, 0, "undrain")
		c.Rests(t, from, time.Now().Add(500*time.Millisecond))
		await(t, lb1, time.Second, func(i node.InstanceStatus) bool { return i.Priority == 150 && i.State == node.Master })
	})
	t.Run("a drain, and then the other one recovers", func(t *testing.T) {
		lb1.Does(t, 4, "drain")
		from := pairtest.Step(t, func() error { return sick(lb2, "app", false) })
		c.Only(t, "lb2", moveBound)
		c.Planned(t, from, "lb2")
		from = pairtest.Step(t, func() error { lb1.Does(t, 0, "undrain"); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
		pairtest.Step(t, func() error { return sick(lb2, "app", true) })
		await(t, lb2, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 1 })
	})
	t.Run("a stop", func(t *testing.T) {
		from := time.Now()
		lb1.Stop(t)
		c.Only(t, "lb2", moveBound)
		c.Planned(t, from, "lb2")
		lb1.Start(t)
		c.Only(t, "lb1", settleBound)
	})
}

// TestHandoverToOneThatCannot tells that a host where somebody else has the address is no successor: who offered it serves on.
func TestHandoverToOneThatCannot(t *testing.T) {
	t.Parallel()
	c := pair(t, instanceOf(`"10.0.0.100", "fd00::100"`, "")+page, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	foreign := netip.PrefixFrom(web4, 24)
	// Somebody's leftover, which its owner keeps quiet about: nobody's packets may go there.
	pairtest.Step(t, func() error { return lb2.Sysctl("net.ipv4.conf.eth0.arp_ignore", "8") })
	from := pairtest.Step(t, func() error { return lb2.AddAddress(foreign) })

	t.Run("it is no successor", func(t *testing.T) {
		state(t, lb2, node.Fault, web4.String()+" is on eth0 already and not ours", moveBound)
		lb1.Does(t, 4, "drain")
		c.Unharmed(t, web4, from, time.Now(), 0)
		c.Unharmed(t, web6, from, time.Now(), 0)
		c.Only(t, "lb1", time.Second, web6)
		// It is left as it was found.
		if line := entry(t, lb2, web4); !strings.Contains(line, foreign.String()) || !strings.Contains(line, "valid_lft forever") {
			t.Errorf("the address that was there first is %q now", line)
		}
	})
	t.Run("it takes part when the other one is removed", func(t *testing.T) {
		c.Unharmed(t, web4, from, time.Now(), 0)
		pairtest.Step(t, func() error { return lb2.RemoveAddress(foreign) })
		pairtest.Step(t, func() error { return lb2.Sysctl("net.ipv4.conf.eth0.arp_ignore", "0") })
		c.Only(t, "lb2", 5*time.Second)
		lb1.Does(t, 0, "undrain")
		c.Settled(t, "lb1")
		c.Unharmed(t, web4, from, time.Now(), 0)
	})
}

// TestSeveralBackups tells that of two backups whose timers end together one stays, the better one, at no cost.
func TestSeveralBackups(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2", "lb3"}, instance("")+page)
	begin(t, c)
	lb1 := c.Get("lb1")
	for range 3 {
		from := time.Now()
		lb1.Does(t, 0, "drain")
		c.Only(t, "lb2", moveBound)
		pairtest.Until(t, time.Now().Add(200*time.Millisecond))
		c.Only(t, "lb2", time.Millisecond)
		c.Overlap(t, web4, from, pairtest.Lingers)
		c.Ungapped(t, web4, from)
		c.Unharmed(t, web4, from, time.Now(), 0)
		c.Reaches(t, web4, "lb2", time.Second)
		lb1.Does(t, 0, "undrain")
		labtest.Eventually(t, settleBound, func() (bool, string) { return lb1.AtHome(t, true) })
		c.Settled(t, "lb1")
	}
}
