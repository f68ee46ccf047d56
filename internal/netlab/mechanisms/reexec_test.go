package mechanisms

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// eager is how often the clients of an exchange connect: nothing shorter than that may go wrong unseen.
const eager = 2 * time.Millisecond

// maxTries is how often a story is told on a machine that is too busy for it.
const maxTries = 10

// told is a hook that keeps what it was told.
const told = `
notify "script" "tell" {
  on      = ["master", "backup", "fault", "stop"]
  command = ["/bin/sh", "-c", "echo \"$@\" >> LAB/${hostname}/told", "tell"]
}
`

// upgrade is a cluster whose program can be replaced.
type upgrade struct {
	*pairtest.Cluster
	file   string // the program
	hooked bool   // there is a hook that keeps what it was told
}

// upgradable makes a pair whose program is a copy of its own, and starts it.
func upgradable(t *testing.T, config string, start func(*pairtest.Server), vips ...netip.Addr) *upgrade {
	t.Helper()
	labtest.Root(t)
	dir, err := os.MkdirTemp("", "understudy-reexec-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u := &upgrade{file: filepath.Join(dir, "understudy"), hooked: strings.HasSuffix(config, told)}
	if err := os.Chmod(dir, 0o755); err != nil { // also for a daemon that is not root
		t.Fatal(err)
	}
	u.install(t, shipped)
	shape := pairtest.Shape{Program: u.file, Hosts: []string{"lb1", "lb2"}, Config: config, VIPs: map[string]time.Duration{}}
	for _, vip := range vips {
		shape.VIPs[vip.String()] = eager
	}
	u.Cluster = pairtest.New(t, shape)
	giveKeys(t, u.Cluster)
	for _, h := range u.Hosts {
		start(h)
	}
	u.Farewell(t)
	u.Settled(t, "lb1")
	return u
}

// install puts a copy of a program in the place of the one that runs, as a package manager does. Another process writes it: what
// this one writes it may not execute while a child of it has not let go of the file.
func (u *upgrade) install(t *testing.T, from string) {
	t.Helper()
	next := u.file + ".new"
	if out, err := exec.CommandContext(t.Context(), "cp", from, next).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(next, u.file); err != nil {
		t.Fatal(err)
	}
}

// put puts a text there.
func (u *upgrade) put(t *testing.T, text []byte) {
	t.Helper()
	draft := u.file + ".draft"
	if err := os.WriteFile(draft, text, 0o755); err != nil {
		t.Fatal(err)
	}
	u.install(t, draft)
}

// toldOf is what the hooks of a host were told.
func toldOf(t *testing.T, h *pairtest.Server) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.Dir(), "told"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// report asks a daemon that must answer.
func report(t *testing.T, h *pairtest.Server) node.Report {
	t.Helper()
	r, err := h.Report(t)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open counts the files that a daemon has open.
func (u *upgrade) open(t *testing.T, h *pairtest.Server) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", report(t, h).PID))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// heard waits until the hooks of a host have ended that were told of its state, and no contention is to be followed by another run.
func (u *upgrade) heard(t *testing.T, h *pairtest.Server) {
	t.Helper()
	labtest.Eventually(t, 2*moveBound, func() (bool, string) {
		r := report(t, h)
		if c := r.Node.Instances[0].Contention; c != nil && time.Since(c.At) < moveBound/2 {
			return false, "another master was seen a moment ago"
		}
		for _, run := range r.Hooks {
			if i := r.Node.Instances[0]; run.State != string(i.State) || run.At.Before(i.Since.Add(-time.Millisecond)) {
				return false, fmt.Sprintf("%s is %s, and its hook was told %s last", h.Name(), i.State, run.State)
			}
		}
		return len(r.Hooks) > 0 || !u.hooked, "no hook has run on " + h.Name()
	})
}

// away matches what a program says that goes on for another one.
var away = regexp.MustCompile(`away=(\S+)`)

// exchange replaces the program of a host and has the daemon become it: the same process, in the same state. It says whether a
// busy machine made that last longer than the others wait for an advert: then nothing else is looked at.
func (u *upgrade) exchange(t *testing.T, h *pairtest.Server, patience time.Duration) (slow bool) {
	t.Helper()
	u.heard(t, h)
	was, heard := report(t, h), toldOf(t, h)
	u.install(t, shipped)
	var out string
	labtest.Eventually(t, settleBound, func() (bool, string) {
		var status int
		out, status = h.Understudy(t, "reexec")
		slow := strings.Contains(out, "took") // a busy machine: then it is right to refuse
		if status != 0 && !slow {
			t.Fatalf("reexec on %s exits %d: %s", h.Name(), status, out)
		}
		return status == 0, out
	})
	is := report(t, h)
	all := away.FindAllStringSubmatch(h.Log(), -1)
	if len(all) == 0 {
		t.Fatalf("%s does not say how long it was away", h.Name())
	}
	gap, err := time.ParseDuration(all[len(all)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s was away for %s", h.Name(), gap)
	if gap > patience*2/3 { // an interval may have passed before, and the third that is left is for the machine
		return true
	}
	if is.PID != was.PID || far(is.Started, was.Started) || is.Reexec == nil || is.Reexec.At.IsZero() || is.Reexec.From != was.Version {
		t.Errorf("%s was process %d since %v, and is %d since %v, %+v", h.Name(), was.PID, was.Started, is.PID, is.Started, is.Reexec)
	}
	for k, i := range is.Node.Instances {
		before := was.Node.Instances[k]
		if i.State != before.State || i.Priority != before.Priority || i.LastChange.To != before.LastChange.To || far(i.LastChange.At, before.LastChange.At) || far(i.Since, before.Since) || i.Holding != before.Holding {
			t.Errorf("%s on %s was %+v and is %+v", i.Name, h.Name(), before, i)
		}
		for m, r := range i.Routers {
			b := before.Routers[m].Counters
			if r.Counters.Sent < b.Sent || r.Counters.Accepted < b.Accepted || r.Counters.SendFailures != b.SendFailures {
				t.Errorf("%s on %s counted %+v and counts %+v", i.Name, h.Name(), b, r.Counters)
			}
		}
	}
	if now := toldOf(t, h); now != heard {
		t.Errorf("the hooks of %s heard because of it: %q", h.Name(), strings.TrimPrefix(now, heard))
	}
	if fmt.Sprint(is.Node.Drained) != fmt.Sprint(was.Node.Drained) {
		t.Errorf("%s was drained by %v and is by %v", h.Name(), was.Node.Drained, is.Node.Drained)
	}
	return false
}

// far says whether an instant is another one: between the readings of two clocks a moment passes, and they may be adjusted.
func far(a, b time.Time) bool { return a.Sub(b).Abs() > 50*time.Millisecond }

// steady asserts that no advert was missing between two instants, however late one was.
func (u *upgrade) steady(t *testing.T, sent []time.Time, most time.Duration) {
	t.Helper()
	for n := 1; n < len(sent); n++ {
		if gap := sent[n].Sub(sent[n-1]); gap > most+u.Slack(sent[n-1], sent[n]) {
			t.Errorf("%v between two adverts, at %s", gap, pairtest.Stamp(sent[n]))
		}
	}
}

// calmly exchanges both hosts' programs, and a drained one's, without anybody noticing; false: the machine was too busy to tell.
func (u *upgrade) calmly(t *testing.T, interval time.Duration) bool {
	t.Helper()
	lb1, lb2 := u.Get("lb1"), u.Get("lb2")
	patience := 3 * interval
	wire := capture(t, u.User, "ip proto 112 and src host 10.0.0.11")
	from := time.Now()
	if u.exchange(t, lb1, patience) || u.exchange(t, lb2, patience) {
		return false
	}
	lb2.Does(t, 0, "drain", "--for", "test")
	slow := u.exchange(t, lb2, patience) || u.exchange(t, lb1, patience)
	if drained := report(t, lb2).Node; fmt.Sprint(drained.Drained) != "[test]" || drained.Instances[0].Priority != 1 {
		t.Errorf("lb2 is drained by %v and has priority %d", drained.Drained, drained.Instances[0].Priority)
	}
	lb2.Does(t, 0, "undrain", "--for", "test")
	if slow {
		return false
	}
	u.Rests(t, from, time.Now().Add(time.Second))
	most := max(2*interval, patience-interval/2)
	if interval >= time.Second { // long enough to tell a late advert from one that is missing
		most = interval + 700*time.Millisecond
	}
	u.steady(t, seen(t, wire, "vrid 71"), most)
	return true
}

// TestReexec exchanges the program of a master and of a backup: nothing moves, no connection is lost, and nothing is forgotten.
func TestReexec(t *testing.T) {
	t.Parallel()
	checked := switched("extra", "weight = -10") + told
	for _, story := range []struct {
		name     string
		config   string
		interval time.Duration
		vips     []netip.Addr
	}{
		{"at the default interval, with both families", instanceOf(`"10.0.0.100", "fd00::100"`, "") + checked, time.Second, []netip.Addr{web4, web6}},
		{"at 100 ms, with authentication", instance("advertise_interval = \"100ms\"\nauth {\n active = 1\n key \"1\" {\n file = \"LAB/${hostname}/key-1\"\n }\n}") + checked, 100 * time.Millisecond, []netip.Addr{web4}},
		{"with a virtual MAC", virtual("") + checked, time.Second, []netip.Addr{web4, web6}},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			u := upgradable(t, story.config, func(h *pairtest.Server) { h.Start(t) }, story.vips...)
			lb1 := u.Get("lb1")
			for tries := 1; !u.calmly(t, story.interval); tries++ {
				if tries == maxTries {
					t.Fatalf("in %d tries the machine was too busy", tries)
				}
				u.Settled(t, "lb1")
			}

			// It still works: both what it knows and what it does.
			from := pairtest.Step(t, func() error { return sick(lb1, "extra", true) })
			await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 140 })
			lb1.Does(t, 0, "drain")
			u.Only(t, "lb2", moveBound)
			for _, vip := range story.vips {
				u.Moved(t, vip, from, "lb2")
			}
			lb1.Does(t, 0, "undrain")
			u.Only(t, "lb1", settleBound)
			open := u.open(t, lb1)
			u.exchange(t, lb1, story.interval)
			labtest.Eventually(t, moveBound, func() (bool, string) { // those of the program before are closed one by one
				now := u.open(t, lb1)
				return now <= open, fmt.Sprintf("%d files are open after another exchange, %d before", now, open)
			})
			for _, h := range u.Hosts {
				h.Stop(t)
			}
		})
	}
}

