package daemon

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// announceQueue is how many rounds may wait; the node plans the next ones in any case.
const announceQueue = 4096

// broadcaster is what announcements needs of an interface.
type broadcaster interface {
	Announce(ips []netip.Addr) []linux.AddressError
	Probe(ip, source6 netip.Addr) error
	Close() error
}

var _ broadcaster = (*linux.Announcer)(nil)

// errNoDevice is why an announcement cannot leave.
var errNoDevice = errors.New("the device of the virtual MAC address is not there")

// announcements sends ARP and neighbour advertisements in a goroutine of its own: 255 instances announce at once.
type announcements struct {
	log   hclog.Logger
	queue chan announcement
	epoch map[string]*atomic.Uint64 // by instance; the loop's own
}

// announcement is one round for some addresses.
type announcement struct {
	port    *port
	ips     []netip.Addr
	vrid    uint8 // whose MAC is announced; 0: the interface's own
	probe   bool
	source6 netip.Addr // of a probe
	until   time.Time
	epoch   *atomic.Uint64 // what is queued is dropped when it moves on
	made    uint64
}

func newAnnouncements(log hclog.Logger) *announcements {
	return &announcements{log: log.Named("announce"), queue: make(chan announcement, announceQueue), epoch: map[string]*atomic.Uint64{}}
}

// of returns an instance's epoch.
func (a *announcements) of(instance string) *atomic.Uint64 {
	e := a.epoch[instance]
	if e == nil {
		e = new(atomic.Uint64)
		a.epoch[instance] = e
	}
	return e
}

// announce queues a round; it never waits.
func (a *announcements) announce(p *port, r node.Announce) {
	e := a.of(r.Instance)
	a.put(announcement{port: p, ips: r.IPs, vrid: r.VirtualMAC, until: r.Until, epoch: e, made: e.Load()})
}

// probe queues the question whether another host answers.
func (a *announcements) probe(p *port, r node.Probe) {
	a.put(announcement{port: p, ips: r.IPs, probe: true, source6: r.Source6, until: time.Now().Add(time.Second)})
}

func (a *announcements) put(r announcement) {
	if r.port == nil {
		return
	}
	select {
	case a.queue <- r:
	default:
		a.log.Warn("too many announcements wait; one round is left out")
	}
}

// drop forgets what is queued of an instance that is no longer master.
func (a *announcements) drop(instance string) { a.of(instance).Add(1) }

// run sends until ctx ends.
func (a *announcements) run(ctx context.Context) error {
	for {
		select {
		case r := <-a.queue:
			a.send(r)
		case <-ctx.Done():
			return nil
		}
	}
}

// send sends one round, as long as it is wanted.
func (a *announcements) send(r announcement) {
	for _, ip := range r.ips {
		if r.port.shut(r.vrid, ip) || time.Now().After(r.until) || r.epoch != nil && r.epoch.Load() != r.made {
			return
		}
		if err := r.send(ip); err != nil {
			a.log.Warn("announcement did not leave", "address", ip, "error", err)
		}
	}
}

// send sends what is due for one address.
func (r announcement) send(ip netip.Addr) error {
	if r.probe {
		return r.port.announcer.Probe(ip, r.source6)
	}
	voice := r.port.voice(r.vrid, ip)
	if voice == nil {
		return errNoDevice
	}
	for _, failed := range voice.Announce([]netip.Addr{ip}) {
		return failed
	}
	return nil
}
