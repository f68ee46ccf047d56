package machines

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

const (
	unit = "understudy.service"
	// silence is how long lb2 waits: three intervals and the skew of priority 100.
	silence = 3*time.Second + 609*time.Millisecond
)

func daemonStopped(t *testing.T, p *pair) {
	p.away(t, func() { p.lb1.do(t, "systemctl stop understudy") })
	p.lb1.quiet(t)
	p.lb1.prints(t, "ip -oneline address show | grep -cE '192.0.2.10/|2001:db8::10/' || true", "0")
	p.home(t, func() { p.lb1.do(t, "systemctl start understudy") })
}

func daemonRestarted(t *testing.T, p *pair) {
	p.abroad(t, func() { p.lb1.do(t, "systemctl restart understudy") })
	p.lb1.quiet(t)
}

// daemonKilled: what the unit runs after its end hands over, and the unit starts it again.
func daemonKilled(t *testing.T, p *pair) {
	before := p.lb1.property(t, unit, "MainPID")
	from := time.Now()
	p.lb1.do(t, "kill -KILL "+before)
	p.Only(t, "lb2", pairtest.SettleBound)
	for _, vip := range p.VIPs {
		p.Outage(t, vip, from, pairtest.Noise, "lb2")
		p.Overlap(t, vip, from, pairtest.Lingers)
	}
	p.settled(t)
	if after := p.lb1.property(t, unit, "MainPID"); after == before || after == "0" {
		t.Errorf("the daemon's process is %s, killed was %s", after, before)
	}
	p.lb1.quiet(t)
}

// daemonFrozen: the kernel takes the addresses from it, and the service manager ends it when its watchdog has seen nothing for 10 s.
func daemonFrozen(t *testing.T, p *pair) {
	before := p.lb1.property(t, unit, "MainPID")
	from := time.Now()
	p.lb1.do(t, "kill -STOP "+before)
	p.Only(t, "lb2", pairtest.SettleBound)
	for _, vip := range p.VIPs {
		p.Outage(t, vip, from, silence+pairtest.Noise, "lb2")
		p.Overlap(t, vip, from, 0)
	}
	p.settled(t)
	if after := p.lb1.property(t, unit, "MainPID"); after == before || after == "0" {
		t.Errorf("the daemon's process is %s, frozen was %s", after, before)
	}
	p.lb1.do(t, "journalctl --boot --unit="+unit+" | grep 'Watchdog timeout'")
	p.lb1.quiet(t)
}

// reloaded: systemctl says whether a configuration was good, and moves nothing.
func reloaded(t *testing.T, p *pair) {
	const extra = "/etc/understudy/conf.d/extra.hcl"
	before := p.lb1.property(t, unit, "MainPID")
	p.rests(t, func() {
		p.lb1.do(t, "printf 'reload {\n  watch = false\n}\n' >"+extra+" && systemctl reload understudy")
		p.lb1.do(t, "echo 'nonsense = 1' >"+extra)
		if out, ok := p.lb1.try(t, "systemctl reload understudy"); ok {
			t.Errorf("a broken configuration was reloaded: %s", out)
		}
		if rejected, ok := p.lb1.try(t, "understudy status"); ok || !strings.Contains(rejected, "extra.hcl:1") {
			t.Errorf("status succeeds, or does not name the mistake:\n%s", rejected)
		}
		p.lb1.do(t, "rm "+extra+" && systemctl reload understudy")
	})
	if after := p.lb1.property(t, unit, "MainPID"); after != before {
		t.Errorf("the daemon's process is %s, before the reload it was %s", after, before)
	}
	p.lb1.quiet(t)
}

