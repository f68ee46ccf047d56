package examples

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// pair is a pair on its way from keepalived to understudy.
type pair struct {
	*lab
	lb1, lb2   *machine
	keepalived map[*machine]*service
}

// TestMigration goes the way of the README from the keepalived pair to the other one.
func TestMigration(t *testing.T) {
	t.Parallel()
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every}
	p := &pair{lab: newLab(t, n), keepalived: map[*machine]*service{}}
	p.lb1, p.lb2 = p.machines["lb1"], p.machines["lb2"]
	p.serves(t)
	p.all(func(m *machine) {
		m.put(t, "migration/keepalived-"+m.Name()+".conf", "/etc/keepalived/keepalived.conf")
		m.put(t, "migration/chk_nginx.sh", "/etc/keepalived/chk_nginx.sh")
		p.keepalived[m] = m.serve(t, "keepalived", "-n", "-l", "-D", "-f", "/etc/keepalived/keepalived.conf")
	})
	p.Only(t, "lb1", pairtest.SettleBound)
	began := time.Now()

	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"0 watch", p.watch},
		{"1 the backup first", p.backupFirst},
		{"2 move the address", p.move},
		{"3 the other host", p.otherHost},
		{"4 leave VRRPv2 behind", p.leaveVersion2},
		{"5 nginx dies", p.nginxDies},
	} {
		if !t.Run(step.name, step.do) {
			return
		}
	}
	p.Ungapped(t, p.VIPs[0], began)
}

// watch runs shadows on both until they agree with what their keepalived does.
func (p *pair) watch(t *testing.T) {
	from := time.Now()
	p.all(func(m *machine) {
		m.bring(t, "migration")
		m.sh(t, "cd migration; "+strings.ReplaceAll(commands(t, "migration/README.md", "--shadow"), "understudy run --shadow\n", ""))
		shadow := m.serve(t, "understudy", "run", "--shadow")
		eventually(t, func() (bool, string) {
			r, err := control.Dial(m.Run).Report(t.Context())
			if err != nil {
				return false, err.Error()
			}
			c := r.Node.Instances[0].Compared
			return c != nil && c.Agrees, fmt.Sprintf("the shadow on %s says %+v", m.Name(), c)
		})
		shadow.stop(t)
	})
	p.Rests(t, from, time.Now())
}

func (p *pair) backupFirst(t *testing.T) {
	from := time.Now()
	p.keepalived[p.lb2].stop(t)
	p.lb2.startDaemon(t)
	eventually(t, func() (bool, string) { return p.lb2.AtHome(t, false) })
	p.Rests(t, from, time.Now().Add(time.Second))
}

func (p *pair) move(t *testing.T) {
	from := time.Now()
	p.lb1.sh(t, commands(t, "migration/README.md", "sed -i"))
	p.keepalived[p.lb1].signal(t, syscall.SIGHUP)
	p.Only(t, "lb2", pairtest.SettleBound)
	p.Moved(t, p.VIPs[0], from, "lb2")
	p.Outage(t, p.VIPs[0], from, noise, "lb2")
}

func (p *pair) otherHost(t *testing.T) {
	from := time.Now()
	p.keepalived[p.lb1].stop(t)
	p.lb1.startDaemon(t)
	p.Settled(t, "lb1")
	p.Planned(t, from, "lb1")
}

func (p *pair) leaveVersion2(t *testing.T) {
	from := time.Now()
	p.lb2.stopDaemon(t)
	before := p.lb1.Logged(reloaded)
	p.lb1.sh(t, "cd migration; install -m 644 2-afterwards/understudy.hcl /etc/understudy/")
	p.lb1.SaysAgain(t, reloaded, before, bootBound)
	p.lb1.isMaster(t, "VI_1")
	p.lb2.sh(t, "cd migration; install -m 644 2-afterwards/understudy.hcl /etc/understudy/")
	p.lb2.startDaemon(t)
	p.Settled(t, "lb1")
	p.Rests(t, from, time.Now().Add(time.Second))
}

// nginxDies is what all this was for.
func (p *pair) nginxDies(t *testing.T) {
	from := pairtest.Step(t, func() error { p.lb1.killNginx(t); return nil })
	p.Only(t, "lb2", 5*time.Second)
	p.Moved(t, p.VIPs[0], from, "lb2")
	p.Outage(t, p.VIPs[0], from, noise, "lb2")
}
