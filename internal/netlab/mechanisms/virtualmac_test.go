package mechanisms

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// The virtual router's own MAC addresses, for VRID 71.
const (
	virtual4 = "00:00:5e:00:01:47"
	virtual6 = "00:00:5e:00:02:47"
)

// virtual is an instance with addresses of both families and a virtual MAC.
func virtual(more string) string {
	return instanceOf(`"10.0.0.100", "fd00::100"`, `mac = "virtual"`+"\n"+more)
}

// frames begins to record every ARP and IPv6 frame that the user sees, with its MAC addresses.
func frames(t *testing.T, c *pairtest.Cluster) *netlab.Proc {
	t.Helper()
	return captureWith(t, c.User, "arp or (ip6 and not tcp) or proto 112", "-ettlnn")
}

// captureWith is capture with other options of tcpdump.
func captureWith(t *testing.T, h *netlab.Host, filter string, options ...string) *netlab.Proc {
	t.Helper()
	labtest.Require(t, "tcpdump")
	p, err := h.Start(append(append([]string{"tcpdump", "--immediate-mode", "-i", netlab.Interface}, options...), filter)...)
	if err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, moveBound, func() (bool, string) {
		return strings.Contains(p.Output(), "listening on"), "tcpdump says " + p.Output()
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s saw:\n%s", h.Name(), p.Output())
		}
	})
	return p
}

// claims matches the frames that say where an address of the instance is: an ARP packet with it as the sender, or a neighbour
// advertisement for it. The first group is the frame's MAC address.
var claims = regexp.MustCompile(`(?m)^\S+ (\S+) > .*(?:tell 10\.0\.0\.100,|Reply 10\.0\.0\.100 is-at|neighbor advertisement, tgt is fd00::100,).*$`)

// honest asserts that no frame ever claimed an address from another MAC than the virtual one.
func honest(t *testing.T, p *netlab.Proc) {
	t.Helper()
	found := claims.FindAllStringSubmatch(p.Output(), -1)
	if len(found) == 0 {
		t.Errorf("nobody ever claimed an address")
	}
	for _, m := range found {
		if m[1] != virtual4 && m[1] != virtual6 {
			t.Errorf("claimed from another MAC: %s", m[0])
		}
	}
}

// knows asserts the user's neighbour entries: the virtual MACs, whoever is master.
func knows(t *testing.T, c *pairtest.Cluster) {
	t.Helper()
	for vip, want := range map[netip.Addr]string{web4: virtual4, web6: virtual6} {
		if mac, err := c.User.Neighbour(vip); err != nil || mac.String() != want {
			t.Errorf("the user has %v at %s, want %s; %v", mac, vip, want, err)
		}
	}
}

// untraced is what a host has that a virtual MAC could change: interfaces, addresses, routes, and what its interface heeds.
func untraced(t *testing.T, h *pairtest.Server) string {
	t.Helper()
	out, err := h.Exec(t.Context(), "sh", "-c", `ip -br link; cat /proc/sys/net/ipv4/conf/*/arp_ignore /proc/sys/net/ipv4/conf/*/arp_announce 2>&1 || true`) // a device may go meanwhile
	if err != nil {
		t.Fatal(err)
	}
	own, err := h.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out + own
}

// asked matches a request for somebody's MAC address: the frame's own, and the protocol address that it comes from; of a neighbour
// solicitation also the MAC address that it names as its source's.
var asked = regexp.MustCompile(`(?m)^\S+ (\S+) > .*(?:who-has \S+ tell (\S+),.*|\) (\S+) > \S+: .*neighbor solicitation, .*\n\s+source link-address option .*: (\S+))$`)

