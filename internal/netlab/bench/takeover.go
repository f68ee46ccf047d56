package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/netlab"
	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// takeovers is how often one address is taken over; manyTakeovers how often manyAddresses are.
	takeovers     = 200
	manyTakeovers = 20
	manyAddresses = 200
	// takeoverBound is how long one may take until the last announcement was seen, far above what is aimed at.
	takeoverBound = 2 * time.Second
	// captureBound is how long tcpdump may take to listen.
	captureBound = 10 * time.Second
)

// takeoverResult is how long after the decision what follows from it was seen, over all takeovers of so many addresses.
type takeoverResult struct {
	Addresses int `json:"addresses"`
	Runs      int `json:"runs"`
	Planned   int `json:"planned,omitempty"`
	Missed    int `json:"missed,omitempty"` // did not come to their end, and are in no figure
	// Advert is when the first advert was on the wire, Usable when the kernel had the last address, Announced when the first
	// announcement of the last address was on the wire.
	Advert    spread `json:"advert_ms"`
	Usable    spread `json:"usable_ms"`
	Announced spread `json:"announced_ms"`
}

// String is the result in one line.
func (r takeoverResult) String() string {
	return fmt.Sprintf("%d takeovers of %d addresses: advert %v, usable %v, announced %v ms after the decision; %d missed",
		r.Runs, r.Addresses, r.Advert, r.Usable, r.Announced, r.Missed)
}

// takeovers measures how fast a decision becomes an advert, addresses and announcements. Drains move the addresses to and
// fro, each of which the other host takes over at once. One that fails is missed, and ends nothing else.
func (b *bench) takeovers(ctx context.Context) error {
	u := b.plan.understudy()
	if !b.plan.takeover || u == nil {
		return nil
	}
	for _, c := range []struct{ addresses, runs int }{{1, takeovers}, {manyAddresses, manyTakeovers}} {
		r, err := b.measureTakeovers(ctx, u, c.addresses, c.runs)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			b.remark(fmt.Sprintf("the takeovers of %d addresses ended after %d", c.addresses, r.Runs+r.Missed), err)
		}
		b.results.Takeovers = append(b.results.Takeovers, r)
		fmt.Fprintf(b.out, "%7s  %-17s %v\n", time.Since(b.began).Round(time.Second), u.name(), r)
		if err := b.write(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measureTakeovers(ctx context.Context, u *understudy, addresses, runs int) (r takeoverResult, err error) {
	r = takeoverResult{Addresses: addresses, Planned: runs}
	p, err := newPair(ctx, u, defaultInterval, 0)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	p.remark = b.remark
	for _, s := range p.servers() {
		if err := u.writeTakeover(s, takeoverAddresses(addresses)); err != nil {
			return r, err
		}
		if err := p.start(s); err != nil {
			return r, err
		}
	}
	if err := p.elect(ctx, electBound); err != nil {
		return r, err
	}
	wire, err := startProcess("tcpdump", p.user.Dir(), "ip", "netns", "exec", p.user.Namespace(),
		"tcpdump", "-ttelnn", "-s", "128", "-B", "8192", "--immediate-mode", "-i", netlab.Interface, "arp or proto 112")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, wire.kill()) }()
	if err := netlab.Eventually(ctx, captureBound, listens(wire)); err != nil {
		return r, err
	}
	err = p.takeTurns(ctx, u, wire, &r)
	return r, err
}

// takeTurns has the two hosts take over from each other.
func (p *pair) takeTurns(ctx context.Context, u *understudy, wire *process, r *takeoverResult) error {
	var times []takeoverTimes
	defer func() { r.sum(times) }()
	addresses := takeoverAddresses(r.Addresses)
	taker, giver := p.lb2, p.lb1
	for len(times)+r.Missed < r.Planned {
		t, err := p.handOver(ctx, u, wire, giver, taker, addresses)
		if err == nil {
			times = append(times, t)
			taker, giver = giver, taker
			continue
		}
		if r.Missed++; ctx.Err() != nil || r.Missed > maxBroken {
			return err
		}
		p.remark(fmt.Sprintf("takeover %d of %d addresses was missed", len(times)+r.Missed, r.Addresses), err)
		for _, s := range p.servers() {
			if err := u.drain(ctx, s, false); err != nil {
				return err
			}
		}
		if err := p.elect(ctx, p.bound); err != nil {
			return err
		}
		taker, giver = p.lb2, p.lb1
	}
	return nil
}

// handOver has one host take over from the other.
func (p *pair) handOver(ctx context.Context, u *understudy, wire *process, giver, taker *server, addresses []netip.Addr) (takeoverTimes, error) {
	from := time.Now()
	if err := u.drain(ctx, taker, false); err != nil {
		return takeoverTimes{}, err
	}
	if err := u.drain(ctx, giver, true); err != nil {
		return takeoverTimes{}, err
	}
	return p.takeover(ctx, wire, taker, from, addresses)
}

// listens is the condition that a tcpdump has opened its socket: it says so then.
func listens(wire *process) func() (bool, string) {
	return func() (bool, string) {
		opened := func(l logLine) bool { return strings.HasPrefix(l.text, "listening on ") }
		return slices.ContainsFunc(wire.between(time.Time{}, time.Now()), opened), "tcpdump does not listen:\n" + wire.tail()
	}
}

