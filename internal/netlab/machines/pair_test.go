package machines

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// runtimeDir is where the installed daemon has its control socket.
	runtimeDir = "/run/understudy"
	// packageRoom is where package files are put on a machine.
	packageRoom = "/root"
)

// The addresses of the configuration that is installed.
var (
	vip4 = netip.MustParseAddr("192.0.2.10")
	vip6 = netip.MustParseAddr("2001:db8::10")
)

// server is a machine of the pair, and what tells how its daemon is.
type server struct {
	*Machine
	seen *pairtest.Server
}

// on switches the machine on.
func (s *server) on(t *testing.T) {
	t.Helper()
	boot(t, s.Machine)
	s.seen.Run = s.Path(runtimeDir)
}

// again reboots the machine.
func (s *server) again(t *testing.T) {
	t.Helper()
	if err := s.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.seen.Run = s.Path(runtimeDir)
}

// do runs a script that must succeed, and returns what it printed.
func (s *server) do(t *testing.T, script string) string {
	t.Helper()
	return shell(t, s.Machine, script)
}

// try runs a script, and returns what it printed and whether it succeeded.
func (s *server) try(t *testing.T, script string) (string, bool) {
	t.Helper()
	out, err := s.Exec(t.Context(), "sh", "-c", script)
	return out, err == nil
}

// prints asserts what a script prints.
func (s *server) prints(t *testing.T, script, want string) {
	t.Helper()
	if out := strings.TrimSpace(s.do(t, script)); out != want {
		t.Errorf("on %s %q prints %q, want %q", s.Name(), script, out, want)
	}
}

// quiet asserts that systemd is content.
func (s *server) quiet(t *testing.T) {
	t.Helper()
	s.prints(t, "systemctl --failed --no-legend --plain", "")
}

// report is how the daemon is.
func (s *server) report(t *testing.T) node.Report {
	t.Helper()
	r, err := s.seen.Report(t)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// property is a property of a unit.
func (s *server) property(t *testing.T, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(s.do(t, "systemctl show --property="+name+" --value "+unit))
}

// pair is two machines with nginx, a user, and what records them.
type pair struct {
	*pairtest.Cluster
	lb1, lb2 *server
}

func newPair(t *testing.T) *pair {
	t.Helper()
	needs(t)
	l := labtest.New(t)
	p := &pair{}
	for n, s := range []**server{&p.lb1, &p.lb2} {
		h := labtest.Host(t, l, fmt.Sprintf("lb%d", n+1), fmt.Sprintf("192.0.2.1%d/24", n+1), fmt.Sprintf("2001:db8::1%d/64", n+1))
		*s = &server{newMachine(t, h), &pairtest.Server{Host: h}}
		(*s).on(t)
	}
	user := labtest.Host(t, l, "user", "192.0.2.50/24", "2001:db8::50/64")
	p.Cluster = pairtest.Of(t, l, user, []*pairtest.Server{p.lb1.seen, p.lb2.seen}, "192.0.2.60/24", map[string]time.Duration{
		vip4.String(): 2 * time.Millisecond, vip6.String(): 10 * time.Millisecond,
	})
	return p
}

func (p *pair) servers() []*server { return []*server{p.lb1, p.lb2} }

// settled waits until lb1 has the addresses, both daemons are content, and nothing is drained.
func (p *pair) settled(t *testing.T) {
	t.Helper()
	p.Only(t, "lb1", pairtest.SettleBound)
	for _, s := range p.servers() {
		labtest.Eventually(t, pairtest.SettleBound, func() (bool, string) {
			if ok, why := s.seen.AtHome(t, s == p.lb1); !ok {
				return false, why
			}
			r := s.report(t)
			if len(r.Node.Drained) > 0 {
				return false, fmt.Sprintf("%s is drained for %v", s.Name(), r.Node.Drained)
			}
			// A hook of the last change has run, too: what it does is not mistaken for the next story's.
			behind := slices.IndexFunc(r.Hooks, func(h node.HookReport) bool {
				i := r.Node.Instances[0]
				return h.Name == hookName && h.Instance == i.Name && h.State != string(i.State)
			})
			return behind < 0, fmt.Sprintf("hooks on %s: %+v", s.Name(), r.Hooks)
		})
	}
}

// restore ends what a story that failed has left, so that the next one can be told.
func (p *pair) restore(t *testing.T) {
	t.Helper()
	for _, s := range p.servers() {
		if !s.Running() {
			s.on(t)
		}
		s.do(t, "systemctl reset-failed; systemctl start nginx understudy; understudy undrain; understudy undrain --for nginx-stop; true")
	}
}

// away does something to lb1 that moves the addresses to lb2, as a planned move does: without any loss.
func (p *pair) away(t *testing.T, do func()) {
	t.Helper()
	p.moves(t, "lb2", do)
}

// home does something that moves the addresses to lb1 in the same way, and waits until all is as at the beginning.
func (p *pair) home(t *testing.T, do func()) {
	t.Helper()
	p.moves(t, "lb1", do)
	p.settled(t)
}

func (p *pair) moves(t *testing.T, to string, do func()) {
	t.Helper()
	from := time.Now()
	do()
	p.Only(t, to, pairtest.SettleBound)
	p.Planned(t, from, to)
}

// abroad does something to lb1 that moves the addresses to lb2 and back, without any loss.
func (p *pair) abroad(t *testing.T, do func()) {
	t.Helper()
	from := time.Now()
	do()
	p.settled(t)
	for _, vip := range p.VIPs {
		if moves := p.Owners.History().Moves(vip, from, time.Now()); moves != 2 {
			t.Errorf("%v moved %d times since %s, want there and back", vip, moves, pairtest.Stamp(from))
		}
		p.harmless(t, vip, from)
	}
}

// harmless asserts that since an instant somebody always had an address, two hosts for a moment only, and that nobody lost a new
// connection.
func (p *pair) harmless(t *testing.T, vip netip.Addr, from time.Time) {
	t.Helper()
	p.Ungapped(t, vip, from)
	p.Overlap(t, vip, from, pairtest.Lingers)
	p.Unharmed(t, vip, from, time.Now(), 0)
}

// rests does something that must be noticed by nobody, and looks on for a while longer.
func (p *pair) rests(t *testing.T, do func()) {
	t.Helper()
	from := time.Now()
	do()
	p.Rests(t, from, time.Now().Add(500*time.Millisecond))
}

// check is what the daemon says of a check.
func (s *server) check(t *testing.T, name string) (node.CheckReport, bool) {
	t.Helper()
	r := s.report(t)
	i := slices.IndexFunc(r.Checks, func(k node.CheckReport) bool { return k.Name == name })
	if i < 0 {
		return node.CheckReport{}, false
	}
	return r.Checks[i], true
}

// hook waits until a hook has run for a state, after an instant, and returns what the daemon says of it.
func (s *server) hook(t *testing.T, name, state string, after time.Time) node.HookReport {
	t.Helper()
	var last node.HookReport
	labtest.Eventually(t, 10*time.Second, func() (bool, string) {
		r, err := s.seen.Report(t)
		if err != nil {
			return false, err.Error()
		}
		i := slices.IndexFunc(r.Hooks, func(h node.HookReport) bool {
			return h.Name == name && strings.EqualFold(h.State, state) && h.At.After(after)
		})
		if i >= 0 {
			last = r.Hooks[i]
		}
		return i >= 0, fmt.Sprintf("hook %s on %s has not run for %s: %+v", name, s.Name(), state, r.Hooks)
	})
	return last
}
