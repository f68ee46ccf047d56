package stories

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/command/commandtest"
	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
	"github.com/understudy-ha/understudy/internal/node"
)

// Bounds of what is waited for.
const (
	// settleBound is how long a cluster may take until it is at home: two elections at the default interval, and checks.
	settleBound = 20 * time.Second
	// stopBound is how long a daemon may take to stop, hooks included.
	stopBound = 15 * time.Second
	// noise is by how much the machine may delay what takes milliseconds.
	noise = 300 * time.Millisecond
)

// shape is what a cluster is made of.
type shape struct {
	hosts []string // in the order of their own addresses, from 10.0.0.11 and fd00::11 on
	// config is the one configuration of all hosts. LAB stands for the lab's directory, which has a directory for each host;
	// SCRIPTS for one with scripts.
	config  string
	scripts map[string]string // name -> body
	// vips are the virtual addresses; clients are opened to those with a time between two connections.
	vips map[string]time.Duration
	// nginx is put into every nginx's server block.
	nginx string
}

// cluster is hosts with nginx and understudy, a user, and what records them.
type cluster struct {
	lab     *netlab.Lab
	scripts string
	config  string
	hosts   []*server
	user    *netlab.Host
	owners  *netlab.Ownership
	vips    []netip.Addr
	clients map[netip.Addr]*netlab.Client
	slowest time.Duration // time between two connections of the slowest client
	tally   tally
}

// server is a host of the cluster.
type server struct {
	*netlab.Host
	nginx  *netlab.Nginx
	daemon *netlab.Proc
	run    string // runtime directory
	past   string // what earlier daemons said
}

