package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestReloadThatWouldStop tells of changes of the file with which a master could not go on, on this host as it is: it goes on with what
// it has, says what to put right, and takes the file as soon as that is done and somebody asks.
func TestReloadThatWouldStop(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(string(text), "watch = false", "watch = true", 1)
	with := func(line string) string { return strings.Replace(plain, "  vrid ", "  "+line+"\n  vrid ", 1) }
	s.write(plain)
	daemon := s.start()
	s.await(exitOK)
	stays := func(why string) {
		t.Helper()
		s.expect(exitError, why, "reload")
		s.expect(exitOK, why, "status", "web")
		s.holds(true)
		if strings.Contains(daemon.Output(), "to=fault") {
			t.Error("it was stopped")
		}
	}

	virtual := with(`mac = "virtual"`)
	s.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
	s.write(virtual)
	s.logged(daemon, `configuration rejected; the running one goes on: why="a file changed"`)
	stays(`virtual MAC on "eth0": net.ipv4.conf.all.rp_filter = 1 (strict) drops what comes in for a virtual MAC, since the way back is another: ` +
		linux.SysctlRemedy("net.ipv4.conf.all.rp_filter = 2") + "; then run: understudy reload")
	s.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
	s.exec("ip", "link", "add", "vrrp.71", "link", "eth0", "up", "address", "00:00:5e:00:01:47", "type", "macvlan", "mode", "bridge")
	stays("another macvlan on it has this MAC address")
	s.exec("ip", "link", "del", "vrrp.71")
	s.expect(exitOK, "instance web changed", "reload")
	s.await(exitOK)
	s.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
	s.await(exitFault)
	s.write(strings.Replace(virtual, "150", "140", 1) + fmt.Sprintf("instance \"shop\" {\n  interface = \"eth0\"\n  vrid = 72\n  priority = 150\n  addresses = [%q]\n}\n", "192.0.2.20"))
	s.logged(daemon, "instance shop added, instance web changed") // what is stopped already keeps nobody from it
	s.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
	s.await(exitOK)
	s.write(plain)
	s.logged(daemon, "instance shop removed, instance web changed")
	s.await(exitOK)
}

// TestReloadToAnotherInterface: an instance does not go where nobody would have its addresses.
func TestReloadToAnotherInterface(t *testing.T) {
	t.Parallel()
	s := newSingle(t, 150)
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	s.await(exitOK)
	s.write(strings.Replace(string(text), `"eth0"`, `"eth2"`, 1))
	refused := func(why string) {
		t.Helper()
		s.expect(exitError, `instance "web" would be in fault, and what "web" serves on "eth0" would be nowhere with the same file on all hosts; first put right: interface "eth2" `+why, "reload")
		s.expect(exitOK, "web  MASTER for ", "status", "web")
		s.holds(true)
	}
	refused("does not exist")
	s.exec("ip", "link", "add", "eth2", "type", "veth", "peer", "name", "far2")
	refused("is down (ip link set eth2 up)")
	s.exec("ip", "link", "set", "eth2", "up")
	refused("has no carrier")
	s.exec("ip", "link", "set", "far2", "up")
	refused("has no IPv4 address of its own to send adverts from")
	s.exec("ip", "address", "add", "10.2.0.11/24", "dev", "eth2")
	s.expect(exitOK, "instance web", "reload")
	labtest.Eventually(t, hostBound, func() (bool, string) {
		code, out := s.command("status", "web")
		return code == exitOK && strings.Contains(out, "on eth2"), out
	})
}