// TestReexecRefused puts something else in the place of the program: the daemon goes on as it was, and says why.
func TestReexecRefused(t *testing.T) {
	t.Parallel()
	u := upgradable(t, instance("")+switched("extra", "")+told, func(h *pairtest.Server) { h.Start(t) }, web4)
	lb1 := u.Get("lb1")
	u.heard(t, lb1)
	was, heard, from := report(t, lb1), toldOf(t, lb1), time.Now()
	for _, broken := range []struct{ name, text, why string }{
		{"no program", "garbage", "exec format error"},
		{"a program that fails", "#!/bin/sh\necho broken >&2\nexit 3\n", "exit status 3: broken"},
		{"a program that says something else", "#!/bin/sh\necho hello\n", `it answers "hello"`},
		{"a version that has no such command", "#!/bin/sh\necho 'understudy: unknown command \"reexec\"' >&2\nexit 2\n", `unknown command "reexec"`},
		{"another format", "#!/bin/sh\necho '{\"format\":9999,\"version\":\"77.0\"}'\n", `version "77.0" has format 9999`},
		{"a program that is replaced while it is tried", fmt.Sprintf("#!/bin/sh\ncp %s %s.new\nmv %[2]s.new %[2]s\nexec %[1]s \"$@\"\n", shipped, u.file), "was replaced while it was tried"},
		{"a program that hangs, with a child", "#!/bin/sh\nsleep 60 &\nsleep 60\n", "it did not answer within"},
	} {
		u.put(t, []byte(broken.text))
		// The command itself is the program that runs.
		out, err := lb1.Exec(t.Context(), shipped, "reexec", "--runtime-dir", lb1.Run)
		if err == nil || !strings.Contains(out, broken.why) {
			t.Errorf("%s: %q, %v, want an error with %q", broken.name, out, err, broken.why)
		}
		if r := report(t, lb1); r.Reexec == nil || !strings.Contains(r.Reexec.Refused, broken.why) || !r.Reexec.At.IsZero() {
			t.Errorf("%s: the status says %+v", broken.name, r.Reexec)
		}
	}
	if err := os.Remove(u.file); err != nil {
		t.Fatal(err)
	}
	if out, err := lb1.Exec(t.Context(), shipped, "reexec", "--runtime-dir", lb1.Run); err == nil || !strings.Contains(out, "no such file") {
		t.Errorf("without a program: %q, %v", out, err)
	}
	u.install(t, shipped)
	lb1.Configure(t, "nonsense {}\n")
	if out := lb1.Does(t, 1, "reexec"); !strings.Contains(out, "the configuration is not valid for this version") {
		t.Errorf("with a broken configuration: %q", out)
	}
	is := report(t, lb1)
	if is.PID != was.PID || far(is.Node.Instances[0].Since, was.Node.Instances[0].Since) || toldOf(t, lb1) != heard {
		t.Errorf("it was %+v, and is %+v; the hooks heard %q", was, is, toldOf(t, lb1))
	}
	u.Rests(t, from, time.Now())
	// The checks and hooks go on.
	pairtest.Step(t, func() error { return sick(lb1, "extra", true) })
	u.Only(t, "lb2", moveBound)
	labtest.Eventually(t, moveBound, func() (bool, string) {
		return strings.Contains(toldOf(t, lb1), "BACKUP"), "the hooks of lb1 were told " + toldOf(t, lb1)
	})
}

