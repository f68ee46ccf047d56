package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wire is the veth pair between a host and a switch. The switch's end is named after the host.
type wire struct {
	bridge *namespace
	name   string // of the bridge there
	port   string
	inner  string // the interface's name on the host
}

func (w *wire) plug(host *namespace, mac net.HardwareAddr) error {
	bridge, err := w.bridge.link.LinkByName(w.name)
	if err != nil {
		return fmt.Errorf("find the switch: %w", err)
	}
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: w.port, MasterIndex: bridge.Attrs().Index})
	veth.PeerName, veth.PeerNamespace, veth.PeerHardwareAddr = w.inner, netlink.NsFd(host.handle), mac
	if err := w.bridge.link.LinkAdd(veth); err != nil {
		return fmt.Errorf("add the wire to the switch: %w", err)
	}
	return w.setPort(true)
}

func (w *wire) setPort(up bool) error {
	port, err := w.bridge.link.LinkByName(w.port)
	if err != nil {
		return fmt.Errorf("find switch port %s: %w", w.port, err)
	}
	if up {
		return w.bridge.link.LinkSetUp(port)
	}
	return w.bridge.link.LinkSetDown(port)
}

// Cut takes the host off the switch silently: nothing passes, and the host's interface keeps its carrier.
func (h *Host) Cut() error { return h.wire.cut() }

func (w *wire) cut() error {
	port, err := w.bridge.link.LinkByName(w.port)
	if err == nil {
		err = w.bridge.link.LinkSetNoMaster(port)
	}
	if err != nil {
		return fmt.Errorf("cut %s off: %w", w.port, err)
	}
	return nil
}

// Heal undoes Cut.
func (h *Host) Heal() error { return h.wire.heal() }

func (w *wire) heal() error {
	bridge, err := w.bridge.link.LinkByName(w.name)
	if err != nil {
		return fmt.Errorf("heal %s: %w", w.port, err)
	}
	port, err := w.bridge.link.LinkByName(w.port)
	if err == nil {
		err = w.bridge.link.LinkSetMaster(port, bridge)
	}
	if err != nil {
		return fmt.Errorf("heal %s: %w", w.port, err)
	}
	return nil
}

// NoMulticast has the switch send the host no multicast any more, as one that snoops and knows of no member there. (The host then
// answers for none of its IPv6 addresses.)
func (h *Host) NoMulticast(ctx context.Context) error {
	if err := h.wire.flood(ctx, "mcast_flood", false); err != nil {
		return fmt.Errorf("keep multicast from %s: %w", h.name, err)
	}
	return nil
}

// Broadcasts has the switch send the host broadcasts, or none: it then sees nothing of what other hosts announce by ARP.
func (h *Host) Broadcasts(ctx context.Context, on bool) error {
	if err := h.wire.flood(ctx, "bcast_flood", on); err != nil {
		return fmt.Errorf("broadcasts to %s: %w", h.name, err)
	}
	return nil
}

// flood sets what of a kind that is for all the switch sends to the wire.
func (w *wire) flood(ctx context.Context, kind string, on bool) error {
	state := map[bool]string{true: "on", false: "off"}[on]
	_, err := run(ctx, "", "bridge", "-n", w.bridge.name, "link", "set", "dev", w.port, kind, state)
	return err
}

// CarrierDown takes the host's interface the carrier, as a pulled cable does.
func (h *Host) CarrierDown() error { return h.setPort(false) }

// CarrierUp undoes CarrierDown.
func (h *Host) CarrierUp() error { return h.setPort(true) }

func (h *Host) setPort(up bool) error {
	if err := h.wire.setPort(up); err != nil {
		return fmt.Errorf("carrier of %s: %w", h.name, err)
	}
	return nil
}

// AdminDown sets the host's interface down, as `ip link set eth0 down` does. The kernel forgets its IPv6 addresses and its
// routes.
func (h *Host) AdminDown() error { return h.setLink(Interface, false) }

