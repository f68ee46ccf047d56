package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// maxElapsed is how many Elapsed in a row may leave a node's deadline in the past; so many are a deadline that spins.
const maxElapsed = 20

// lookoutStream is the stream of the seed that says what lookouts see.
const lookoutStream = 1 << 32

// epoch is when every cluster starts.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Config is what a cluster is made of.
type Config struct {
	Seed uint64
	// Hosts are the nodes' configurations; the names are the hosts'.
	Hosts   []node.Config
	Network Network
	// Kernel is how long the kernel needs to set or remove addresses.
	Kernel time.Duration
	// KernelMore is what a busy kernel needs beyond that at most.
	KernelMore time.Duration
	// LeaseEarly and LeaseLate are by how much the kernel may miss the end of a lease: it counts in whole seconds.
	LeaseEarly, LeaseLate time.Duration
	// Jitter is how late an Elapsed comes at most.
	Jitter time.Duration
	// Lookout is how late a host may see which MAC address an advert came from; it does not see some at all. 0: it sees all at once.
	Lookout time.Duration
	// Trace keeps a text of what happened.
	Trace bool
}

// Cluster is a set of hosts on one link. Nothing happens before Start, and only while Run goes on.
type Cluster struct {
	// Observe, if set, sees every event that a node was fed and what it asked for.
	Observe func(h *Host, ev node.Event, actions []node.Action)
	// Exchanged, if set, sees the node of another process that goes on for a host; see Reexec.
	Exchanged func(h *Host, next *node.Node, actions []node.Action)
	// Resolve is every host's name service, which its process asks for peers' names; nil: what is found somebody else feeds.
	Resolve func(h *Host, name string) Answer
	// Network may be changed while the cluster runs.
	Network Network
	// Adverts keeps every advert in the trace, not only those that differ from the one before.
	Adverts bool
	// Owners is who had which address when.
	Owners *Ownership

	cfg      Config
	now      time.Time
	random   *rand.Rand
	lookouts *rand.Rand // what they see is drawn apart: with or without it the rest is the same
	hosts    []*Host
	cuts     []Cut
	ports    map[string]*Host // behind which port of the switch a virtual MAC is
	queue    queue
	seq      uint64 // keeps events of one instant in order
	trace    []string
	faults   []string
}

// New returns a cluster whose hosts have their links up and no process yet.
func New(cfg Config) *Cluster {
	c := &Cluster{
		cfg:      cfg,
		now:      epoch,
		random:   rand.New(rand.NewPCG(cfg.Seed, 0)),
		lookouts: rand.New(rand.NewPCG(cfg.Seed, lookoutStream)),
		Network:  cfg.Network,
		ports:    map[string]*Host{},
	}
	c.Owners = newOwnership(epoch)
	for k, n := range cfg.Hosts {
		c.hosts = append(c.hosts, newHost(c, k+1, n))
	}
	return c
}

// Now is the cluster's clock.
func (c *Cluster) Now() time.Time { return c.now }

// Since is the time since the cluster's start.
func (c *Cluster) Since() time.Duration { return c.now.Sub(epoch) }

// Hosts returns all hosts, in the order of the configuration.
func (c *Cluster) Hosts() []*Host { return c.hosts }

// Host returns a host by its name, or nil.
func (c *Cluster) Host(name string) *Host {
	for _, h := range c.hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Run lets time pass.
func (c *Cluster) Run(d time.Duration) {
	end := c.Since() + d
	for len(c.queue) > 0 && c.queue[0].at <= end {
		e := c.queue.pop()
		c.now = epoch.Add(e.at)
		e.do()
	}
	c.now = epoch.Add(end)
}

// after plans what happens in a while.
func (c *Cluster) after(d time.Duration, do func()) {
	c.seq++
	c.queue.push(entry{c.Since() + max(d, 0), c.seq, do})
}

// between draws a duration.
func (c *Cluster) between(from, to time.Duration) time.Duration {
	if to <= from {
		return from
	}
	return from + time.Duration(c.random.Int64N(int64(to-from)))
}

// chance draws whether something of that probability happens.
func (c *Cluster) chance(p float64) bool { return p > 0 && c.random.Float64() < p }

// Trace returns what happened so far, a line each.
func (c *Cluster) Trace() []string { return c.trace }

// Note adds a line to the trace.
func (c *Cluster) Note(format string, args ...any) {
	if c.cfg.Trace {
		c.trace = append(c.trace, fmt.Sprintf("%-12s %s", c.Since(), fmt.Sprintf(format, args...)))
	}
}

// Faults are what no node may ever do; an empty list is right.
func (c *Cluster) Faults() []string { return c.faults }

// Fault takes note of what no node may do.
func (c *Cluster) Fault(format string, args ...any) {
	text := fmt.Sprintf("%s: %s", c.Since(), fmt.Sprintf(format, args...))
	c.faults = append(c.faults, text)
	c.Note("WRONG: %s", text)
}

// addresses lists the addresses of all instances, each once.
func (c *Cluster) addresses() []netip.Addr {
	var ips []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, h := range c.hosts {
		for _, ip := range h.addresses() {
			if !seen[ip] {
				seen[ip] = true
				ips = append(ips, ip)
			}
		}
	}
	return ips
}

// entry is something that happens at an instant.
type entry struct {
	at  time.Duration // since the cluster's start
	seq uint64
	do  func()
}

// before says whether an entry comes before another one.
func (e *entry) before(other *entry) bool {
	if e.at != other.at {
		return e.at < other.at
	}
	return e.seq < other.seq
}

// queue is a heap of entries, the earliest first. container/heap's would have each on the heap of the program as well.
type queue []entry

// push adds an entry.
func (q *queue) push(e entry) {
	*q = append(*q, e)
	s := *q
	k := len(s) - 1
	for k > 0 && e.before(&s[(k-1)/2]) {
		s[k] = s[(k-1)/2]
		k = (k - 1) / 2
	}
	s[k] = e
}

// pop removes the first one.
func (q *queue) pop() entry {
	s := *q
	end := len(s) - 1
	first, last := s[0], s[end]
	s[end] = entry{} // what it does is garbage once it is done
	s = s[:end]
	*q = s
	k := 0
	for k < end/2 { // it has a child
		child := 2*k + 1
		if child+1 < end && s[child+1].before(&s[child]) {
			child++
		}
		if last.before(&s[child]) {
			break
		}
		s[k] = s[child]
		k = child
	}
	if end > 0 {
		s[k] = last
	}
	return first
}
