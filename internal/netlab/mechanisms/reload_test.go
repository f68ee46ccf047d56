package mechanisms

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/netlab/pairtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// reloaded is the log line of a configuration that was applied.
const reloaded = "configuration reloaded"

// promised is how soon a changed file is applied, as the README says.
const promised = time.Second

// reloading is a pair whose configuration changes.
type reloading struct {
	*pairtest.Cluster
	lb1, lb2 *pairtest.Server
	config   string
	counted  string // a file with a line for each run of the check "rare" on lb1
}

// TestReload tells what a changed file does, and that it does nothing to what did not change.
func TestReload(t *testing.T) {
	t.Parallel()
	scripts := commandtest.Dir(t)
	commandtest.Script(t, scripts, "count", `echo run >>"$0.$1"`)
	r := &reloading{config: instance(`advertise_interval = "200ms"`) + page + `
check "script" "rare" {
  command  = ["SCRIPTS/count", hostname]
  interval = "5m"
}
`, counted: filepath.Join(scripts, "count.lb1")}
	r.Cluster = pairtest.New(t, pairtest.Shape{
		Program: program, Hosts: []string{"lb1", "lb2"}, Scripts: scripts, Config: r.config, VIPs: map[string]time.Duration{web4.String(): every},
	})
	begin(t, r.Cluster)
	r.lb1, r.lb2 = r.Get("lb1"), r.Get("lb2")
	for _, story := range []struct {
		name string
		tell func(*testing.T, *reloading)
	}{
		{"an unchanged file touches nothing", unchanged},
		{"a broken file changes nothing", broken},
		{"another priority moves the address", otherPriority},
		{"addresses come and go", otherAddresses},
		{"a renamed instance keeps its state", renamed},
		{"another VRID moves nothing, on one host after the other", otherVRID},
		{"checks come and go", otherChecks},
		{"an address that cannot be set moves the others", unsettable},
		{"another VRID waits while the other host serves", renumbered},
		{"a burst of writes ends with the last", burst},
		{"it is not watched", unwatched},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(t, r) })
	}
}

// runs is how often the check that runs every five minutes has run on lb1: once, unless it was started again.
func (r *reloading) runs(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(r.counted)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "run")
}

// change replaces the configuration of a host and waits until it is applied, which the host finds out by itself, soon.
func (r *reloading) change(t *testing.T, h *pairtest.Server, from, to string) time.Time {
	t.Helper()
	before := h.Logged(reloaded)
	if !strings.Contains(r.config, from) {
		t.Fatalf("the configuration has no %q", from)
	}
	at := pairtest.Step(t, func() error { h.Configure(t, strings.Replace(r.config, from, to, 1)); return nil })
	h.SaysAgain(t, reloaded, before, promised+noise)
	return at
}

// back puts the first configuration back.
func (r *reloading) back(t *testing.T, h *pairtest.Server) time.Time {
	t.Helper()
	return r.change(t, h, "", "")
}

func unchanged(t *testing.T, r *reloading) {
	wire := capture(t, r.User, "ip proto 112 and src host 10.0.0.11")
	before, was := r.lb1.Logged(reloaded), status(t, r.lb1)
	from := time.Now()
	for range 10 {
		pairtest.Step(t, func() error { r.lb1.Configure(t, r.config); return nil })
		if out := r.lb1.Does(t, 0, "reload"); out != "unchanged\n" {
			t.Errorf("reload says %q", out)
		}
		pairtest.Step(t, func() error { return r.lb1.Daemon.Signal(syscall.SIGHUP) })
		pairtest.Until(t, time.Now().Add(100*time.Millisecond))
	}
	r.Rests(t, from, time.Now().Add(500*time.Millisecond))
	now := status(t, r.lb1)
	if n := r.lb1.Logged(reloaded); n != before || !now.Since.Equal(was.Since) || r.runs(t) != 1 {
		t.Errorf("%d reloads, master since %v and before since %v, %d runs of a check that ran once", n-before, now.Since, was.Since, r.runs(t))
	}
	// No advert was left out, delayed, or sent beside the others.
	sent, end := seen(t, wire, "vrid 71"), time.Now()
	if n, want := between(sent, from, end), int(end.Sub(from)/(200*time.Millisecond)); n < want-2 || n > want+1 {
		t.Errorf("%d adverts, want %d", n, want)
	}
	for n := 1; n < len(sent); n++ {
		gap := sent[n].Sub(sent[n-1])
		// The one after a late advert comes at its own time, so what made that late counts too.
		if slack := r.Slack(sent[max(n-2, 0)], sent[n]); gap > 300*time.Millisecond+slack || gap < 100*time.Millisecond-slack {
			t.Errorf("%v between two adverts", gap)
		}
	}
}

