package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// reopenGap is how long an interface whose sockets could not be opened is left alone.
const reopenGap = time.Second

// settingsGap is the least time between two looks at the devices where the kernel tells of settings: what one changes must not have it look
// again without end.
const settingsGap = 100 * time.Millisecond

// portChange tells the loop of an interface: its link, and the port if it is open.
type portChange struct {
	link node.Link
	port *port
	done chan struct{} // closed when the loop no longer uses the old port
}

// port takes a change of an interface into the loop.
func (l *loop) port(c portChange) {
	l.wokeUp()
	l.usePort(c)
	l.hearBars()
	l.step(node.LinkChanged{Link: c.link})
}

// usePort replaces an interface's sockets.
func (l *loop) usePort(c portChange) {
	if c.port == nil {
		delete(l.ports, c.link.Name)
	} else {
		l.ports[c.link.Name] = c.port
	}
	close(c.done)
}

// portKeeper opens and closes the sockets as interfaces come and go. It is one goroutine.
type portKeeper struct {
	*Daemon
	open   map[string]*port
	known  map[string]linux.Link
	failed map[string]string // interface -> why its sockets could not be opened
	ill    chan struct{}     // some port is broken
	coarse map[string]string // interface -> why strangers' packets are read; see linux.Conn.Coarse

	// Of macvlans, by name:
	impossible map[string]string // why one could not be made
	indices    map[string]int    // which one it was last
	made       map[string]int    // how often it was made anew
	staying    string            // what was logged last of those that may stay, or of their list
	settings   chan struct{}     // one that they need may have changed
	looked     time.Time         // when they were looked at last

	grouped map[string][]linux.GroupEntry // by interface: where the neighbour entries of the groups are to be
}

func newPortKeeper(d *Daemon) *portKeeper {
	return &portKeeper{
		Daemon: d, open: map[string]*port{}, known: map[string]linux.Link{}, failed: map[string]string{}, ill: make(chan struct{}, 1),
		coarse: map[string]string{}, impossible: map[string]string{}, indices: map[string]int{}, made: map[string]int{},
		settings: make(chan struct{}, 1),
		grouped:  map[string][]linux.GroupEntry{},
	}
}

// runPorts watches the interfaces until ctx ends.
func (d *Daemon) runPorts(ctx context.Context) error {
	k := newPortKeeper(d)
	links := make(chan linux.Link)
	var watching sync.WaitGroup
	d.watcher.Trouble = func(err error) {
		if err != nil {
			d.log.Warn("the interfaces cannot be looked at; what was known of them counts, and they are looked at again", "error", err)
			return
		}
		d.log.Info("the interfaces can be looked at again")
	}
	d.watcher.Came = d.addresses.cameOn
	d.watcher.Settings = k.settingChanged
	watching.Go(func() {
		err := d.watcher.Run(ctx, func(l linux.Link) {
			select {
			case links <- l:
			case <-ctx.Done():
			}
		}, d.addresses.lostOn)
		if err != nil && ctx.Err() == nil {
			d.broke(err) // the sockets stay: the handover needs them
		}
	})
	defer func() {
		for _, p := range k.open {
			p.close()
		}
	}()
	retry := time.NewTicker(reopenGap)
	defer retry.Stop()
	settled := time.NewTimer(settingsGap)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case l := <-links:
			if k.isDevice(l.Name) {
				k.deviceChanged(ctx, l)
				continue
			}
			k.known[l.Name] = l
			k.follow(ctx, l)
		case followed := <-k.changes:
			k.reconfigure(ctx)
			close(followed)
		case <-k.retunes:
			k.reconfigure(ctx)
		case <-k.ill:
			k.heal(ctx)
		case <-k.settings:
			settled.Reset(time.Until(k.looked.Add(settingsGap)))
		case <-settled.C:
			k.retryDevices(ctx)
		case now := <-retry.C:
			k.flush(now)
			for name := range k.failed {
				k.follow(ctx, k.known[name])
			}
			k.heal(ctx)
			k.relock()
			k.retryDevices(ctx)
			k.prune(ctx)
			k.pruneDevices(ctx)
		case <-ctx.Done():
			watching.Wait()
			return nil
		}
	}
}