// asks has a master forget its clients, and asserts that it looks for them by its own addresses and MAC address: what it asks says
// nothing of a virtual address.
func asks(t *testing.T, c *pairtest.Cluster, h *pairtest.Server) {
	t.Helper()
	p := captureWith(t, c.User, "arp or icmp6", "-evttlnn")
	if _, err := h.Exec(t.Context(), "ip", "neigh", "flush", "dev", netlab.Interface); err != nil {
		t.Fatal(err)
	}
	mac := h.MAC().String()
	requests, solicitations := 0, 0
	labtest.Eventually(t, moveBound, func() (bool, string) {
		requests, solicitations = 0, 0
		for _, m := range asked.FindAllStringSubmatch(p.Output(), -1) {
			own := m[1] == mac || m[4] == mac
			switch from := m[2] + m[3]; {
			case own && (from == web4.String() || from == web6.String()), own && m[3] != "" && (m[1] != mac || m[4] != mac):
				t.Errorf("it asks of a virtual address: %s", m[0])
			case own && m[3] != "":
				solicitations++
			case own:
				requests++
			}
		}
		return requests > 0 && solicitations > 0 || t.Failed(), fmt.Sprintf("it sent %d ARP requests and %d neighbour solicitations", requests, solicitations)
	})
}

// TestVirtualMAC tells of ten moves of a pair with a virtual MAC: the clients never learn of them, and lose nothing.
func TestVirtualMAC(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, virtual("")+page, web4, web6)
	lb1 := c.Get("lb1")
	before := untraced(t, lb1)
	wire := frames(t, c)
	begin(t, c)
	knows(t, c)

	t.Run("ten moves", func(t *testing.T) {
		for n := range 5 {
			t.Run(fmt.Sprintf("stop %d", n+1), func(t *testing.T) {
				from := pairtest.Step(t, func() error { lb1.Stop(t); return nil })
				c.Only(t, "lb2", moveBound)
				c.Planned(t, from, "lb2")
				knows(t, c)
				if diff := cmp.Diff(before, untraced(t, lb1)); diff != "" {
					t.Errorf("what is left on lb1 (-before +after)\n%s", diff)
				}
			})
			t.Run(fmt.Sprintf("return %d", n+1), func(t *testing.T) {
				from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
				c.Settled(t, "lb1")
				c.Planned(t, from, "lb1")
				knows(t, c)
			})
		}
	})
	t.Run("a host that lost a client asks for it as itself", func(t *testing.T) {
		asks(t, c, lb1)
		knows(t, c)
	})
	t.Run("the host's own addresses have its own MAC", func(t *testing.T) {
		for ask, want := range map[string]string{"arping -c 1 -w 1 10.0.0.11": "02:00:00:00:00:01", "arping -c 1 -w 1 10.0.0.100": virtual4} {
			out, err := c.User.Exec(t.Context(), strings.Fields(ask)...)
			if got := strings.ToLower(out); err != nil || strings.Count(got, "from ")+strings.Count(got, "bytes from") == 0 || !strings.Contains(got, want) {
				t.Errorf("%s: %v\n%s", ask, err, out)
			}
		}
	})
	t.Run("a backup is silent", func(t *testing.T) {
		other := captureWith(t, c.Get("lb2").Host, "ether src "+virtual4+" or ether src "+virtual6, "-Q", "out", "-elnn")
		for _, ask := range []string{"arping -c 2 -w 2 10.0.0.100", "ndisc6 -1 -r 2 -w 500 fd00::100 eth0"} {
			if out, err := c.User.Exec(t.Context(), strings.Fields(ask)...); err != nil {
				t.Errorf("%s: %v\n%s", ask, err, out)
			}
		}
		if strings.Contains(other.Output(), "ethertype") {
			t.Errorf("the backup sent from the virtual MAC:\n%s", other.Output())
		}
	})
	honest(t, wire)
}

