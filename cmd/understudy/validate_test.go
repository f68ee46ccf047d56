package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestValidateOfThisHost: what would put an instance in fault on the host that is to run the file is an error with --here, and without it a
// warning where the host has a node's name; elsewhere the text alone counts.
func TestValidateOfThisHost(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	self, err := config.HostName()
	if err != nil {
		t.Fatal(err)
	}
	here := []string{"validate", s.conf, "--here", "--node", "lb1"}
	fine := func() {
		t.Helper()
		s.expect(exitOK, "valid for [lb1]: 0 errors, 0 warnings\n", here...)
	}
	fault := func(why string) {
		t.Helper()
		why = `on this host: instance "web" would be in fault: ` + why
		s.expect(exitError, "error: "+why, here...)
		s.expect(exitOK, "warning: "+why, "validate", s.conf)
		s.expect(exitOK, fmt.Sprintf("\nvalid for [%s]: 0 errors, 1 warning; 1 about this host, which --here makes an error\n", self), "validate", s.conf)
		s.expect(exitOK, "\nvalid for [elsewhere]: 0 errors, 0 warnings\n", "validate", s.conf, "--node", "elsewhere")
	}

	fine()
	if err := s.host.AdminDown(); err != nil {
		t.Fatal(err)
	}
	fault(`interface "eth0" is down (ip link set eth0 up)`)
	if err := s.host.AdminUp(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, hostBound, func() (bool, string) {
		code, out := s.command(here...)
		return code == exitOK, out
	})
	s.exec("ip", "address", "add", hostVIP+"/24", "dev", "eth0")
	fault(hostVIP + " is on eth0 already and not ours: ")
	s.exec("ip", "address", "del", hostVIP+"/24", "dev", "eth0")

	daemon := s.start()
	s.await(exitOK)
	s.holds(true)
	fine() // the address is the daemon's own
	s.signal(daemon, syscall.SIGTERM)
	if err := s.ends(daemon); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	for name, why := range map[string]string{
		"eth9": `interface "eth9" does not exist`,
		"lo":   `interface "lo" has no IPv4 address of its own to send adverts from`,
	} {
		s.write(strings.Replace(string(text), `"eth0"`, fmt.Sprintf("%q", name), 1))
		fault(why)
	}
}

// TestRedirectsAreRemarked: a host that lets ICMP redirects lead the adverts of a unicast IPv4 instance away can run it, and is told so by
// validate, also with --here and --strict, which do not fail for it, and by status, with the lines that end it.
func TestRedirectsAreRemarked(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	instance := func(address, more string) {
		s.write(fmt.Sprintf("instance \"web\" {\n  interface = \"eth0\"\n  vrid = 71\n  priority = 150\n  addresses = [%q]\n  %s\n}\n", address, more))
	}
	remark := "forged ICMP redirects can lead its adverts away from the peers: " +
		linux.SysctlRemedy("net.ipv4.conf.all.accept_redirects = 0", "net.ipv4.conf.eth0.accept_redirects = 0")
	here := []string{"validate", s.conf, "--here", "--node", "lb1", "--strict"}
	says := func(want bool) {
		t.Helper()
		code, out := s.command(here...)
		if got := strings.Contains(out, `note: on this host: instance "web": `+remark); code != exitOK || got != want {
			t.Errorf("validate exits %d, says so: %t, want %t:\n%s", code, got, want, out)
		}
	}
	s.exec("sysctl", "-qw", "net.ipv4.conf.all.accept_redirects=1")
	s.exec("sysctl", "-qw", "net.ipv4.conf.eth0.accept_redirects=1")
	instance(hostVIP, "")
	says(false)
	instance("2001:db8::10", `peers = ["fe80::12"]`)
	says(false)
	instance(hostVIP, `peers = ["10.0.0.12"]`)
	says(true)

	daemon := s.start()
	s.await(exitOK)
	s.expect(exitOK, remark, "status")
	s.exec("sysctl", "-qw", "net.ipv4.conf.all.accept_redirects=0")
	says(true)
	s.exec("sysctl", "-qw", "net.ipv4.conf.eth0.accept_redirects=0")
	says(false)
	if _, out := s.command("status"); strings.Contains(out, "redirects") {
		t.Errorf("status still says\n%s", out)
	}
	s.signal(daemon, syscall.SIGTERM)
	if err := s.ends(daemon); err != nil {
		t.Error(err)
	}
}
