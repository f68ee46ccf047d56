package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
)

// AdvertiseRouter sends one IPv6 router advertisement to all hosts on the switch, as a router does every few minutes: the host
// is their default router for the lifetime, and they make themselves an address of the prefix.
func (h *Host) AdvertiseRouter(prefix netip.Prefix, lifetime time.Duration) error {
	const hopLimit = 64
	message := &ndp.RouterAdvertisement{
		CurrentHopLimit: hopLimit,
		RouterLifetime:  lifetime,
		Options: []ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: h.mac},
			&ndp.PrefixInformation{
				PrefixLength:                   uint8(prefix.Bits()),
				OnLink:                         true,
				AutonomousAddressConfiguration: true,
				ValidLifetime:                  lifetime,
				PreferredLifetime:              lifetime,
				Prefix:                         prefix.Masked().Addr(),
			},
		},
	}
	err := h.ns.do(func() error {
		link, err := net.InterfaceByName(Interface)
		if err != nil {
			return err
		}
		conn, _, err := ndp.Listen(link, ndp.LinkLocal)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.WriteTo(message, nil, netip.IPv6LinkLocalAllNodes())
	})
	if err != nil {
		return fmt.Errorf("advertise router %s for %v: %w", h.name, prefix, err)
	}
	return nil
}
