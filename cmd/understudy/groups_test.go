package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// groups waits until the host's permanent neighbour entries are those, each as its device and family.
func (s *single) groups(want ...string) {
	s.t.Helper()
	labtest.Eventually(s.t, hostBound, func() (bool, string) {
		var got []string
		for _, family := range []string{"-4", "-6"} {
			out, err := s.host.Exec(s.t.Context(), "ip", family, "neigh", "show", "nud", "permanent")
			if err != nil {
				return false, err.Error()
			}
			for line := range strings.Lines(out) {
				got = append(got, strings.Join(strings.Fields(line)[:5], " "))
			}
		}
		slices.Sort(got) // the kernel's order is that of a hash
		return strings.Join(got, "\n") == strings.Join(want, "\n"), fmt.Sprintf("permanent are %q, want %q", got, want)
	})
}

// TestGroupsAreNeighbours: a daemon sees to it that a full neighbour table does not silence it, wherever it sends multicast adverts, for as
// long as it does. What a killed one leaves the cleanup takes away, and so does the next daemon, where that has no use for it.
func TestGroupsAreNeighbours(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	instance := func(vrid int, more string) string {
		return fmt.Sprintf("instance \"i%d\" {\n  interface = \"eth0\"\n  vrid = %d\n  priority = 150\n  addresses = [\"192.0.2.%d\"]\n  %s\n}\n", vrid, vrid, vrid, more)
	}
	plain, unicast := instance(71, ""), instance(72, `peers = ["10.0.0.11", "10.0.0.12"]`)
	const on = "224.0.0.18 dev eth0 lladdr 01:00:5e:00:00:12"
	const onMacvlan = "224.0.0.18 dev us4-73-eth0 lladdr 01:00:5e:00:00:12"

	s.write(plain)
	shadow := s.start("--shadow")
	s.logged(shadow, "to=master")
	s.groups()
	s.signal(shadow, syscall.SIGTERM)
	if err := s.ends(shadow); err != nil {
		t.Error(err)
	}

	s.write(plain + unicast)
	daemon := s.start()
	s.groups(on)
	if err := s.host.AdminDown(); err != nil {
		t.Fatal(err)
	}
	s.groups()
	if err := s.host.AdminUp(); err != nil {
		t.Fatal(err)
	}
	s.groups(on)
	s.exec("ip", "neigh", "flush", "nud", "permanent", "dev", "eth0")
	s.groups(on)
	s.write(plain + unicast + instance(73, `mac = "virtual"`))
	s.expect(exitOK, "instance i73 added", "reload")
	s.groups(on, onMacvlan)
	s.write(unicast + instance(73, `mac = "virtual"`))
	s.expect(exitOK, "instance i71 removed", "reload")
	s.groups(onMacvlan)
	s.write(plain + unicast)
	s.expect(exitOK, "instance i71 added", "reload")
	s.groups(on)

	kill := func() {
		t.Helper()
		s.signal(daemon, syscall.SIGKILL)
		_ = s.ends(daemon)
		s.groups(on)
	}
	kill()
	s.expect(exitOK, "", "cleanup")
	s.groups()
	daemon = s.start()
	s.groups(on)
	kill()
	s.write(unicast)
	daemon = s.start()
	s.groups()
	s.write(plain)
	s.expect(exitOK, "instance i71 added", "reload")
	s.groups(on)
	s.signal(daemon, syscall.SIGTERM)
	if err := s.ends(daemon); err != nil {
		t.Error(err)
	}
	s.groups()
}
