package daemon

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// A start waits so long for the virtual routers of another daemon, and looks so often: one that was killed a moment ago lets go of them
// when the kernel has closed its sockets.
const (
	dyingBound = 500 * time.Millisecond
	dyingPoll  = 5 * time.Millisecond
)

// bars are what else on this host stands in the way of instances: daemons that run their virtual routers, and programs that set their
// addresses. Several goroutines take note of it. The loop alone tells the node, so that what comes and goes is told in order.
type bars struct {
	wake chan struct{} // there may be news for the loop

	locking sync.Mutex // guards what follows
	locks   *linux.RouterLocks
	unsure  map[linux.Router]bool // whose lock says nothing

	mu      sync.Mutex // guards the rest; never held during a system call
	taken   map[linux.Router]string
	foreign map[place]string  // by the instance's interface
	told    map[string]string // instance -> what the node knows
}

func newBars() *bars {
	return &bars{wake: make(chan struct{}, 1), unsure: map[linux.Router]bool{}, taken: map[linux.Router]string{}, foreign: map[place]string{}, told: map[string]string{}}
}

func (b *bars) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// routersOf lists the virtual routers of an instance.
func routersOf(i *node.Instance) (list []linux.Router) {
	for _, f := range i.Families() {
		list = append(list, linux.Router{Interface: i.Interface, VRID: i.VRID, IPv6: f == vrrp.IPv6})
	}
	return list
}

// lockRouters keeps other daemons from running the virtual routers of a configuration, and takes note of those that others run.
func (d *Daemon) lockRouters(cfg *config.Config) error {
	if d.opts.Shadow {
		return nil // it runs none
	}
	b := d.bars
	b.locking.Lock()
	defer b.locking.Unlock()
	if b.locks == nil {
		b.locks = d.opts.Inherited.locks()
	}
	until := time.Now().Add(dyingBound)
	for _, i := range cfg.Instances {
		for _, r := range routersOf(&i) {
			for errors.Is(b.locks.TakeFree(r), unix.EADDRINUSE) && time.Now().Before(until) {
				time.Sleep(dyingPoll)
			}
			d.lock(r)
		}
	}
	return nil
}

// lock locks one virtual router, or takes note of who runs it; locking is held. Where that cannot be known the daemon goes on as if it were
// alone: no lock is worth a service without its address.
func (d *Daemon) lock(r linux.Router) {
	err := d.bars.locks.Take(r)
	if taken, is := errors.AsType[*linux.TakenError](err); is {
		d.bars.take(r, taken.Error())
		return
	}
	d.bars.take(r, "")
	if err == nil {
		delete(d.bars.unsure, r)
		return
	}
	if len(d.bars.unsure) == 0 { // the reason of one is the reason of all
		d.log.Warn("another daemon of this host that runs the same virtual router would not be noticed", "error", err)
	}
	d.bars.unsure[r] = true
}

// relock locks what others have let go of, and what a reload has added, and lets go of what nobody here runs any more.
func (d *Daemon) relock() {
	b := d.bars
	b.locking.Lock()
	defer b.locking.Unlock()
	if b.locks == nil {
		return
	}
	wanted := map[linux.Router]bool{}
	for _, i := range d.cfg.Load().Instances {
		for _, r := range routersOf(&i) {
			wanted[r] = true
			if asked := b.isTaken(r) || b.unsure[r]; !asked || !errors.Is(b.locks.TakeFree(r), unix.EADDRINUSE) {
				d.lock(r)
			}
		}
	}
	b.forget(wanted)
	maps.DeleteFunc(b.unsure, func(r linux.Router, _ bool) bool { return !wanted[r] })
	for _, i := range d.snapshot.Load().Instances { // those that a reload removed hand over first
		for _, r := range i.Routers {
			wanted[linux.Router{Interface: i.Interface, VRID: i.VRID, IPv6: r.Family == vrrp.IPv6.String()}] = true
		}
	}
	b.locks.Keep(func(r linux.Router) bool { return wanted[r] })
}

// take takes note of who runs a virtual router; nobody: no other daemon.
func (b *bars) take(r linux.Router, who string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken[r] == who {
		return
	}
	b.taken[r] = who
	if who == "" {
		delete(b.taken, r)
	}
	b.poke()
}