// takeoverAddresses are the virtual addresses of a case; the first is that of all pairs.
func takeoverAddresses(n int) []netip.Addr {
	list := []netip.Addr{vip}
	for next := netip.MustParseAddr("192.0.2.55"); len(list) < n; next = next.Next() {
		list = append(list, next)
	}
	return list
}

// writeTakeover writes a configuration with so many addresses and no check.
func (u *understudy) writeTakeover(s *server, addresses []netip.Addr) error {
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf("%q", a))
	}
	return s.install("understudy.hcl", fmt.Sprintf(`instance "web" {
  interface = "eth0"
  vrid      = %d
  priority  = %d
  addresses = [%s]
}
`, vrid, s.priority, strings.Join(list, ", ")))
}

// takeoverTimes are one takeover's, from the decision on.
type takeoverTimes struct{ advert, usable, announced time.Duration }

// takeover waits until all that a takeover leads to was seen, and then asks the host when it decided.
func (p *pair) takeover(ctx context.Context, wire *process, taker *server, from time.Time, addresses []netip.Addr) (takeoverTimes, error) {
	var seen sight
	var got map[netip.Addr]time.Time
	var decided time.Time
	err := netlab.Eventually(ctx, takeoverBound, func() (bool, string) {
		seen, got = look(wire.between(from, time.Now()), taker.MAC().String(), from), gotten(p.owners.History(), taker.Name(), from)
		if seen.advert.IsZero() {
			return false, "no advert was seen"
		}
		for _, ip := range addresses {
			if got[ip].IsZero() || seen.announced[ip].IsZero() {
				return false, fmt.Sprintf("%v: had at %v, announced at %v", ip, got[ip], seen.announced[ip])
			}
		}
		var why string
		decided, why = decision(ctx, taker)
		return why == "", why
	})
	if err != nil {
		return takeoverTimes{}, err
	}
	t := takeoverTimes{advert: seen.advert.Sub(decided)}
	for _, ip := range addresses {
		t.usable, t.announced = max(t.usable, got[ip].Sub(decided)), max(t.announced, seen.announced[ip].Sub(decided))
	}
	if t.advert <= 0 || t.usable <= 0 || decided.Before(from) {
		return t, fmt.Errorf("decided at %v after %v: the advert came after %v, the address after %v; this cannot be", decided, from, t.advert, t.usable)
	}
	return t, nil
}

// decision is when a host decided to be master: the instant of the step of its node, before anything was done about it.
func decision(ctx context.Context, s *server) (at time.Time, why string) {
	report, err := control.Dial(s.run()).Report(ctx)
	if err != nil {
		return time.Time{}, err.Error()
	}
	change := report.Node.Instances[0].LastChange
	if change.To != node.Master {
		return time.Time{}, fmt.Sprintf("%s changed to %s last", s.Name(), change.To)
	}
	return change.At, ""
}

// sight is when the first frames of a host were on the wire.
type sight struct {
	advert    time.Time
	announced map[netip.Addr]time.Time
}

// look reads tcpdump's lines: the time in seconds since 1970, the MAC address of the sender, and what the frame says.
func look(lines []logLine, mac string, after time.Time) sight {
	s := sight{announced: map[netip.Addr]time.Time{}}
	for _, l := range lines {
		stamp, frame, _ := strings.Cut(l.text, " ")
		var sec, micro int64
		if n, _ := fmt.Sscanf(stamp, "%d.%d", &sec, &micro); n != 2 || !strings.HasPrefix(frame, mac+" > ") {
			continue
		}
		at := time.Unix(sec, micro*1000)
		if at.Before(after) {
			continue
		}
		if strings.Contains(frame, "VRRP") && s.advert.IsZero() {
			s.advert = at
		}
		if _, who, found := strings.Cut(frame, "Request who-has "); found {
			text, _, _ := strings.Cut(who, " ")
			if ip, err := netip.ParseAddr(text); err == nil && s.announced[ip].IsZero() && strings.Contains(who, " tell "+text+",") {
				s.announced[ip] = at
			}
		}
	}
	return s
}

// gotten is when a host got each address first.
func gotten(history netlab.History, host string, after time.Time) map[netip.Addr]time.Time {
	got := map[netip.Addr]time.Time{}
	for _, c := range history {
		if c.Host == host && c.Held && !c.At.Before(after) && got[c.Addr].IsZero() {
			got[c.Addr] = c.At
		}
	}
	return got
}

// sum fills in the figures.
func (r *takeoverResult) sum(times []takeoverTimes) {
	of := func(figure func(takeoverTimes) time.Duration) spread {
		var values []milliseconds
		for _, t := range times {
			values = append(values, ms(figure(t)))
		}
		return spreadOf(values)
	}
	r.Runs = len(times)
	r.Advert = of(func(t takeoverTimes) time.Duration { return t.advert })
	r.Usable = of(func(t takeoverTimes) time.Duration { return t.usable })
	r.Announced = of(func(t takeoverTimes) time.Duration { return t.announced })
}
