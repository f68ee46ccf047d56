package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// Bounds of looking up the peers' names.
const (
	lookupTimeout = 5 * time.Second
	// A name without an address, or whose host is not heard, is looked up again after 5, 10, 20 .. 300 s. Hosts that are not
	// master are silent: that is no reason to ask more often.
	minLookupGap, maxLookupGap = 5 * time.Second, 5 * time.Minute
	// maxNameAddresses is how many addresses of a name are used.
	maxNameAddresses = 16
)

// names knows the addresses of the peers that are configured by name. The kernel and the name service may be slow: one
// goroutine waits for them, and the loop hears of what was found.
type names struct {
	*Daemon
	lookup  func(ctx context.Context, name string) ([]netip.Addr, error)
	known   atomic.Pointer[map[string][]netip.Addr] // the newest addresses of each name
	renamed chan struct{}                           // there is a new configuration

	of map[string]*name // belongs to run
}

// name is one of them.
type name struct {
	ips    []netip.Addr
	err    error
	asked  bool
	looked time.Time // when the last look at it was
	at     time.Time // when the next one is due
	gap    time.Duration
}

func newNames(d *Daemon) *names {
	n := &names{Daemon: d, renamed: make(chan struct{}, 1), of: map[string]*name{}}
	n.lookup = func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	n.known.Store(&map[string][]netip.Addr{})
	return n
}

// changed has the names of a new configuration looked up.
func (n *names) changed() {
	select {
	case n.renamed <- struct{}{}:
	default:
	}
}

// found returns the addresses of a name; none while they are not known.
func (d *Daemon) found(name string) []netip.Addr { return (*d.names.known.Load())[name] }

// run looks names up until ctx ends.
func (n *names) run(ctx context.Context) error {
	for {
		timer := time.NewTimer(n.round(ctx))
		select {
		case <-n.renamed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// round looks up the names that are due, all at once, and returns how long to wait for the next.
func (n *names) round(ctx context.Context) time.Duration {
	n.follow(n.cfg.Load())
	due := n.due(ctx, time.Now())
	results := make([]node.Resolved, len(due))
	var tasks sync.WaitGroup
	for k, text := range due {
		tasks.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			ips, err := n.lookup(ctx, text)
			results[k] = node.Resolved{Name: text, Addresses: plain(ips), Err: err}
		})
	}
	tasks.Wait()
	for _, r := range results {
		if ctx.Err() == nil {
			n.take(ctx, time.Now(), r)
		}
	}
	wait := maxLookupGap
	for _, m := range n.of {
		wait = min(wait, time.Until(m.at))
	}
	return wait
}

// follow brings the list to a configuration.
func (n *names) follow(cfg *config.Config) {
	wanted := map[string]*name{}
	for _, i := range cfg.Instances {
		for _, p := range i.Peers {
			if p.Name == "" {
				continue
			}
			if wanted[p.Name] = n.of[p.Name]; wanted[p.Name] == nil {
				wanted[p.Name] = &name{}
			}
		}
	}
	n.of = wanted
}

// due lists the names to look up. One whose host is heard needs no look.
func (n *names) due(ctx context.Context, now time.Time) []string {
	var due []string
	var heard map[string]time.Time
	for text, m := range n.of {
		if now.Before(m.at) {
			continue
		}
		if m.asked && m.err == nil && heard == nil {
			heard = n.heard(ctx)
		}
		if m.err == nil && heard[text].After(m.looked) {
			m.gap = minLookupGap
			m.looked, m.at = now, now.Add(m.gap)
			continue
		}
		due = append(due, text)
	}
	slices.Sort(due)
	return due
}

// heard says when an advert of each name's host was accepted last.
func (n *names) heard(ctx context.Context) map[string]time.Time {
	_, _ = n.steer(ctx, nil) // for a new snapshot; an old one only means a look-up more
	last := map[string]time.Time{}
	for _, i := range n.snapshot.Load().Instances {
		for _, r := range i.Routers {
			for _, p := range r.Peers {
				if p.Heard.After(last[p.Name]) {
					last[p.Name] = p.Heard
				}
			}
		}
	}
	return last
}

// take tells the log, the sockets and the node of what is new in a result.
func (n *names) take(ctx context.Context, now time.Time, r node.Resolved) {
	m := n.of[r.Name]
	first, failed := !m.asked, m.err
	m.asked, m.err, m.looked = true, r.Err, now
	m.gap = min(max(2*m.gap, minLookupGap), maxLookupGap)
	m.at = now.Add(m.gap)
	switch {
	case r.Err != nil && failed != nil && failed.Error() == r.Err.Error():
		return
	case r.Err != nil:
		n.log.Warn("a peer's name cannot be resolved", "peer", r.Name, "addresses", m.ips, "error", r.Err)
	case slices.Equal(m.ips, r.Addresses):
		if failed == nil && !first {
			return
		}
		n.log.Info("a peer's name is resolved again", "peer", r.Name, "addresses", m.ips)
	default:
		n.log.Info("a peer's name is resolved", "peer", r.Name, "addresses", r.Addresses, "before", m.ips)
		m.ips = r.Addresses
		n.open(ctx)
	}
	n.post(ctx, r)
}

// open lets the new addresses through the sockets before the node sends to them.
func (n *names) open(ctx context.Context) {
	known := map[string][]netip.Addr{}
	for text, m := range n.of {
		known[text] = m.ips
	}
	n.known.Store(&known)
	select {
	case n.changes <- struct{}{}:
	case <-n.ended:
	case <-ctx.Done():
	}
}

// plain sorts addresses, each once and in its own family's form, and cuts a list that is no host's.
func plain(ips []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(ips))
	for k, ip := range ips {
		out[k] = ip.Unmap().WithZone("")
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	return out[:min(len(out), maxNameAddresses)]
}
