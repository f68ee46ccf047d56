package pairtest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// soon is how long a first election may wait for silence without keeping anybody from his story.
const soon = 1500 * time.Millisecond

// Begin starts every daemon, and waits until a host has everything. That takes no Master_Down_Interval; see Farewell.
func (c *Cluster) Begin(t testing.TB, owner string) {
	t.Helper()
	c.Start(t)
	c.Farewell(t)
	c.Settled(t, owner)
}

// Farewell ends the first election of the daemons that were started: once all of them are backups the user's host says priority 0 for
// each virtual router, as if it had been master before, so that the best of them rises after its skew and none waits for silence.
// It is not for instances that speak VRRPv2; those with peers or keys would not hear it, and where the silence is soon over nothing is
// said.
func (c *Cluster) Farewell(t testing.TB) {
	t.Helper()
	var reports []node.Report
	labtest.Eventually(t, SettleBound, func() (bool, string) {
		reports = nil
		for _, h := range c.Hosts {
			if h.Daemon == nil {
				continue
			}
			r, err := h.Report(t)
			if err != nil {
				return false, err.Error()
			}
			for _, i := range r.Node.Instances {
				if i.State != node.Backup && i.State != node.Master {
					return false, fmt.Sprintf("%s on %s is %s: %s", i.Name, h.Name(), i.State, i.Why)
				}
			}
			reports = append(reports, r)
		}
		return true, ""
	})
	for _, i := range reports[0].Node.Instances {
		for _, r := range i.Routers {
			if i.State != node.Backup || r.MasterDown < soon || len(r.Peers) > 0 || r.Auth != nil {
				continue
			}
			if err := farewell(c.User, i, r); err != nil {
				t.Fatalf("say priority 0 for %s: %v", i.Name, err)
			}
		}
	}
}

// farewell multicasts a host's release of a virtual router.
func farewell(h *netlab.Host, i node.InstanceStatus, r node.RouterStatus) error {
	family := vrrp.IPv4
	if r.Source.Is6() {
		family = vrrp.IPv6
	}
	a := vrrp.Advert{Version: vrrp.V3, VRID: i.VRID, Priority: vrrp.PriorityRelease, Interval: interval(i, r)}
	for _, ip := range i.Addresses {
		if vrrp.FamilyOf(ip) == family {
			a.Addresses = append(a.Addresses, ip)
		}
	}
	return h.Do(func() error {
		ifi, err := net.InterfaceByName(i.Interface)
		if err != nil {
			return err
		}
		source, err := sourceOf(ifi, family)
		if err != nil {
			return err
		}
		payload, err := a.Append(nil, source, family.Group(), vrrp.ChecksumPseudoHeader)
		if err != nil {
			return err
		}
		if family == vrrp.IPv6 {
			return multicast6(ifi, source, payload)
		}
		return multicast4(ifi, source, payload)
	})
}

// interval is that of the adverts whose silence a backup waits for: three of them and the skew of its priority.
func interval(i node.InstanceStatus, r node.RouterStatus) time.Duration {
	skew := 256 - time.Duration(i.Priority)
	return (r.MasterDown * 256 / (3*256 + skew)).Round(10 * time.Millisecond)
}

// sourceOf is the address that an interface sends adverts of a family from.
func sourceOf(ifi *net.Interface, f vrrp.Family) (netip.Addr, error) {
	list, err := ifi.Addrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && vrrp.FamilyOf(p.Addr()) == f && (f == vrrp.IPv4 || p.Addr().IsLinkLocalUnicast()) {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no address of %s to send from", ifi.Name, f)
}

func multicast4(ifi *net.Interface, source netip.Addr, payload []byte) error {
	conn, err := net.ListenPacket("ip4:112", source.String())
	if err != nil {
		return err
	}
	p := ipv4.NewPacketConn(conn)
	err = errors.Join(p.SetMulticastInterface(ifi), p.SetMulticastTTL(vrrp.HopLimit))
	if err == nil {
		_, err = p.WriteTo(payload, nil, &net.IPAddr{IP: vrrp.GroupIPv4.AsSlice()})
	}
	return errors.Join(err, conn.Close())
}

func multicast6(ifi *net.Interface, source netip.Addr, payload []byte) error {
	conn, err := net.ListenPacket("ip6:112", source.WithZone(ifi.Name).String())
	if err != nil {
		return err
	}
	p := ipv6.NewPacketConn(conn)
	err = errors.Join(p.SetMulticastInterface(ifi), p.SetMulticastHopLimit(vrrp.HopLimit))
	if err == nil {
		_, err = p.WriteTo(payload, nil, &net.IPAddr{IP: vrrp.GroupIPv6.AsSlice(), Zone: ifi.Name})
	}
	return errors.Join(err, conn.Close())
}