// TestVirtualMACIsKept tells what a daemon does about a device that something else removes or changes.
func TestVirtualMACIsKept(t *testing.T) {
	t.Parallel()
	c := pair(t, virtual("")+page, web4, web6)
	lb1 := c.Get("lb1")
	for _, what := range []string{
		"ip link del us4-71-eth0", "ip link del us6-71-eth0", "ip link set us4-71-eth0 down", "ip link set us6-71-eth0 down",
		"ip address flush dev us6-71-eth0",
	} {
		t.Run(what, func(t *testing.T) {
			warned := lb1.Logged("it is made again")
			from := pairtest.Step(t, func() error { _, err := lb1.Exec(t.Context(), strings.Fields(what)...); return err })
			if strings.HasPrefix(what, "ip link") {
				lb1.SaysAgain(t, "it is made again", warned, moveBound)
			}
			c.Settled(t, "lb1")
			for _, vip := range c.VIPs {
				c.Outage(t, vip, from, noise, "lb1")
			}
			if moves := c.Owners.History().Moves(web4, from, time.Now()); moves > 0 {
				t.Errorf("%v moved %d times", web4, moves)
			}
			pairtest.Until(t, from.Add(2*time.Second+100*time.Millisecond)) // five losses within 10 s are a reason to yield
		})
	}
}

// TestVirtualMACAfterADeath tells what is left of a daemon that is killed: nothing, once the next one has looked.
func TestVirtualMACAfterADeath(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, virtual("")+page, web4, web6)
	lb1 := c.Get("lb1")
	before := untraced(t, lb1)
	begin(t, c)

	t.Run("with a cleanup", func(t *testing.T) {
		pairtest.Step(t, lb1.Daemon.Kill)
		lb1.Does(t, 0, "cleanup")
		c.Only(t, "lb2", time.Second)
		if diff := cmp.Diff(before, untraced(t, lb1)); diff != "" {
			t.Errorf("what is left on lb1 (-before +after)\n%s", diff)
		}
		lb1.Start(t)
		c.Settled(t, "lb1")
	})
	t.Run("without one the next daemon sweeps", func(t *testing.T) {
		pairtest.Step(t, lb1.Daemon.Kill)
		c.Only(t, "lb2", 2*down)
		state(t, c.Get("lb2"), node.Master, "", settleBound) // it has the addresses a moment before the switch knows
		from := pairtest.Step(t, func() error { lb1.Start(t); return nil })
		c.Settled(t, "lb1")
		c.Planned(t, from, "lb1")
		lb1.Stop(t)
		if diff := cmp.Diff(before, untraced(t, lb1)); diff != "" {
			t.Errorf("what is left on lb1 (-before +after)\n%s", diff)
		}
	})
	t.Run("a daemon that is alone adopts", func(t *testing.T) {
		c.Get("lb2").Stop(t)
		lb1.Start(t)
		state(t, lb1, node.Master, "", settleBound)
		from := pairtest.Step(t, lb1.Daemon.Kill)
		if out := lb1.Does(t, 0, "cleanup"); !strings.Contains(out, "nobody took [web]") {
			t.Errorf("cleanup says %q", out)
		}
		lb1.Start(t)
		lb1.Says(t, "adopted the addresses of a daemon of this host that died", moveBound)
		c.Rests(t, from, time.Now().Add(3*time.Second))
	})
}

// TestVirtualMACReload tells that a running pair gets and loses its virtual MAC by a reload, and that nothing is left of it.
func TestVirtualMACReload(t *testing.T) {
	t.Parallel()
	plain := instanceOf(`"10.0.0.100", "fd00::100"`, "") + page
	c := cluster(t, []string{"lb1", "lb2"}, plain, web4, web6)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	before := untraced(t, lb2)
	begin(t, c)
	for _, h := range []*pairtest.Server{lb2, lb1} {
		h.Configure(t, virtual("")+page)
		h.Says(t, "configuration reloaded", moveBound)
	}
	c.Settled(t, "lb1")
	labtest.Eventually(t, moveBound, func() (bool, string) {
		mac, err := c.User.Neighbour(web4)
		return err == nil && mac.String() == virtual4, fmt.Sprintf("the user has %v; %v", mac, err)
	})
	for _, h := range []*pairtest.Server{lb2, lb1} {
		reloads := h.Logged("configuration reloaded")
		h.Configure(t, plain)
		h.SaysAgain(t, "configuration reloaded", reloads, moveBound)
	}
	c.Reaches(t, web4, "lb1", moveBound)
	c.Settled(t, "lb1")
	labtest.Eventually(t, moveBound, func() (bool, string) {
		diff := cmp.Diff(before, untraced(t, lb2))
		return diff == "", "left on lb2 (-before +after)\n" + diff
	})
}

