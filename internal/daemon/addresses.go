package daemon

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// addressKernel is what the setter needs of the kernel.
type addressKernel interface {
	Set(wants ...linux.Want) []linux.AddressError
	Missing(ifName string, ips []netip.Addr) ([]netip.Addr, error)
	Foreign(wants ...linux.Want) ([]linux.AddressError, error)
	Notice() error
}

var _ addressKernel = (*linux.Addresses)(nil)

// addressSetter is the one goroutine that sets addresses. It holds at most the newest wish of each instance: what an
// instance wants is a state, not a list of steps.
type addressSetter struct {
	kernel addressKernel
	post   func(context.Context, node.Event)
	log    hclog.Logger
	notice string              // what the kernel's side complained of last
	again  *time.Timer         // when releases that failed are tried again
	lookAt func(ifName string) // sees whether somebody else has addresses there
	stands func(p place) bool  // whether somebody else was seen to have one
	stuck  map[string]bool     // instances of which the node knows that a release left something

	mu     sync.Mutex // guards what follows; never held during a system call
	order  []string   // instances with a wish, oldest first
	wishes map[string]node.SetAddresses
	newest map[string]node.SetAddresses // of each instance that wants addresses, done or not
	wanted map[place]int                // how many of newest want an address
	bases  map[string]string            // the interface under each macvlan
	failed map[string]node.SetAddresses // releases that the kernel refused
	barred map[place]bool               // what could not be set since somebody else has it, by the instance's interface
	after  []func()                     // what is done when no wish is left
	lost   []node.AddressLost           // deletions to look into
	asked  []question                   // who waits for a look at an interface
	looks  map[string]bool              // interfaces where somebody else may have set an address, or has let go of one
	busy   bool
	wake   chan struct{}
	idle   chan struct{} // gets a value when there is nothing left to do
}

// place is an address on an interface.
type place struct {
	ifName string
	ip     netip.Addr
}

const (
	// maxLost bounds the deletions that wait to be looked into; the next renewal or repair finds the rest.
	maxLost = 4096
	// maxBarred bounds the addresses of others whose deletion is news; the rest is tried again in its time.
	maxBarred = 4096
	// maxBatch bounds the addresses that are set in one go: so many at once cost the least, and the first instance of
	// thousands does not wait for the last.
	maxBatch = 256
	// releaseRetry is when a release that failed is tried again: an address must not stay behind.
	releaseRetry = time.Second
)

// newAddressSetter makes one; run starts it.
func newAddressSetter(kernel addressKernel, post func(context.Context, node.Event), log hclog.Logger) *addressSetter {
	again := time.NewTimer(releaseRetry)
	again.Stop()
	return &addressSetter{
		kernel: kernel, post: post, log: log, again: again, stuck: map[string]bool{}, lookAt: func(string) {}, stands: func(place) bool { return false },
		wishes: map[string]node.SetAddresses{}, newest: map[string]node.SetAddresses{}, wanted: map[place]int{}, bases: map[string]string{},
		failed: map[string]node.SetAddresses{}, barred: map[place]bool{}, looks: map[string]bool{}, wake: make(chan struct{}, 1), idle: make(chan struct{}, 1),
	}
}

// set takes an instance's wish; it never waits. A renewal does not make a wish that waits stale.
func (s *addressSetter) set(w node.SetAddresses) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failed, w.Instance)
	s.count(w)
	if old, waits := s.wishes[w.Instance]; !waits {
		s.order = append(s.order, w.Instance)
	} else if old.Until.IsZero() && len(old.Addresses) > 0 {
		w.Until = time.Time{}
	}
	s.wishes[w.Instance] = w
	s.poke()
}

// count keeps wanted; mu is held.
func (s *addressSetter) count(w node.SetAddresses) {
	old := s.newest[w.Instance]
	if old.Interface == w.Interface && old.VirtualMAC == w.VirtualMAC && slices.Equal(old.Addresses, w.Addresses) {
		return
	}
	for _, a := range w.Addresses {
		on := deviceOf(w.Interface, w.VirtualMAC, a.IP)
		s.wanted[place{on, a.IP}]++
		if on != w.Interface {
			s.bases[on] = w.Interface
		}
	}
	for _, a := range old.Addresses {
		p := place{deviceOf(old.Interface, old.VirtualMAC, a.IP), a.IP}
		if s.wanted[p]--; s.wanted[p] == 0 {
			delete(s.wanted, p)
		}
	}
	s.newest[w.Instance] = w
	if len(w.Addresses) == 0 {
		delete(s.newest, w.Instance)
	}
}

