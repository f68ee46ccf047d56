package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Holds says whether the host has an address on any interface.
func (h *Host) Holds(addr netip.Addr) (bool, error) {
	addrs, err := h.ns.link.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", h.name, err)
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.Equal(addr.AsSlice()) }), nil
}

// Neighbour returns the hardware address that the host has in its neighbour table for an IP address, nil when it has none.
func (h *Host) Neighbour(addr netip.Addr) (net.HardwareAddr, error) {
	link, err := h.ns.link.LinkByName(Interface)
	if err != nil {
		return nil, fmt.Errorf("neighbours of %s: %w", h.name, err)
	}
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	entries, err := h.ns.link.NeighList(link.Attrs().Index, family)
	if err != nil {
		return nil, fmt.Errorf("neighbours of %s: %w", h.name, err)
	}
	const unusable = netlink.NUD_FAILED | netlink.NUD_INCOMPLETE
	for _, e := range entries {
		if e.IP.Equal(addr.AsSlice()) && e.State&unusable == 0 && len(e.HardwareAddr) > 0 {
			return e.HardwareAddr, nil
		}
	}
	return nil, nil
}

// lifetimes matches what changes by itself in the output of ip: remaining lifetimes and their expiry.
var lifetimes = regexp.MustCompile(`(valid_lft|preferred_lft|expires) \d+sec`)

// Snapshot is the host's addresses, routes and rules of both families as text, one line each, sorted, without remaining
// lifetimes: equal texts mean an unchanged host.
func (h *Host) Snapshot(ctx context.Context) (string, error) {
	commands := [][]string{
		{"ip", "-4", "rule", "show"},
		{"ip", "-4", "route", "show", "table", "all"},
	}
	if h.hasIPv6() {
		commands = append(commands, []string{"ip", "-6", "rule", "show"}, []string{"ip", "-6", "route", "show", "table", "all"})
	}
	// -oneline: an address and its flags and lifetimes belong together.
	commands = append(commands, []string{"ip", "-oneline", "address", "show"})
	var text strings.Builder
	for _, argv := range commands {
		out, err := h.Exec(ctx, argv...)
		if err != nil {
			return "", err
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i, line := range lines {
			line = lifetimes.ReplaceAllString(line, "$1 limited")
			lines[i] = strings.Join(strings.Fields(strings.ReplaceAll(line, `\`, " ")), " ")
		}
		slices.Sort(lines)
		fmt.Fprintf(&text, "# %s\n%s\n", strings.Join(argv, " "), strings.Join(lines, "\n"))
	}
	return text.String(), nil
}
