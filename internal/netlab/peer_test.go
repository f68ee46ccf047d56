package netlab_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

const (
	vip       = "10.0.0.100"
	interval  = 100 * time.Millisecond
	electedIn = 5 * time.Second
)

// pair is two hosts with nginx and keepalived, a client, and what records them.
type pair struct {
	lb1, lb2, user *netlab.Host
	client         *netlab.Client
	owners         *netlab.Ownership
	daemons        map[string]*netlab.Proc
}

func newPair(t *testing.T) *pair {
	t.Helper()
	labtest.Root(t)
	labtest.Require(t, "nginx", "keepalived", "nft")
	l := labtest.New(t)
	p := &pair{
		lb1:     labtest.Host(t, l, "lb1", "10.0.0.11/24"),
		lb2:     labtest.Host(t, l, "lb2", "10.0.0.12/24"),
		user:    labtest.Host(t, l, "client", "10.0.0.50/24"),
		daemons: make(map[string]*netlab.Proc),
	}
	p.owners = labtest.Watch(t, l)
	labtest.Nginx(t, p.lb1)
	labtest.Nginx(t, p.lb2)
	p.start(t, p.lb1, 150)
	labtest.Owner(t, p.owners, vip, "lb1", electedIn)
	p.start(t, p.lb2, 100)
	p.client = labtest.Client(t, p.user, vip+":80", netlab.ClientOptions{})
	return p
}

func (p *pair) start(t *testing.T, h *netlab.Host, priority int) {
	t.Helper()
	config := filepath.Join(h.Dir(), "keepalived.conf")
	text := fmt.Sprintf(`global_defs {
	vrrp_version 3
}
vrrp_instance web {
	interface eth0
	state BACKUP
	virtual_router_id 71
	priority %d
	advert_int %v
	virtual_ipaddress {
		%s
	}
}
`, priority, interval.Seconds(), vip)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pids := filepath.Join(h.Dir(), "keepalived")
	d, err := h.Start("keepalived", "-n", "-l", "-D", "-P", "-f", config, "-p", pids+".pid", "-r", pids+"-vrrp.pid")
	if err != nil {
		t.Fatal(err)
	}
	p.daemons[h.Name()] = d
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s on %s:\n%s", "keepalived", h.Name(), d.Output())
		}
	})
}

// move runs a step, waits for the owners that it must lead to, and returns what the client saw meanwhile.
func (p *pair) move(t *testing.T, step func() error, owners func() (bool, string)) netlab.Attempts {
	t.Helper()
	from := time.Now()
	if err := step(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, electedIn, owners)
	// The client's own neighbour entry follows the announcement that follows the address.
	return p.client.Between(from, time.Now().Add(5*interval))
}

func (p *pair) only(host string) func() (bool, string) { return p.owned(host) }

func (p *pair) owned(hosts ...string) func() (bool, string) {
	return func() (bool, string) {
		owners := p.owners.Owners(netip.MustParseAddr(vip))
		return fmt.Sprint(owners) == fmt.Sprint(hosts), fmt.Sprintf("owners are %v, not %v", owners, hosts)
	}
}

func (p *pair) wantMAC(t *testing.T, h *netlab.Host) {
	t.Helper()
	mac, err := p.user.Neighbour(netip.MustParseAddr(vip))
	if err != nil {
		t.Fatal(err)
	}
	if mac.String() != h.MAC().String() {
		t.Errorf("the client has %v at %v, want %v of %s", vip, mac, h.MAC(), h.Name())
	}
}

