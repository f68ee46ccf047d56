package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/vrrp"
)

// drainBound is how long the readers of sockets that are replaced may take to deliver what these still hold.
const drainBound = 50 * time.Millisecond

// port is what the daemon has open on one interface. The loop and the announcements read what it has, and that never changes: where
// only a part is opened or closed another port takes its place, on the same base.
type port struct {
	*base
	ears    map[vrrp.Family]*ear
	devices map[deviceKey]*device
}

// base is what the ports of an interface share until it breaks, or the interface is another.
type base struct {
	index     int
	mac       string
	opened    time.Time
	own       atomic.Pointer[[]netip.Addr] // the interface's own addresses
	shared    atomic.Pointer[[]deviceKey]  // the virtual routers that have a MAC address of their own
	broken    atomic.Bool                  // a reader ended although it was wanted: all of it is opened again
	closed    atomic.Bool                  // what waits for it is dropped
	announcer broadcaster
	witness   *linux.Witness
	tap       *linux.Tap // a shadow's, which has nothing else
	refusals  []*refusals

	ctx    context.Context // the readers'
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

func newBase(ctx context.Context, l linux.Link) *base {
	b := &base{index: l.Index, mac: l.MAC, opened: time.Now()}
	b.ctx, b.cancel = context.WithCancel(ctx)
	return b
}

// ear is what hears one family.
type ear struct {
	conn     *linux.Conn
	lookout  *linux.Lookout
	refusals []*refusals // of each reader
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
}

// conn returns the family's VRRP socket; nil if there is none.
func (p *port) conn(f vrrp.Family) *linux.Conn {
	if e := p.ears[f]; e != nil {
		return e.conn
	}
	return nil
}

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
	for _, e := range p.ears {
		all = append(all, e.conn)
	}
	if p.tap != nil {
		all = append(all, p.tap)
	}
	return all
}

// successor is a port with what of this one is still needed, and well.
func (p *port) successor(n needs, macvlans []linux.Macvlan) *port {
	next := &port{base: p.base, ears: map[vrrp.Family]*ear{}, devices: map[deviceKey]*device{}}
	for f := range n.accepts {
		if e := p.ears[f]; e != nil {
			next.ears[f] = e
		}
	}
	for _, m := range macvlans {
		if d := p.devices[keyOf(m)]; d != nil && !d.stale {
			next.devices[keyOf(m)] = d
		}
	}
	return next
}

// same says whether two ports have the same.
func (p *port) same(other *port) bool {
	return p.base == other.base && maps.Equal(p.ears, other.ears) && maps.Equal(p.devices, other.devices)
}

// lags says whether the port has less or more than what is needed.
func (p *port) lags(n needs, macvlans []linux.Macvlan) bool {
	next := p.successor(n, macvlans)
	return !next.same(p) || len(next.ears) < len(n.accepts) || len(next.devices) < len(macvlans)
}

// tune says to what is open for which virtual routers and addresses it is.
func (p *port) tune(n needs) error {
	if p.tap != nil {
		return p.tap.SetVRIDs(n.vrids(vrrp.IPv4), n.vrids(vrrp.IPv6))
	}
	p.witness.SetAddresses(n.ips)
	var errs []error
	for f, e := range p.ears {
		errs = append(errs, e.accept(n.accepts[f]))
	}
	return errors.Join(errs...)
}

// accept says for which virtual routers a family's sockets are.
func (e *ear) accept(accepts []linux.Accept) error {
	err := e.conn.Accept(accepts)
	return errors.Join(err, e.lookout.Accept(accepts, e.conn.Coarse() == nil))
}

// relieve has the sockets hear in the place of those of the port before. What these hold already is delivered first, since a reader of
// ours must not begin before theirs have ended: an advert that is told twice, or after a later one, looks like one that somebody
// replays. Between the two nothing is heard for less than a millisecond.
func (p *port) relieve(before *port, n needs) error {
	var errs []error
	for f, e := range p.ears {
		if old := before.ears[f]; old != nil && before.index == p.index {
			_ = old.conn.Hold() // a broken one hears nothing in any case
		}
		errs = append(errs, e.conn.Accept(n.accepts[f]))
	}
	before.drain()
	return errors.Join(errs...)
}

// drain ends the readers once they have delivered what the sockets hold; the sockets stay: the loop still sends through them.
func (p *port) drain() {
	behind := map[hearer]linux.Mark{}
	for _, h := range p.hearers() {
		behind[h] = h.Mark()
	}
	for bound := time.Now().Add(drainBound); len(behind) > 0 && time.Now().Before(bound); time.Sleep(dryPoll) {
		maps.DeleteFunc(behind, caughtUp)
	}
	for _, e := range p.ears {
		e.end()
	}
	p.end()
}

// end ends the readers.
func (b *base) end() {
	b.cancel()
	b.tasks.Wait()
}

func (e *ear) end() {
	if e.cancel != nil { // it has begun to read
		e.cancel()
	}
	e.tasks.Wait()
}

// close ends the readers and closes the sockets.
func (p *port) close() { p.giveWay(nil) }

// giveWay closes what another port, if there is one, has not.
func (p *port) giveWay(next *port) {
	last := next == nil || next.base != p.base
	if last {
		p.closed.Store(true)
	}
	for f, e := range p.ears {
		if last || next.ears[f] != e {
			e.close()
		}
	}
	for key, d := range p.devices {
		if last || next.devices[key] != d {
			d.close()
		}
	}
	if last {
		p.base.close()
	}
}

func (e *ear) close() {
	e.end()
	_ = e.conn.Close()
	if e.lookout != nil {
		_ = e.lookout.Close()
	}
}

func (b *base) close() {
	b.end()
	if b.announcer != nil {
		_ = b.announcer.Close()
	}
	if b.witness != nil {
		_ = b.witness.Close()
	}
	if b.tap != nil {
		_ = b.tap.Close()
	}
}
