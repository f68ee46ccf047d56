package interop

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// The virtual router of every row.
const vrid = 71

var (
	vip4 = netip.MustParseAddr("10.0.0.100")
	vip6 = netip.MustParseAddr("fd00::100")
)

// The lines of VRRPv2's password on either side.
var (
	ourPassword   = []string{"auth {", `  password = "moving"`, "}"}
	theirPassword = []string{"authentication {", "	auth_type PASS", "	auth_pass moving", "}"}
)

// The lines of a virtual MAC on either side.
var (
	ourVirtualMAC   = []string{`mac = "virtual"`}
	theirVirtualMAC = []string{"use_vmac vrrp.71"}
)

// sharedMAC says whether both sides have the virtual router's MAC address.
func (o options) sharedMAC() bool {
	return slices.Equal(o.ours, ourVirtualMAC) && slices.Equal(o.theirs, theirVirtualMAC)
}

// options are what both sides of a row are configured with; each side's priority comes with its role. A new kind of row is a
// field here and a line in each of the three renderings.
type options struct {
	version  int
	vip      netip.Addr
	unicast  bool     // between the first two hosts
	routed   bool     // with whatever hop limit theirs sends by itself
	ours     []string // more lines of our instance block
	theirs   []string // more lines of keepalived's vrrp_instance
	checksum string   // ours; empty: the default
	weight   int      // of keepalived's check; 0: it is in FAULT when that fails
}

// speakers are the own addresses of the first two hosts, in the family that is spoken.
func (o options) speakers() [2]netip.Addr {
	if o.vip.Is6() {
		return [2]netip.Addr{netip.MustParseAddr("fd00::11"), netip.MustParseAddr("fd00::12")}
	}
	return [2]netip.Addr{netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("10.0.0.12")}
}

// checkEvery is how often our check runs: so seldom that a busy machine does not make it time out.
const checkEvery = time.Second

// understudy is our configuration. A check fails while the file "sick" is in the host's directory.
func (o options) understudy(priority int) string {
	lines := append([]string{}, o.ours...)
	if o.unicast {
		s := o.speakers()
		lines = append(lines, fmt.Sprintf("peers = [%q, %q]", s[0], s[1]))
		if o.routed {
			lines = append(lines, "min_ttl = 64")
		}
	}
	if o.checksum != "" {
		lines = append(lines, fmt.Sprintf("checksum = %q", o.checksum))
	}
	return fmt.Sprintf(`
instance "web" {
  interface = "eth0"
  vrid      = %d
  version   = %d
  priority  = %d
  addresses = [%q]
  %s
}

check "script" "app" {
  command  = ["/usr/bin/test", "!", "-e", "LAB/${hostname}/sick"]
  interval = "1s"
  rise     = 1
  fall     = 1
}
`, vrid, o.version, priority, o.vip, strings.Join(lines, "\n  "))
}

// keepalived is theirs. While the file "fault" in the host's directory says 1 its check fails.
func (o options) keepalived(h *pairtest.Server, priority int) string {
	lines := append([]string{}, o.theirs...)
	if o.unicast {
		s := o.speakers()
		own, other := s[0], s[1]
		if !slices.ContainsFunc(h.Addresses(), func(p netip.Prefix) bool { return p.Addr() == own }) {
			own, other = other, own
		}
		if o.vip.Is6() && !o.routed {
			lines = append(lines, "unicast_ttl 255") // keepalived's own choice is the kernel's 64
		}
		lines = append(lines, "unicast_src_ip "+own.String(), "unicast_peer {", "	"+other.String(), "}")
	}
	return fmt.Sprintf(`
track_file fault {
	file %s
	weight %d
}
vrrp_instance web {
	interface eth0
	state BACKUP
	version %d
	virtual_router_id %d
	priority %d
	advert_int 1
	track_file {
		fault
	}
	virtual_ipaddress {
		%v
	}
	%s
}
`, filepath.Join(h.Dir(), "fault"), o.weight, o.version, vrid, priority, o.vip, strings.Join(lines, "\n\t"))
}

// frr is FRR's.
func (o options) frr(priority int) pairtest.FRROptions {
	return pairtest.FRROptions{VRID: vrid, Priority: priority, VIP: o.vip}
}

// sick makes our check fail, or succeed again.
func (l *lab) sick(t *testing.T, ill bool) {
	t.Helper()
	l.ill = ill
	path := filepath.Join(l.us.Dir(), "sick")
	err := os.Remove(path)
	if ill {
		err = os.WriteFile(path, nil, 0o644)
	} else if os.IsNotExist(err) {
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}
}