// TestPeer moves an address between two keepalived hosts in every way that the lab knows: one pair, one story after another.
func TestPeer(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	lost := 3*interval + interval // Master_Down_Interval and its skew, at most
	const noise = 500 * time.Millisecond

	saw := p.move(t, func() error { return nil }, p.only("lb1"))
	if saw.Outage() > netlab.Prompt || saw.LastServer() != "lb1" {
		t.Errorf("quiet pair: %v", saw)
	}
	p.wantMAC(t, p.lb1)

	t.Run("daemon stopped", func(t *testing.T) {
		saw := p.move(t, func() error { return p.daemons["lb1"].Signal(syscall.SIGTERM) }, p.only("lb2"))
		if saw.Outage() > interval+noise || saw.LastServer() != "lb2" || saw.Servers()["lb1"] == len(saw.List) {
			t.Errorf("%v\n%v", saw, p.owners.History())
		}
		p.wantMAC(t, p.lb2)
		if err := p.daemons["lb1"].Wait(t.Context()); err != nil {
			t.Error(err)
		}
		p.start(t, p.lb1, 150)
		labtest.Owner(t, p.owners, vip, "lb1", electedIn)
	})
	t.Run("cut off and healed", func(t *testing.T) {
		saw := p.move(t, p.lb1.Cut, p.owned("lb1", "lb2"))
		if out := saw.Outage(); out < 2*interval || out > lost+noise || saw.LastServer() != "lb2" {
			t.Errorf("%v\n%v", saw, p.owners.History())
		}
		from := time.Now()
		p.move(t, p.lb1.Heal, p.only("lb1"))
		if over := p.owners.History().Overlap(netip.MustParseAddr(vip), from, time.Now()); over == 0 || over > lost+noise {
			t.Errorf("two owners for %v after the heal\n%v", over, p.owners.History())
		}
	})
	t.Run("carrier lost", func(t *testing.T) {
		saw := p.move(t, p.lb1.CarrierDown, p.only("lb2"))
		if saw.Outage() > lost+noise || saw.LastServer() != "lb2" {
			t.Errorf("%v\n%v", saw, p.owners.History())
		}
		p.move(t, p.lb1.CarrierUp, p.only("lb1"))
	})
	t.Run("interface set down", func(t *testing.T) {
		p.move(t, p.lb1.AdminDown, p.only("lb2"))
		p.move(t, p.lb1.AdminUp, p.only("lb1"))
	})
	t.Run("adverts firewalled at the backup", func(t *testing.T) {
		rule := netlab.DropIn(netlab.VRRPPriority(150))
		p.move(t, func() error { return p.lb2.Firewall(t.Context(), rule) }, p.owned("lb1", "lb2"))
		p.move(t, func() error { return p.lb2.Firewall(t.Context()) }, p.only("lb1"))
	})
	t.Run("adverts firewalled at the master", func(t *testing.T) {
		rules := []netlab.Rule{netlab.DropOut(netlab.VRRPv4), netlab.DropOut(netlab.VRRPv6)}
		p.move(t, func() error { return p.lb1.Firewall(t.Context(), rules...) }, p.owned("lb1", "lb2"))
		p.move(t, func() error { return p.lb1.Firewall(t.Context()) }, p.only("lb1"))
	})
	t.Run("everything lost in one direction", func(t *testing.T) {
		p.move(t, func() error { return p.lb1.Lose(t.Context(), 0, 100) }, p.owned("lb1", "lb2"))
		p.move(t, func() error { return p.lb1.Lose(t.Context(), 0, 0) }, p.only("lb1"))
	})
}

func TestLossIsSeenByTheClient(t *testing.T) {
	t.Parallel()
	l := labtest.New(t)
	labtest.Require(t, "nft", "nginx")
	server := labtest.Host(t, l, "server", "10.0.0.1/24", "fd00::1/64")
	user := labtest.Host(t, l, "client", "10.0.0.2/24", "fd00::2/64")
	labtest.Nginx(t, server)
	for _, target := range []string{"10.0.0.1:80", "[fd00::1]:80"} {
		client := labtest.Client(t, user, target, netlab.ClientOptions{Interval: 2 * time.Millisecond})
		from := time.Now()
		whole := client.Between(from, from.Add(400*time.Millisecond))
		if len(whole.Failed()) > 0 || whole.Servers()["server"] < 50 {
			t.Errorf("%s without loss: %v", target, whole)
		}
		if err := user.Lose(t.Context(), 30, 30); err != nil {
			t.Fatal(err)
		}
		from = time.Now()
		lossy := client.Between(from, from.Add(400*time.Millisecond))
		if bad := len(lossy.Failed()) + len(lossy.Delayed()); bad < len(lossy.List)/4 || bad == len(lossy.List) {
			t.Errorf("%s with a third lost: %v", target, lossy)
		}
		if err := user.Lose(t.Context(), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}