// flush tells the loop what is left of a flood when nothing comes any more.
func (k *portKeeper) flush(now time.Time) {
	for _, p := range k.open {
		for _, e := range p.ears {
			for _, r := range e.refusals {
				r.flush(now)
			}
		}
		for _, r := range p.refusals {
			r.flush(now)
		}
	}
}

// follow brings an interface's sockets to what its link allows, and tells the loop.
func (k *portKeeper) follow(ctx context.Context, l linux.Link) {
	old := k.open[l.Name]
	c := portChange{link: linkOf(l), port: old}
	inspected := k.inspect(ctx, l.Name) // while the sockets are opened
	// A packet socket does not outlive its interface going down: it reports that as an error, once, whenever it is used next.
	stale := old != nil && (!l.Up || old.index != l.Index || old.mac != l.MAC || old.broken.Load())
	if stale {
		c.port = nil
	}
	if l.Up {
		p, err := k.bring(ctx, l, old, stale)
		if err != nil {
			c.port = nil
			c.link.Up, c.link.Reason = false, err.Error()
			if k.failed[l.Name] != err.Error() {
				k.log.Error("open sockets", "interface", l.Name, "error", err)
			}
			k.failed[l.Name] = err.Error()
		} else {
			delete(k.failed, l.Name)
			c.port = p
		}
	}
	if !l.Up {
		delete(k.failed, l.Name)
	}
	if c.port != nil {
		c.port.own.Store(&l.Own)
		inspected()
	}
	k.hand(ctx, c)
}

// bring opens what an interface's link allows and its instances need. What is open stays, unless it is stale.
func (k *portKeeper) bring(ctx context.Context, l linux.Link, old *port, stale bool) (*port, error) {
	if old == nil || stale {
		return k.openPort(ctx, l, old)
	}
	return k.amend(old, l.Name)
}

// hand gives the loop an interface's new port, or none, and closes what is left of the old one once the loop has let go of it.
func (k *portKeeper) hand(ctx context.Context, c portChange) {
	if c.port != nil {
		c.link.VirtualMACs = c.port.virtualMACs()
	}
	if k.opts.Shadow {
		c.link.VirtualMACs, c.link.Swallowers = k.imagined(c.link), nil // a tap hears all
	}
	c.done = make(chan struct{})
	select {
	case k.ports <- c:
		<-c.done // the loop has it, and never waits
	case <-ctx.Done():
	}
	name := c.link.Name
	if old := k.open[name]; old != nil && old != c.port {
		old.giveWay(c.port)
	}
	if c.port != nil {
		k.open[name] = c.port
	} else {
		delete(k.open, name)
	}
	k.regroup(name, c.port, k.needsOf(name))
}

// linkOf is a link as the node knows it.
func linkOf(l linux.Link) node.Link {
	is := node.Link{Name: l.Name, Up: l.Up, Reason: l.Reason, MAC: l.MAC, Source4: l.Source4, Source6: l.Source6, Own: l.Own}
	for _, s := range l.Swallowers {
		is.Swallowers = append(is.Swallowers, node.Swallower{Device: s.Name, MAC: s.MAC})
	}
	return is
}