func broken(t *testing.T, r *reloading) {
	from := time.Now()
	was := status(t, r.lb1)
	pairtest.Step(t, func() error { r.lb1.Configure(t, r.config+"\ninstance \"half\" {\n"); return nil })
	where := r.lb1.ConfigFile() + ":"
	r.lb1.Says(t, `(?s)configuration rejected; the running one goes on.*`+where+`\d+`, moveBound)
	if out := r.lb1.Does(t, 3, "status"); !strings.Contains(out, where) {
		t.Errorf("status does not show where the file is broken:\n%s", out)
	}
	if out := r.lb1.Does(t, 1, "reload"); !strings.Contains(out, where) || !strings.Contains(out, "goes on") {
		t.Errorf("reload says %q", out)
	}
	r.Rests(t, from, time.Now().Add(time.Second))
	if now := status(t, r.lb1); !now.Since.Equal(was.Since) {
		t.Errorf("master since %v, before since %v", now.Since, was.Since)
	}
	pairtest.Step(t, func() error { r.lb1.Configure(t, r.config); return nil })
	labtest.Eventually(t, moveBound, func() (bool, string) {
		report, err := r.lb1.Report(t)
		return err == nil && report.Config.Rejected == "", "status still shows the rejected configuration"
	})
	r.Rests(t, from, time.Now())
}

func otherPriority(t *testing.T, r *reloading) {
	from := r.change(t, r.lb1, "lb1 = 150", "lb1 = 90")
	r.Only(t, "lb2", moveBound)
	r.Planned(t, from, "lb2")
	from = r.back(t, r.lb1)
	r.Cluster.Settled(t, "lb1")
	r.Planned(t, from, "lb1")
}

