package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// vridsOfLink is how many virtual routers one interface can have.
	vridsOfLink = 255
	// costTime is how long CPU time is measured.
	costTime = 30 * time.Second
	// restTime lets the announcements of the start end: the last of them come after 5 s.
	restTime = 7 * time.Second
	// fillBound is how long all addresses may take to be set, and to move.
	fillBound = 90 * time.Second
)

// scaleCase is a size that is measured.
type scaleCase struct {
	name      string
	instances int
	interval  time.Duration
	lease     bool
	checks    int // HTTP checks
}

func allScales() []scaleCase {
	return []scaleCase{
		{name: "1", instances: 1, interval: time.Second},
		{name: "50", instances: 50, interval: time.Second},
		{name: "255", instances: 255, interval: time.Second},
		{name: "255-lease", instances: 255, interval: time.Second, lease: true},
		{name: "255-100ms", instances: 255, interval: 100 * time.Millisecond},
		{name: "4080", instances: 4080, interval: time.Second},
		{name: "checks", instances: 1, interval: time.Second, lease: true, checks: 1000},
	}
}

func scaleNames() (names []string) {
	for _, s := range allScales() {
		names = append(names, s.name)
	}
	return names
}

// title is the case in words.
func (c scaleCase) title() string {
	text := fmt.Sprintf("%d instances at %v", c.instances, c.interval)
	if c.links() > 1 {
		text = fmt.Sprintf("%d instances over %d interfaces at %v", c.instances, c.links(), c.interval)
	}
	if c.checks > 0 {
		return text + fmt.Sprintf(", %d HTTP checks at %v", c.checks, pageInterval)
	}
	if c.lease {
		text += ", lease on"
	}
	return text
}

// fits says whether a daemon can run the case at all, and why not.
func (c scaleCase) fits(d product) (bool, string) {
	if _, ok := d.(*understudy); ok {
		return true, ""
	}
	switch {
	case c.checks > 0:
		return false, fmt.Sprintf("a script for each check: %d curl processes a second on each host", c.checks)
	case c.lease:
		return false, "has no lease"
	default:
		return true, ""
	}
}

// scaleInstance is one of the instances of a case.
type scaleInstance struct {
	name, link string
	vrid       int
	addr       netip.Addr
}

func (c scaleCase) links() int { return (c.instances + vridsOfLink - 1) / vridsOfLink }

func (c scaleCase) all() []scaleInstance {
	var list []scaleInstance
	for n := range c.instances {
		link, v := n/vridsOfLink+1, n%vridsOfLink+1
		list = append(list, scaleInstance{
			name: fmt.Sprintf("i%d", n), link: fmt.Sprintf("eth%d", link), vrid: v, addr: scaleAddr(link, 1, v),
		})
	}
	return list
}

// scaleAddr is an address on the network of a link.
func scaleAddr(link, third, fourth int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(100 + link), byte(third), byte(fourth)})
}

// scaleResult is what a case cost, and how long it took to move.
type scaleResult struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Daemon  string  `json:"daemon"`
	Error   string  `json:"error,omitempty"` // why there are no figures
	Seconds float64 `json:"measured_seconds"`
	Master  usage   `json:"master"`
	Backup  usage   `json:"backup"`
	// Filled is the time from the start of a daemon, alone, until it has all addresses; Moved that from SIGTERM until the
	// other host has the last one.
	Filled milliseconds `json:"filled_ms"`
	Moved  milliseconds `json:"moved_ms"`
	// TwoOwners and Nobody are the longest times of any address at that move.
	TwoOwners milliseconds `json:"two_owners_ms"`
	Nobody    milliseconds `json:"nobody_ms"`
}

// String is the result in one line.
func (r scaleResult) String() string {
	if r.Error != "" {
		return fmt.Sprintf("%s: %s", r.Title, r.Error)
	}
	return fmt.Sprintf("%s: CPU %.3f and %.3f s/min, memory %.1f and %.1f MiB, filled in %.0f ms, moved in %.0f ms, two owners %.1f ms, nobody %.1f ms",
		r.Title, r.Master.CPU, r.Backup.CPU, r.Master.Memory, r.Backup.Memory, r.Filled, r.Moved, r.TwoOwners, r.Nobody)
}

