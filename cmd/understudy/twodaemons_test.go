package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// ofOneOfTwo is the configuration of one of two daemons of a host: with a virtual MAC address and a network of its own, and another
// address.
func ofOneOfTwo(vrid int, net, plain string) string {
	return fmt.Sprintf(`
instance "web" {
  interface          = "eth0"
  vrid               = %d
  priority           = 150
  addresses          = ["%s.10/24"]
  mac                = "virtual"
  advertise_interval = "100ms"
}
instance "plain" {
  interface          = "eth0"
  vrid               = %d
  priority           = 150
  addresses          = ["%s"]
  advertise_interval = "100ms"
}
`, vrid, net, vrid+1, plain)
}

// What `ip` shows of a neighbour entry of VRRP's group, around the device.
const entry, groupMAC = "224.0.0.18 dev ", " lladdr 01:00:5e:00:00:12"

// neighbourWatch follows the neighbour entries of a host.
type neighbourWatch struct {
	*netlab.Proc
	host *single
}

// watchNeighbours returns when it follows them.
func (s *single) watchNeighbours() *neighbourWatch {
	s.t.Helper()
	p, err := s.host.Start("ip", "monitor", "neigh")
	if err != nil {
		s.t.Fatal(err)
	}
	s.exec("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	s.exec("ip", "link", "set", "d0", "up")
	w := &neighbourWatch{Proc: p, host: s}
	w.told("192.0.2.98")
	return w
}

// told waits until it has been told what happened so far, and an entry of an address after that.
func (w *neighbourWatch) told(ip string) {
	w.host.t.Helper()
	labtest.Eventually(w.host.t, hostBound, func() (bool, string) {
		w.host.exec("ip", "neigh", "replace", ip, "lladdr", "02:00:00:00:00:01", "dev", "d0")
		w.host.exec("ip", "neigh", "del", ip, "dev", "d0")
		return strings.Contains(w.Output(), ip+" dev d0"), "ip monitor shows\n" + w.Output()
	})
}

// cleared waits until a daemon that started has taken away what a dead one left: an entry where nobody runs a virtual router.
func (w *neighbourWatch) cleared(when string) {
	w.host.t.Helper()
	w.host.exec("ip", "neigh", "replace", "224.0.0.18", "lladdr", "01:00:5e:00:00:12", "dev", "d0", "nud", "permanent", "protocol", "112")
	labtest.Eventually(w.host.t, hostBound, func() (bool, string) {
		out, err := w.host.host.Exec(w.host.t.Context(), "ip", "-4", "neigh", "show", "nud", "permanent", "dev", "d0")
		return err == nil && out == "", fmt.Sprintf("%s: %s (%v)", when, out, err)
	})
}

// TestTwoDaemonsOfAHost: neither the start of the second, nor its work, nor its end, however it ends, takes anything from the first.
func TestTwoDaemonsOfAHost(t *testing.T) {
	t.Parallel()
	first := newSingle(t, 150)
	second := *first
	second.run, second.keep, second.conf = "second", "kept", filepath.Join(first.host.Dir(), "second.hcl")
	of1 := ofOneOfTwo(71, "192.0.2", "192.0.2.20")
	first.write(of1)
	second.write(ofOneOfTwo(81, "198.51.100", "192.0.2.120/24")) // in the first one's network
	a := first.start()
	masters := func(s *single) {
		t.Helper()
		labtest.Eventually(t, hostBound, func() (bool, string) {
			r := s.report()
			if r.Node == nil {
				return false, "it does not run"
			}
			is := func(i node.InstanceStatus) bool { return i.State == node.Master }
			return len(r.Node.Instances) == 2 && is(r.Node.Instances[0]) && is(r.Node.Instances[1]), fmt.Sprintf("%+v", r.Node.Instances)
		})
	}
	masters(first)
	before := ""
	has := func() string { // without lifetimes, and what the second has
		t.Helper()
		out, err := first.host.Exec(t.Context(), "sh", "-c",
			"(ip -o link 2>/dev/null | grep us.-71; ip -o -4 addr show; ip route; cat /proc/sys/net/ipv4/conf/eth0/arp_*e) | sed 's/ valid_lft.*//; s/ dynamic//'")
		if err != nil {
			t.Fatal(err)
		}
		var own []string
		for line := range strings.Lines(out) {
			others := slices.ContainsFunc([]string{"198.51.100.", "us4-81", "192.0.2.120"}, func(of2 string) bool { return strings.Contains(line, of2) })
			route := before != "" && strings.Contains(line, " proto 112 ") && !strings.Contains(before, line)
			if !others && !route {
				own = append(own, line)
			}
		}
		return strings.Join(own, "")
	}
	before = has()
	if !strings.Contains(before, "us4-71-eth0") || !strings.Contains(before, "192.0.2.0/24 dev eth0 proto 112") {
		t.Fatalf("the first daemon has\n%s", before)
	}
	untouched := func(when string) {
		t.Helper()
		if diff := cmp.Diff(before, has()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", when, diff)
		}
	}
	first.groups(entry+"eth0"+groupMAC, entry+"us4-71-eth0"+groupMAC)
	changes := first.watchNeighbours()
	b := second.start()
	masters(&second)
	changes.cleared("the second daemon's start")
	untouched("the second daemon's start")
	first.write(strings.ReplaceAll(of1, "150", "151"))
	first.expect(exitOK, "", "reload")
	untouched("a reload of the first")
	second.signal(b, syscall.SIGTERM)
	if err := second.ends(b); err != nil {
		t.Error(err)
	}
	untouched("the second daemon's end")
	b = second.start()
	masters(&second)
	changes.cleared("its next start")
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	second.expect(exitOK, "", "cleanup")
	untouched("the second daemon's death, and the cleanup after it")
	changes.told("192.0.2.99")
	for line := range strings.Lines(changes.Output()) {
		if strings.HasPrefix(line, "Deleted 224.0.0.18 dev eth0") || strings.HasPrefix(line, "Deleted 224.0.0.18 dev us4-71-eth0") {
			t.Errorf("the second daemon took a neighbour entry away: %s", line)
		}
	}
	for _, bad := range []string{"something else removed", "taken away", "repair"} {
		if strings.Contains(a.Output(), bad) {
			t.Errorf("the first daemon's log tells of %q", bad)
		}
	}
}

// TestTwoDaemonsOfARouter: a second daemon with the configuration of the first, by mistake, takes nothing from it and says whom it found.
// When the first dies, it runs the instance, and then the first is the one that finds it. So it is with one that has the first one's
// address in another virtual router.
func TestTwoDaemonsOfARouter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		vrid string // the second one's
		says string
	}{
		{"the same virtual router", "71", `runs virtual router 71 on "eth0" already`},
		{"the same address", "81", `has address 192.0.2.10 on "eth0" in another virtual router`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first := newSingle(t, 150)
			second := *first
			second.run, second.keep, second.conf = "second", "kept", filepath.Join(first.host.Dir(), "second.hcl")
			second.configure(150)
			text, err := os.ReadFile(second.conf)
			if err != nil {
				t.Fatal(err)
			}
			second.write(strings.Replace(string(text), "= 71", "= "+tt.vrid, 1))
			inTurns(t, first, &second, tt.says)
		})
	}
}

