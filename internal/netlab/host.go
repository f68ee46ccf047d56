package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is the name of the first network interface of every host, beside lo; most have no other. See Host.Link.
const Interface = "eth0"

// linkBound is how long a new link may take until its addresses are usable.
const linkBound = 5 * time.Second

// Host is one machine of a lab: a network namespace with an interface "eth0" on the lab's switch. Its processes see the
// machine's file system and process table.
type Host struct {
	name  string
	dir   string
	mac   net.HardwareAddr
	ns    *namespace
	wire  *wire
	addrs []netip.Prefix

	mu    sync.Mutex // guards what follows
	procs []*Proc
}

// Host adds a host with addresses of its own. The name is at most 12 letters, digits and dots. Duplicate address detection is
// off, so that the addresses are usable at once.
func (l *Lab) Host(ctx context.Context, name string, addrs ...netip.Prefix) (*Host, error) {
	if err := l.checkName(name); err != nil {
		return nil, err
	}
	h := &Host{
		name:  name,
		dir:   filepath.Join(l.dir, name),
		mac:   net.HardwareAddr{0x02, 0, 0, 0, 0, byte(len(l.hosts) + 1)},
		addrs: slices.Clone(addrs),
	}
	var err error
	if h.ns, err = newNamespace(ctx, l.name+"-"+name); err != nil {
		return nil, err
	}
	// From here on Close of the lab removes the host, however far it came.
	l.hosts = append(l.hosts, h)
	h.wire = &wire{bridge: l.bridge, name: bridgeName, port: name, inner: Interface}
	if err := h.plug(ctx); err != nil {
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	return h, nil
}

func (l *Lab) checkName(name string) error {
	const maxName = 12 // the switch's port is named after the host, and an interface has 15 characters
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.'
	}
	if name == "" || len(name) > maxName || strings.Trim(name, ".") != name || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("host name %q: want 1 to %d letters, digits and inner dots", name, maxName)
	}
	if name == "switch" || name == bridgeName || slices.ContainsFunc(l.hosts, func(h *Host) bool { return h.name == name }) {
		return fmt.Errorf("host name %q is taken", name)
	}
	if len(l.hosts) == maxHosts {
		return fmt.Errorf("host %s: a lab has at most %d hosts", name, maxHosts)
	}
	return nil
}

func (h *Host) plug(ctx context.Context) error {
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		return err
	}
	if h.hasIPv6() {
		if err := errors.Join(
			h.Sysctl("net.ipv6.conf.default.disable_ipv6", "0"),
			h.Sysctl("net.ipv6.conf.default.accept_dad", "0"),
		); err != nil {
			return err
		}
	}
	if err := h.wire.plug(h.ns, h.mac); err != nil {
		return err
	}
	for _, name := range []string{"lo", Interface} {
		if err := h.setLink(name, true); err != nil {
			return err
		}
	}
	for _, a := range h.addrs {
		if err := h.AddAddress(a); err != nil {
			return err
		}
	}
	return h.awaitLink(ctx, Interface)
}

// awaitLink waits for carrier and, where the kernel has IPv6, for the link-local address.
func (h *Host) awaitLink(ctx context.Context, name string) error {
	return Eventually(ctx, linkBound, func() (bool, string) {
		link, err := h.ns.link.LinkByName(name)
		if err != nil {
			return false, err.Error()
		}
		if link.Attrs().OperState != netlink.OperUp {
			return false, fmt.Sprintf("%s on %s is %s", name, h.name, link.Attrs().OperState)
		}
		if !h.hasIPv6() {
			return true, ""
		}
		addrs, err := h.ns.link.AddrList(link, unix.AF_INET6)
		if err != nil {
			return false, err.Error()
		}
		usable := func(a netlink.Addr) bool { return a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 }
		return slices.ContainsFunc(addrs, usable), fmt.Sprintf("%s has no usable link-local address on %s", h.name, name)
	})
}

// Name is the name that the host was made with.
func (h *Host) Name() string { return h.name }

// Dir is a directory of the host's own, for what it has in /run, /etc and /var. It goes with the lab.
func (h *Host) Dir() string { return h.dir }

// MAC is the hardware address of the host's interface.
func (h *Host) MAC() net.HardwareAddr { return slices.Clone(h.mac) }

// Namespace is the name of the host's network namespace, for `ip netns exec`.
func (h *Host) Namespace() string { return h.ns.name }

// Addresses lists the addresses that the host was made with.
func (h *Host) Addresses() []netip.Prefix { return slices.Clone(h.addrs) }

// Sysctl sets a kernel setting of the host's network, such as "net.ipv4.ip_nonlocal_bind".
func (h *Host) Sysctl(key, value string) error {
	return h.ns.do(func() error {
		path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s = %s on %s: %w", key, value, h.name, err)
		}
		return nil
	})
}

// hasIPv6 says whether the kernel has IPv6 at all.
func (h *Host) hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// Dial connects from the host. The address is a literal one: names are not resolved.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from %s: %w", h.name, err)
	}
	var conn net.Conn
	err := h.ns.do(func() error {
		var err error
		// A socket keeps the namespace that it was made in, and a single literal address is dialled on this very thread.
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

func (h *Host) close() error {
	err := h.ns.close()
	h.mu.Lock()
	procs := h.procs
	h.mu.Unlock()
	for _, p := range procs {
		<-p.done
	}
	return errors.Join(err, h.removeNames())
}