// scales measures the sizes: each of them for one daemon after the other.
func (b *bench) scales(ctx context.Context) error {
	for _, c := range b.plan.scales {
		for _, d := range b.plan.products {
			if k, ok := d.(*keepalived); ok && k.weight {
				continue
			}
			r := scaleResult{Name: c.name, Title: c.title(), Daemon: d.name()}
			ok, reason := c.fits(d)
			if r.Error = reason; ok {
				err := c.measure(ctx, b, d, &r)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					// A daemon that cannot carry so many is a result too.
					r.Error = err.Error()
				}
			}
			b.results.Scales = append(b.results.Scales, r)
			fmt.Fprintf(b.out, "%7s  %-17s %v\n", time.Since(b.began).Round(time.Second), d.name(), r)
			if err := b.write(); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure runs a case on a pair of its own, whose links have no switch between them.
func (c scaleCase) measure(ctx context.Context, b *bench, d product, r *scaleResult) (err error) {
	p, err := newPair(ctx, d, c.interval, 0)
	if err != nil {
		return err
	}
	p.trace, p.out = b.plan.trace, b.out
	defer func() { err = errors.Join(err, p.close()) }()
	if err := c.plug(ctx, p); err != nil {
		return err
	}
	// The links are new, and the owners of addresses are watched from now on.
	for _, s := range p.servers() {
		if err := d.writeScale(s, c); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := p.start(p.lb1); err != nil {
		return err
	}
	filled, err := c.await(ctx, p, p.lb1)
	if err != nil {
		return err
	}
	r.Filled = ms(filled.Sub(began))
	if err := p.start(p.lb2); err != nil {
		return err
	}
	if err := wait(ctx, restTime); err != nil {
		return err
	}
	if err := c.cost(ctx, p, r); err != nil {
		return err
	}
	return c.move(ctx, p, r)
}

// plug connects the two hosts by as many cables as the case needs.
func (c scaleCase) plug(ctx context.Context, p *pair) error {
	for n := range c.links() {
		link := fmt.Sprintf("eth%d", n+1)
		if _, err := p.lb1.Exec(ctx, "ip", "link", "add", link, "type", "veth", "peer", "name", link, "netns", p.lb2.Namespace()); err != nil {
			return err
		}
		for i, s := range p.servers() {
			own := netip.PrefixFrom(scaleAddr(n+1, 0, i+1), 16)
			if _, err := s.Exec(ctx, "ip", "address", "add", own.String(), "dev", link); err != nil {
				return err
			}
			if _, err := s.Exec(ctx, "ip", "link", "set", link, "up"); err != nil {
				return err
			}
		}
	}
	return nil
}

// await waits until a host has all addresses, and returns when it got the last one.
func (c scaleCase) await(ctx context.Context, p *pair, s *server) (last time.Time, err error) {
	deadline := time.Now().Add(fillBound)
	for {
		held := make(map[netip.Addr]time.Time)
		for _, e := range p.owners.History() {
			if e.Host == s.Name() && e.Held {
				held[e.Addr] = e.At
			} else if e.Host == s.Name() {
				delete(held, e.Addr)
			}
		}
		n := 0
		for _, i := range c.all() {
			if at, ok := held[i.addr]; ok {
				n++
				last = latest(last, at)
			}
		}
		if n == c.instances {
			return last, nil
		}
		if time.Now().After(deadline) || !s.daemon.running() {
			return last, fmt.Errorf("%s has %d of %d addresses after %v (the daemon runs: %t):\n%s",
				s.Name(), n, c.instances, fillBound, s.daemon.running(), s.daemon.tail())
		}
		// A look costs time that the daemons need.
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return last, err
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cost measures what both daemons use while nothing happens.
func (c scaleCase) cost(ctx context.Context, p *pair, r *scaleResult) error {
	var before [2]time.Duration
	began := time.Now()
	for i, s := range p.servers() {
		var err error
		if before[i], err = s.daemon.cpuTime(); err != nil {
			return err
		}
	}
	if err := wait(ctx, costTime); err != nil {
		return err
	}
	took := time.Since(began)
	r.Seconds = took.Seconds()
	for i, s := range p.servers() {
		after, err := s.daemon.cpuTime()
		if err != nil {
			return err
		}
		memory, err := s.daemon.memory()
		if err != nil {
			return err
		}
		u := usage{CPU: (after - before[i]).Minutes() * 60 / took.Minutes(), Memory: memory}
		if s == p.lb1 {
			r.Master = u
		} else {
			r.Backup = u
		}
	}
	return nil
}

// move stops the master and waits until the other host has everything.
func (c scaleCase) move(ctx context.Context, p *pair, r *scaleResult) error {
	from := time.Now()
	if err := p.lb1.daemon.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	last, err := c.await(ctx, p, p.lb2)
	if err != nil {
		return err
	}
	r.Moved = ms(last.Sub(from))
	if err := wait(ctx, tailTime); err != nil {
		return err
	}
	to := time.Now()
	history := p.owners.History()
	if p.trace {
		p.tell(c.title()+", moved", c.all()[0].addr, from, to, history, nil)
	}
	// By address, since each look at a history goes through all of it.
	changes := make(map[netip.Addr]netlab.History)
	for _, e := range history {
		changes[e.Addr] = append(changes[e.Addr], e)
	}
	for _, i := range c.all() {
		h := slices.Clip(changes[i.addr])
		r.TwoOwners = max(r.TwoOwners, ms(h.Overlap(i.addr, from, to)))
		r.Nobody = max(r.Nobody, ms(h.Gap(i.addr, from, to)))
	}
	return nil
}