// AdminUp undoes AdminDown, and sets the host's own addresses again.
func (h *Host) AdminUp() error {
	err := h.setLink(Interface, true)
	for _, a := range h.addrs {
		if aerr := h.AddAddress(a); !errors.Is(aerr, unix.EEXIST) {
			err = errors.Join(err, aerr)
		}
	}
	return err
}

// RemoveInterface deletes the host's interface, as a driver that is unloaded or a machine that loses a card does.
func (h *Host) RemoveInterface() error {
	link, err := h.ns.link.LinkByName(Interface)
	if err == nil {
		err = h.ns.link.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove the interface of %s: %w", h.name, err)
	}
	return nil
}

// RestoreInterface undoes RemoveInterface: a new interface with the old name, MAC address and own addresses.
func (h *Host) RestoreInterface(ctx context.Context) error {
	err := h.wire.plug(h.ns, h.mac)
	if err == nil {
		err = h.AdminUp()
	}
	if err == nil {
		err = h.awaitLink(ctx, Interface)
	}
	if err != nil {
		return fmt.Errorf("restore the interface of %s: %w", h.name, err)
	}
	return nil
}

func (h *Host) setLink(name string, up bool) error {
	link, err := h.ns.link.LinkByName(name)
	if err == nil && up {
		err = h.ns.link.LinkSetUp(link)
	} else if err == nil {
		err = h.ns.link.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("set %s on %s up=%t: %w", name, h.name, up, err)
	}
	return nil
}

// AddAddress adds an address to the host's interface, for good, as an administrator would.
func (h *Host) AddAddress(p netip.Prefix) error {
	return h.changeAddress("add", p, Interface, h.ns.link.AddrAdd)
}

// RemoveAddress removes an address from the host's interface, as an administrator would.
func (h *Host) RemoveAddress(p netip.Prefix) error {
	return h.changeAddress("remove", p, Interface, h.ns.link.AddrDel)
}

func (h *Host) changeAddress(verb string, p netip.Prefix, name string, change func(netlink.Link, *netlink.Addr) error) error {
	link, err := h.ns.link.LinkByName(name)
	if err == nil {
		mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: mask}}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		err = change(link, addr)
	}
	if err != nil {
		return fmt.Errorf("%s address %v on %s: %w", verb, p, h.name, err)
	}
	return nil
}

// Lose drops frames of the host at random on the switch: so many of a hundred of those to it, and of those from it. 100 is a
// cut in one direction. 0 and 0 end it.
func (h *Host) Lose(ctx context.Context, toPercent, fromPercent int) error {
	if toPercent < 0 || toPercent > 100 || fromPercent < 0 || fromPercent > 100 {
		return fmt.Errorf("loss of %s: %d and %d percent: want 0 to 100", h.name, toPercent, fromPercent)
	}
	// A table for each port, named by its MAC address: a host's name may hold dots.
	table := fmt.Sprintf("bridge lose%x", []byte(h.mac))
	script := fmt.Sprintf("table %[1]s\ndelete table %[1]s\ntable %[1]s {\n\tchain pass {\n"+
		"\t\ttype filter hook forward priority 0; policy accept;\n%[2]s%[3]s\t}\n}\n", table,
		loseRule("oifname", h.wire.port, toPercent), loseRule("iifname", h.wire.port, fromPercent))
	if err := nft(ctx, h.wire.bridge, script); err != nil {
		return fmt.Errorf("loss of %s: %w", h.name, err)
	}
	return nil
}

func loseRule(direction, port string, percent int) string {
	switch percent {
	case 0:
		return ""
	case 100: // a comparison with the modulus itself is refused
		return fmt.Sprintf("\t\t%s %q drop\n", direction, port)
	default:
		return fmt.Sprintf("\t\t%s %q numgen random mod 100 < %d drop\n", direction, port, percent)
	}
}