// newCluster makes the hosts and starts everything but the daemons.
func newCluster(t *testing.T, s shape) *cluster {
	t.Helper()
	labtest.Root(t)
	labtest.Require(t, "ip", "nginx", "nft", "tcpdump")
	c := &cluster{lab: labtest.New(t), scripts: commandtest.Dir(t), clients: map[netip.Addr]*netlab.Client{}}
	for name, body := range s.scripts {
		commandtest.Script(t, c.scripts, name, body)
	}
	replace := strings.NewReplacer("LAB", c.lab.Dir(), "SCRIPTS", c.scripts)
	for n, name := range s.hosts {
		h := &server{
			Host: labtest.Host(t, c.lab, name, fmt.Sprintf("10.0.0.%d/24", 11+n), fmt.Sprintf("fd00::%d/64", 11+n)),
			run:  runtimeDir(t),
		}
		var err error
		if h.nginx, err = h.Nginx(t.Context(), netlab.NginxOptions{Server: replace.Replace(s.nginx)}); err != nil {
			t.Fatal(err)
		}
		c.hosts = append(c.hosts, h)
	}
	c.user = labtest.Host(t, c.lab, "user", "10.0.0.50/24", "fd00::50/64")
	c.config = filepath.Join(c.lab.Dir(), "understudy.hcl")
	if err := os.WriteFile(c.config, []byte(replace.Replace(s.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.owners = labtest.Watch(t, c.lab)
	for vip, every := range s.vips {
		ip := netip.MustParseAddr(vip)
		c.vips = append(c.vips, ip)
		if every > 0 {
			c.clients[ip] = labtest.Client(t, c.user, netip.AddrPortFrom(ip, 80).String(), netlab.ClientOptions{Interval: every})
			c.slowest = max(c.slowest, every)
		}
	}
	t.Cleanup(func() { c.end(t) })
	return c
}

// runtimeDir makes a directory in memory, as /run is: what is written there stands between an election and the addresses.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "understudy-stories-")
	if err != nil {
		dir, err = os.MkdirTemp("", "understudy-stories-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// end looks whether the daemons misbehaved in a way that no story asks for, and shows everything when something failed.
func (c *cluster) end(t *testing.T) {
	for _, h := range c.hosts {
		if bad := regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: ).*$`).FindString(h.log()); bad != "" {
			t.Errorf("the daemon on %s: %s", h.Name(), bad)
		}
	}
	c.judge(t)
	if !t.Failed() {
		return
	}
	if history := c.owners.History(); len(history) > 0 {
		t.Logf("addresses, from %s on:\n%v", stamp(history[0].At), history)
	}
	for _, h := range c.hosts {
		t.Logf("%s:\n%s", h.Name(), h.log())
	}
}

// stamp is a time as the daemon's log has it.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// host finds a host by name.
func (c *cluster) host(name string) *server {
	for _, h := range c.hosts {
		if h.Name() == name {
			return h
		}
	}
	panic("no host " + name)
}

// log is all that the host's daemons said.
func (h *server) log() string {
	if h.daemon == nil {
		return h.past
	}
	return h.past + h.daemon.Output()
}

// start starts the daemons of some hosts, of all where none is named.
func (c *cluster) start(t *testing.T, names ...string) {
	t.Helper()
	for _, h := range c.hosts {
		if len(names) > 0 && !slices.Contains(names, h.Name()) {
			continue
		}
		h.past = h.log()
		var err error
		h.daemon, err = h.Start(program, "run", "--config", c.config, "--node", h.Name(), "--runtime-dir", h.run,
			"--state-dir", filepath.Join(h.Dir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// stop stops the daemon as a service manager does. It must end with status 0.
func (h *server) stop(t *testing.T) {
	t.Helper()
	if err := h.daemon.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.ended(t)
}

func (h *server) ended(t *testing.T) {
	t.Helper()
	labtest.Eventually(t, stopBound, func() (bool, string) {
		select {
		case <-h.daemon.Done():
			return true, ""
		default:
			return false, "the daemon on " + h.Name() + " has not stopped"
		}
	})
	if err := h.daemon.Wait(t.Context()); err != nil {
		t.Errorf("%v", err)
	}
}

// logged counts the lines of the host's log that match.
func (h *server) logged(pattern string) int {
	return len(regexp.MustCompile(pattern).FindAllString(h.log(), -1))
}

// says waits for a line in the host's log.
func (h *server) says(t *testing.T, pattern string, bound time.Duration) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		return h.logged(pattern) > 0, fmt.Sprintf("the log of %s has no line like %q", h.Name(), pattern)
	})
}

// report asks the host's daemon.
func (h *server) report(t *testing.T) (node.Report, error) {
	return control.Dial(h.run).Report(t.Context())
}

// instance asks for one instance.
func (h *server) instance(t *testing.T, name string) (node.InstanceStatus, error) {
	r, err := h.report(t)
	if err != nil {
		return node.InstanceStatus{}, err
	}
	for _, i := range r.Node.Instances {
		if i.Name == name {
			return i, nil
		}
	}
	return node.InstanceStatus{}, fmt.Errorf("no instance %s on %s", name, h.Name())
}

// awaitInstance waits until an instance on the host is as wanted.
func (h *server) awaitInstance(t *testing.T, name string, bound time.Duration, want func(node.InstanceStatus) bool) {
	t.Helper()
	labtest.Eventually(t, bound, func() (bool, string) {
		i, err := h.instance(t, name)
		if err != nil {
			return false, err.Error()
		}
		return want(i), fmt.Sprintf("%s on %s is %s (%s), priority %d, checks %v", name, h.Name(), i.State, i.Why, i.Priority, i.Unhealthy)
	})
}

// settled waits until every address is on one host, and every daemon is in the state that follows from it, with its checks
// healthy.
func (c *cluster) settled(t *testing.T, owner string) {
	t.Helper()
	for _, vip := range c.vips {
		labtest.Owner(t, c.owners, vip.String(), owner, settleBound)
	}
	for _, h := range c.hosts {
		labtest.Eventually(t, settleBound, func() (bool, string) { return h.settled(t, h.Name() == owner) })
	}
}

func (h *server) settled(t *testing.T, owner bool) (bool, string) {
	r, err := h.report(t)
	if err != nil {
		return false, err.Error()
	}
	for _, k := range r.Checks {
		if !k.Healthy || k.Streak > 0 {
			return false, fmt.Sprintf("check %s on %s: %s", k.Name, h.Name(), k.Reason)
		}
	}
	for _, i := range r.Node.Instances {
		if owner != (i.State == node.Master && i.Confirmed) || !owner && (i.State != node.Backup || i.Holding) {
			return false, fmt.Sprintf("%s on %s is %s: %s", i.Name, h.Name(), i.State, i.Why)
		}
	}
	return true, ""
}

// only waits until one host, and no other, has each of some addresses; of all where none is named.
func (c *cluster) only(t *testing.T, owner string, bound time.Duration, vips ...netip.Addr) {
	t.Helper()
	if len(vips) == 0 {
		vips = c.vips
	}
	deadline := time.Now().Add(bound)
	for _, vip := range vips {
		labtest.Owner(t, c.owners, vip.String(), owner, max(time.Until(deadline), time.Millisecond))
	}
}

// restore ends what a story that failed has left, so that the next one can be told.
func (c *cluster) restore(t *testing.T) {
	t.Helper()
	for _, h := range c.hosts {
		_ = h.nginx.Thaw() // it may be dead
		_ = h.nginx.Kill(t.Context())
		if err := errors.Join(h.Heal(), h.CarrierUp(), h.Firewall(t.Context()), h.nginx.SetHealthy(true), h.nginx.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		select {
		case <-h.daemon.Done():
			c.start(t, h.Name())
		default:
		}
	}
}

// begin is the start of a step.
func begin(t *testing.T, do func() error) time.Time {
	t.Helper()
	from := time.Now()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return from
}
