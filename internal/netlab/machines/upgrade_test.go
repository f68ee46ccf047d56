package machines

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
)

// answers is how long a daemon may take to run another program, or to say why not.
const answers = 20 * time.Second

// install installs a package file with dpkg.
func (s *server) install(t *testing.T, d deb) {
	t.Helper()
	to := filepath.Join(packageRoom, d.name())
	if err := s.Copy(d.path, to); err != nil {
		t.Fatal(err)
	}
	s.do(t, "dpkg --install "+to)
	s.prints(t, "dpkg-query --show --showformat='${Version} ${Status}' understudy", d.version+" install ok installed")
}

// runs waits until the daemon says that it is of a version, and returns its process.
func (s *server) runs(t *testing.T, version string) string {
	t.Helper()
	labtest.Eventually(t, answers, func() (bool, string) {
		r, err := s.seen.Report(t)
		if err != nil {
			return false, err.Error()
		}
		return r.Version == version, "the daemon is of version " + r.Version + ", not " + version
	})
	return s.property(t, unit, "MainPID")
}

// newer is a higher version of what is built.
func newer(t *testing.T, p *pair, d deb) (next deb, version string) {
	t.Helper()
	version = p.lb2.report(t).Version + "+next"
	return d.with(t, d.version+"+next", program(t, version)), version
}

// upgraded: the master goes on with another program, and nobody notices.
func upgraded(t *testing.T, p *pair, first deb) {
	next, version := newer(t, p, first)
	before, since := p.lb1.property(t, unit, "MainPID"), p.lb1.report(t).Node.Instances[0].Since
	p.rests(t, func() {
		p.lb1.install(t, next)
		if after := p.lb1.runs(t, version); after != before {
			t.Errorf("the daemon's process is %s, before the upgrade it was %s", after, before)
		}
	})
	// Each program reckons it from its own clock of the process.
	if i := p.lb1.report(t).Node.Instances[0]; i.Since.Sub(since).Abs() > time.Millisecond {
		t.Errorf("%s is %s since %v, before the upgrade since %v", i.Name, i.State, i.Since, since)
	}
	p.lb1.prints(t, "understudy version | cut -d' ' -f2", version)
	p.lb1.quiet(t)
	// What is carried on is all there: it still hands over, and takes over again.
	p.abroad(t, func() { p.lb1.do(t, "systemctl restart nginx") })
	// The backup, too.
	p.rests(t, func() {
		p.lb2.install(t, next)
		p.lb2.runs(t, version)
	})
}

// realProgram is where the tests keep a program that works, beside one that does not.
const realProgram = "/usr/local/lib/understudy-tests/understudy"

// onTrial is a program that does something else than the real one when it is asked whether it could go on for the daemon.
func onTrial(script string) string {
	return "#!/bin/sh\ncase \" $* \" in *' --trial '*) " + script + " ;; esac\nexec " + realProgram + " \"$@\"\n"
}

// brokenUpgrade: a program that cannot take over does not, and the daemon goes on and says why.
func brokenUpgrade(t *testing.T, p *pair, first deb) {
	p.lb1.do(t, "cp /usr/bin/understudy "+realProgram)
	for n, program := range []struct{ name, text, why string }{
		{"ends", onTrial("echo 'no such instruction' >&2; exit 3"), "no such instruction"},
		{"hangs", onTrial("exec sleep 600"), "did not answer within"},
		{"talks nonsense", onTrial("echo '{}'; exit 0"), "it answers"},
	} {
		t.Run("the program "+program.name, func(t *testing.T) {
			refused(t, p, first.with(t, fmt.Sprintf("%s+worse%d", first.version, n), []byte(program.text)), program.why)
		})
	}
	t.Run("the program is none", func(t *testing.T) {
		// Nothing can then be run through the helper: a check that needs it keeps its result, for a minute.
		refused(t, p, first.with(t, first.version+"+worse9", []byte("\x7fELF no program at all")), "exec format error")
		p.rests(t, func() {
			p.lb1.do(t, "cp "+realProgram+" /usr/bin/understudy.next && mv /usr/bin/understudy.next /usr/bin/understudy")
		})
	})
}

// upgradeThatDies: a program that passes its trial and dies then is a crash like any other. The other host takes over, the service
// manager tries again and again, and once the program is mended all is as before.
func upgradeThatDies(t *testing.T, p *pair, first deb) {
	p.lb1.do(t, "mkdir -p "+filepath.Dir(realProgram)+" && cp /usr/bin/understudy "+realProgram)
	dies := "#!/bin/sh\ncase \" $* \" in *' --trial '*) ;; ' run '*) exit 3 ;; esac\nexec " + realProgram + " \"$@\"\n"
	from := time.Now()
	p.lb1.install(t, first.with(t, first.version+"+worst", []byte(dies)))
	p.Only(t, "lb2", pairtest.SettleBound)
	for _, vip := range p.VIPs {
		p.Outage(t, vip, from, pairtest.Noise, "lb2")
		p.Overlap(t, vip, from, pairtest.Lingers)
	}
	labtest.Eventually(t, answers, func() (bool, string) {
		restarts := p.lb1.property(t, unit, "NRestarts")
		return restarts != "0" && restarts != "1", "the unit was restarted " + restarts + " times"
	})
	p.home(t, func() {
		p.lb1.do(t, "cp "+realProgram+" /usr/bin/understudy.next && mv /usr/bin/understudy.next /usr/bin/understudy")
	})
	p.lb1.quiet(t)
}

// refused installs a package with a program that cannot go on for the daemon of lb1.
func refused(t *testing.T, p *pair, broken deb, why string) {
	t.Helper()
	pid, version := p.lb1.property(t, unit, "MainPID"), p.lb1.report(t).Version
	p.rests(t, func() { p.lb1.install(t, broken) })
	if after := p.lb1.runs(t, version); after != pid {
		t.Errorf("the daemon's process is %s, before the upgrade it was %s", after, pid)
	}
	// The installed program may not be able to say anything; the one that runs is.
	status, well := p.lb1.try(t, "/proc/"+pid+"/exe status")
	if well || !strings.Contains(status, "REFUSED") || !strings.Contains(status, why) {
		t.Errorf("status is well, or does not say why the program was not exchanged (%s):\n%s", why, status)
	}
	p.lb1.quiet(t)
}

// downgraded: an older package is installed without a word to the daemon, and takes effect at a restart, which hands over.
func downgraded(t *testing.T, p *pair, first deb) {
	version := p.lb1.report(t).Version
	p.rests(t, func() {
		p.lb1.install(t, first)
		p.lb1.runs(t, version)
	})
	older := strings.TrimSpace(p.lb1.do(t, "understudy version | cut -d' ' -f2"))
	if older == version {
		t.Fatalf("the older package has version %s, too", older)
	}
	p.abroad(t, func() { p.lb1.do(t, "systemctl restart understudy") })
	p.lb1.runs(t, older)
	p.lb2.install(t, first)
	p.rests(t, func() { p.lb2.do(t, "systemctl restart understudy") })
}
