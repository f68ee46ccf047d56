package examples

import (
	"net/netip"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestPair kills nginx of the pair's master, and starts it again.
func TestPair(t *testing.T) {
	t.Parallel()
	l := newLab(t, pairNetwork)
	l.serves(t)
	l.starts(t, "pair/understudy.hcl")
	l.Settled(t, "lb1")
	lb1, lb2 := l.machines["lb1"], l.machines["lb2"]

	reloads := lb2.nginxReloads(t)
	from := pairtest.Step(t, func() error { lb1.killNginx(t); return nil })
	l.Only(t, "lb2", 5*time.Second)
	for _, vip := range l.VIPs {
		l.Moved(t, vip, from, "lb2")
		l.Outage(t, vip, from, noise, "lb2")
	}
	// Of the two families either may be the first.
	lb1.tells(t, `INSTANCE web is BACKUP \(priority 1\): check "nginx": .*; relieved by (192\.0\.2\.12|fe80::ff:fe00:2) `, 0)
	lb2.tells(t, `INSTANCE web is MASTER \(priority 100\): handed over by (192\.0\.2\.11|fe80::ff:fe00:1)`, 0)
	eventually(t, func() (bool, string) { return lb2.nginxReloads(t) > reloads, "nginx of lb2 was not reloaded" })

	from = pairtest.Step(t, func() error { lb1.startNginx(t); return nil })
	l.Settled(t, "lb1")
	l.Planned(t, from, "lb1")
}

// TestSticky moves the address for a page that answers no more, and sees it stay when the page is well again.
func TestSticky(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every}
	l := newLab(t, n)
	l.serves(t)
	lb1 := l.machines["lb1"]
	l.starts(t, "sticky/understudy.hcl")
	l.Settled(t, "lb1")

	from := pairtest.Step(t, func() error { lb1.sh(t, "mv /etc/nginx/conf.d/nginx-healthz.conf /root; nginx -s reload"); return nil })
	l.Only(t, "lb2", 10*time.Second)
	l.Planned(t, from, "lb2")
	lb1.sh(t, "mv /root/nginx-healthz.conf /etc/nginx/conf.d; nginx -s reload")
	l.stays(t, "lb2")
}

// TestDualMaster drains one of two hosts that both serve.
func TestDualMaster(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every, "192.0.2.20": every}
	l := newLab(t, n)
	l.serves(t)
	first, second := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.20")

	names := regexp.MustCompile(`(?m)^www\s+\d+\s+IN\s+A\s+(\S+)$`).FindAllStringSubmatch(example(t, "dual-master/www.zone"), -1)
	var zone []string
	for _, n := range names {
		zone = append(zone, n[1])
	}
	if want := []string{first.String(), second.String()}; !slices.Equal(zone, want) {
		t.Errorf("the zone has %v, want the addresses of the instances %v", zone, want)
	}

	l.starts(t, "dual-master/understudy.hcl")
	l.Only(t, "lb1", pairtest.SettleBound, first)
	l.Only(t, "lb2", pairtest.SettleBound, second)
	lb2 := l.machines["lb2"]
	lb2.isMaster(t, "second")
	from := pairtest.Step(t, func() error { lb2.sh(t, "understudy drain"); return nil })
	l.Only(t, "lb1", 5*time.Second)
	l.Planned(t, from, "lb1", second)
	from = pairtest.Step(t, func() error { lb2.sh(t, "understudy undrain"); return nil })
	l.Only(t, "lb2", pairtest.SettleBound, second)
	l.Planned(t, from, "lb2", second)
	if moves := l.Owners.History().Moves(first, from, time.Now()); moves > 0 {
		t.Errorf("%v moved %d times with the other one", first, moves)
	}
}

// TestDualStack silences one family, at which nothing moves, and then takes nginx one of its listeners, at which both families do.
func TestDualStack(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every, "2001:db8::10": every, "2001:db8::443": every}
	l := newLab(t, n)
	l.serves(t)
	l.starts(t, "dual-stack/understudy.hcl")
	l.Settled(t, "lb1")
	lb1, lb2 := l.machines["lb1"], l.machines["lb2"]

	from := pairtest.Step(t, func() error { return lb2.Firewall(t.Context(), netlab.DropIn(netlab.VRRPv6)) })
	lb2.AwaitInstance(t, "web", 10*time.Second, func(i node.InstanceStatus) bool {
		return slices.ContainsFunc(i.Routers, func(r node.RouterStatus) bool { return r.Waiting != "" })
	})
	l.Rests(t, from, time.Now())
	pairtest.Step(t, func() error { return lb2.Firewall(t.Context()) })

	from = pairtest.Step(t, func() error {
		lb1.sh(t, "sed -i '/listen \\[::\\]/d' /etc/nginx/conf.d/site.conf; nginx -s reload")
		return nil
	})
	l.Only(t, "lb2", 10*time.Second)
	l.Moved(t, netip.MustParseAddr("192.0.2.10"), from, "lb2")
	l.Planned(t, from, "lb2", netip.MustParseAddr("192.0.2.10"))
	lb1.Says(t, `unhealthy: check=ipv6 why=.*refused`, time.Second)
}

// TestThreeHosts takes one after the other away.
func TestThreeHosts(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.hosts, n.vips = []string{"lb1", "lb2", "lb3"}, map[string]time.Duration{"192.0.2.10": every}
	l := newLab(t, n)
	l.serves(t)
	l.starts(t, "three-hosts/understudy.hcl")
	l.Settled(t, "lb1")
	vip := l.VIPs[0]

	from := pairtest.Step(t, func() error { l.machines["lb1"].Stop(t); return nil })
	l.Only(t, "lb2", 5*time.Second)
	l.Unharmed(t, vip, from, time.Now(), 0)
	from = pairtest.Step(t, func() error { l.machines["lb2"].killNginx(t); return nil })
	l.Only(t, "lb3", 5*time.Second)
	l.Outage(t, vip, from, noise, "lb3")
	l.machines["lb2"].startNginx(t)
	l.machines["lb1"].Start(t)
	l.stays(t, "lb3")
}
