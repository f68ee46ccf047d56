package sim

import (
	"net/netip"
	"slices"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// mac is the address that a host's frames on a link have: a virtual router's, or its interface's own where vrid is 0.
func (h *Host) mac(link string, vrid uint8, f vrrp.Family) string {
	if vrid == 0 {
		return h.link(link).MAC
	}
	family := "01"
	if f == vrrp.IPv6 {
		family = "02"
	}
	const digits = "0123456789abcdef"
	return "00:00:5e:00:" + family + ":" + string([]byte{digits[vrid>>4], digits[vrid&0xf]})
}

// isVirtual says whether a virtual router has a MAC address of its own on this host.
func (h *Host) isVirtual(link string, vrid uint8) bool {
	for k := range h.devices {
		if i := &h.devices[k]; i.Interface == link && i.VRID == vrid {
			return true
		}
	}
	return false
}

// answersFrom is the MAC that a host's kernel answers from for an address on a link.
func (h *Host) answersFrom(link string, ip netip.Addr) string {
	for _, i := range h.devices {
		for _, a := range append(append([]node.Address(nil), i.Addresses...), i.Unadvertised...) {
			if a.IP == ip && i.Interface == link {
				return h.mac(link, i.VRID, vrrp.FamilyOf(ip))
			}
		}
	}
	return h.link(link).MAC
}

// seen is a link as the host's process sees it, with the virtual MACs that its instances have.
func (h *Host) seen(l node.Link) node.Link {
	l.VirtualMACs = h.virtualMACs(l)
	return l
}

// look shows the process its links.
func (h *Host) look() {
	for _, l := range h.links {
		h.feed(node.LinkChanged{Link: h.seen(l)})
	}
}

// Remake makes the devices of virtual MACs anew, as the daemon does after something else removed them.
func (h *Host) Remake() {
	h.remade++
	h.look()
}

// addDevices makes the devices that a configuration needs. Those of an instance that is no longer configured stay: it may still be
// handing over.
func (h *Host) addDevices(cfg node.Config) {
	for _, i := range cfg.Instances {
		if i.VirtualMAC {
			h.devices = append(h.devices, i)
		}
	}
}

func (h *Host) virtualMACs(l node.Link) []node.VirtualMAC {
	var list []node.VirtualMAC
	for k, i := range h.devices {
		same := func(o node.Instance) bool { return o.VRID == i.VRID && o.Interface == i.Interface }
		if i.Interface == l.Name && !slices.ContainsFunc(h.devices[:k], same) {
			list = append(list,
				node.VirtualMAC{VRID: i.VRID, Family: vrrp.IPv4, Made: h.remade},
				node.VirtualMAC{VRID: i.VRID, Family: vrrp.IPv6, Made: h.remade, Source: l.Source6})
		}
	}
	return list
}

// mute says whether a host's device of a virtual MAC loses what is sent: it does while it has no address.
func (h *Host) mute(link string, vrid uint8, f vrrp.Family) bool {
	if vrid == 0 {
		return false
	}
	has := func(a node.Address) bool { return vrrp.FamilyOf(a.IP) == f && h.kernel.has(a.IP) }
	for k := range h.devices {
		i := &h.devices[k]
		if i.Interface == link && i.VRID == vrid && (slices.ContainsFunc(i.Addresses, has) || slices.ContainsFunc(i.Unadvertised, has)) {
			return false
		}
	}
	return true
}

// teach is what a link's switch learns from a frame: behind which port its MAC is. Where that is the hosts' own each is behind one.
func (c *Cluster) teach(link string, from *Host, vrid uint8, f vrrp.Family) {
	if vrid == 0 || !from.link(link).Up {
		return
	}
	mac := from.mac(link, vrid, f)
	if port := link + " " + mac; c.ports[port] != from {
		c.ports[port] = from
		c.Note("switch: %s is behind %s", mac, from.Name)
	}
}