// then has something done once every wish up to now is.
func (s *addressSetter) then(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = append(s.after, do)
	s.poke()
}

// deleted takes note that the kernel says that an address is gone. Of one that no instance wants it was our own doing, unless somebody
// else had it: then it stands in the way no more, which is told once for each time that it did.
func (s *addressSetter) deleted(ev node.AddressLost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if base := s.base(ev.Interface); s.stands(place{base, ev.IP}) {
		s.looks[base] = true
		s.poke()
	}
	isNews := s.wanted[place{ev.Interface, ev.IP}] > 0 || s.barred[place{s.base(ev.Interface), ev.IP}]
	if !isNews || len(s.lost) >= maxLost {
		return
	}
	s.lost = append(s.lost, ev)
	s.poke()
}

// question is somebody who waits for a look at an interface.
type question struct {
	ifName string
	done   chan<- struct{}
}

// inspect has an interface looked at before anything else, and closes done then.
func (s *addressSetter) inspect(ifName string, done chan<- struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, question{ifName, done})
	s.poke()
}

// cameOn is the watcher's callback: something may have set an address.
func (s *addressSetter) cameOn(ifName string, _ netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks[s.base(ifName)] = true
	s.poke()
}

// bar takes note of which of a wish's addresses somebody else has.
func (s *addressSetter) bar(w node.SetAddresses, failed []linux.AddressError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range w.Addresses {
		delete(s.barred, place{w.Interface, a.IP})
	}
	for _, f := range failed {
		if errors.Is(f.Err, linux.ErrForeign) && len(s.barred) < maxBarred {
			s.barred[place{w.Interface, f.IP}] = true
		}
	}
}

func (s *addressSetter) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sets addresses until ctx ends and nothing is left to set.
func (s *addressSetter) run(ctx context.Context) error {
	defer s.again.Stop()
	for {
		if job := s.next(); job != nil {
			job(ctx)
			continue
		}
		select {
		case <-s.wake:
		case <-s.again.C:
			s.retry()
		case <-ctx.Done():
			return nil
		}
	}
}

// next takes the oldest wishes, else what waits for all wishes, else the deletions; nil when there is nothing to do.
func (s *addressSetter) next() func(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = true
	switch {
	case len(s.asked) > 0:
		q := s.asked[0]
		s.asked = s.asked[1:]
		return func(context.Context) { s.lookAt(q.ifName); close(q.done) }
	case len(s.order) > 0:
		batch := s.batch()
		return func(ctx context.Context) { s.perform(ctx, batch) }
	case len(s.after) > 0:
		do := s.after[0]
		s.after = s.after[1:]
		return func(context.Context) { do() }
	case len(s.looks) > 0:
		looks := slices.Sorted(maps.Keys(s.looks))
		clear(s.looks)
		return func(context.Context) {
			for _, name := range looks {
				s.lookAt(name)
			}
		}
	case len(s.lost) > 0:
		lost := s.lost
		s.lost = nil
		return func(ctx context.Context) { s.look(ctx, lost) }
	}
	s.busy = false
	select {
	case s.idle <- struct{}{}:
	default:
	}
	return nil
}

// batch takes the oldest wishes, up to maxBatch addresses but one wish at least; mu is held.
func (s *addressSetter) batch() []node.SetAddresses {
	var batch []node.SetAddresses
	for size := 0; len(s.order) > 0; {
		w := s.wishes[s.order[0]]
		if size += 1 + len(w.Addresses); size > maxBatch && len(batch) > 0 {
			break
		}
		batch = append(batch, w)
		delete(s.wishes, w.Instance)
		s.order = s.order[1:]
	}
	return batch
}

// perform makes wishes true, but for renewals that have gone stale.
func (s *addressSetter) perform(ctx context.Context, batch []node.SetAddresses) {
	now := time.Now()
	batch = slices.DeleteFunc(batch, func(w node.SetAddresses) bool { return !w.Until.IsZero() && now.After(w.Until) })
	if len(batch) == 0 {
		return
	}
	wants := make([]linux.Want, len(batch))
	for i, w := range batch {
		wants[i] = wantOf(w)
	}
	failed := map[string][]linux.AddressError{}
	for _, f := range s.kernel.Set(wants...) {
		failed[f.Owner] = append(failed[f.Owner], f)
	}
	s.tellNotice()
	for _, w := range batch {
		s.performed(ctx, w, failed[w.Instance])
	}
}

