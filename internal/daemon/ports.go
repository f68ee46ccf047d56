package daemon

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// reopenGap is how long an interface whose sockets could not be opened is left alone.
const reopenGap = time.Second

// port is what the daemon has open on one interface.
type port struct {
	index     int
	mac       string
	opened    time.Time
	own       atomic.Pointer[[]netip.Addr] // the interface's own addresses
	broken    atomic.Bool                  // a reader ended although it was wanted: all of it is opened again
	closed    atomic.Bool                  // what waits for it is dropped
	conns     map[vrrp.Family]*linux.Conn
	lookouts  map[vrrp.Family]*linux.Lookout
	refusals  []*refusals // of each reader
	announcer broadcaster
	witness   *linux.Witness
	devices   map[deviceKey]*device
	tap       *linux.Tap // a shadow's, which has nothing else

	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// portChange tells the loop of an interface: its link, and the port if it is open.
type portChange struct {
	link node.Link
	port *port
	done chan struct{} // closed when the loop no longer uses the old port
}

// conn returns the family's VRRP socket; nil if there is none.
func (p *port) conn(f vrrp.Family) *linux.Conn { return p.conns[f] }

// hearer is a socket whose reader can be waited for.
type hearer interface {
	Mark() linux.Mark
	Passed(m linux.Mark) (bool, error)
}

var (
	_ hearer = (*linux.Conn)(nil)
	_ hearer = (*linux.Tap)(nil)
)

// hearers are the port's sockets for VRRP.
func (p *port) hearers() []hearer {
	var all []hearer
	for _, c := range p.conns {
		all = append(all, c)
	}
	if p.tap != nil {
		all = append(all, p.tap)
	}
	return all
}

// port takes a change of an interface into the loop.
func (l *loop) port(c portChange) {
	l.wokeUp()
	l.usePort(c)
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
}

// runPorts watches the interfaces until ctx ends.
func (d *Daemon) runPorts(ctx context.Context) error {
	k := &portKeeper{Daemon: d, open: map[string]*port{}, known: map[string]linux.Link{}, failed: map[string]string{}, ill: make(chan struct{}, 1),
		coarse: map[string]string{}, impossible: map[string]string{}, indices: map[string]int{}, made: map[string]int{}}
	links := make(chan linux.Link)
	var watching sync.WaitGroup
	d.watcher.Trouble = func(err error) {
		if err != nil {
			d.log.Warn("the interfaces cannot be looked at; what was known of them counts, and they are looked at again", "error", err)
			return
		}
		d.log.Info("the interfaces can be looked at again")
	}
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
		case now := <-retry.C:
			k.flush(now)
			for name := range k.failed {
				k.follow(ctx, k.known[name])
			}
			k.heal(ctx)
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
		for _, r := range p.refusals {
			r.flush(now)
		}
	}
}

