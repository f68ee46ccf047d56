package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// electBound is how long a pair may take until the better host alone has the address, after any fault.
	electBound = 15 * time.Second
	// The download that lies open over a fault: it lasts longer than any of them.
	downloadRate = 64 << 10 // bytes a second
	downloadSize = 120 * downloadRate
	// The priorities of the two hosts.
	better, worse = 150, 100
	// lossPercent is how many adverts are lost in the fault of that name.
	lossPercent = 30
)

// pair is two hosts with nginx and one kind of daemon at a time, a client, and what records them.
type pair struct {
	product  product
	interval time.Duration
	lab      *netlab.Lab
	lb1, lb2 *server // lb1 is the better one
	user     *netlab.Host
	owners   *netlab.Ownership
	open     *openConns
	random   *rand.Rand    // of the moments of faults
	bound    time.Duration // electBound, less in tests
	remark   func(what string, err error)
	trace    bool
	out      io.Writer
}

// newPair makes the hosts and starts nginx on them; no daemon runs yet.
func newPair(ctx context.Context, d product, interval time.Duration, seed int64) (*pair, error) {
	lab, err := netlab.New(ctx)
	if err != nil {
		return nil, err
	}
	p := &pair{product: d, interval: interval, lab: lab, random: rand.New(rand.NewPCG(uint64(seed), 0)), bound: electBound}
	if err := p.fill(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) fill(ctx context.Context) error {
	var err error
	if p.lb1, err = newServer(ctx, p.lab, "lb1", "192.0.2.11/24", better); err != nil {
		return err
	}
	if p.lb2, err = newServer(ctx, p.lab, "lb2", "192.0.2.12/24", worse); err != nil {
		return err
	}
	if p.user, err = p.lab.Host(ctx, "client", netip.MustParsePrefix("192.0.2.50/24")); err != nil {
		return err
	}
	p.owners, err = p.lab.Watch()
	return err
}

func newServer(ctx context.Context, lab *netlab.Lab, name, addr string, priority int) (*server, error) {
	h, err := lab.Host(ctx, name, netip.MustParsePrefix(addr))
	if err != nil {
		return nil, err
	}
	s := &server{Host: h, priority: priority}
	if err := os.WriteFile(s.file("download"), make([]byte, downloadSize), 0o644); err != nil {
		return nil, err
	}
	program, err := netlab.Find("nginx")
	if err != nil {
		return nil, err
	}
	link := s.file(nginxName(h))
	if err := os.Symlink(program, link); err != nil {
		return nil, err
	}
	s.nginx, err = h.Nginx(ctx, netlab.NginxOptions{
		Program: link,
		Listen:  []string{"0.0.0.0:80"},
		Server: fmt.Sprintf("location = /download { alias %s; limit_rate %d; sendfile_max_chunk 16k; }",
			s.file("download"), downloadRate),
	})
	return s, err
}

// nginxName is what a host's nginx is called: keepalived's process tracking goes by the name, and all hosts share the
// machine's process table.
func nginxName(h *netlab.Host) string { return fmt.Sprintf("ngx%d-%s", os.Getpid(), h.Name()) }

func (p *pair) servers() []*server { return []*server{p.lb1, p.lb2} }

// startAll writes the configurations and starts the daemons.
func (p *pair) startAll() error {
	for _, s := range p.servers() {
		if err := p.product.write(s, p.interval, p.trace, edit{}); err != nil {
			return err
		}
		if err := p.start(s); err != nil {
			return err
		}
	}
	return nil
}

func (p *pair) start(s *server) error {
	var err error
	s.daemon, err = p.product.start(s)
	return err
}

// take puts a daemon of another kind into the place of the one before, of which nothing is left, and starts it.
func (p *pair) take(d product) error {
	if err := p.retire(); err != nil {
		return err
	}
	p.product = d
	return p.startAll()
}

// retire ends the daemons and removes what they leave behind.
func (p *pair) retire() error {
	var errs []error
	for _, s := range p.servers() {
		if s == nil {
			continue
		}
		if s.daemon != nil {
			errs = append(errs, s.daemon.kill(), s.drop(vip))
			s.daemon = nil
		}
		errs = append(errs, p.product.cleanup(s))
	}
	return errors.Join(errs...)
}

// drop removes an address that nobody looks after any more.
func (s *server) drop(addr netip.Addr) error {
	holds, err := s.Holds(addr)
	if err != nil || !holds {
		return err
	}
	return s.RemoveAddress(netip.PrefixFrom(addr, addr.BitLen()))
}

// close ends everything and removes the hosts.
func (p *pair) close() error {
	var errs []error
	if p.open != nil {
		p.open.stop()
	}
	errs = append(errs, p.retire())
	if p.owners != nil {
		errs = append(errs, p.owners.Close())
	}
	return errors.Join(append(errs, p.lab.Close())...)
}

// comeBack brings the pair back to where every fault begins: both daemons run, and the better host alone has the address. A pair that
// does not come to that by itself is ended and started again; helped is why it had to be.
func (p *pair) comeBack(ctx context.Context) (helped, err error) {
	if helped = p.elect(ctx, p.bound); helped == nil || ctx.Err() != nil {
		return nil, helped
	}
	// Such as an address that a daemon left behind, or a daemon that does not come back.
	if err := p.sweep(); err != nil {
		return helped, errors.Join(helped, err)
	}
	if err = p.elect(ctx, p.bound); err != nil {
		err = fmt.Errorf("the pair does not settle: %w\n%s\n%s", err, p.lb1.daemon.tail(), p.lb2.daemon.tail())
	}
	return helped, err
}

// settle has the client know who has the address, and waits for the moment of a fault.
func (p *pair) settle(ctx context.Context) error {
	if _, err := p.user.Exec(ctx, "ip", "neigh", "flush", "dev", netlab.Interface); err != nil {
		return err
	}
	// One interval of rest, so that both hosts have heard of it; then a fault meets any moment between two adverts and two
	// checks.
	rest := p.interval + time.Duration(p.random.Int64N(int64(max(p.interval, pageInterval))))
	return wait(ctx, rest)
}

func (p *pair) elect(ctx context.Context, bound time.Duration) error {
	for _, s := range p.servers() {
		if !s.daemon.running() {
			if err := p.start(s); err != nil {
				return err
			}
		}
	}
	return netlab.Eventually(ctx, bound, p.only(p.lb1))
}

// sweep ends both daemons, removes what they left, and starts them again.
func (p *pair) sweep() error {
	return p.take(p.product)
}

// only is the condition that one host, and no other, has the address.
func (p *pair) only(s *server) func() (bool, string) { return p.owned(s.Name()) }

func (p *pair) owned(hosts ...string) func() (bool, string) {
	return func() (bool, string) {
		owners := p.owners.Owners(vip)
		return slices.Equal(owners, hosts), fmt.Sprintf("the address is on %v, not on %v", owners, hosts)
	}
}

// calm is the condition that one host alone has the address and has had it for a while.
func (p *pair) calm() (bool, string) {
	now := time.Now()
	periods := p.owners.History().Periods(vip, now.Add(-calmTime), now)
	owners := periods[len(periods)-1].Owners
	return len(periods) == 1 && len(owners) == 1, fmt.Sprintf("the address is on %v, and was not on one host for %v", owners, calmTime)
}

// has is the condition that a host has the address, whoever else does.
func (p *pair) has(s *server) func() (bool, string) {
	return func() (bool, string) {
		owners := p.owners.Owners(vip)
		return slices.Contains(owners, s.Name()), fmt.Sprintf("the address is on %v, not on %s", owners, s.Name())
	}
}

// follows is the condition that one host alone has the address and that the client sends there.
func (p *pair) follows(s *server) func() (bool, string) {
	return func() (bool, string) {
		if ok, reason := p.only(s)(); !ok {
			return false, reason
		}
		mac, err := p.user.Neighbour(vip)
		if err != nil {
			return false, err.Error()
		}
		return strings.EqualFold(mac.String(), s.MAC().String()), fmt.Sprintf("the client has the address at %v, not on %s", mac, s.Name())
	}
}

// masterDown is the backup's Master_Down_Interval (RFC 9568 section 6.1).
func masterDown(interval time.Duration) time.Duration {
	return 3*interval + (256-worse)*interval/256
}

// wait waits, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// describeMachine is what the figures were measured on.
func describeMachine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	cores, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	return fmt.Sprintf("Linux %s, %d cores, %s", strings.TrimSpace(string(kernel)), len(cores), model)
}
