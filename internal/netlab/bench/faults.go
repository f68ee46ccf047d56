package main

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/netlab"
)

const (
	freezeTime = 10 * time.Second
	cutTime    = 8 * time.Second
	lossTime   = 20 * time.Second
	// lossInterval is where the loss of adverts makes hosts contend: of 200 adverts three in a row are lost about four times. In as long
	// at the default interval nothing happens in most runs, as it should.
	lossInterval = 100 * time.Millisecond
	// calmTime is how long one host alone must have had the address where it does not matter which.
	calmTime = time.Second
	// moveBound is how long the address may take to move after a fault, beside the daemon's own times.
	moveBound = 8 * time.Second
	// leaseBound is how long a dead daemon may leave its address behind before it counts as left for good.
	leaseBound = 6 * time.Second
	// stuckBound is how long a client is watched that still sends to the wrong host.
	stuckBound = 60 * time.Second
	// quitBound is how long Debian's unit lets nginx serve open requests to their end, before it kills it.
	quitBound = 5 * time.Second
)

// fault is something that happens to a pair, in one or more steps that are measured one by one.
type fault struct {
	name    string
	weighed bool // measured with keepalived's weights too: nginx's own faults
	alone   bool // measured with understudy only: the others would take time and say nothing
	// interval is the only one at which it is measured. 0: all of them, and the targets are for the default.
	interval time.Duration
	steps    []step
	undo     func(ctx context.Context, p *pair) error // back to where it began; not measured
}

// at says whether the fault is measured at an interval.
func (f fault) at(interval time.Duration) bool { return f.interval == 0 || f.interval == interval }

// step is one row of the table.
type step struct {
	row     string
	title   string
	unequal string // what differs between the daemons beside themselves
	do      func(ctx context.Context, p *pair) error
	until   func(p *pair) func() (bool, string) // what the daemons should reach
	bound   time.Duration                       // for that
	about   *event                              // nil: what do does
}

// event is what a step is about where it need not happen. The figures of runs without it are of nothing.
type event struct {
	name   string
	absent string // what to say where it never happened
	in     func(s sample) bool
	// rare: that it never happens is as it should be, and the figures of runs without it count.
	rare bool
}

var (
	moving         = &event{name: "move", absent: "no move: the address was there already", in: func(s sample) bool { return s.Moves > 0 }}
	contention     = &event{name: "contention", absent: "no contention", in: contended}
	rareContention = &event{name: "contention", in: contended, rare: true}
)

func contended(s sample) bool { return s.TwoOwners > 0 || s.Nobody > 0 }

func toLB2(p *pair) func() (bool, string)    { return p.only(p.lb2) }
func toLB1(p *pair) func() (bool, string)    { return p.only(p.lb1) }
func lb2Takes(p *pair) func() (bool, string) { return p.has(p.lb2) }
func followed(p *pair) func() (bool, string) { return p.follows(p.lb1) }
func onOne(p *pair) func() (bool, string)    { return p.calm }
func nothing(context.Context, *pair) error   { return nil }

// findStep returns the step of a row and its fault, nil when there is none.
func findStep(row string) (*fault, *step) {
	for _, f := range allFaults() {
		for i, s := range f.steps {
			if s.row == row {
				return &f, &f.steps[i]
			}
		}
	}
	return nil, nil
}

// intervalOf is the interval at which a row has its targets.
func intervalOf(row string) milliseconds {
	if f, _ := findStep(row); f != nil && f.interval > 0 {
		return ms(f.interval)
	}
	return ms(defaultInterval)
}

// allFaults is the whole catalogue, in the order of the table.
func allFaults() []fault {
	return slicesOf(plannedFaults(), nginxFaults(), daemonFaults(), networkFaults(), reloadFaults())
}

func slicesOf(parts ...[]fault) (all []fault) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func faultNames() (names []string) {
	for _, f := range allFaults() {
		names = append(names, f.name)
	}
	return names
}

