package machines

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// TestMachine tells that a machine boots, has its name and address, forgets with its power what a kernel forgets, and reboots.
func TestMachine(t *testing.T) {
	l := labtest.New(t)
	needs(t)
	m := newMachine(t, labtest.Host(t, l, "lb1", "10.0.0.11/24", "fd00::11/64"))
	boot(t, m)
	for script, want := range map[string]string{
		"hostname": "lb1",
		"systemctl is-system-running || systemctl --failed": "running",
		"systemctl is-active nginx":                         "active",
		"ip -br address show eth0":                          "10.0.0.11/24 fd00::11/64",
		"sysctl -w net.ipv4.ip_nonlocal_bind=1":             "net.ipv4.ip_nonlocal_bind = 1",
		"networkctl status eth0":                            "routable (configured)",
	} {
		if out := shell(t, m, script); !strings.Contains(out, want) {
			t.Errorf("%s prints %q, want %q", script, out, want)
		}
	}
	shell(t, m, "touch /run/forgotten /root/kept; ip address add 10.0.0.100/32 dev eth0")
	for _, end := range []struct {
		name string
		do   func() error
	}{
		{"reboot", func() error { return m.Reboot(t.Context()) }},
		{"poweroff", func() error { return m.PowerOff(t.Context()) }},
		{"power cut", m.Kill},
	} {
		if err := end.do(); err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
		if !m.Running() {
			boot(t, m)
		}
		if out := shell(t, m, "ls /run/forgotten /root/kept 2>&1; ip address show eth0"); !strings.Contains(out, "/root/kept") || strings.Contains(out, "\n/run/forgotten") || strings.Contains(out, "10.0.0.100") {
			t.Errorf("after a %s: %s", end.name, out)
		}
	}
	journal, err := m.Journal(t.Context())
	if err != nil || strings.Count(journal, "Started nginx.service") < 4 {
		t.Errorf("journal of four boots: %v\n%s", err, journal)
	}
}