// realTime: the drop-in that the package has makes the daemon's threads real-time ones, and those of no check or hook.
func realTime(t *testing.T, p *pair) {
	const dropIn = "/etc/systemd/system/understudy.service.d/realtime.conf"
	p.lb1.do(t, "install -D --mode=644 "+examplesDir+"/realtime.conf "+dropIn+" && systemctl daemon-reload")
	p.abroad(t, func() { p.lb1.do(t, "systemctl restart understudy") })
	p.lb1.prints(t, "chrt --pid $(systemctl show --property=MainPID --value understudy) | sed -n 's/.*policy: //p'", "SCHED_RR")
	checkRights(t, p)
	p.lb1.do(t, "rm "+dropIn+" && systemctl daemon-reload")
	p.abroad(t, func() { p.lb1.do(t, "systemctl restart understudy") })
}

// networkdRestarted: it removes every address that it does not know; the daemon sets them again at once.
func networkdRestarted(t *testing.T, p *pair) {
	from := time.Now()
	p.lb1.do(t, "systemctl restart systemd-networkd && /lib/systemd/systemd-networkd-wait-online --interface=eth0 --timeout=20")
	p.settled(t)
	for _, vip := range p.VIPs {
		p.Outage(t, vip, from, pairtest.Noise, "lb1")
	}
}

// poweredOff: at a shutdown the addresses leave before nginx does, and the stop hooks run.
func poweredOff(t *testing.T, p *pair) {
	p.lb1.do(t, "rm -f "+toldPath)
	p.away(t, func() {
		if err := p.lb1.PowerOff(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	p.home(t, func() { p.lb1.on(t) })
	p.lb1.quiet(t)
	if told := p.lb1.do(t, "cat "+toldPath); !strings.Contains(told, "web STOP\n") {
		t.Errorf("at the shutdown the hook was told\n%s", told)
	}
}

func rebootedHost(t *testing.T, p *pair) {
	p.abroad(t, func() { p.lb1.again(t) })
	p.lb1.quiet(t)
}

// rebootedDrained: an administrator's drain outlives a reboot, also where nginx's own was added to it.
func rebootedDrained(t *testing.T, p *pair) {
	p.away(t, func() { p.lb1.do(t, "understudy drain") })
	p.rests(t, func() { p.lb1.again(t) })
	labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) { return p.lb1.seen.AtHome(t, false) })
	if drained := p.lb1.report(t).Node.Drained; !slices.Equal(drained, []string{"admin"}) {
		t.Errorf("after the reboot lb1 is drained for %v, want admin", drained)
	}
	p.home(t, func() { p.lb1.do(t, "understudy undrain") })
}

// powerLost: the other host can only wait for what it does not hear.
func powerLost(t *testing.T, p *pair) {
	from := time.Now()
	if err := p.lb1.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Only(t, "lb2", pairtest.SettleBound)
	for _, vip := range p.VIPs {
		p.Outage(t, vip, from, silence+pairtest.Noise, "lb2")
	}
	p.home(t, func() { p.lb1.on(t) })
	p.lb1.quiet(t)
}

// bootOrder: whichever host is there first, in the end all is as it should be and nothing is drained.
func bootOrder(t *testing.T, p *pair) {
	for _, order := range [][]*server{{p.lb1, p.lb2}, {p.lb2, p.lb1}} {
		for _, s := range p.servers() {
			if err := s.PowerOff(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range order {
			s.on(t)
		}
		p.settled(t)
		for _, s := range p.servers() {
			s.quiet(t)
		}
	}
}

// startOrder: nginx and the daemon of one host may start and stop in any order.
func startOrder(t *testing.T, p *pair) {
	for _, script := range []string{
		"systemctl stop nginx understudy; systemctl start nginx; systemctl start understudy",
		"systemctl stop understudy nginx; systemctl start understudy; systemctl start nginx",
		"systemctl stop understudy; systemctl restart nginx; systemctl start understudy",
		"systemctl stop nginx; systemctl restart understudy; systemctl start nginx",
	} {
		p.abroad(t, func() { p.lb1.do(t, script) })
		p.lb1.quiet(t)
	}
}
