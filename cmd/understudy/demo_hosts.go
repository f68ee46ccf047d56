package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// demoInterval is the time between two connections of the demo's client.
	demoInterval = 5 * time.Millisecond
	// demoStopBound is how long a daemon may take to stop: its wait for a successor, and its stop hooks.
	demoStopBound = 8 * time.Second
)

// demoAddress is the virtual address (RFC 5737: for documentation).
var demoAddress = netip.MustParseAddr("192.0.2.10")

// webServer is what the daemons look after: nginx, or understudy's own HTTP server.
type webServer interface {
	Start(ctx context.Context) error // and wait until it serves
	Kill(ctx context.Context) error
	PIDFile() string
}

var _ webServer = (*netlab.Nginx)(nil)

// demo is two hosts, a client, and what records them.
type demo struct {
	opts   demoOptions
	print  demoPrinter
	lab    *netlab.Lab
	config string // of both hosts
	web    string // what serves HTTP, in words
	hosts  []*demoHost
	user   *netlab.Host
	client *netlab.Client // nil until somebody has the address
	owners *netlab.Ownership
}

// demoHost is a host of the pair.
type demoHost struct {
	*netlab.Host
	web    webServer
	daemon *netlab.Proc
	log    string // what earlier daemons of the host said
	cut    bool   // off the network, so that nobody sees what it holds
}

// newDemo makes the hosts and their web servers; no daemon runs yet. The hosts go with the lab.
func newDemo(ctx context.Context, lab *netlab.Lab, opts demoOptions) (*demo, error) {
	d := &demo{opts: opts, print: newDemoPrinter(opts.out), lab: lab}
	_, err := netlab.Find("nginx")
	switch {
	case opts.ownServer:
		d.web = "an HTTP server of understudy's own, as you asked"
	case err != nil:
		d.web = "an HTTP server of understudy's own, because nginx is not installed"
	default:
		d.web = "nginx"
	}
	for i, name := range []string{"lb1", "lb2"} {
		h, err := lab.Host(ctx, name, demoPrefix(11+i))
		if err != nil {
			return nil, err
		}
		host := &demoHost{Host: h}
		if host.web, err = d.startWeb(ctx, h); err != nil {
			return nil, fmt.Errorf("web server of %s: %w", name, err)
		}
		d.hosts = append(d.hosts, host)
	}
	if d.user, err = lab.Host(ctx, "client", demoPrefix(50)); err != nil {
		return nil, err
	}
	if err := d.writeConfig(); err != nil {
		return nil, err
	}
	d.owners, err = lab.Watch()
	return d, err
}

// demoPrefix is a host's own address.
func demoPrefix(host int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(host)}), 24)
}

func (d *demo) startWeb(ctx context.Context, h *netlab.Host) (webServer, error) {
	if d.web == "nginx" {
		return h.Nginx(ctx, netlab.NginxOptions{})
	}
	s := &demoServer{host: h}
	return s, s.Start(ctx)
}

// writeConfig writes the one configuration of both hosts.
func (d *demo) writeConfig() error {
	h := d.hosts[0]
	rest, err := filepath.Rel(h.Dir(), h.web.PIDFile())
	if err != nil {
		return err
	}
	d.config = filepath.Join(d.lab.Dir(), "understudy.hcl")
	return os.WriteFile(d.config, []byte(demoConfig(filepath.Join(d.lab.Dir(), "${hostname}", rest))), 0o600)
}

func demoConfig(pidFile string) string {
	return fmt.Sprintf(`instance "web" {
  interface = "eth0"
  vrid      = 71
  priority  = { lb1 = 150, lb2 = 100 }[hostname]
  addresses = ["%v"]

  expect "lb1" {}
  expect "lb2" {}
}

check "process" "nginx" {
  pid_file = "%s"
}

check "http" "page" {
  url = "http://127.0.0.1/healthz"
}
`, demoAddress, pidFile)
}

// start starts a host's daemon.
func (d *demo) start(h *demoHost) error {
	for _, dir := range []string{"run", "state"} {
		if err := os.MkdirAll(filepath.Join(h.Dir(), dir), 0o755); err != nil {
			return err
		}
	}
	if h.daemon != nil {
		h.log += h.daemon.Output()
	}
	p, err := h.Start(d.opts.daemon(h.Host, d.config)...)
	h.daemon = p
	return err
}

// stop stops a host's daemon as a service manager does. An exit status other than 0 is an error.
func (d *demo) stop(ctx context.Context, h *demoHost) error {
	if err := h.daemon.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, demoStopBound, fmt.Errorf("it did not stop within %v", demoStopBound))
	defer cancel()
	return h.daemon.Wait(ctx)
}

// output is all that a host's daemons said.
func (h *demoHost) output() string {
	if h.daemon == nil {
		return h.log
	}
	return h.log + h.daemon.Output()
}

// dead names the daemons that ended by themselves.
func (d *demo) dead() string {
	for _, h := range d.hosts {
		if h.daemon == nil {
			continue
		}
		select {
		case <-h.daemon.Done():
			if err := h.daemon.Wait(context.Background()); err != nil {
				return fmt.Sprintf("the daemon ended: %v", err)
			}
		default:
		}
	}
	return ""
}

// visible lists the owners of the address that the client could reach.
func (d *demo) visible(owners []string) []string {
	return slices.DeleteFunc(owners, func(name string) bool {
		return slices.ContainsFunc(d.hosts, func(h *demoHost) bool { return h.cut && h.Name() == name })
	})
}

// neighbour is where the client would send a packet for the address now: a MAC address and the host that it belongs to.
func (d *demo) neighbour() (string, error) {
	mac, err := d.user.Neighbour(demoAddress)
	if err != nil {
		return "", err
	}
	return d.whose(mac), nil
}

func (d *demo) whose(mac net.HardwareAddr) string {
	if mac == nil {
		return "nowhere"
	}
	for _, h := range d.hosts {
		if strings.EqualFold(h.MAC().String(), mac.String()) {
			return fmt.Sprintf("%v (%s)", mac, h.Name())
		}
	}
	return fmt.Sprintf("%v (nobody's)", mac)
}

// close ends what records the hosts, before the hosts go.
func (d *demo) close() error {
	var errs []error
	if d.client != nil {
		errs = append(errs, d.client.Stop())
	}
	return errors.Join(append(errs, d.owners.Close())...)
}
