package linux

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// NonlocalBind reports whether programs may bind to addresses that the host does not have: net.ipv4.ip_nonlocal_bind,
// or net.ipv6.ip_nonlocal_bind. Without it nginx cannot start on a backup while its configuration names a virtual address.
func NonlocalBind(v6 bool) (bool, error) {
	if v6 {
		return sysctl("ipv6", "ip_nonlocal_bind")
	}
	return sysctl("ipv4", "ip_nonlocal_bind")
}

// forwards6 reports whether the host forwards IPv6 packets that come in on the interface.
func forwards6(ifName string) (bool, error) { return sysctl("ipv6", "conf", ifName, "forwarding") }

// sysctl reads a switch below net.
func sysctl(elements ...string) (bool, error) {
	value, err := readSysctl(elements)
	return err == nil && value != "0", err
}

// sysctlNumber reads a number below net.
func sysctlNumber(elements ...string) (int, error) {
	value, err := readSysctl(elements)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("read sysctl %s: %w", sysctlPath(elements), err)
	}
	return n, nil
}

// readSysctl reads a value below net.
func readSysctl(elements []string) (string, error) {
	path := sysctlPath(elements)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read sysctl: %w", err)
	}
	value := strings.TrimSpace(string(b))
	if value == "" {
		return "", fmt.Errorf("read sysctl %s: it is empty", path)
	}
	return value, nil
}

// writeSysctl sets a value below net.
func writeSysctl(value string, elements ...string) error {
	return os.WriteFile(sysctlPath(elements), []byte(value), 0)
}

// sysctlPath is the file of a value. It is not made from a dotted name, since an interface's name may hold a dot.
func sysctlPath(elements []string) string {
	return filepath.Join(append([]string{"/proc/sys/net"}, elements...)...)
}

// AcceptsRedirects reports whether an ICMP redirect that comes in on the interface changes the host's IPv4 routes: where the host does not
// forward what comes in there, one of the settings for it and for all interfaces is enough, else both are needed.
func AcceptsRedirects(ifName string) (bool, error) {
	var on [3]bool
	for k, of := range [3][2]string{{"all", "accept_redirects"}, {ifName, "accept_redirects"}, {ifName, "forwarding"}} {
		var err error
		if on[k], err = sysctl("ipv4", "conf", of[0], of[1]); err != nil {
			return false, err
		}
	}
	all, here, forwards := on[0], on[1], on[2]
	if forwards {
		return all && here, nil
	}
	return all || here, nil
}
