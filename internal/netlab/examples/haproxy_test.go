package examples

import (
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// startHAProxy starts haproxy as its unit does.
func (m *machine) startHAProxy(t testing.TB) *service {
	t.Helper()
	m.sh(t, "haproxy -c -q -f /etc/haproxy/haproxy.cfg")
	s := m.serve(t, "haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid")
	eventually(t, func() (bool, string) {
		return m.read(t, "/run/haproxy.pid") != "", "haproxy has written no pid file: " + s.Output()
	})
	return s
}

// TestHAProxy kills haproxy, and one of the servers behind it, at which nothing may move.
func TestHAProxy(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "haproxy")
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every}
	l := newLab(t, n)
	web1 := labtest.Nginx(t, labtest.Host(t, l.Lab, "web1", "192.0.2.21/24"))
	labtest.Nginx(t, labtest.Host(t, l.Lab, "web2", "192.0.2.22/24"))
	running := map[string]*service{}
	l.all(func(m *machine) {
		m.follow(t, "haproxy/understudy.hcl", header(t, "haproxy/understudy.hcl"))
		m.valid(t)
		running[m.Name()] = m.startHAProxy(t)
		m.Start(t)
	})
	l.Settled(t, "lb1")
	vip := l.VIPs[0]

	from := pairtest.Step(t, func() error { running["lb1"].signal(t, syscall.SIGKILL); return nil })
	l.Only(t, "lb2", 5*time.Second)
	l.Moved(t, vip, from, "lb2")
	l.machines["lb1"].Says(t, `unhealthy: check=haproxy why="process haproxy \(pid \d+\) exited`, time.Second)
	l.servedBy(t, vip, "web1", "web2")
	l.machines["lb1"].startHAProxy(t)
	l.Settled(t, "lb2")

	from = pairtest.Step(t, func() error { return web1.Kill(t.Context()) })
	l.servedBy(t, vip, "web2")
	if moves := l.Owners.History().Moves(vip, from, time.Now()); moves > 0 {
		t.Errorf("%v moved for a server that both hosts miss", vip)
	}
}
