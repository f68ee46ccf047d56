// Package pairtest makes clusters in tests: hosts of package netlab with a real nginx and the real daemon, a user who opens
// connections, and the record of who has which address. Its assertions say what a move may cost, and read the daemons' reports.
package pairtest

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/netlab/labtest"
)

// Noise is by how much a busy machine may delay what takes milliseconds.
const Noise = 300 * time.Millisecond

// Shape is what a cluster is made of.
type Shape struct {
	// Program is the daemon's binary.
	Program string
	// Hosts are named in the order of their own addresses, from 10.0.0.11 and fd00::11 on.
	Hosts []string
	// Inside gives every host and the user a second interface, eth1, on a network of its own: 10.1.0.11 and on.
	Inside bool
	// Config is the configuration of all hosts. LAB stands for the lab's directory, which has a directory for each host;
	// SCRIPTS for the directory Scripts.
	Config  string
	Scripts string
	// VIPs are the virtual addresses; to each one a client opens a connection this often, if at all.
	VIPs map[string]time.Duration
}

// Cluster is hosts with nginx and understudy, a user, and what records them.
type Cluster struct {
	Lab     *netlab.Lab
	Hosts   []*Server
	User    *netlab.Host
	Owners  *netlab.Ownership
	VIPs    []netip.Addr
	Clients map[netip.Addr]*netlab.Client
	Scripts string // the directory of the shape

	program string
	replace *strings.Replacer
	control *netlab.Client // connects to a host that nothing happens to
	planned []cost         // of each planned move of an address
}

// New makes the hosts, writes their configuration and starts everything but the daemons. At the test's end it looks whether a
// daemon misbehaved in a way that no story asks for, and shows everything if the test failed.
func New(t testing.TB, s Shape) *Cluster {
	t.Helper()
	labtest.Root(t)
	labtest.Require(t, "ip", "nginx", "nft")
	c := &Cluster{Lab: labtest.New(t), Clients: map[netip.Addr]*netlab.Client{}, Scripts: s.Scripts, program: s.Program}
	c.replace = strings.NewReplacer("LAB", c.Lab.Dir(), "SCRIPTS", s.Scripts)
	for n, name := range s.Hosts {
		c.add(t, name, n)
	}
	c.User = labtest.Host(t, c.Lab, "user", "10.0.0.50/24", "fd00::50/64")
	if s.Inside {
		labtest.Link(t, c.User, "eth1", "10.1.0.50/24")
		for n, h := range c.Hosts {
			h.Inside = labtest.Link(t, h.Host, "eth1", fmt.Sprintf("10.1.0.%d/24", 11+n))
		}
	}
	for _, h := range c.Hosts {
		h.Configure(t, s.Config)
	}
	c.record(t, "10.0.0.60/24", s.VIPs)
	return c
}

// Of makes a cluster of hosts that a test has made itself, which also starts what runs on them. still is the own address of one
// more host, in the user's network, that nothing happens to.
func Of(t testing.TB, lab *netlab.Lab, user *netlab.Host, servers []*Server, still string, vips map[string]time.Duration) *Cluster {
	t.Helper()
	c := &Cluster{Lab: lab, Hosts: servers, User: user, Clients: map[netip.Addr]*netlab.Client{}}
	c.record(t, still, vips)
	return c
}

// record starts the clients and what records the owners, and looks at the test's end.
func (c *Cluster) record(t testing.TB, still string, vips map[string]time.Duration) {
	t.Helper()
	labtest.Nginx(t, labtest.Host(t, c.Lab, "still", still))
	c.Owners = labtest.Watch(t, c.Lab)
	for vip, every := range vips {
		ip := netip.MustParseAddr(vip)
		c.VIPs = append(c.VIPs, ip)
		if every > 0 {
			c.Clients[ip] = labtest.Client(t, c.User, netip.AddrPortFrom(ip, 80).String(), netlab.ClientOptions{Interval: every})
		}
	}
	quiet := netip.AddrPortFrom(netip.MustParsePrefix(still).Addr(), 80)
	c.control = labtest.Client(t, c.User, quiet.String(), netlab.ClientOptions{Interval: controlInterval})
	t.Cleanup(func() { c.end(t) })
}

func (c *Cluster) add(t testing.TB, name string, n int) {
	t.Helper()
	h := &Server{
		Host: labtest.Host(t, c.Lab, name, fmt.Sprintf("10.0.0.%d/24", 11+n), fmt.Sprintf("fd00::%d/64", 11+n)),
		Run:  memoryDir(t), cluster: c,
	}
	var err error
	// Connections that a move breaks must not keep old workers alive for long.
	if h.Nginx, err = h.Host.Nginx(t.Context(), netlab.NginxOptions{Server: "client_header_timeout 2s;"}); err != nil {
		t.Fatal(err)
	}
	c.Hosts = append(c.Hosts, h)
}

// Get finds a host by name.
func (c *Cluster) Get(name string) *Server {
	for _, h := range c.Hosts {
		if h.Name() == name {
			return h
		}
	}
	panic("pairtest: no host " + name)
}

// Start starts the daemons of some hosts, of all where none is named.
func (c *Cluster) Start(t testing.TB, names ...string) {
	t.Helper()
	for _, h := range c.Hosts {
		if len(names) == 0 || slices.Contains(names, h.Name()) {
			h.Start(t)
		}
	}
}

// Restore ends what a story that failed has left, so that the next one can be told.
func (c *Cluster) Restore(t testing.TB) {
	t.Helper()
	for _, h := range c.Hosts {
		_ = h.Nginx.Thaw() // it may be dead
		_ = h.Nginx.Kill(t.Context())
		if err := errors.Join(h.Heal(), h.CarrierUp(), h.Firewall(t.Context()), h.Nginx.SetHealthy(true), h.Nginx.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		select {
		case <-h.Daemon.Done():
			h.Start(t)
		default:
		}
	}
}

// misbehaved is what no daemon may ever say.
var misbehaved = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: ).*$`)

func (c *Cluster) end(t testing.TB) {
	for _, h := range c.Hosts {
		if bad := misbehaved.FindString(h.Log()); bad != "" {
			t.Errorf("the daemon on %s: %s", h.Name(), bad)
		}
	}
	c.judge(t)
	if !t.Failed() {
		return
	}
	if history := c.Owners.History(); len(history) > 0 {
		t.Logf("addresses, from %s on:\n%v", Stamp(history[0].At), history)
	}
	for _, h := range c.Hosts {
		t.Logf("%s:\n%s", h.Name(), h.Log())
	}
}

// Stamp is a time as the daemon's log has it.
func Stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// Step does something, and returns when that began.
func Step(t testing.TB, do func() error) time.Time {
	t.Helper()
	from := time.Now()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	return from
}

// Until lets time pass until an instant.
func Until(t testing.TB, at time.Time) {
	t.Helper()
	if wait := time.Until(at); wait > 0 {
		labtest.Eventually(t, wait+Noise, func() (bool, string) { return !time.Now().Before(at), "time passes" })
	}
}