func plannedFaults() []fault {
	return []fault{
		{name: "stop", undo: nothing, steps: []step{
			{row: "stop", title: "daemon stopped (SIGTERM)", until: toLB2, bound: moveBound,
				do: func(ctx context.Context, p *pair) error { return p.lb1.daemon.stop(ctx) }},
			{row: "return", title: "the better host comes back", until: toLB1, bound: moveBound,
				do: func(_ context.Context, p *pair) error { return p.start(p.lb1) }},
		}},
		{name: "drain", steps: []step{{row: "drain", title: "drained by hand", until: toLB2, bound: moveBound,
			do: func(ctx context.Context, p *pair) error { return p.product.drain(ctx, p.lb1, true) }}},
			undo: func(ctx context.Context, p *pair) error { return p.product.drain(ctx, p.lb1, false) }},
	}
}

func nginxFaults() []fault {
	return []fault{
		{name: "nginx-500", weighed: true, steps: []step{{row: "nginx-500", title: "health page answers 500, nginx serves on",
			do: func(_ context.Context, p *pair) error { return p.lb1.nginx.SetHealthy(false) }, until: toLB2, bound: moveBound}},
			undo: func(_ context.Context, p *pair) error { return p.lb1.nginx.SetHealthy(true) }},
		{name: "nginx-restart", weighed: true, undo: nothing, steps: []step{{row: "nginx-restart", do: restartNginx,
			title: "nginx stopped and started in order", until: toLB1, bound: moveBound,
			unequal: "understudy drains around it, keepalived does nothing, as their packages come"}}},
		{name: "nginx-upgrade", undo: nothing, steps: []step{{row: "nginx-upgrade", title: "nginx upgraded (USR2)", until: toLB1, bound: moveBound,
			do: func(ctx context.Context, p *pair) error { return p.upgradeNginx(ctx) }}}},
		{name: "nginx-killed", weighed: true, steps: []step{{row: "nginx-killed", title: "all of nginx killed",
			do: func(ctx context.Context, p *pair) error { return p.lb1.nginx.Kill(ctx) }, until: toLB2, bound: moveBound}},
			undo: func(ctx context.Context, p *pair) error { return p.lb1.nginx.Start(ctx) }},
		{name: "nginx-hung", weighed: true, steps: []step{{row: "nginx-hung", title: "nginx hung (SIGSTOP)",
			do: func(_ context.Context, p *pair) error { return p.lb1.nginx.Freeze() }, until: toLB2, bound: moveBound}},
			undo: func(_ context.Context, p *pair) error { return p.lb1.nginx.Thaw() }},
	}
}

func daemonFaults() []fault {
	return []fault{
		{name: "killed", undo: nothing, steps: []step{{row: "killed", title: "all processes of the daemon killed (SIGKILL), no cleanup",
			do: func(_ context.Context, p *pair) error { return p.lb1.daemon.kill() }, until: toLB2, bound: leaseBound}}},
		{name: "frozen", undo: nothing, steps: []step{{row: "frozen", title: fmt.Sprintf("daemon stopped for %v (SIGSTOP, SIGCONT)", freezeTime),
			do: freeze, until: onOne, bound: moveBound}, // keepalived's better host never lets go, and is right to go on
			{row: "thawed", title: "the daemon that was stopped takes the address back", do: nothing, until: toLB1, bound: moveBound, about: moving}}},
		{name: "address-deleted", undo: nothing, steps: []step{{row: "address-deleted", title: "address deleted by hand",
			do: deleteAddress, until: toLB1, bound: moveBound}}},
	}
}

