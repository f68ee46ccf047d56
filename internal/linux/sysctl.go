package linux

import (
	"fmt"
	"os"
	"path/filepath"
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

// sysctl reads a switch below net. The path is not a dotted name, since an interface's name may hold a dot.
func sysctl(elements ...string) (bool, error) {
	path := filepath.Join(append([]string{"/proc/sys/net"}, elements...)...)
	b, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("read sysctl: %w", err)
	}
	switch value := strings.TrimSpace(string(b)); value {
	case "":
		return false, fmt.Errorf("read sysctl %s: it is empty", path)
	default:
		return value != "0", nil
	}
}
