package daemon

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// addressSetter is the one goroutine that sets addresses. It holds at most the newest wish of each instance: what an
// instance wants is a state, not a list of steps.
type addressSetter struct {
	kernel *linux.Addresses
	post   func(context.Context, node.Event)

	mu     sync.Mutex // guards what follows; never held during a system call
	order  []string   // instances with a wish, oldest first
	wishes map[string]node.SetAddresses
	lost   []node.AddressLost // deletions to look into
	busy   bool
	wake   chan struct{}
	idle   chan struct{} // gets a value when there is nothing left to do
}

// maxLost bounds the deletions that wait to be looked into; the next renewal or repair finds the rest.
const maxLost = 4096

// newAddressSetter makes one; run starts it.
func newAddressSetter(kernel *linux.Addresses, post func(context.Context, node.Event)) *addressSetter {
	return &addressSetter{
		kernel: kernel, post: post, wishes: map[string]node.SetAddresses{},
		wake: make(chan struct{}, 1), idle: make(chan struct{}, 1),
	}
}

// set takes an instance's wish; it never waits. A renewal does not make a wish that waits stale.
func (s *addressSetter) set(w node.SetAddresses) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, waits := s.wishes[w.Instance]; !waits {
		s.order = append(s.order, w.Instance)
	} else if old.Until.IsZero() && len(old.Addresses) > 0 {
		w.Until = time.Time{}
	}
	s.wishes[w.Instance] = w
	s.poke()
}

// deleted takes note that the kernel says that an address is gone.
func (s *addressSetter) deleted(ev node.AddressLost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lost) < maxLost {
		s.lost = append(s.lost, ev)
	}
	s.poke()
}

func (s *addressSetter) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sets addresses until ctx ends.
func (s *addressSetter) run(ctx context.Context) error {
	for {
		w, lost, ok := s.next()
		switch {
		case !ok:
			select {
			case <-s.wake:
			case <-ctx.Done():
				return nil
			}
		case w != nil:
			s.perform(ctx, *w)
		default:
			s.look(ctx, lost)
		}
	}
}

// next takes the oldest wish, else the oldest deletion.
func (s *addressSetter) next() (w *node.SetAddresses, lost node.AddressLost, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = true
	switch {
	case len(s.order) > 0:
		wish := s.wishes[s.order[0]]
		delete(s.wishes, s.order[0])
		s.order = s.order[1:]
		return &wish, lost, true
	case len(s.lost) > 0:
		lost = s.lost[0]
		s.lost = s.lost[1:]
		return nil, lost, true
	}
	s.busy = false
	select {
	case s.idle <- struct{}{}:
	default:
	}
	return nil, lost, false
}

// perform makes a wish true.
func (s *addressSetter) perform(ctx context.Context, w node.SetAddresses) {
	if !w.Until.IsZero() && time.Now().After(w.Until) {
		return
	}
	want := linux.Want{Owner: w.Instance, Interface: w.Interface, Lifetime: w.Lifetime}
	for _, a := range w.Addresses {
		want.Addresses = append(want.Addresses, linux.Address{IP: a.IP, Network: a.Network})
	}
	failed := s.kernel.Set(want)
	for _, f := range failed {
		s.post(ctx, node.AddressFailed{Instance: w.Instance, IP: f.IP, Err: f.Err})
	}
	if len(failed) == 0 && len(w.Addresses) > 0 {
		s.post(ctx, node.AddressesSet{Instance: w.Instance})
	}
}

// look asks whether an address is really gone: what we removed and set again ourselves is no loss.
func (s *addressSetter) look(ctx context.Context, ev node.AddressLost) {
	if there, err := s.kernel.Present(ev.Interface, ev.IP); err == nil && there {
		return
	}
	s.post(ctx, ev)
}

// drain waits until nothing is left to set, or ctx ends.
func (s *addressSetter) drain(ctx context.Context) {
	for {
		s.mu.Lock()
		left := s.busy || len(s.order) > 0
		s.mu.Unlock()
		if !left {
			return
		}
		select {
		case <-s.idle:
		case <-ctx.Done():
			return
		}
	}
}

// lostOn makes the watcher's callback.
func (s *addressSetter) lostOn(ifName string, ip netip.Addr, expired bool) {
	s.deleted(node.AddressLost{Interface: ifName, IP: ip, Expired: expired})
}