// openPort opens what the instances of an interface need, and starts the readers. Those of the port before, if there is one, have
// ended then: no advert is told twice, or after a later one.
func (k *portKeeper) openPort(ctx context.Context, l linux.Link, before *port) (*port, error) {
	p := &port{base: newBase(ctx, l), ears: map[vrrp.Family]*ear{}, devices: map[deviceKey]*device{}}
	if err := k.openSockets(p, l.Name, before); err != nil {
		p.close()
		return nil, err
	}
	if p.tap != nil {
		refused := k.refuses(p.ctx, l.Name)
		p.refusals = append(p.refusals, refused)
		p.tasks.Go(func() { k.readerEnded(p.ctx, p.base, l.Name, k.listenIn(p.ctx, l.Name, p.tap, refused)) })
		return p, nil
	}
	p.tasks.Go(func() {
		err := p.witness.Run(p.ctx, func(a linux.Announcement) {
			k.post(p.ctx, node.Announced{Interface: l.Name, IP: a.Address, MAC: a.MAC.String()})
		})
		k.readerEnded(p.ctx, p.base, l.Name, err)
	})
	return p, nil
}

// openSockets opens a port's sockets; what was opened before an error is closed by the caller. Those that hear adverts come last: what
// is before them may take its time.
func (k *portKeeper) openSockets(p *port, ifName string, before *port) error {
	n := k.needsOf(ifName)
	if k.opts.Shadow {
		if before != nil {
			before.drain()
		}
		return p.tapOn(ifName, n)
	}
	announcer, err := linux.OpenAnnouncer(ifName)
	if err != nil {
		return err
	}
	p.announcer = announcer
	if p.witness, err = linux.OpenWitness(ifName); err != nil {
		return err
	}
	p.witness.SetAddresses(n.ips)
	p.share(k.macvlansOn(ifName))
	k.openDevices(p, ifName)
	for f := range n.accepts {
		if p.ears[f], err = openEar(ifName, f); err != nil {
			delete(p.ears, f)
			return err
		}
	}
	if before != nil {
		if err := p.relieve(before, n); err != nil {
			return err
		}
	}
	for f, e := range p.ears {
		if err := k.hear(p.base, ifName, e, f, n.accepts[f]); err != nil {
			return err
		}
	}
	k.tellCoarse(ifName, p)
	return nil
}

// openEar opens one family's VRRP socket, which hears nothing yet.
func openEar(ifName string, f vrrp.Family) (*ear, error) {
	conn, err := linux.Listen(ifName, f == vrrp.IPv6)
	if err != nil {
		return nil, err
	}
	return &ear{conn: conn}, nil
}

// hear opens the lookout beside a family's socket, has both hear whom they should, and reads them.
func (k *portKeeper) hear(b *base, ifName string, e *ear, f vrrp.Family, accepts []linux.Accept) (err error) {
	if e.lookout, err = linux.OpenLookout(ifName, f == vrrp.IPv6); err != nil {
		return err
	}
	if err := e.accept(accepts); err != nil {
		return err
	}
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(b.ctx)
	adverts, others, h := k.refuses(ctx, ifName), k.refuses(ctx, ifName), newHearing()
	e.refusals = []*refusals{adverts, others}
	e.tasks.Go(func() { k.readerEnded(ctx, b, ifName, k.read(ctx, ifName, e.conn, h, adverts)) })
	e.tasks.Go(func() { k.readerEnded(ctx, b, ifName, k.lookOut(ctx, b, ifName, e.lookout, h, others)) })
	return nil
}

// amend makes a port's successor, which has what the instances need now. What is well goes on in it: the loop and the readers
// notice nothing. It is the same port where nothing changes.
func (k *portKeeper) amend(p *port, ifName string) (*port, error) {
	if p.tap != nil {
		return p, nil
	}
	n := k.needsOf(ifName)
	next := p.successor(n, k.macvlansOn(ifName))
	k.openDevices(next, ifName)
	for f, accepts := range n.accepts {
		if next.ears[f] != nil {
			continue
		}
		e, err := openEar(ifName, f)
		if err == nil {
			next.ears[f] = e
			err = k.hear(p.base, ifName, e, f, accepts)
		}
		if err != nil {
			next.giveWay(p)
			return nil, err
		}
	}
	if next.same(p) {
		return p, nil
	}
	k.tellCoarse(ifName, next)
	return next, nil
}

