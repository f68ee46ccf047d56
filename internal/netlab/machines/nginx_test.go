package machines

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// nginxStopped: the addresses leave before nginx does, and come back when it is there again.
func nginxStopped(t *testing.T, p *pair) {
	p.away(t, func() {
		p.lb1.do(t, "systemctl stop nginx")
		// systemctl returned because nginx is gone: by then somebody else must have the addresses.
		for _, vip := range p.VIPs {
			if owners := p.Owners.Owners(vip); len(owners) != 1 || owners[0] != "lb2" {
				t.Errorf("nginx has stopped, and %v is on %v", vip, owners)
			}
		}
	})
	p.lb1.quiet(t)
	p.home(t, func() { p.lb1.do(t, "systemctl start nginx") })
}

func nginxRestarted(t *testing.T, p *pair) {
	p.abroad(t, func() { p.lb1.do(t, "systemctl restart nginx") })
	p.lb1.quiet(t)
}

// nginxUpgraded: Debian's package restarts nginx when it is upgraded, and when it is installed again.
func nginxUpgraded(t *testing.T, p *pair) {
	file, err := p.lb1.base.NginxPackage()
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(packageRoom, filepath.Base(file))
	if err := p.lb1.Copy(file, to); err != nil {
		t.Fatal(err)
	}
	before := p.lb1.property(t, "nginx", "MainPID")
	p.abroad(t, func() { p.lb1.do(t, "dpkg --install --force-confold "+to) })
	if after := p.lb1.property(t, "nginx", "MainPID"); after == before {
		t.Errorf("nginx has not been restarted: its master is %s as before", after)
	}
	p.lb1.quiet(t)
}

// nginxBroken: an nginx that cannot be started again is one that was stopped, until somebody has repaired it.
func nginxBroken(t *testing.T, p *pair) {
	const broken = "/etc/nginx/conf.d/broken.conf"
	p.away(t, func() {
		p.lb1.do(t, "echo 'no_such_directive;' >"+broken)
		if out, ok := p.lb1.try(t, "systemctl restart nginx"); ok {
			t.Errorf("nginx was restarted with a broken configuration: %s", out)
		}
	})
	p.rests(t, func() { p.lb1.do(t, "systemctl restart understudy") })
	p.home(t, func() { p.lb1.do(t, "rm "+broken+"; systemctl reset-failed nginx; systemctl start nginx") })
	p.lb1.quiet(t)
}

func nginxKilled(t *testing.T, p *pair) {
	from := time.Now()
	p.lb1.do(t, "kill -KILL $(cat /run/nginx.pid)")
	p.Only(t, "lb2", pairtest.SettleBound)
	for _, vip := range p.VIPs {
		p.Moved(t, vip, from, "lb2")
		p.Outage(t, vip, from, pairtest.Noise, "lb2")
		p.Overlap(t, vip, from, pairtest.Lingers)
	}
	p.home(t, func() { p.lb1.do(t, "systemctl reset-failed nginx; systemctl start nginx") })
}

// nginxKilledAlone: nobody can take over, and systemd starts nginx again as its unit says. The drain that comes before that start
// must not keep it waiting for a host that does not come.
func nginxKilledAlone(t *testing.T, p *pair) {
	const (
		dropIn  = "/etc/systemd/system/nginx.service.d/restart.conf"
		restart = 100 * time.Millisecond
		starts  = 200 * time.Millisecond // nginx tests its configuration first
		// The workers first: without a control group that tells of its end, as here, systemd waits 5 s for what is left of a service.
		kill = `master=$(cat /run/nginx.pid) && kill -STOP $master && kill -KILL $(pgrep --parent $master)
while ps --ppid $master -o stat= | grep -q '^[^Z]'; do sleep 0.005; done
kill -KILL $master`
	)
	p.lb1.do(t, "mkdir -p "+filepath.Dir(dropIn)+" && printf '[Service]\\nRestart=on-failure\\nRestartSec=100ms\\n' >"+dropIn+" && systemctl daemon-reload")
	p.rests(t, func() { p.lb2.do(t, "systemctl stop understudy") })
	before := p.lb1.property(t, "nginx", "NRestarts")
	from := time.Now()
	p.lb1.do(t, kill)
	labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) {
		if now := p.lb1.property(t, "nginx", "NRestarts"); now == before {
			return false, "systemd has not started nginx again"
		}
		if drained := p.lb1.report(t).Node.Drained; len(drained) > 0 || p.lb1.property(t, "understudy-nginx", "ActiveState") != "active" {
			return false, fmt.Sprintf("lb1 is drained for %v", drained)
		}
		return p.lb1.seen.AtHome(t, true)
	})
	for _, vip := range p.VIPs {
		t.Logf("nginx answered on %v again after %v", vip, p.Outage(t, vip, from, restart+starts+pairtest.Noise, "lb1"))
	}
	p.rests(t, func() { p.lb2.do(t, "systemctl start understudy") })
	p.lb1.do(t, "rm "+dropIn+" && systemctl daemon-reload")
	p.lb1.quiet(t)
}
