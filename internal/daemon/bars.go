package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// A start waits so long for the locks of another daemon, and looks so often: one that was killed a moment ago lets go of them
// when the kernel has closed its sockets.
const (
	dyingBound = 500 * time.Millisecond
	dyingPoll  = 5 * time.Millisecond
)

// bars are what else on this host stands in the way of instances: daemons that run their virtual routers, or have their addresses in other
// ones, and programs that set their addresses. Several goroutines take note of it. The loop alone tells the node, so that what comes and
// goes is told in order.
type bars struct {
	wake chan struct{} // there may be news for the loop

	locking sync.Mutex // guards what follows
	locks   *linux.Locks
	unsure  map[linux.Lockable]bool // whose lock says nothing

	mu      sync.Mutex // guards the rest; never held during a system call
	taken   map[linux.Lockable]string
	foreign map[place]string  // by the instance's interface
	told    map[string]string // instance -> what the node knows
}

func newBars() *bars {
	return &bars{wake: make(chan struct{}, 1), unsure: map[linux.Lockable]bool{}, taken: map[linux.Lockable]string{}, foreign: map[place]string{}, told: map[string]string{}}
}

func (b *bars) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// routersOf lists the virtual routers of an instance.
func routersOf(i *node.Instance) (list []linux.Lockable) {
	for _, f := range i.Families() {
		list = append(list, linux.Router{Interface: i.Interface, VRID: i.VRID, IPv6: f == vrrp.IPv6})
	}
	return list
}

// locksOf lists what an instance needs for itself, in an order that is the same in every daemon.
func locksOf(i *node.Instance) []linux.Lockable {
	list := routersOf(i)
	for _, ip := range slices.SortedFunc(slices.Values(ipsOf(i)), netip.Addr.Compare) {
		list = append(list, linux.Place{Interface: i.Interface, IP: ip})
	}
	return list
}

// ipsOf lists all addresses of an instance.
func ipsOf(i *node.Instance) []netip.Addr {
	var ips []netip.Addr
	for _, a := range slices.Concat(i.Addresses, i.Unadvertised) {
		ips = append(ips, a.IP)
	}
	return ips
}

// lockInstances keeps other daemons from running the virtual routers of a configuration and from having its addresses, and takes note of
// what others have.
func (d *Daemon) lockInstances(cfg *config.Config) error {
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
		d.lockAll(&i, func(x linux.Lockable) {
			for errors.Is(b.locks.TakeFree(x), unix.EADDRINUSE) && time.Now().Before(until) {
				time.Sleep(dyingPoll)
			}
			d.lock(x)
		})
	}
	return nil
}

// lockAll locks all that an instance needs; locking is held. Where another daemon has one of it, what follows is only looked at: two
// daemons that want several things must not end with some each, both in the other's way.
func (d *Daemon) lockAll(i *node.Instance, lock func(linux.Lockable)) {
	b, free := d.bars, true
	for _, x := range locksOf(i) {
		had := b.locks.Has(x)
		if lock(x); !free && !had {
			b.locks.Drop(x)
		}
		free = free && !b.isTaken(x)
	}
}

// lock locks one thing, or takes note of who has it; locking is held. Where that cannot be known the daemon goes on as if it were
// alone: no lock is worth a service without its address.
func (d *Daemon) lock(x linux.Lockable) {
	err := d.bars.locks.Take(x)
	if taken, is := errors.AsType[*linux.TakenError](err); is {
		d.bars.take(x, taken.Error())
		return
	}
	d.bars.take(x, "")
	if err == nil {
		delete(d.bars.unsure, x)
		return
	}
	if len(d.bars.unsure) == 0 { // the reason of one is the reason of all
		d.log.Warn("another daemon of this host that runs the same virtual router, or has the same address, would not be noticed", "error", err)
	}
	d.bars.unsure[x] = true
}

// relock locks what others have let go of, and what a reload has added, and lets go of what nobody here runs any more.
func (d *Daemon) relock() {
	b := d.bars
	b.locking.Lock()
	defer b.locking.Unlock()
	if b.locks == nil {
		return
	}
	wanted := map[linux.Lockable]bool{}
	for _, i := range d.cfg.Load().Instances {
		d.lockAll(&i, func(x linux.Lockable) {
			wanted[x] = true
			if asked := b.isTaken(x) || b.unsure[x]; !asked || !errors.Is(b.locks.TakeFree(x), unix.EADDRINUSE) {
				d.lock(x)
			}
		})
	}
	b.forget(wanted)
	maps.DeleteFunc(b.unsure, func(x linux.Lockable, _ bool) bool { return !wanted[x] })
	for _, i := range d.snapshot.Load().Instances { // those that a reload removed hand over first
		for _, r := range i.Routers {
			wanted[linux.Router{Interface: i.Interface, VRID: i.VRID, IPv6: r.Family == vrrp.IPv6.String()}] = true
		}
		for _, ip := range i.Addresses {
			wanted[linux.Place{Interface: i.Interface, IP: ip}] = true
		}
	}
	b.locks.Keep(func(x linux.Lockable) bool { return wanted[x] })
}

// take takes note of who has something; nobody: no other daemon.
func (b *bars) take(x linux.Lockable, who string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken[x] == who {
		return
	}
	b.taken[x] = who
	if who == "" {
		delete(b.taken, x)
	}
	b.poke()
}

// isTaken says whether another daemon has something.
func (b *bars) isTaken(x linux.Lockable) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken[x] != ""
}

// forget drops what is no longer wanted here.
func (b *bars) forget(wanted map[linux.Lockable]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.taken, func(x linux.Lockable, _ string) bool { return !wanted[x] })
}

// othersRun says whether another daemon runs a virtual router of an instance, so that its addresses are that one's.
func (b *bars) othersRun(i *node.Instance) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(routersOf(i), func(x linux.Lockable) bool { return b.taken[x] != "" })
}

// othersRouters lists what other daemons run, as far as can be seen, whatever it is called here.
func (d *Daemon) othersRouters() []linux.Router {
	b := d.bars
	b.locking.Lock()
	defer b.locking.Unlock()
	locks := b.locks
	if locks == nil { // it has none yet
		locks, _ = linux.NewLocks(nil)
	}
	list, err := locks.Others()
	if err != nil {
		d.log.Warn("what this daemon takes away of VRRP's neighbour entries another one of this host may have to set again", "error", err)
	}
	return list
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
	for _, x := range locksOf(i) {
		if why := b.taken[x]; why != "" {
			return why
		}
	}
	for _, ip := range ipsOf(i) {
		if why := b.foreign[place{i.Interface, ip}]; why != "" {
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