// inTurns has two daemons serve that may not serve at once, and ends and kills them.
func inTurns(t *testing.T, first, second *single, says string) {
	t.Helper()
	a := first.start()
	first.await(exitOK)
	first.holds(true)

	b := second.start()
	second.await(exitFault)
	second.expect(exitFault, fmt.Sprintf("another understudy on this host (pid %d) %s", first.report().PID, says), "status", "web")
	first.expect(exitOK, "MASTER", "status", "web")
	first.holds(true)
	second.signal(b, syscall.SIGTERM)
	if err := second.ends(b); err != nil {
		t.Error(err)
	}
	second.expect(exitOK, "", "cleanup")
	first.holds(true)
	b = second.start()
	second.await(exitFault)
	for _, bad := range []string{"something else deleted", "ran out", "to=leaving"} {
		if strings.Contains(a.Output(), bad) {
			t.Errorf("the first daemon's log tells of %q", bad)
		}
	}
	if strings.Contains(b.Output(), "removed an address") {
		t.Error("the second daemon removed an address")
	}

	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	second.await(exitOK)
	second.holds(true)
	a = first.start()
	first.await(exitFault)
	second.expect(exitOK, "MASTER", "status", "web")
	second.holds(true)
	if strings.Contains(b.Output(), "something else deleted") {
		t.Error("the first daemon took the address from the second")
	}
	first.signal(a, syscall.SIGTERM)
	if err := first.ends(a); err != nil {
		t.Error(err)
	}
	second.holds(true)
}
