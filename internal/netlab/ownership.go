package netlab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// watchBuffer is the receive buffer of a subscription in bytes: thousands of address events, so that none is lost when the
// machine stalls.
const watchBuffer = 4 << 20

// Ownership records on every host which addresses it has, from the kernel's own events and by one clock.
type Ownership struct {
	stop    chan struct{}
	stopped sync.Once
	readers sync.WaitGroup

	mu      sync.Mutex // guards what follows
	history History
	holds   map[holding]map[int]bool // the interfaces by index
	errs    []error
}

// holding is an address of a host, which has it while any of its interfaces does.
type holding struct {
	host string
	addr netip.Addr
}

// Watch begins to record the addresses of all hosts that the lab has by now. The caller closes it, before the lab.
func (l *Lab) Watch() (*Ownership, error) {
	o := &Ownership{stop: make(chan struct{}), holds: make(map[holding]map[int]bool)}
	for _, h := range l.hosts {
		if err := o.watch(h); err != nil {
			return nil, errors.Join(fmt.Errorf("watch the addresses of %s: %w", h.name, err), o.Close())
		}
	}
	return o, nil
}

func (o *Ownership) watch(h *Host) error {
	updates := make(chan netlink.AddrUpdate, 64)
	err := netlink.AddrSubscribeWithOptions(updates, o.stop, netlink.AddrSubscribeOptions{
		Namespace:              &h.ns.handle,
		ListExisting:           true,
		ReceiveBufferSize:      watchBuffer,
		ReceiveBufferForceSize: true,
		ErrorCallback:          func(err error) { o.fail(h.name, err) },
	})
	if err != nil {
		return err
	}
	o.readers.Go(func() {
		for u := range updates {
			o.record(time.Now(), h.name, u)
		}
	})
	return nil
}

func (o *Ownership) record(now time.Time, host string, u netlink.AddrUpdate) {
	addr, ok := netip.AddrFromSlice(u.LinkAddress.IP)
	if !ok || u.Flags&unix.IFA_F_TENTATIVE != 0 && u.NewAddr {
		return
	}
	addr = addr.Unmap()
	o.mu.Lock()
	defer o.mu.Unlock()
	links := o.holds[holding{host, addr}]
	if links == nil {
		links = make(map[int]bool)
		o.holds[holding{host, addr}] = links
	}
	before := len(links) > 0
	if u.NewAddr {
		links[u.LinkIndex] = true
	} else {
		delete(links, u.LinkIndex)
	}
	// A renewed lease is an event of the kernel, but no change.
	if after := len(links) > 0; after != before {
		o.history = append(o.history, Change{At: now, Host: host, Addr: addr, Held: after})
	}
}

func (o *Ownership) fail(host string, err error) {
	select {
	case <-o.stop: // the reader's socket was closed by Close
		return
	default:
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs = append(o.errs, fmt.Errorf("addresses of %s: %w", host, err))
}

// History is what was recorded so far. Events of the last milliseconds may be missing.
func (o *Ownership) History() History {
	o.mu.Lock()
	defer o.mu.Unlock()
	history := slices.Clone(o.history)
	slices.SortStableFunc(history, func(a, b Change) int { return a.At.Compare(b.At) })
	return history
}

// Owners lists the hosts that have an address now.
func (o *Ownership) Owners(addr netip.Addr) []string { return o.History().Owners(addr, time.Now()) }

// AwaitOwner waits until the named host, and no other, has an address. An empty name waits until no host has it.
func (o *Ownership) AwaitOwner(ctx context.Context, addr netip.Addr, host string, bound time.Duration) error {
	var want []string
	if host != "" {
		want = []string{host}
	}
	return Eventually(ctx, bound, func() (bool, string) {
		owners := o.Owners(addr)
		return slices.Equal(owners, want), fmt.Sprintf("%v is on %v, not on %v", addr, owners, want)
	})
}

// Close ends the recording. Its error says that events were lost, so that the history must not be trusted.
func (o *Ownership) Close() error {
	o.stopped.Do(func() { close(o.stop) })
	o.readers.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.errs...)
}