// TestReexecNewConfiguration has the new program find other files than the old one read: it applies them as a reload would.
func TestReexecNewConfiguration(t *testing.T) {
	t.Parallel()
	config := instance("") + switched("extra", "") + told
	unwatched := "reload {\n watch = false\n}\n"
	u := upgradable(t, config+unwatched, func(h *pairtest.Server) { h.Start(t) }, web4)
	lb1 := u.Get("lb1")
	from := time.Now()
	lb1.Configure(t, strings.Replace(config, "lb1 = 150", "lb1 = 160", 1)+unwatched)
	u.install(t, shipped)
	lb1.Does(t, 0, "reexec")
	await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 160 && i.State == node.Master })
	u.Rests(t, from, time.Now().Add(time.Second))
}

// TestReexecWaitsForHooks exchanges the program while a hook runs: it ends first, and runs once.
func TestReexecWaitsForHooks(t *testing.T) {
	t.Parallel()
	u := upgradable(t, instance("")+switched("extra", "")+`
notify "script" "slow" {
  on      = ["master"]
  command = ["/bin/sh", "-c", "echo begun >> LAB/${hostname}/told; sleep 4; echo ended >> LAB/${hostname}/told", "slow"]
}
`, func(h *pairtest.Server) { h.Start(t) }, web4)
	lb1 := u.Get("lb1")
	labtest.Eventually(t, moveBound, func() (bool, string) { return toldOf(t, lb1) == "begun\n", "the hook has not begun" })
	from := time.Now()
	u.install(t, shipped)
	lb1.Does(t, 0, "reexec")
	labtest.Eventually(t, 2*moveBound, func() (bool, string) { return toldOf(t, lb1) == "begun\nended\n", "the hook wrote " + toldOf(t, lb1) })
	u.Rests(t, from, time.Now().Add(time.Second))
	if heard := toldOf(t, lb1); heard != "begun\nended\n" {
		t.Errorf("the hook wrote %q", heard)
	}
}