// follow brings an interface's sockets to what its link allows, and tells the loop.
func (k *portKeeper) follow(ctx context.Context, l linux.Link) {
	old := k.open[l.Name]
	c := portChange{link: linkOf(l), port: old}
	// A packet socket does not outlive its interface going down: it reports that as an error, once, whenever it is used next.
	stale := old != nil && (!l.Up || old.index != l.Index || old.mac != l.MAC || old.broken.Load())
	if stale {
		c.port = nil
	}
	if c.port == nil && l.Up {
		p, err := k.openPort(ctx, l)
		if err != nil {
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
	}
	k.hand(ctx, c)
}

// hand gives the loop an interface's new port, or none, and closes the old one once the loop has let go of it.
func (k *portKeeper) hand(ctx context.Context, c portChange) {
	if c.port != nil {
		c.link.VirtualMACs = c.port.virtualMACs()
	}
	if k.opts.Shadow {
		c.link.VirtualMACs = k.imagined(c.link)
	}
	c.done = make(chan struct{})
	select {
	case k.ports <- c:
		<-c.done // the loop has it, and never waits
	case <-ctx.Done():
	}
	name := c.link.Name
	if old := k.open[name]; old != nil && old != c.port {
		old.close()
	}
	if c.port != nil {
		k.open[name] = c.port
	} else {
		delete(k.open, name)
	}
}

// linkOf is a link as the node knows it.
func linkOf(l linux.Link) node.Link {
	return node.Link{Name: l.Name, Up: l.Up, Reason: l.Reason, MAC: l.MAC, Source4: l.Source4, Source6: l.Source6, Own: l.Own}
}

// openPort opens what the instances of an interface need, and starts the readers.
func (k *portKeeper) openPort(ctx context.Context, l linux.Link) (*port, error) {
	p := &port{index: l.Index, mac: l.MAC, opened: time.Now(), conns: map[vrrp.Family]*linux.Conn{}, lookouts: map[vrrp.Family]*linux.Lookout{}, devices: map[deviceKey]*device{}}
	ctx, p.cancel = context.WithCancel(ctx)
	if err := k.openSockets(p, l.Name); err != nil {
		p.close()
		return nil, err
	}
	for _, conn := range p.conns {
		refused := k.refuses(ctx, p, l.Name)
		p.tasks.Go(func() { k.readerEnded(ctx, p, l.Name, k.read(ctx, l.Name, conn, refused)) })
	}
	for _, out := range p.lookouts {
		refused := k.refuses(ctx, p, l.Name)
		p.tasks.Go(func() { k.readerEnded(ctx, p, l.Name, k.lookOut(ctx, p, l.Name, out, refused)) })
	}
	if p.tap != nil {
		refused := k.refuses(ctx, p, l.Name)
		p.tasks.Go(func() { k.readerEnded(ctx, p, l.Name, k.listenIn(ctx, l.Name, p.tap, refused)) })
		return p, nil
	}
	p.tasks.Go(func() {
		err := p.witness.Run(ctx, func(a linux.Announcement) {
			k.post(ctx, node.Announced{Interface: l.Name, IP: a.Address, MAC: a.MAC.String()})
		})
		k.readerEnded(ctx, p, l.Name, err)
	})
	return p, nil
}

// openSockets opens a port's sockets; what was opened before an error is closed by the caller.
func (k *portKeeper) openSockets(p *port, ifName string) error {
	n := k.needsOf(ifName)
	if k.opts.Shadow {
		return p.tapOn(ifName, n)
	}
	for f, accepts := range n.accepts {
		if err := p.listen(ifName, f, accepts); err != nil {
			return err
		}
	}
	k.tellCoarse(ifName, p)
	announcer, err := linux.OpenAnnouncer(ifName)
	if err != nil {
		return err
	}
	p.announcer = announcer
	if p.witness, err = linux.OpenWitness(ifName); err != nil {
		return err
	}
	p.witness.SetAddresses(n.ips)
	k.openDevices(p, ifName)
	return nil
}

// listen opens one family's VRRP socket, and the lookout beside it.
func (p *port) listen(ifName string, f vrrp.Family, accepts []linux.Accept) error {
	conn, err := linux.Listen(ifName, f == vrrp.IPv6)
	if err != nil {
		return err
	}
	p.conns[f] = conn
	lookout, err := linux.OpenLookout(ifName, f == vrrp.IPv6)
	if err != nil {
		return err
	}
	p.lookouts[f] = lookout
	return p.accept(f, accepts)
}

// accept says for which virtual routers a family's sockets are.
func (p *port) accept(f vrrp.Family, accepts []linux.Accept) error {
	conn := p.conns[f]
	err := conn.Accept(accepts)
	return errors.Join(err, p.lookouts[f].Accept(accepts, conn.Coarse() == nil))
}

// tellCoarse logs once that an interface has more unicast instances than the kernel's filter has room for.
func (k *portKeeper) tellCoarse(ifName string, p *port) {
	why := ""
	for _, f := range []vrrp.Family{vrrp.IPv4, vrrp.IPv6} {
		if c := p.conns[f]; c != nil && c.Coarse() != nil {
			why = c.Coarse().Error()
		}
	}
	if why != "" && why != k.coarse[ifName] {
		k.log.Warn("too many peers for the kernel's packet filter; what strangers send to unicast instances is read, and refused then: a flood of it costs CPU time",
			"interface", ifName, "error", why)
	}
	k.coarse[ifName] = why
}

// reconfigure brings the open ports to a new configuration; one whose sockets are too few is opened anew.
func (k *portKeeper) reconfigure(ctx context.Context) {
	for name, p := range k.open {
		n := k.needsOf(name)
		if p.tap != nil {
			if err := p.tap.SetVRIDs(n.vrids(vrrp.IPv4), n.vrids(vrrp.IPv6)); err != nil {
				k.log.Error("listen to other virtual routers", "interface", name, "error", err)
			}
			k.follow(ctx, k.known[name]) // with other virtual MAC addresses, perhaps
			continue
		}
		for f, accepts := range n.accepts {
			if p.conns[f] == nil {
				p.broken.Store(true)
				break
			}
			if err := p.accept(f, accepts); err != nil {
				k.log.Error("change whom the socket hears", "interface", name, "error", err)
				p.broken.Store(true)
			}
		}
		k.tellCoarse(name, p)
		p.witness.SetAddresses(n.ips)
		if p.broken.Load() || p.lacks(k.macvlansOn(name)) {
			p.broken.Store(true)
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
			continue
		}
		k.hand(ctx, portChange{link: linkOf(k.known[name])})
		delete(k.known, name)
		delete(k.failed, name)
		k.watcher.SetInterfaces(k.watched())
	}
}

// read gives the loop every advert of one socket, and tells it of what is none.
func (k *portKeeper) read(ctx context.Context, ifName string, conn *linux.Conn, refused *refusals) error {
	return conn.Run(ctx, func(p linux.Packet) {
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
func (k *portKeeper) refuses(ctx context.Context, p *port, ifName string) *refusals {
	r := &refusals{
		ifName: ifName,
		post:   func(ev node.Event) { k.post(ctx, ev) },
		busy:   func() bool { return len(k.events) > cap(k.events)/2 },
		sums:   map[refusalKey]*node.Refused{},
	}
	p.refusals = append(p.refusals, r)
	return r
}

// readerEnded has a port opened again whose reader broke while it was wanted: its interface went down for a moment, or
// goes away.
func (k *portKeeper) readerEnded(ctx context.Context, p *port, ifName string, err error) {
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

// close ends the readers and closes the sockets.
func (p *port) close() {
	p.closed.Store(true)
	p.cancel()
	p.tasks.Wait()
	for _, c := range p.conns {
		_ = c.Close()
	}
	for _, l := range p.lookouts {
		_ = l.Close()
	}
	for _, d := range p.devices {
		d.close()
	}
	if p.announcer != nil {
		_ = p.announcer.Close()
	}
	if p.witness != nil {
		_ = p.witness.Close()
	}
	if p.tap != nil {
		_ = p.tap.Close()
	}
}
