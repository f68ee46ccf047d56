package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// HasAddress says whether an interface has an address. One that does not exist may get it with its existence.
func HasAddress(ifName string, ip netip.Addr) (bool, error) {
	return hasAddress(ifName, func(n *net.IPNet) bool { return n.IP.Equal(ip.AsSlice()) })
}

// HasSource says whether an interface has an address that adverts of a family can come from: for IPv6 a link-local one. An
// interface that does not exist may get one with its existence.
func HasSource(ifName string, v6 bool) (bool, error) {
	return hasAddress(ifName, func(n *net.IPNet) bool { return v6 == (n.IP.To4() == nil) && (!v6 || n.IP.IsLinkLocalUnicast()) })
}

// hasAddress says whether an interface that exists has an address that is wanted.
func hasAddress(ifName string, wanted func(*net.IPNet) bool) (bool, error) {
	ifi, err := net.InterfaceByName(ifName)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && (errors.Is(op.Err, syscall.ENODEV) || op.Err.Error() == "no such network interface") {
			return true, nil
		}
		return false, fmt.Errorf("look up interface %q: %w", ifName, err)
	}
	list, err := ifi.Addrs()
	if err != nil {
		return false, fmt.Errorf("list the addresses of %q: %w", ifName, err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && wanted(n) {
			return true, nil
		}
	}
	return false, nil
}