// tellCoarse logs once that an interface has more unicast instances than the kernel's filter has room for.
func (k *portKeeper) tellCoarse(ifName string, p *port) {
	why := ""
	for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		if c := p.conn(f); c != nil && c.Coarse() != nil {
			why = c.Coarse().Error()
		}
	}
	if why != "" && why != k.coarse[ifName] {
		k.log.Warn("too many peers for the kernel's packet filter; what strangers send to unicast instances is read, and refused then: a flood of it costs CPU time",
			"interface", ifName, "error", why)
	}
	k.coarse[ifName] = why
}

// reconfigure brings the open ports to a new configuration. What is open hears whom it should before anything is opened, which may
// take its time.
func (k *portKeeper) reconfigure(ctx context.Context) {
	for name, p := range k.open {
		if err := p.tune(k.needsOf(name)); err != nil {
			k.log.Error("change whom the sockets hear", "interface", name, "error", err)
			p.broken.Store(true)
		}
		k.tellCoarse(name, p)
		p.share(k.macvlansOn(name))
	}
	for name, p := range k.open {
		// A tap's virtual MAC addresses are only imagined, and may be others now.
		if p.tap != nil || p.broken.Load() || p.lags(k.needsOf(name), k.macvlansOn(name)) {
			k.follow(ctx, k.known[name])
		}
	}
}

// heal opens broken ports again; one that breaks at once waits for the next try.
func (k *portKeeper) heal(ctx context.Context) {
	for name, p := range k.open {
		if p.broken.Load() && time.Since(p.opened) >= reopenGap {
			k.follow(ctx, k.known[name])
		}
	}
}

// prune closes what no instance needs any more: those that a reload removed have handed over by then.
func (k *portKeeper) prune(ctx context.Context) {
	for name := range k.known {
		if n := k.needsOf(name); len(n.accepts) > 0 {
			if p := k.open[name]; p != nil && !slices.Equal(p.groups(n), k.grouped[name]) {
				k.regroup(name, p, n) // what handed over is gone, or a name has led somewhere
			}
			continue
		}
		k.hand(ctx, portChange{link: linkOf(k.known[name])})
		delete(k.known, name)
		delete(k.failed, name)
		k.watcher.SetInterfaces(k.watched())
	}
}

// read gives the loop every advert of one socket, and tells it of what is none.
func (k *portKeeper) read(ctx context.Context, ifName string, conn *linux.Conn, h *hearing, refused *refusals) error {
	return conn.Run(ctx, func(p linux.Packet) {
		h.given(p.Source)
		refused.flush(p.At)
		k.judge(ctx, ifName, p, refused)
	})
}

// judge gives the loop an advert, and tells it of a packet that is none.
func (k *portKeeper) judge(ctx context.Context, ifName string, p linux.Packet, refused *refusals) {
	received, err := vrrp.Parse(p.Payload, p.Source, p.Destination, p.TTL)
	if err == nil {
		k.post(ctx, node.Heard{Interface: ifName, Received: received})
		return
	}
	refused.add(p.At, node.Refused{Interface: ifName, VRID: received.VRID, From: p.Source, Err: err})
}

// refuses makes what one reader of a port tells the loop of its refusals by.
func (k *portKeeper) refuses(ctx context.Context, ifName string) *refusals {
	return &refusals{
		ifName: ifName,
		post:   func(ev node.Event) { k.post(ctx, ev) },
		busy:   func() bool { return len(k.events) > cap(k.events)/2 },
		sums:   map[refusalKey]*node.Refused{},
	}
}

// readerEnded has a port opened again whose reader broke while it was wanted: its interface went down for a moment, or
// goes away.
func (k *portKeeper) readerEnded(ctx context.Context, p *base, ifName string, err error) {
	if ctx.Err() != nil {
		return
	}
	k.log.Warn("socket broke; it is opened again", "interface", ifName, "error", err)
	p.broken.Store(true)
	select {
	case k.ill <- struct{}{}:
	default:
	}
}