func (b *bars) isTaken(r linux.Router) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken[r] != ""
}

// forget drops what is no longer wanted here.
func (b *bars) forget(wanted map[linux.Router]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.taken, func(r linux.Router, _ string) bool { return !wanted[r] })
}

// othersRun says whether another daemon runs a virtual router of an instance, so that its addresses are that one's.
func (b *bars) othersRun(i *node.Instance) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(routersOf(i), func(r linux.Router) bool { return b.taken[r] != "" })
}

// close lets other daemons run what this one ran.
func (b *bars) close() {
	b.locking.Lock()
	defer b.locking.Unlock()
	if b.locks != nil {
		b.locks.Close()
	}
}

// found takes note of which addresses of an interface something else has set.
func (b *bars) found(ifName string, foreign []linux.AddressError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.foreign, func(p place, _ string) bool { return p.ifName == ifName })
	for _, f := range foreign[:min(len(foreign), maxBarred)] {
		b.foreign[place{ifName, f.IP}] = f.Error()
	}
	b.poke()
}

// stands says whether something else has set an address.
func (b *bars) stands(p place) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.foreign[p] != ""
}

// news is what the node does not know yet of the instances of a configuration.
func (b *bars) news(cfg *config.Config) (news []node.Barred) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.taken)+len(b.foreign)+len(b.told) == 0 {
		return nil
	}
	is := map[string]string{}
	for _, i := range cfg.Instances {
		why := b.why(&i)
		if why != b.told[i.Name] {
			news = append(news, node.Barred{Instance: i.Name, Why: why})
		}
		if why != "" {
			is[i.Name] = why
		}
	}
	b.told = is // the node forgets by itself what is no longer configured
	return news
}

// why says what stands in the way of an instance; mu is held.
func (b *bars) why(i *node.Instance) string {
	for _, r := range routersOf(i) {
		if why := b.taken[r]; why != "" {
			return why
		}
	}
	for _, a := range slices.Concat(i.Addresses, i.Unadvertised) {
		if why := b.foreign[place{i.Interface, a.IP}]; why != "" {
			return why
		}
	}
	return ""
}

// hearBars tells the node what stands in its way by now.
func (l *loop) hearBars() {
	for _, ev := range l.bars.news(l.cfg.Load()) {
		l.step(ev)
	}
}

// besideBars tells it beside a new configuration: before it what came into the way, for instances that it adds, and after it what is
// in the way of none any more.
func (l *loop) besideBars(tell func()) {
	news := l.bars.news(l.cfg.Load())
	for _, ev := range news {
		if ev.Why != "" {
			l.step(ev)
		}
	}
	tell()
	for _, ev := range news {
		if ev.Why == "" {
			l.step(ev)
		}
	}
}

// inspect has it looked which addresses of the instances on an interface something else has set; wait waits until that is known.
func (d *Daemon) inspect(ctx context.Context, ifName string) (wait func()) {
	if d.opts.Shadow {
		return func() {}
	}
	done := make(chan struct{})
	d.addresses.inspect(ifName, done)
	return func() {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
}

// wantsOn is what the instances on an interface want to set there.
func (d *Daemon) wantsOn(ifName string) (wants []linux.Want) {
	for _, i := range d.cfg.Load().Instances {
		if i.Interface == ifName {
			vrid := uint8(0)
			if i.VirtualMAC {
				vrid = i.VRID
			}
			wants = append(wants, wantOf(node.SetAddresses{Instance: i.Name, Interface: ifName, Addresses: slices.Concat(i.Addresses, i.Unadvertised), VirtualMAC: vrid}))
		}
	}
	return wants
}

// lookAt has the kernel asked about an interface; it runs in the goroutine that sets addresses.
func (d *Daemon) lookAt(ifName string) {
	list, err := d.addresses.kernel.Foreign(d.wantsOn(ifName)...)
	if err != nil {
		d.log.Warn("it cannot be seen whether something else has set the addresses", "interface", ifName, "error", err)
		return
	}
	d.bars.found(ifName, list)
}