// TestVirtualMACThatCannotBe tells what an administrator reads where the kernel's settings stand in the way, and that it ends
// when they are changed.
func TestVirtualMACThatCannotBe(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1"}, instance(`mac = "virtual"`)+page)
	lb1 := c.Get("lb1")
	if err := lb1.Sysctl("net.ipv4.conf.all.rp_filter", "1"); err != nil {
		t.Fatal(err)
	}
	lb1.Start(t)
	state(t, lb1, node.Fault, linux.SysctlRemedy("net.ipv4.conf.all.rp_filter = 2"), moveBound)
	if err := lb1.Sysctl("net.ipv4.conf.all.rp_filter", "2"); err != nil {
		t.Fatal(err)
	}
	c.Settled(t, "lb1")
	c.Outage(t, web4, time.Now(), noise, "lb1")
}

// TestVirtualMACThatCannotBeAnyMore tells the same of a master: it hands over, as a planned move does, and is in fault then. The
// kernel delivers nothing to the address any more as soon as rp_filter is strict, so the clients wait for as long as the daemon does.
func TestVirtualMACThatCannotBeAnyMore(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance(`mac = "virtual"`)+page)
	begin(t, c)
	lb1 := c.Get("lb1")
	wire := capture(t, c.User, "proto 112")
	set := func(key, value string) {
		t.Helper()
		if err := lb1.Sysctl(key, value); err != nil {
			t.Fatal(err)
		}
	}
	from := pairtest.Step(t, func() error { return lb1.Sysctl("net.ipv4.conf.all.rp_filter", "1") })
	c.Only(t, "lb2", prompt)
	state(t, lb1, node.Fault, "net.ipv4.conf.all.rp_filter = 1", moveBound)
	offered, got := at(t, wire, "prio 0,", from), c.Owners.History().Gets("lb2", web4, from)
	if took := got.Sub(offered); took > prompt+c.Slack(from, time.Now()) {
		t.Errorf("lb2 has the address %s after lb1's advert of priority 0, want at most %s", took, prompt)
	}
	c.Moved(t, web4, from, "lb2")
	c.Ungapped(t, web4, from)
	c.Outage(t, web4, from, prompt, "lb2")
	set("net.ipv4.conf.all.rp_filter", "0")
	c.Settled(t, "lb1")

	set("net.ipv4.conf.us4-71-eth0.arp_ignore", "8")
	labtest.Eventually(t, moveBound, func() (bool, string) {
		out, err := lb1.Exec(t.Context(), "cat", "/proc/sys/net/ipv4/conf/us4-71-eth0/arp_ignore")
		return err == nil && strings.TrimSpace(out) == "1", fmt.Sprintf("arp_ignore is %q; %v", out, err)
	})
}

// TestVirtualMACLeftBehind tells of a device that a killed keepalived left: it makes its host deaf to a master with the virtual MAC, also
// to what that announces. Such a host is in fault, and no second master.
func TestVirtualMACLeftBehind(t *testing.T) {
	t.Parallel()
	c := cluster(t, []string{"lb1", "lb2"}, instance(`mac = { lb1 = "interface", lb2 = "virtual" }[hostname]`)+page)
	lb1 := c.Get("lb1")
	shell := func(script string) {
		t.Helper()
		if _, err := lb1.Exec(t.Context(), "sh", "-ec", script); err != nil {
			t.Fatal(err)
		}
	}
	const leave = "ip link add vrrp.71 link eth0 address " + virtual4 + " type macvlan mode private; ip link set vrrp.71 up"
	shell(leave)
	for _, h := range c.Hosts {
		h.Start(t)
	}
	c.Only(t, "lb2", 2*moveBound)
	state(t, lb1, node.Fault, "ip link del vrrp.71", moveBound)
	shell("ip link del vrrp.71")
	c.Settled(t, "lb1")
	shell(leave) // a master hands over: it would not hear the next one
	c.Only(t, "lb2", moveBound)
	state(t, lb1, node.Fault, virtual4, moveBound)
}