// performed says what became of a wish.
func (s *addressSetter) performed(ctx context.Context, w node.SetAddresses, failed []linux.AddressError) {
	if len(w.Addresses) == 0 {
		s.released(ctx, w, failed)
		return
	}
	delete(s.stuck, w.Instance)
	s.bar(w, failed)
	for _, f := range failed {
		s.post(ctx, node.AddressFailed{Instance: w.Instance, IP: f.IP, Err: f.Err})
	}
	if len(failed) == 0 {
		s.post(ctx, node.AddressesSet{Instance: w.Instance, Request: w.Request})
	}
}

// tellNotice logs what is wrong with the list of held addresses, once for each thing.
func (s *addressSetter) tellNotice() {
	text := ""
	if err := s.kernel.Notice(); err != nil {
		text = err.Error()
	}
	if text != s.notice && text != "" {
		s.log.Warn("list of held addresses", "error", text)
	}
	s.notice = text
}

// released says what a release left, and that it has left nothing after all.
func (s *addressSetter) released(ctx context.Context, w node.SetAddresses, failed []linux.AddressError) {
	if len(failed) == 0 {
		if s.stuck[w.Instance] {
			delete(s.stuck, w.Instance)
			s.post(ctx, node.Stays{Instance: w.Instance})
		}
		return
	}
	s.stays(w, failed)
	s.stuck[w.Instance] = true
	ev := node.Stays{Instance: w.Instance, Err: failed[0]}
	for _, f := range failed {
		ev.IPs = append(ev.IPs, f.IP)
	}
	s.post(ctx, ev)
}

// stays plans another try of a release that failed, unless the instance wants something else by then.
func (s *addressSetter) stays(w node.SetAddresses, failed []linux.AddressError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range failed {
		s.log.Error("an address that another host may have stays on this one; tried again", "instance", w.Instance, "error", f)
	}
	if _, newer := s.wishes[w.Instance]; !newer {
		s.failed[w.Instance] = w
		s.again.Reset(releaseRetry)
	}
}

// retry wishes again for the releases that failed.
func (s *addressSetter) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, instance := range slices.Sorted(maps.Keys(s.failed)) {
		s.order = append(s.order, instance)
		s.wishes[instance] = s.failed[instance]
	}
	clear(s.failed)
}

// look asks which addresses are really gone: what we removed and set again ourselves is no loss. A lease that ran out is one also
// where a renewal that came too late has set the address again. Each interface is asked about once, since a network manager
// that flushes it takes all of them.
func (s *addressSetter) look(ctx context.Context, lost []node.AddressLost) {
	ips, gone := map[string][]netip.Addr{}, map[place]bool{}
	for _, ev := range lost {
		ips[ev.Interface] = append(ips[ev.Interface], ev.IP)
		if ev.Expired {
			gone[place{ev.Interface, ev.IP}] = true
		}
	}
	for ifName, list := range ips {
		missing, err := s.kernel.Missing(ifName, list)
		if err != nil {
			missing = list
		}
		for _, ip := range missing {
			gone[place{ifName, ip}] = true
		}
	}
	for _, ev := range lost {
		if p := (place{ev.Interface, ev.IP}); gone[p] {
			delete(gone, p) // once for each address
			s.post(ctx, s.tell(ev))
		}
	}
}

// tell makes a loss what the node knows: it is of the interface whose instances have addresses there. A bar is told of once.
func (s *addressSetter) tell(ev node.AddressLost) node.AddressLost {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev.Interface = s.base(ev.Interface)
	delete(s.barred, place{ev.Interface, ev.IP})
	return ev
}

// base is the interface whose instances have addresses on an interface: itself, or the one under it; mu is held.
func (s *addressSetter) base(ifName string) string { return cmp.Or(s.bases[ifName], ifName) }

// drain waits until nothing is left to set, or ctx ends.
func (s *addressSetter) drain(ctx context.Context) {
	for {
		s.mu.Lock()
		left := s.busy || len(s.order)+len(s.after)+len(s.failed) > 0
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

// rests says whether there is nothing to do.
func (s *addressSetter) rests() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.busy && len(s.order)+len(s.after)+len(s.failed)+len(s.lost) == 0
}

// lostOn makes the watcher's callback.
func (s *addressSetter) lostOn(ifName string, ip netip.Addr, expired bool) {
	s.deleted(node.AddressLost{Interface: ifName, IP: ip, Expired: expired})
}
