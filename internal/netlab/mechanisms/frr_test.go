package mechanisms

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// Where Debian's package frr has its daemons.
const (
	zebra = "/usr/lib/frr/zebra"
	vrrpd = "/usr/lib/frr/vrrpd"
)

// frrMAC is the virtual router's own MAC address, which FRR answers from.
const frrMAC = "00:00:5e:00:01:47"

// frr starts FRR's VRRP on a host, with priority 100 and the default interval. FRR wants a macvlan with the virtual router's MAC
// and addresses, and switches it on and off: the address is on the host all the time, so that who has it can be told from the
// clients only.
func frr(t *testing.T, h *netlab.Host) *netlab.Proc {
	t.Helper()
	// FRR's daemons drop their rights, and must reach their files then.
	dir := filepath.Join("/run", "understudy-frr-"+h.Namespace())
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	config := "interface eth0\n vrrp 71 version 3\n vrrp 71 priority 100\n vrrp 71 advertisement-interval 1000\n vrrp 71 ip 10.0.0.100\n"
	err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(filepath.Join(dir, "zebra.conf"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "vrrpd.conf"), []byte(config), 0o644),
		// While the macvlan is off its parent must not answer for it, and never ask in its name.
		h.Sysctl("net.ipv4.conf.eth0.arp_ignore", "1"), h.Sysctl("net.ipv4.conf.eth0.arp_announce", "2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"ip link add vrrp4 link eth0 type macvlan mode bridge",
		"ip link set dev vrrp4 address " + frrMAC,
		"ip address add 10.0.0.100/32 dev vrrp4",
		"ip link set dev vrrp4 up",
	} {
		if _, err := h.Exec(t.Context(), strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	var last *netlab.Proc
	for _, program := range []string{zebra, vrrpd} {
		if last, err = h.Start(frrCommand(program, dir)...); err != nil {
			t.Fatal(err)
		}
		p := last
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s on %s:\n%s", program, h.Name(), p.Output())
			}
		})
		labtest.Eventually(t, moveBound, func() (bool, string) {
			_, err := os.Stat(filepath.Join(dir, filepath.Base(program)+".vty"))
			return err == nil, fmt.Sprintf("%s does not run: %v", program, err)
		})
	}
	return last
}

func frrCommand(program, dir string) []string {
	file := func(name string) string { return filepath.Join(dir, name) }
	name := filepath.Base(program)
	return []string{program, "-f", file(name + ".conf"), "-i", file(name + ".pid"), "-z", file("zserv.api"), "--vty_socket", dir, "-P", "0", "--log", "stdout"}
}

// answers waits until the client is answered by a host.
func answers(t *testing.T, c *pairtest.Cluster, host string, bound time.Duration) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		saw := c.Clients[web4].Between(time.Now().Add(-100*time.Millisecond), time.Now())
		return len(saw.List) > 0 && len(saw.Servers()) == 1 && saw.LastServer() == host, fmt.Sprintf("%s does not answer alone: %v", host, saw)
	})
}

// TestFRRSucceeds tells of planned moves to FRR's vrrpd at the default interval, and back.
func TestFRRSucceeds(t *testing.T) {
	t.Parallel()
	labtest.Require(t, zebra, vrrpd)
	c := cluster(t, []string{"lb1", "lb2"}, instance("")+page+switched("app", "")+switched("site", `on_failure = "release"`))
	lb1, lb2 := c.Get("lb1"), c.Get("lb2")
	lb1.Start(t)
	c.Settled(t, "lb1")
	p := frr(t, lb2.Host)
	labtest.Eventually(t, moveBound, func() (bool, string) {
		return strings.Contains(p.Output(), "Initialize -> Backup"), "FRR does not listen: " + p.Output()
	})
	for _, w := range ways(t, lb1) {
		t.Run(w.name, func(t *testing.T) {
			from := pairtest.Step(t, w.leave)
			answers(t, c, "lb2", moveBound)
			c.Outage(t, web4, from, noise, "lb2")
			mac, err := c.User.Neighbour(web4)
			if err != nil || mac.String() != frrMAC {
				t.Errorf("the user has %v at %v, want %s; %v", web4, mac, frrMAC, err)
			}
			labtest.Eventually(t, time.Second, func() (bool, string) {
				held, err := lb1.Holds(web4)
				return err == nil && !held, fmt.Sprintf("lb1 still has %v; %v", web4, err)
			})
			from = pairtest.Step(t, w.enter)
			labtest.Eventually(t, settleBound, func() (bool, string) { return lb1.AtHome(t, true) })
			answers(t, c, "lb1", moveBound)
			c.Outage(t, web4, from, noise, "lb1")
			c.Reaches(t, web4, "lb1", time.Second)
		})
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	answers(t, c, "lb1", moveBound)
}
