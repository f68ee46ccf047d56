package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/node"
)

// Prefix lengths that an address may be written with: a shorter one would claim half the internet for the link.
const (
	minBits4 = 8
	minBits6 = 16
)

// addresses parses a list of virtual addresses. The result has one for each of texts, zero where it is wrong, so that
// indexes stay those of the list.
func (l *loader) addresses(b block, list string, texts []string) []node.Address {
	if !b.usable(list) {
		return nil
	}
	var out []node.Address
	count := map[bool]int{}
	for i, text := range texts {
		a, why := parseAddress(text)
		if why != "" {
			l.found.errorf(b.element(list, i), why, "%s holds %q", list, cut(text))
		} else if count[a.IP.Is4()]++; count[a.IP.Is4()] == maxAddresses+1 {
			l.found.errorf(b.element(list, i), fmt.Sprintf("allowed: at most %d of a family", maxAddresses),
				"%s holds more than %d addresses", list, maxAddresses)
		}
		out = append(out, a)
	}
	return out
}

// parseAddress parses "192.0.2.10" or "192.0.2.10/24", and says why it cannot be a virtual address.
func parseAddress(text string) (node.Address, string) {
	host, bits, written := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return node.Address{}, "allowed: an IPv4 or IPv6 address, such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10"
	}
	if why := notUnicast(ip); why != "" {
		return node.Address{}, why
	}
	if !written {
		return node.Address{IP: ip}, ""
	}
	network, err := netip.ParsePrefix(text)
	least := minBits4
	if ip.Is6() {
		least = minBits6
	}
	if err != nil || network.Bits() < least {
		return node.Address{}, fmt.Sprintf("%q is no prefix length; allowed: %d..%d", bits, least, ip.BitLen())
	}
	if network.Bits() == ip.BitLen() {
		return node.Address{IP: ip}, ""
	}
	if why := notHost(network); why != "" {
		return node.Address{}, why
	}
	return node.Address{IP: ip, Network: network.Masked()}, ""
}

func notUnicast(ip netip.Addr) string {
	switch {
	case ip.Zone() != "":
		return "remove the zone: the interface says it"
	case ip.Is4In6():
		return "write it as IPv4: " + ip.Unmap().String()
	case ip.IsUnspecified(), ip.Is4() && ip.As4()[0] == 0:
		return "it is the unspecified address; allowed: a unicast address"
	case ip.IsMulticast():
		return "it is a multicast address; allowed: a unicast address"
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it is the broadcast address; allowed: a unicast address"
	case ip.IsLoopback():
		return "it is a loopback address, which no other host can reach"
	}
	return ""
}

// notHost says why p's address is none of a host: a prefix that was typed in its place. RFC 3021 and RFC 6164 have none
// of these in the longest prefixes.
func notHost(p netip.Prefix) string {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return ""
	}
	if p.Addr() == p.Masked().Addr() {
		return fmt.Sprintf("it is the network's own address; write the host's address in %s", p)
	}
	if p.Addr().Is4() && !p.Contains(p.Addr().Next()) {
		return fmt.Sprintf("it is the broadcast address of %s", p.Masked())
	}
	return ""
}

// claim is an address that an instance has, with the interface where the address alone does not tell: every link has its
// own link-local addresses.
type claim struct {
	ip    netip.Addr
	iface string
}

// judgeDuplicates refuses an address that is written twice, in one instance or in two.
func (l *loader) judgeDuplicates(instances []instance) {
	taken := map[claim]hcl.Range{}
	owner := map[claim]string{}
	for _, in := range instances {
		for _, list := range []struct {
			name  string
			addrs []node.Address
		}{{"addresses", in.Addresses}, {"unadvertised", in.Unadvertised}} {
			for i, a := range list.addrs {
				if !a.IP.IsValid() {
					continue
				}
				c := claim{ip: a.IP}
				if a.IP.IsLinkLocalUnicast() {
					c.iface = in.Interface
				}
				at := in.block.element(list.name, i)
				if before, ok := taken[c]; ok {
					l.found.errorf(at, "it is already at "+placeOf(before), "address %s is written twice: instance %q has it", a.IP, owner[c])
					continue
				}
				taken[c], owner[c] = at, in.Name
			}
		}
	}
}
