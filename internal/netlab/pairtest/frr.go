package pairtest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// Where Debian's package frr has its daemons.
const (
	zebra = "/usr/lib/frr/zebra"
	vrrpd = "/usr/lib/frr/vrrpd"
)

// frrVersion is what every word about FRR was found out about: Debian 12's.
const frrVersion = "8.4"

// frrBound is how long one of FRR's daemons may take to start.
const frrBound = 5 * time.Second

// FRR is FRR's VRRP on a host. It wants a macvlan with the virtual router's MAC and addresses, and switches it on and off: the
// address is on the host all the time, so that who has it can be told from the clients only.
type FRR struct {
	*netlab.Proc // vrrpd

	host *netlab.Host
	opts FRROptions
	dir  string // FRR's daemons drop their rights, and must reach their files then
}

// FRROptions is what it elects with, over one interface at the default interval.
type FRROptions struct {
	VRID     uint8
	Priority int
	VIP      netip.Addr
}

// MAC is the virtual router's own MAC address, which FRR answers from.
func (o FRROptions) MAC() string {
	family := 1
	if o.VIP.Is6() {
		family = 2
	}
	return fmt.Sprintf("00:00:5e:00:%02x:%02x", family, o.VRID)
}

// config is vrrpd's.
func (o FRROptions) config() string {
	kind := "ip"
	if o.VIP.Is6() {
		kind = "ipv6"
	}
	return fmt.Sprintf("interface eth0\n vrrp %[1]d version 3\n vrrp %[1]d priority %[2]d\n vrrp %[1]d advertisement-interval 1000\n vrrp %[1]d %[3]s %[4]v\n",
		o.VRID, o.Priority, kind, o.VIP)
}

// RequireFRR skips a test where FRR is missing, and holds that it is the one that the tests tell of.
func RequireFRR(t testing.TB) {
	t.Helper()
	labtest.Require(t, zebra, vrrpd)
	labtest.Version(t, vrrpd, frrVersion)
}

// StartFRR makes ready for FRR on a host and starts it.
func StartFRR(t testing.TB, h *netlab.Host, o FRROptions) *FRR {
	t.Helper()
	f := NewFRR(t, h, o)
	f.Start(t)
	return f
}

// NewFRR makes the macvlan on a host and starts all of FRR but vrrpd. What it makes goes at the test's end.
func NewFRR(t testing.TB, h *netlab.Host, o FRROptions) *FRR {
	t.Helper()
	RequireFRR(t)
	f := &FRR{host: h, opts: o, dir: filepath.Join("/run", "understudy-frr-"+h.Namespace())}
	err := errors.Join(os.Mkdir(f.dir, 0o777), os.Chmod(f.dir, 0o777), os.WriteFile(f.file("zebra.conf"), nil, 0o644),
		// While the macvlan is off its parent must not answer for it, and never ask in its name.
		h.Sysctl("net.ipv4.conf.eth0.arp_ignore", "1"), h.Sysctl("net.ipv4.conf.eth0.arp_announce", "2"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(f.dir); err != nil {
			t.Error(err)
		}
	})
	f.macvlan(t)
	f.start(t, zebra)
	return f
}

// macvlan is made by hand: FRR only looks for it.
func (f *FRR) macvlan(t testing.TB) {
	t.Helper()
	commands := []string{
		"ip link add vrrp0 link eth0 type macvlan mode bridge",
		"ip link set dev vrrp0 address " + f.opts.MAC(),
		fmt.Sprintf("ip address add %v/%d dev vrrp0", f.opts.VIP, f.opts.VIP.BitLen()),
	}
	if f.opts.VIP.Is6() {
		// From the virtual MAC all routers would make the same link-local address.
		commands = append(commands, "ip link set dev vrrp0 addrgenmode random")
	}
	for _, command := range append(commands, "ip link set dev vrrp0 up") {
		if _, err := f.host.Exec(t.Context(), strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *FRR) file(name string) string { return filepath.Join(f.dir, name) }

// Start starts vrrpd, also once more; then it waits until it listens, and has switched the macvlan off: until zebra has come to that the
// host answers for the address, as if FRR were master.
func (f *FRR) Start(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(f.file("vrrpd.conf"), []byte(f.opts.config()), 0o644); err != nil {
		t.Fatal(err)
	}
	f.Proc = f.start(t, vrrpd)
	labtest.Eventually(t, frrBound, func() (bool, string) {
		if !strings.Contains(f.Output(), "Initialize -> ") {
			return false, "FRR does not listen: " + f.Output()
		}
		state, err := f.host.Exec(t.Context(), "ip", "-details", "link", "show", "dev", "vrrp0")
		off := strings.Contains(state, "protodown on") || strings.Contains(f.Output(), " -> Master")
		return err == nil && off, fmt.Sprintf("FRR has not switched its macvlan off: %s; %v", state, err)
	})
}

func (f *FRR) start(t testing.TB, program string) *netlab.Proc {
	t.Helper()
	name := filepath.Base(program)
	vty := f.file(name + ".vty")
	_ = os.Remove(vty) // of one that died
	p, err := f.host.Start(program, "-f", f.file(name+".conf"), "-i", f.file(name+".pid"), "-z", f.file("zserv.api"),
		"--vty_socket", f.dir, "-P", "0", "--log", "stdout")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s on %s:\n%s", program, f.host.Name(), p.Output())
		}
	})
	labtest.Eventually(t, frrBound, func() (bool, string) {
		_, err := os.Stat(vty)
		return err == nil, fmt.Sprintf("%s does not run: %v", program, err)
	})
	return p
}

// SetPriority changes the priority of the running vrrpd, as an administrator does.
func (f *FRR) SetPriority(t testing.TB, priority int) {
	t.Helper()
	f.opts.Priority = priority
	_, err := f.host.Exec(t.Context(), "vtysh", "--vty_socket", f.dir, "-c", "configure terminal", "-c", "interface eth0",
		"-c", fmt.Sprintf("vrrp %d priority %d", f.opts.VRID, priority))
	if err != nil {
		t.Fatal(err)
	}
}

// Stop stops vrrpd as a service manager does, and waits for its end.
func (f *FRR) Stop(t testing.TB) {
	t.Helper()
	if err := errors.Join(f.Signal(syscall.SIGTERM), f.Wait(t.Context())); err != nil {
		t.Error(err)
	}
}

// Leave stops it for good, and removes the macvlan, which would keep what a master sends from the virtual MAC for itself.
func (f *FRR) Leave(t testing.TB) {
	t.Helper()
	f.Stop(t)
	if _, err := f.host.Exec(t.Context(), "ip", "link", "del", "vrrp0"); err != nil {
		t.Error(err)
	}
}