func networkFaults() []fault {
	return []fault{
		{name: "link-down", steps: []step{{row: "link-down", title: "link down (carrier)", until: lb2Takes, bound: moveBound,
			do: func(_ context.Context, p *pair) error { return p.lb1.CarrierDown() }}},
			undo: func(_ context.Context, p *pair) error { return p.lb1.CarrierUp() }},
		{name: "cut", undo: nothing, steps: []step{
			{row: "cut", title: fmt.Sprintf("silent cut for %v", cutTime), until: lb2Takes, bound: moveBound,
				do: func(ctx context.Context, p *pair) error {
					if err := p.lb1.Cut(); err != nil {
						return err
					}
					return wait(ctx, cutTime-tailTime)
				}},
			{row: "heal", title: "the cut heals", until: followed, bound: stuckBound,
				unequal: "until the client is on the winner; keepalived's garp_master_refresh is off, as by default",
				do:      func(_ context.Context, p *pair) error { return p.lb1.Heal() }},
		}},
		{name: "advert-loss", interval: lossInterval, undo: nothing, steps: []step{{row: "advert-loss", do: loseAdverts, until: toLB1, bound: moveBound, about: contention,
			title: fmt.Sprintf("%d%% of the adverts lost for %v", lossPercent, lossTime)}}},
		{name: "advert-loss-1s", interval: defaultInterval, alone: true, undo: nothing, steps: []step{{row: "advert-loss-1s", do: loseAdverts, until: toLB1, bound: moveBound, about: rareContention,
			title: fmt.Sprintf("%d%% of the adverts lost for %v, adverts every second", lossPercent, lossTime)}}},
	}
}

func reloadFaults() []fault {
	reload := func(row, title string, e edit) fault {
		return fault{
			name: row, undo: func(ctx context.Context, p *pair) error { return p.restore(ctx) },
			steps: []step{{row: row, title: title, until: toLB1, bound: moveBound, do: func(ctx context.Context, p *pair) error {
				return p.reload(ctx, e)
			}}},
		}
	}
	return []fault{
		reload("reload-unchanged", "reload, nothing changed", edit{}),
		reload("reload-changed", "reload, another priority", edit{less: 10}),
		reload("reload-broken", "reload of half a file", edit{broken: true}),
	}
}

// restartNginx is what `systemctl restart nginx` does with Debian's unit: QUIT, and an end after 5 s for those that still
// have a download open. What the daemon's package does around it goes along.
func restartNginx(ctx context.Context, p *pair) error {
	if err := p.product.nginxStop(ctx, p.lb1, true); err != nil {
		return err
	}
	quitting, cancel := context.WithTimeout(ctx, quitBound)
	defer cancel()
	if err := p.lb1.nginx.Quit(quitting); err != nil {
		if quitting.Err() == nil || ctx.Err() != nil {
			return err
		}
		if err := p.lb1.nginx.Kill(ctx); err != nil {
			return err
		}
	}
	if err := p.lb1.nginx.Start(ctx); err != nil {
		return err
	}
	return p.product.nginxStop(ctx, p.lb1, false)
}

// upgradeNginx ends the downloads first: the old binary waits for them, as long as they take.
func (p *pair) upgradeNginx(ctx context.Context) error {
	p.open.endDownloads()
	return p.lb1.nginx.Upgrade(ctx)
}

func freeze(ctx context.Context, p *pair) error {
	if err := p.lb1.daemon.signalAll(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := wait(ctx, freezeTime); err != nil {
		return err
	}
	return p.lb1.daemon.signalAll(syscall.SIGCONT)
}

func deleteAddress(_ context.Context, p *pair) error {
	return p.lb1.RemoveAddress(netip.PrefixFrom(vip, vip.BitLen()))
}

// loseAdverts loses adverts alone: the client's packets pass.
func loseAdverts(ctx context.Context, p *pair) error {
	rule := netlab.DropIn(fmt.Sprintf("%s numgen random mod 100 < %d", netlab.VRRPv4, lossPercent))
	for _, s := range p.servers() {
		if err := s.Firewall(ctx, rule); err != nil {
			return err
		}
	}
	if err := wait(ctx, lossTime); err != nil {
		return err
	}
	for _, s := range p.servers() {
		if err := s.Firewall(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reload installs a configuration and has lb1 read it. That a broken one is refused is what it is for.
func (p *pair) reload(ctx context.Context, e edit) error {
	if err := p.product.write(p.lb1, p.interval, p.trace, e); err != nil {
		return err
	}
	err := p.product.reload(ctx, p.lb1)
	if e.broken {
		return nil
	}
	return err
}

// restore installs the first configuration again. A daemon that its reload has ended is started by settle.
func (p *pair) restore(ctx context.Context) error {
	if err := p.product.write(p.lb1, p.interval, p.trace, edit{}); err != nil || !p.lb1.daemon.running() {
		return err
	}
	return p.product.reload(ctx, p.lb1)
}
