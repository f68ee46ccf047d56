package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// HasInterface says whether there is an interface of a name.
func HasInterface(name string) (bool, error) {
	_, err := interfaceByName(name)
	if errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return err == nil, err
}

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
	ifi, err := interfaceByName(ifName)
	if errors.Is(err, unix.ENODEV) {
		return true, nil
	}
	if err != nil {
		return false, err
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
