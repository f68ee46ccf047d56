package machines

import (
	"path/filepath"
	"testing"
	"time"

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
