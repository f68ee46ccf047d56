package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Link is a further network interface of a host. The links of one name are on a switch of their own.
type Link struct {
	host  *Host
	wire  *wire
	mac   net.HardwareAddr
	addrs []netip.Prefix
}

// maxPort is how long the name of a switch's port may be (IFNAMSIZ).
const maxPort = 15

// Link gives the host a further interface, such as "eth1", with addresses of its own.
func (h *Host) Link(ctx context.Context, name string, addrs ...netip.Prefix) (*Link, error) {
	mac := slices.Clone(h.mac)
	mac[4]++
	l := &Link{
		host: h, mac: mac, addrs: slices.Clone(addrs),
		wire: &wire{bridge: h.wire.bridge, name: "br-" + name, port: h.name + "-" + name, inner: name},
	}
	if len(l.wire.port) > maxPort || len(l.wire.name) > maxPort {
		return nil, fmt.Errorf("link %s of %s: the names are too long for the switch", name, h.name)
	}
	if err := l.plug(ctx); err != nil {
		return nil, fmt.Errorf("make link %s of %s: %w", name, h.name, err)
	}
	return l, nil
}

func (l *Link) plug(ctx context.Context) error {
	_, err := l.wire.bridge.link.LinkByName(l.wire.name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		err = addBridge(l.wire.bridge, l.wire.name)
	}
	if err != nil {
		return err
	}
	if err := l.wire.plug(l.host.ns, l.mac); err != nil {
		return err
	}
	if err := l.host.setLink(l.wire.inner, true); err != nil {
		return err
	}
	for _, a := range l.addrs {
		if err := l.host.changeAddress("add", a, l.wire.inner, l.host.ns.link.AddrAdd); err != nil {
			return err
		}
	}
	return l.host.awaitLink(ctx, l.wire.inner)
}

// MAC is the hardware address of the interface.
func (l *Link) MAC() net.HardwareAddr { return slices.Clone(l.mac) }

// Cut takes the link off its switch silently: nothing passes, and the interface keeps its carrier.
func (l *Link) Cut() error { return l.wire.cut() }

// Heal undoes Cut.
func (l *Link) Heal() error { return l.wire.heal() }

// CarrierDown takes the interface the carrier, as a pulled cable does.
func (l *Link) CarrierDown() error { return l.wire.setPort(false) }

// CarrierUp undoes CarrierDown.
func (l *Link) CarrierUp() error { return l.wire.setPort(true) }