func otherAddresses(t *testing.T, r *reloading) {
	from := time.Now()
	more, unadvertised := netip.MustParseAddr("10.0.0.103"), netip.MustParseAddr("10.0.0.104")
	for _, h := range r.Hosts {
		r.change(t, h, `["10.0.0.100"]`, "[\"10.0.0.100\", \"10.0.0.103\"]\n  unadvertised = [\"10.0.0.104\"]")
	}
	r.Only(t, "lb1", moveBound, more, unadvertised)
	for _, ip := range []netip.Addr{more, unadvertised} {
		conn, err := r.User.Dial(t.Context(), "tcp", netip.AddrPortFrom(ip, 80).String())
		if err != nil {
			t.Errorf("the user cannot connect to %v: %v", ip, err)
		} else if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, h := range r.Hosts {
		r.back(t, h)
	}
	r.Only(t, "", moveBound, more, unadvertised)
	r.Rests(t, from, time.Now(), web4)
	if n := r.runs(t); n != 1 {
		t.Errorf("%d runs of a check that ran once", n)
	}
}

func renamed(t *testing.T, r *reloading) {
	from, was := time.Now(), status(t, r.lb1)
	r.change(t, r.lb1, `instance "web"`, `instance "site"`)
	now, err := r.lb1.Instance(t, "site")
	if err != nil || now.State != node.Master || !now.Since.Equal(was.Since) || !now.Holding {
		t.Errorf("site is %s since %v, web was since %v; %v", now.State, now.Since, was.Since, err)
	}
	r.Rests(t, from, time.Now().Add(3*time.Second)) // longer than a lease
	// What is in the kernel under the old name is cleaned up under the new one.
	moved := time.Now()
	r.lb1.Stop(t)
	r.Only(t, "lb2", moveBound)
	r.Planned(t, moved, "lb2")
	r.lb1.Start(t)
	r.Cluster.Settled(t, "lb1")
	r.back(t, r.lb1)
	r.Cluster.Settled(t, "lb1")
}

// otherVRID tells of a VRID that is changed on the backup first, and then on the master: nobody is there under the old one any more
// who could take the address, and nobody under the new one yet.
func otherVRID(t *testing.T, r *reloading) {
	for _, vrid := range []uint8{72, 71} {
		from := time.Now()
		for _, h := range []*pairtest.Server{r.lb2, r.lb1} {
			r.change(t, h, "vrid      = 71", fmt.Sprintf("vrid      = %d", vrid))
		}
		is := func(state node.State) func(node.InstanceStatus) bool {
			return func(i node.InstanceStatus) bool { return i.State == state && i.VRID == vrid }
		}
		await(t, r.lb1, moveBound, is(node.Master))
		await(t, r.lb2, moveBound, is(node.Backup))
		r.Rests(t, from, time.Now().Add(500*time.Millisecond))
	}
	r.lb1.Says(t, `no longer configured; nobody took over, and web \(VRID 72\) has its addresses now`, moveBound)
}

func otherChecks(t *testing.T, r *reloading) {
	runs := r.runs(t)
	from := r.change(t, r.lb1, page, page+switched("app", ""))
	check := func(want bool) {
		t.Helper()
		labtest.Eventually(t, moveBound, func() (bool, string) {
			report, err := r.lb1.Report(t)
			if err != nil {
				return false, err.Error()
			}
			for _, k := range report.Checks {
				if k.Name == "app" {
					return want && k.Known, fmt.Sprintf("check app: %+v", k)
				}
			}
			return !want, "no check app"
		})
	}
	check(true)
	r.Rests(t, from, time.Now().Add(500*time.Millisecond))
	ill := pairtest.Step(t, func() error { return sick(r.lb1, "app", true) })
	r.Only(t, "lb2", moveBound)
	r.Planned(t, ill, "lb2")
	// Without the check that fails the host is healthy.
	from = r.back(t, r.lb1)
	check(false)
	r.Cluster.Settled(t, "lb1")
	r.Planned(t, from, "lb1")
	pairtest.Step(t, func() error { return sick(r.lb1, "app", false) })
	if n := r.runs(t); n != runs {
		t.Errorf("%d runs of a check that ran %d times", n, runs)
	}
}

// unsettable gives the master an address that somebody else has set there: it hands over what it has, and takes it back when it can.
func unsettable(t *testing.T, r *reloading) {
	more := netip.MustParseAddr("10.0.0.105")
	foreign := netip.PrefixFrom(more, 24)
	const from, to = `["10.0.0.100"]`, `["10.0.0.100", "10.0.0.105"]`
	r.change(t, r.lb2, from, to)
	pairtest.Step(t, func() error { return r.lb1.AddAddress(foreign) })
	gone := r.change(t, r.lb1, from, to)
	r.Only(t, "lb2", moveBound, web4)
	r.Planned(t, gone, "lb2", web4)
	state(t, r.lb1, node.Fault, "cannot set 10.0.0.105", time.Second)
	if i := status(t, r.lb1); i.Retry.Before(gone.Add(5*time.Second)) || i.Retry.After(gone.Add(5*time.Second+promised+noise)) {
		t.Errorf("it is tried again at %v, want 5 s after the reload of %v", i.Retry, gone)
	}
	if line := entry(t, r.lb1, more); !strings.Contains(line, foreign.String()) || !strings.Contains(line, "valid_lft forever") {
		t.Errorf("the address that was there first is %q now", line)
	}
	back := pairtest.Step(t, func() error { return r.lb1.RemoveAddress(foreign) })
	r.Only(t, "lb1", settleBound, web4, more)
	r.Planned(t, back, "lb1", web4)
	for _, h := range r.Hosts {
		r.back(t, h)
	}
	r.Cluster.Settled(t, "lb1")
}

// renumbered gives the instance of the master another VRID: what it was hands over, and what it is now hears nothing of the other
// host, which serves the addresses under the old one, and lets it.
func renumbered(t *testing.T, r *reloading) {
	from := r.change(t, r.lb1, "vrid      = 71", "vrid      = 74")
	r.Only(t, "lb2", moveBound)
	r.Planned(t, from, "lb2")
	state(t, r.lb1, node.Init, r.lb2.MAC().String()+" still serves its addresses", time.Second)
	waits := time.Now()
	r.Rests(t, waits, waits.Add(2*time.Second)) // more than twice a Master_Down_Interval, and it asks again
	state(t, r.lb1, node.Init, r.lb2.MAC().String()+" still serves its addresses", time.Second)
	from = r.back(t, r.lb1)
	r.Cluster.Settled(t, "lb1")
	r.Planned(t, from, "lb1")
}

func burst(t *testing.T, r *reloading) {
	before := r.lb1.Logged(reloaded)
	from := time.Now()
	for n := range 50 {
		pairtest.Step(t, func() error {
			r.lb1.Configure(t, strings.Replace(r.config, "lb1 = 150", fmt.Sprintf("lb1 = %d", 151+n), 1))
			return nil
		})
		pairtest.Until(t, time.Now().Add(10*time.Millisecond))
	}
	await(t, r.lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 200 })
	if n := r.lb1.Logged(reloaded) - before; n > 3 {
		t.Errorf("%d reloads for a burst", n)
	}
	r.back(t, r.lb1)
	r.Rests(t, from, time.Now().Add(300*time.Millisecond))
}