// keepalivedVirtual is the instances of virtual as keepalived has them, with or without a virtual MAC.
func keepalivedVirtual(mac string) string {
	const text = `
vrrp_instance web%[1]d {
	interface eth0
	state BACKUP
	version 3
	virtual_router_id 71
	priority 100
	advert_int 1
	%[2]s
	virtual_ipaddress {
		%[3]s
	}
}
`
	return fmt.Sprintf(text, 4, mac, "10.0.0.100/32") + fmt.Sprintf(text, 6, strings.Replace(mac, "vrrp4", "vrrp6", 1), "fe80::100/64\n\t\tfd00::100/128")
}

// TestVirtualMACAndKeepalived tells of a pair with keepalived, in both roles: where both have the virtual MAC, where only
// keepalived has it, and where only this host has.
func TestVirtualMACAndKeepalived(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, mine, theirs string
		both               bool
	}{
		{"both", `mac = "virtual"`, "use_vmac vrrp4.71", true},
		{"only this host", `mac = "virtual"`, "", false},
		{"only keepalived", "", "use_vmac vrrp4.71", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, []string{"lb1", "lb2"}, instanceOf(`"10.0.0.100", "fe80::100", "fd00::100"`, tt.mine)+page, web4, web6)
			lb1 := c.Get("lb1")
			beginAlone(t, c)
			pairtest.StartKeepalived(t, c.Get("lb2").Host, keepalivedVirtual(tt.theirs))
			pairtest.Until(t, time.Now().Add(2*time.Second)) // until it listens; a backup shows nothing
			c.Only(t, "lb1", time.Second)
			for range 3 {
				from := pairtest.Step(t, func() error { lb1.Stop(t); return nil })
				c.Only(t, "lb2", moveBound)
				for _, vip := range c.VIPs {
					c.Moved(t, vip, from, "lb2")
					c.Outage(t, vip, from, time.Second, "lb2") // its two instances rise one after the other, late on a busy machine
				}
				// keepalived's host asks for clients with the virtual address and its own MAC, so what they have meanwhile is either.
				from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
				c.Settled(t, "lb1")
				if tt.both {
					knows(t, c)
				}
				for _, vip := range c.VIPs {
					c.Moved(t, vip, from, "lb1")
					c.Outage(t, vip, from, noise, "lb1")
				}
			}
		})
	}
}

// TestVirtualMACAndFRR tells of moves to FRR's vrrpd, which has the same virtual MAC, and back.
func TestVirtualMACAndFRR(t *testing.T) {
	t.Parallel()
	pairtest.RequireFRR(t)
	c := cluster(t, []string{"lb1", "lb2"}, instance(`mac = "virtual"`)+page)
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	beginAlone(t, c)
	o := pairtest.FRROptions{VRID: 71, Priority: 100, VIP: web4}
	pairtest.StartFRR(t, lb2.Host, o)
	for range 3 {
		from := pairtest.Step(t, func() error { lb1.Stop(t); return nil })
		answers(t, c, "lb2", moveBound)
		c.Outage(t, web4, from, noise, "lb2")
		from = pairtest.Step(t, func() error { lb1.Start(t); return nil })
		labtest.Eventually(t, settleBound, func() (bool, string) { return lb1.AtHome(t, true) })
		answers(t, c, "lb1", moveBound)
		c.Outage(t, web4, from, noise, "lb1")
		if mac, err := c.User.Neighbour(web4); err != nil || mac.String() != o.MAC() {
			t.Errorf("the user has %v, want %s; %v", mac, o.MAC(), err)
		}
	}
}