// TestReexecWaitsForNoHookForEver refuses beside one that runs for longer than 8 s: the daemon goes on as it was, with its checks.
func TestReexecWaitsForNoHookForEver(t *testing.T) {
	t.Parallel()
	u := upgradable(t, instance("")+switched("extra", "weight = -10")+`
notify "script" "slow" {
  on      = ["master"]
  command = ["/bin/sh", "-c", "echo begun >> LAB/${hostname}/told; sleep 60", "slow"]
  timeout = "70s"
}
`, func(h *pairtest.Server) { h.Start(t) }, web4)
	lb1 := u.Get("lb1")
	labtest.Eventually(t, moveBound, func() (bool, string) { return toldOf(t, lb1) == "begun\n", "the hook has not begun" })
	was, from := report(t, lb1), time.Now()
	u.install(t, shipped)
	const why = "a hook still runs after 8s; try again when it has ended"
	if out, status := lb1.Understudy(t, "reexec"); status != 1 || !strings.Contains(out, why) {
		t.Errorf("reexec exits %d: %s", status, out)
	}
	if is := report(t, lb1); is.PID != was.PID || is.Reexec == nil || !strings.Contains(is.Reexec.Refused, why) {
		t.Errorf("status says %+v", is.Reexec)
	}
	u.Rests(t, from, time.Now().Add(time.Second))
	pairtest.Step(t, func() error { return sick(lb1, "extra", true) })
	await(t, lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 140 })
}

