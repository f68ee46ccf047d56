package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// netnsConf is where iproute2 keeps files that a namespace's programs see in place of those of /etc.
const netnsConf = "/etc/netns"

// SetNames gives the host's programs an /etc/hosts of their own. Those that were started after the first call see each later one.
func (h *Host) SetNames(hosts string) error { return h.setConf("hosts", hosts) }

// SetNameServer gives programs of the host that are started from now on a name server: whoever has that address.
func (h *Host) SetNameServer(ip netip.Addr) error {
	return h.setConf("resolv.conf", fmt.Sprintf("nameserver %s\n", ip))
}

// setConf gives the host's programs a file in place of that of /etc.
func (h *Host) setConf(name, text string) error {
	dir := filepath.Join(netnsConf, h.ns.name)
	err := os.MkdirAll(dir, 0o755)
	if err == nil { // in place: a running program has the file itself, not its name
		err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
	if err != nil {
		return fmt.Errorf("give %s names: %w", h.name, err)
	}
	return nil
}

// removeNames takes them away.
func (h *Host) removeNames() error { return os.RemoveAll(filepath.Join(netnsConf, h.ns.name)) }