func unwatched(t *testing.T, r *reloading) {
	r.change(t, r.lb1, page, page+"reload {\n  watch = false\n}\n")
	pairtest.Step(t, func() error {
		r.lb1.Configure(t, strings.Replace(r.config, "lb1 = 150", "lb1 = 160", 1))
		return nil
	})
	pairtest.Until(t, time.Now().Add(time.Second))
	if i := status(t, r.lb1); i.Priority != 150 {
		t.Errorf("the priority is %d although nothing is watched", i.Priority)
	}
	if out := r.lb1.Does(t, 0, "reload"); !strings.Contains(out, "web") {
		t.Errorf("reload says %q", out)
	}
	await(t, r.lb1, moveBound, func(i node.InstanceStatus) bool { return i.Priority == 160 })
	r.back(t, r.lb1) // which is watched again
}

// TestConfigMap tells of a configuration behind two links, one of which is exchanged, as Kubernetes does.
func TestConfigMap(t *testing.T) {
	t.Parallel()
	config := instance(`advertise_interval = "200ms"`) + page
	c := cluster(t, []string{"lb1", "lb2"}, config)
	lb1 := c.Get("lb1")
	dir := filepath.Dir(lb1.ConfigFile())
	// publish makes a directory the current one.
	publish := func(name string, priority int) func() error {
		return func() error {
			text, next := strings.Replace(config, "lb1 = 150", fmt.Sprintf("lb1 = %d", priority), 1), filepath.Join(dir, "..next")
			text = strings.ReplaceAll(text, "LAB", c.Lab.Dir())
			return errors.Join(os.Mkdir(filepath.Join(dir, name), 0o755),
				os.WriteFile(filepath.Join(dir, name, "understudy.hcl"), []byte(text), 0o600),
				os.Symlink(name, next), os.Rename(next, filepath.Join(dir, "..data")))
		}
	}
	pairtest.Step(t, publish("..1", 150))
	pairtest.Step(t, func() error {
		return errors.Join(os.Remove(lb1.ConfigFile()), os.Symlink("..data/understudy.hcl", lb1.ConfigFile()))
	})
	begin(t, c)
	from := pairtest.Step(t, publish("..2", 90))
	c.Only(t, "lb2", moveBound)
	c.Planned(t, from, "lb2")
	pairtest.Step(t, func() error { return os.RemoveAll(filepath.Join(dir, "..1")) })
	from = pairtest.Step(t, publish("..3", 150))
	c.Settled(t, "lb1")
	c.Planned(t, from, "lb1")
}
