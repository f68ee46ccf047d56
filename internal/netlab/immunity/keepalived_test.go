package immunity

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

const (
	keepalivedVRID     = 72
	keepalivedInterval = time.Second
	// keepalivedDown is Master_Down_Interval of the backup.
	keepalivedDown = 3*keepalivedInterval + keepalivedInterval*156/256
)

var keepalivedVIP = netip.MustParseAddr("10.0.0.200")

// keepalived starts keepalived on a new host of the lab.
func keepalived(t *testing.T, l *netlab.Lab, name, address string, priority int) *netlab.Host {
	t.Helper()
	labtest.Require(t, "keepalived")
	h := labtest.Host(t, l, name, address)
	path := filepath.Join(h.Dir(), "keepalived")
	config := fmt.Sprintf(`
vrrp_instance web {
	interface %s
	state BACKUP
	version 3
	virtual_router_id %d
	priority %d
	advert_int %v
	virtual_ipaddress {
		%s
	}
}
`, netlab.Interface, keepalivedVRID, priority, keepalivedInterval.Seconds(), keepalivedVIP)
	if err := os.WriteFile(path+".conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := h.Start("keepalived", "-n", "-l", "-D", "-P", "-f", path+".conf", "-p", path+".pid", "-r", path+"-vrrp.pid")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("keepalived on %s:\n%s", name, p.Output())
		}
	})
	return h
}

// TestKeepalivedIsMuted tells of two pairs, of understudy and of keepalived 2.2.7, and a stranger who sends each of them five
// packets a second with a wrong checksum. Whatever comes for its VRID, keepalived's master begins its interval anew, so that it
// never ends: it falls silent, and its backup takes the address too, until the master hears of that.
func TestKeepalivedIsMuted(t *testing.T) {
	const (
		few  = 5 // a second, for each pair
		last = 8 * time.Second
	)
	c := pair(t, "")
	ka1 := keepalived(t, c.Lab, "ka1", "10.0.0.21/24", 150)
	ka2 := keepalived(t, c.Lab, "ka2", "10.0.0.22/24", 100)
	evil := labtest.Host(t, c.Lab, "evil", "10.0.0.66/24")
	holds := func(h *netlab.Host, want bool, bound time.Duration) {
		t.Helper()
		labtest.Eventually(t, bound, func() (bool, string) {
			held, err := h.Holds(keepalivedVIP)
			return err == nil && held == want, fmt.Sprintf("%s has the address: %t, want %t; %v", h.Name(), held, want, err)
		})
	}
	holds(ka1, true, settleBound)
	holds(ka2, false, settleBound)
	ours, master, backup := watch(t, c), watchFrom(t, c.User, ka1.MAC()), watchFrom(t, c.User, ka2.MAC())
	next(t, master, time.Now(), settleBound)

	broken := best(stranger).with(func(b []byte) []byte { b[7]++; return b })
	forKeepalived := broken.with(func(b []byte) []byte { b[1] = keepalivedVRID; return b })
	from := time.Now()
	f := startFlood(t, evil, 2*few, last, [][]byte{broken.frame(), forKeepalived.frame()})
	taken := next(t, backup, from, keepalivedDown+pairtest.Noise)
	if heard := between(adverts(master), from, taken); heard > 1 { // one may have been due before the first packet came
		t.Errorf("keepalived's master advertised %d times before its backup took the address", heard)
	}
	t.Logf("keepalived's backup took the address after %s", taken.Sub(from))

	f.end(t)
	now := time.Now()
	if gap := longest(t, ours, from, now); gap > interval*3/2 {
		t.Errorf("understudy's master was silent for %s of its interval of %s", gap, interval)
	} else {
		t.Logf("understudy's master was silent for %s at most", gap)
	}
	for _, change := range c.Owners.History() {
		if change.At.After(from) && change.Addr == vip {
			t.Errorf("%s: %v held=%t", change.Host, change.Addr, change.Held)
		}
	}
}

// between counts the instants between two others.
func between(at []time.Time, from, to time.Time) (n int) {
	for _, a := range at {
		if a.After(from) && a.Before(to) {
			n++
		}
	}
	return n
}
