package machines

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// removed: the addresses move first, nothing is left that runs, and what a person wrote stays. Installed again, it goes on.
func removed(t *testing.T, p *pair, first deb) {
	p.away(t, func() { p.lb1.do(t, "dpkg --remove understudy") })
	gone(t, p.lb1)
	p.lb1.prints(t, "dpkg-query --show --showformat='${db:Status-Status}' understudy", "config-files")
	p.lb1.do(t, "test -s "+configFile+" && test -x "+hookPath)
	// nginx is on its own again.
	p.lb1.do(t, "systemctl restart nginx")
	p.lb1.quiet(t)
	p.home(t, func() { p.lb1.install(t, first) })
	p.lb1.quiet(t)
}

// purged: what we wrote is gone, what a person wrote is not.
func purged(t *testing.T, p *pair, first deb) {
	p.lb1.do(t, "understudy drain --for tests && understudy undrain --for tests")
	p.settled(t)
	p.away(t, func() { p.lb1.do(t, "dpkg --purge understudy") })
	gone(t, p.lb1)
	if out, ok := p.lb1.try(t, "dpkg-query --show understudy"); ok {
		t.Errorf("dpkg still knows %s", out)
	}
	left := p.lb1.do(t, "find / -xdev \\( -path /proc -o -path /sys -o -path "+packageRoom+" -o -path /usr/local -o -path /var/log/journal \\) -prune -o -name '*understudy*' -print | sort")
	if want := "/etc/understudy\n" + configFile + "\n"; left != want {
		t.Errorf("after the purge there is\n%swant\n%s", left, want)
	}
	p.lb1.do(t, "test -x "+hookPath+" && test -s /etc/understudy/conf.d/rights.hcl")
	p.home(t, func() { p.lb1.install(t, first) })
	p.lb1.quiet(t)
}

// purgedDead: a daemon without a lease died, and nothing cleaned up after it; the package's removal does.
func purgedDead(t *testing.T, p *pair, first deb) {
	const dropIn = "/etc/systemd/system/understudy.service.d"
	p.lb1.do(t, "cp "+configFile+" /root/kept.hcl && sed -i '/vrid/a lease = false' "+configFile+" && understudy reload")
	p.lb1.do(t, "mkdir "+dropIn+" && printf '[Service]\\nRestart=no\\nExecStopPost=\\n' >"+dropIn+"/dies.conf && systemctl daemon-reload")
	p.lb1.do(t, "systemctl kill --signal=KILL understudy")
	labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) {
		owners := p.Owners.Owners(vip4)
		return len(owners) == 2, fmt.Sprintf("%v is on %v, want it on the dead daemon's host too", vip4, owners)
	})
	p.lb1.do(t, "dpkg --purge understudy; rm -r "+dropIn+"; systemctl daemon-reload; systemctl reset-failed")
	p.Only(t, "lb2", pairtest.SettleBound)
	gone(t, p.lb1)
	p.lb1.do(t, "mv /root/kept.hcl "+configFile)
	p.home(t, func() { p.lb1.install(t, first) })
	p.lb1.quiet(t)
}

// gone asserts that nothing runs any more, and that no address is left.
func gone(t *testing.T, s *server) {
	t.Helper()
	s.quiet(t)
	s.prints(t, "systemctl is-system-running", "running")
	s.prints(t, "pgrep --exact understudy || true", "")
	s.prints(t, "systemctl list-units --all --no-legend --plain 'understudy*' | grep -v not-found || true", "")
	if out := s.do(t, "ip -oneline address show"); strings.Contains(out, vip4.String()+"/") || strings.Contains(out, vip6.String()+"/") {
		t.Errorf("%s still has an address:\n%s", s.Name(), out)
	}
	if out, ok := s.try(t, "ls -d /run/understudy /run/understudy-helper "+door); ok {
		t.Errorf("%s still has %s", s.Name(), out)
	}
}