// TestReexecCrash exchanges the program for one that passes the trial and dies at once: that is a crash, and is cleaned up after.
func TestReexecCrash(t *testing.T) {
	t.Parallel()
	u := upgradable(t, instance("")+switched("extra", ""), func(h *pairtest.Server) { h.Start(t) }, web4)
	lb1 := u.Get("lb1")
	u.put(t, []byte("#!/bin/sh\ncase $1 in\nreexec) exec "+program+" \"$@\" ;;\nesac\nexit 1\n"))
	from := time.Now()
	if out, err := lb1.Exec(t.Context(), shipped, "reexec", "--runtime-dir", lb1.Run); err == nil {
		t.Errorf("reexec says %q", out)
	}
	labtest.Eventually(t, moveBound, func() (bool, string) {
		select {
		case <-lb1.Daemon.Done():
			return true, ""
		default:
			return false, "the daemon lives"
		}
	})
	u.install(t, shipped)
	lb1.Does(t, 0, "cleanup") // as the unit does
	u.Only(t, "lb2", moveBound)
	u.Moved(t, web4, from, "lb2")
}

// TestReexecUnprivileged exchanges a daemon that is not root: it has its capabilities afterwards, and nobody else gets them.
func TestReexecUnprivileged(t *testing.T) {
	t.Parallel()
	labtest.Require(t, "setpriv")
	const nobody = 65534
	caps := "+net_admin,+net_raw"
	u := upgradable(t, instance("")+switched("extra", ""), func(h *pairtest.Server) {
		for _, dir := range []string{h.StateDir(), h.Run, h.ConfigFile()} {
			if err := errors.Join(os.MkdirAll(h.StateDir(), 0o755), os.Chown(dir, nobody, nobody)); err != nil {
				t.Fatal(err)
			}
		}
		for _, dir := range []string{h.Dir(), filepath.Dir(h.Dir())} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		h.StartBy(t, "setpriv", "--reuid="+strconv.Itoa(nobody), "--regid="+strconv.Itoa(nobody), "--clear-groups", "--no-new-privs",
			"--inh-caps=-all,"+caps, "--bounding-set=-all,"+caps, "--ambient-caps=-all,"+caps, "--")
	}, web4)
	lb1 := u.Get("lb1")
	for range 2 {
		u.exchange(t, lb1, time.Second)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", report(t, lb1).PID))
		if err != nil {
			t.Fatal(err)
		}
		has := fmt.Sprintf("%016x", 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW)
		none := strings.Repeat("0", 16)
		for _, want := range []string{"CapEff:\t" + has, "CapPrm:\t" + has, "CapInh:\t" + none, "CapAmb:\t" + none, "Uid:\t65534\t65534"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("not %q:\n%s", want, status)
			}
		}
	}
}
