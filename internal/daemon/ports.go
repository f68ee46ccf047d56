package daemon

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
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
	conns     map[vrrp.Family]*linux.Conn
	announcer *linux.Announcer
	witness   *linux.Witness
	needs

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

// pending says whether a VRRP socket holds packets.
func (p *port) pending() bool {
	for _, c := range p.conns {
		if waits, err := c.Pending(); err == nil && waits {
			return true
		}
	}
	return false
}

// port takes a change of an interface into the loop.
func (l *loop) port(c portChange) {
	if c.port == nil {
		delete(l.ports, c.link.Name)
	} else {
		l.ports[c.link.Name] = c.port
	}
	close(c.done)
	l.step(node.LinkChanged{Link: c.link})
}

// portKeeper opens and closes the sockets as interfaces come and go. It is one goroutine.
type portKeeper struct {
	*Daemon
	open   map[string]*port
	known  map[string]linux.Link
	failed map[string]string // interface -> why its sockets could not be opened
}

// runPorts watches the interfaces until ctx ends.
func (d *Daemon) runPorts(ctx context.Context) error {
	k := &portKeeper{Daemon: d, open: map[string]*port{}, known: map[string]linux.Link{}, failed: map[string]string{}}
	links := make(chan linux.Link)
	var watching sync.WaitGroup
	var watchErr error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watching.Go(func() {
		defer cancel()
		watchErr = d.watcher.Run(ctx, func(l linux.Link) {
			select {
			case links <- l:
			case <-ctx.Done():
			}
		}, d.addresses.lostOn)
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
			k.known[l.Name] = l
			k.follow(ctx, l)
		case cfg := <-k.changes:
			k.reconfigure(ctx, cfg)
		case <-retry.C:
			for name := range k.failed {
				k.follow(ctx, k.known[name])
			}
		case <-ctx.Done():
			watching.Wait()
			return watchErr
		}
	}
}

// follow brings an interface's sockets to what its link allows, and tells the loop.
func (k *portKeeper) follow(ctx context.Context, l linux.Link) {
	old := k.open[l.Name]
	c := portChange{link: linkOf(l), port: old, done: make(chan struct{})}
	stale := old != nil && (!l.Exists || old.index != l.Index || old.mac != l.MAC)
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
	select {
	case k.ports <- c:
	case <-ctx.Done():
	}
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	if stale {
		old.close()
	}
	if c.port != nil {
		k.open[l.Name] = c.port
	} else {
		delete(k.open, l.Name)
	}
}

// linkOf is a link as the node knows it.
func linkOf(l linux.Link) node.Link {
	return node.Link{Name: l.Name, Up: l.Up, Reason: l.Reason, MAC: l.MAC, Source4: l.Source4, Source6: l.Source6}
}

// openPort opens what the instances of an interface need, and starts the readers.
func (k *portKeeper) openPort(ctx context.Context, l linux.Link) (*port, error) {
	p := &port{index: l.Index, mac: l.MAC, conns: map[vrrp.Family]*linux.Conn{}}
	ctx, p.cancel = context.WithCancel(ctx)
	if err := k.openSockets(p, l.Name); err != nil {
		p.close()
		return nil, err
	}
	for f, conn := range p.conns {
		p.tasks.Go(func() { k.read(ctx, l.Name, f, conn) })
	}
	p.tasks.Go(func() {
		err := p.witness.Run(ctx, func(a linux.Announcement) {
			k.post(ctx, node.Announced{Interface: l.Name, IP: a.Address, MAC: a.MAC.String()})
		})
		k.readerEnded(ctx, l.Name, err)
	})
	return p, nil
}

// openSockets opens a port's sockets; what was opened before an error is closed by the caller.
func (k *portKeeper) openSockets(p *port, ifName string) error {
	n := needsOf(k.cfg.Load(), ifName)
	for f, ids := range n.vrids {
		if err := p.listen(ifName, f, ids); err != nil {
			return err
		}
	}
	var err error
	if p.announcer, err = linux.OpenAnnouncer(ifName); err != nil {
		return err
	}
	if p.witness, err = linux.OpenWitness(ifName); err != nil {
		return err
	}
	p.witness.SetAddresses(n.ips)
	p.needs = n
	return nil
}

// listen opens one family's VRRP socket.
func (p *port) listen(ifName string, f vrrp.Family, vrids []uint8) error {
	conn, err := linux.Listen(ifName, f == vrrp.IPv6)
	if err != nil {
		return err
	}
	p.conns[f] = conn
	return conn.SetVRIDs(vrids)
}

// needs is what the instances of an interface need of it.
type needs struct {
	vrids map[vrrp.Family][]uint8
	ips   []netip.Addr
}

// needsOf collects them.
func needsOf(cfg *config.Config, ifName string) needs {
	n := needs{vrids: map[vrrp.Family][]uint8{}}
	for _, i := range cfg.Instances {
		if i.Interface != ifName {
			continue
		}
		for _, f := range i.Families() {
			n.vrids[f] = append(n.vrids[f], i.VRID)
		}
		for _, a := range append(append([]node.Address(nil), i.Addresses...), i.Unadvertised...) {
			n.ips = append(n.ips, a.IP)
		}
	}
	return n
}

// reconfigure brings the open ports to a new configuration. What a removed instance still needs to hand over stays open;
// a port whose sockets are too few is opened anew.
func (k *portKeeper) reconfigure(ctx context.Context, cfg *config.Config) {
	for name, p := range k.open {
		n := needsOf(cfg, name)
		for f, ids := range n.vrids {
			if p.conns[f] == nil {
				p.index = 0 // stale: follow opens all that is needed now
				break
			}
			if err := p.conns[f].SetVRIDs(append(ids, p.vrids[f]...)); err != nil {
				k.log.Error("change the socket's filter", "interface", name, "error", err)
			}
		}
		p.vrids = n.vrids
		p.witness.SetAddresses(append(n.ips, p.ips...))
		p.ips = n.ips
		if p.index == 0 {
			k.follow(ctx, k.known[name])
		}
	}
}

// read gives the loop every advert of one socket, and counts what is none.
func (k *portKeeper) read(ctx context.Context, ifName string, f vrrp.Family, conn *linux.Conn) {
	err := conn.Run(ctx, func(p linux.Packet) {
		advert, form, err := vrrp.Parse(p.Payload, p.Source, p.Destination, p.TTL)
		if err == nil {
			k.post(ctx, node.Heard{Interface: ifName, Advert: advert, Form: form, From: p.Source})
			return
		}
		// What is no advert must not delay what is: in a flood it is only counted.
		if len(k.events) > cap(k.events)/2 {
			k.refused.Add(1)
			return
		}
		k.post(ctx, node.Refused{Interface: ifName, VRID: advert.VRID, From: p.Source, Err: err})
	})
	k.readerEnded(ctx, ifName+" "+f.String(), err)
}

// readerEnded logs a reader that broke while it was wanted; its interface is going away, or the next link event reopens.
func (k *portKeeper) readerEnded(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		k.log.Warn("socket reader ended", "what", what, "error", err)
	}
}

// close ends the readers and closes the sockets.
func (p *port) close() {
	p.cancel()
	p.tasks.Wait()
	for _, c := range p.conns {
		_ = c.Close()
	}
	if p.announcer != nil {
		_ = p.announcer.Close()
	}
	if p.witness != nil {
		_ = p.witness.Close()
	}
}
