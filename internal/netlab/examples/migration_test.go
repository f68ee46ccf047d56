package examples

import (
	"fmt"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// migration is a pair on its way from keepalived to understudy, and the README that leads it.
type migration struct {
	*lab
	lb1, lb2   *machine
	keepalived map[*machine]*service
	steps      [][]command
}

// command is what is typed on a machine.
type command struct {
	on   *machine
	text string
}

// TestMigration goes the way of the README, one command after another.
func TestMigration(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "keepalived", "ps")
	n := pairNetwork
	n.vips = map[string]time.Duration{"192.0.2.10": every}
	g := &migration{lab: newLab(t, n), keepalived: map[*machine]*service{}}
	g.lb1, g.lb2 = g.machines["lb1"], g.machines["lb2"]
	g.read(t)
	g.serves(t)
	g.all(func(m *machine) {
		m.sh(t, "install -D -m 644 examples/migration/keepalived-"+m.Name()+".conf /etc/keepalived/keepalived.conf")
		m.sh(t, "install -m 755 examples/migration/chk_nginx.sh /etc/keepalived/")
		g.keepalived[m] = m.serve(t, "keepalived", "-n", "-l", "-D", "-f", "/etc/keepalived/keepalived.conf")
	})
	g.Only(t, "lb1", pairtest.SettleBound)
	began := time.Now()

	for n, after := range []func(t *testing.T, from time.Time){
		func(t *testing.T, from time.Time) { g.Rests(t, from, time.Now()) },
		func(t *testing.T, from time.Time) {
			eventually(t, func() (bool, string) { return g.lb2.AtHome(t, false) })
			g.Rests(t, from, time.Now().Add(time.Second))
		},
		func(t *testing.T, from time.Time) {
			g.Only(t, "lb2", pairtest.SettleBound)
			g.Moved(t, g.VIPs[0], from, "lb2")
			g.Outage(t, g.VIPs[0], from, noise, "lb2")
		},
		func(t *testing.T, from time.Time) {
			g.Settled(t, "lb1")
			g.Planned(t, from, "lb1")
		},
		func(t *testing.T, from time.Time) {
			g.Settled(t, "lb1")
			g.Rests(t, from, time.Now().Add(time.Second))
		},
	} {
		if !t.Run(fmt.Sprint("step ", n), func(t *testing.T) { after(t, g.step(t, n)) }) {
			return
		}
	}
	g.Ungapped(t, g.VIPs[0], began)
	t.Run("nginx dies", g.nginxDies)
}

// read finds the commands of each step.
func (g *migration) read(t *testing.T) {
	t.Helper()
	parts := regexp.MustCompile(`(?m)^\*\*\d\. `).Split(example(t, "migration/README.md"), -1)
	for _, part := range parts[1:] {
		var list []command
		for _, m := range prompts.FindAllStringSubmatch(part, -1) {
			g.all(func(on *machine) {
				if m[1] == "both" || m[1] == on.Name() {
					list = append(list, command{on, m[2]})
				}
			})
		}
		g.steps = append(g.steps, list)
	}
	if len(g.steps) != 6 {
		t.Fatalf("the README has %d steps, want 6", len(g.steps))
	}
}

// step does what a step of the README tells, and returns when it began.
func (g *migration) step(t *testing.T, n int) time.Time {
	t.Helper()
	from := time.Now()
	if len(g.steps[n]) == 0 {
		t.Errorf("the README tells nothing to do in step %d", n)
	}
	for _, c := range g.steps[n] {
		t.Logf("%s$ %s", c.on.Name(), c.text)
		switch c.text {
		case "systemctl disable --now understudy understudy-nginx": // nothing has started them
		case "systemctl disable --now keepalived":
			g.keepalived[c.on].stop(t)
		case "systemctl reload keepalived":
			g.keepalived[c.on].signal(t, syscall.SIGHUP)
		case "systemctl enable --now understudy understudy-nginx", "systemctl start understudy":
			c.on.Start(t)
			eventually(t, func() (bool, string) { _, err := c.on.Report(t); return err == nil, fmt.Sprint(err) })
		case "systemctl stop understudy":
			c.on.Stop(t)
		case "understudy run --shadow":
			g.watch(t, c.on)
		default:
			c.on.follow(t, "migration/README.md", c.text)
		}
	}
	return from
}

// watch runs a shadow until it agrees with what the machine's keepalived does.
func (g *migration) watch(t *testing.T, m *machine) {
	t.Helper()
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
}

// nginxDies is what all this was for.
func (g *migration) nginxDies(t *testing.T) {
	from := pairtest.Step(t, func() error { g.lb1.killNginx(t); return nil })
	g.Only(t, "lb2", 5*time.Second)
	g.Moved(t, g.VIPs[0], from, "lb2")
	g.Outage(t, g.VIPs[0], from, noise, "lb2")
}
