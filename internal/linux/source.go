package linux

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// HasSource says whether an interface has an address that adverts of a family can come from: for IPv6 a link-local one. An
// interface that does not exist may get one with its existence.
func HasSource(ifName string, v6 bool) (bool, error) {
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
		n, ok := a.(*net.IPNet)
		if ok && v6 == (n.IP.To4() == nil) && (!v6 || n.IP.IsLinkLocalUnicast()) {
			return true, nil
		}
	}
	return false, nil
}
