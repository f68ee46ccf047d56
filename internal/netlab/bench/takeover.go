package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	// takeovers is how often one address is taken over; manyTakeovers how often manyAddresses are.
	takeovers     = 200
	manyTakeovers = 20
	manyAddresses = 200
	// takeoverBound is how long one may take until the last announcement was seen, far above what is aimed at.
	takeoverBound = 2 * time.Second
	// logLag is by how much the log's line of a decision may be younger than what follows from the decision: the advert
	// leaves before the line is written.
	logLag = 5 * time.Millisecond
)

// takeoverResult is how long after the decision what follows from it was seen, over all takeovers of so many addresses.
type takeoverResult struct {
	Addresses int `json:"addresses"`
	Runs      int `json:"runs"`
	// Advert is when the first advert was on the wire, Usable when the kernel had the last address, Announced when the first
	// announcement of the last address was on the wire.
	Advert    spread `json:"advert_ms"`
	Usable    spread `json:"usable_ms"`
	Announced spread `json:"announced_ms"`
}

// String is the result in one line.
func (r takeoverResult) String() string {
	return fmt.Sprintf("%d takeovers of %d addresses: advert %v, usable %v, announced %v ms after the decision", r.Runs, r.Addresses, r.Advert, r.Usable, r.Announced)
}

// takeovers measures how fast a decision becomes an advert, addresses and announcements. Drains move the addresses to and
// fro, each of which the other host takes over at once.
func (b *bench) takeovers(ctx context.Context) error {
	u := b.plan.understudy()
	if !b.plan.takeover || u == nil {
		return nil
	}
	for _, c := range []struct{ addresses, runs int }{{1, takeovers}, {manyAddresses, manyTakeovers}} {
		r, err := measureTakeovers(ctx, u, c.addresses, c.runs)
		if err != nil {
			return fmt.Errorf("takeovers of %d addresses: %w", c.addresses, err)
		}
		b.results.Takeovers = append(b.results.Takeovers, r)
		fmt.Fprintf(b.out, "%7s  %-17s %v\n", time.Since(b.began).Round(time.Second), u.name(), r)
		if err := b.write(); err != nil {
			return err
		}
	}
	return nil
}

func measureTakeovers(ctx context.Context, u *understudy, addresses, runs int) (r takeoverResult, err error) {
	p, err := newPair(ctx, u, defaultInterval, 0)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
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
	var times []takeoverTimes
	taker, giver := p.lb2, p.lb1
	for n := range runs {
		from := time.Now()
		if n > 0 {
			if err := u.drain(ctx, taker, false); err != nil {
				return r, err
			}
		}
		if err := u.drain(ctx, giver, true); err != nil {
			return r, err
		}
		t, err := p.takeover(ctx, wire, taker, from, takeoverAddresses(addresses))
		if err != nil {
			return r, fmt.Errorf("run %d: %w", n+1, err)
		}
		times = append(times, t)
		taker, giver = giver, taker
	}
	return sumTakeovers(addresses, times), nil
}

// takeoverAddresses are the virtual addresses of a case; the first is that of all pairs.
func takeoverAddresses(n int) []netip.Addr {
	list := []netip.Addr{vip}
	for next := netip.MustParseAddr("192.0.2.55"); len(list) < n; next = next.Next() {
		list = append(list, next)
	}
	return list
}

// writeTakeover writes a configuration whose log has microseconds.
func (u *understudy) writeTakeover(s *server, addresses []netip.Addr) error {
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf("%q", a))
	}
	return s.install("understudy.hcl", fmt.Sprintf(`log {
  format = "json"
}

instance "web" {
  interface = "eth0"
  vrid      = %d
  priority  = %d
  addresses = [%s]
}
`, vrid, s.priority, strings.Join(list, ", ")))
}

// takeoverTimes are one takeover's, from the decision on.
type takeoverTimes struct{ advert, usable, announced time.Duration }

// takeover waits until all that a takeover leads to was seen.
func (p *pair) takeover(ctx context.Context, wire *process, taker *server, from time.Time, addresses []netip.Addr) (takeoverTimes, error) {
	var t takeoverTimes
	err := netlab.Eventually(ctx, takeoverBound, func() (bool, string) {
		now := time.Now()
		decided, ok := decision(taker.daemon.between(from, now))
		if !ok {
			return false, taker.Name() + " has not become master"
		}
		sight := look(wire.between(from, now), taker.MAC().String(), decided.Add(-logLag))
		if sight.advert.IsZero() {
			return false, "no advert was seen"
		}
		t = takeoverTimes{advert: max(0, sight.advert.Sub(decided))}
		got := gotten(p.owners.History(), taker.Name(), decided.Add(-logLag))
		for _, ip := range addresses {
			if got[ip].IsZero() || sight.announced[ip].IsZero() {
				return false, fmt.Sprintf("%v: had at %v, announced at %v", ip, got[ip], sight.announced[ip])
			}
			t.usable, t.announced = max(t.usable, got[ip].Sub(decided)), max(t.announced, sight.announced[ip].Sub(decided))
		}
		return true, ""
	})
	return t, err
}

// decision is when the log says that the host became master.
func decision(lines []logLine) (time.Time, bool) {
	for _, l := range lines {
		var entry struct {
			At time.Time `json:"@timestamp"`
			To string    `json:"to"`
		}
		if err := json.Unmarshal([]byte(l.text), &entry); err == nil && entry.To == "master" {
			return entry.At, true
		}
	}
	return time.Time{}, false
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

func sumTakeovers(addresses int, times []takeoverTimes) takeoverResult {
	of := func(figure func(takeoverTimes) time.Duration) spread {
		var values []milliseconds
		for _, t := range times {
			values = append(values, ms(figure(t)))
		}
		return spreadOf(values)
	}
	return takeoverResult{
		Addresses: addresses, Runs: len(times),
		Advert:    of(func(t takeoverTimes) time.Duration { return t.advert }),
		Usable:    of(func(t takeoverTimes) time.Duration { return t.usable }),
		Announced: of(func(t takeoverTimes) time.Duration { return t.announced }),
	}
}
