package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// Interface is the first interface of every host, and the only one of most.
const Interface = "eth0"

// checkTime is how long a check's run takes.
const checkTime = 5 * time.Millisecond

// Host is one machine: a process with a node, and the kernel under it.
type Host struct {
	// Name is the host's, and its node's.
	Name string
	// Lag is how much later the process performs what the node asked for.
	Lag time.Duration
	// Firewall is why its adverts do not leave the host; empty when they do. Walled is the interface that it is on; empty: all.
	Firewall, Walled string

	c       *Cluster
	cfg     node.Config
	node    *node.Node // nil: no process
	kernel  *kernel
	latest  map[*Host]time.Time // when the last packet of another host arrives
	links   []node.Link         // Interface first
	devices []node.Instance     // those with a virtual MAC that the process has or had
	saves   int                 // how often its memory was written
	remade  int                 // how often the devices of virtual MACs were made anew
	checks  map[string]*Verdict

	clock    ownClock
	frozen   bool // the whole host stands still
	deaf     bool // and what is sent to it is lost
	froze    time.Time
	stalled  []func()      // what waits for it to go on
	begun    node.Config   // what the process began with
	heeds    node.Config   // what it goes by: a reload may wait for it
	cleaning bool          // the process is a cleanup, or the last one was
	ended    time.Time     // when the last process did, by the host's clock
	lived    time.Time     // until when it ran, or could: on a host that stands still it comes to its end later
	lagged   time.Duration // how late what it asked for last is done
	remains  remains
	left     bool   // the last process was a cleanup that came to its end
	sealed   []byte // the process is being exchanged: nobody is there, and this is what it was
	sealedAt time.Time
	paused   bool
	resumed  time.Time    // when it last went on
	waiting  []node.Event // what came while the process was paused
	wake     time.Time    // the deadline that an Elapsed is planned for
	wakeSeq  int
	elapsed  int // Elapsed in a row that left the deadline in the past
	states   map[string]node.State
	sent     map[string]string     // the last advert of each virtual router, for the trace
	sighted  map[netip.Addr]string // whose MAC address the process was told

	names *names
	led   map[string]node.SealedName // where the names led, in the runtime directory

	memory       []node.RouterMemory // what the process wrote into its runtime directory
	memorized    time.Time           // when that was
	memorizedVer uint64
}

// Verdict is what a check of a host would say.
type Verdict struct {
	Healthy bool
	Reason  string
}

// newHost makes the host with a number, from which its addresses come.
func newHost(c *Cluster, number int, cfg node.Config) *Host {
	h := &Host{Name: cfg.Name, c: c, cfg: cfg, checks: map[string]*Verdict{}, states: map[string]node.State{}, sent: map[string]string{}, sighted: map[netip.Addr]string{}, latest: map[*Host]time.Time{}}
	h.links = []node.Link{newLink(Interface, 0, number)}
	for _, i := range cfg.Instances {
		if !slices.ContainsFunc(h.links, func(l node.Link) bool { return l.Name == i.Interface }) {
			h.links = append(h.links, newLink(i.Interface, len(h.links), number))
		}
	}
	h.kernel = newKernel(h)
	for _, i := range cfg.Instances {
		for name := range i.Checks {
			h.checks[name] = &Verdict{Healthy: true}
		}
	}
	h.cfg.Checks = slices.Sorted(maps.Keys(h.checks))
	return h
}

// newLink makes a host's interface in one of the networks.
func newLink(name string, network, number int) node.Link {
	return node.Link{
		Name: name, Up: true, MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", network, number),
		Source4: netip.AddrFrom4([4]byte{10, byte(network), 0, byte(number)}),
		Source6: netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 13: byte(network), 15: byte(number)}),
	}
}

// Running says whether the host has a process, paused or not.
func (h *Host) Running() bool { return h.node != nil }

// Paused says whether the process is stopped by SIGSTOP.
func (h *Host) Paused() bool { return h.paused }

// Linked says whether the first link is up.
func (h *Host) Linked() bool { return h.Link().Up }

// State returns where the process says that an instance stands; empty without a process.
func (h *Host) State(instance string) node.State {
	switch s := h.states[instance]; {
	case h.node == nil:
		return ""
	case s == "":
		return node.Init
	default:
		return s
	}
}

// Link returns what the host's process sees of the first interface.
func (h *Host) Link() node.Link { return h.LinkOn(Interface) }

// LinkOn returns what the host's process sees of an interface; the zero Link, which is down, if the host has none of that name.
func (h *Host) LinkOn(name string) node.Link { return *h.link(name) }

// link is LinkOn without a copy: each packet is asked for several.
func (h *Host) link(name string) *node.Link {
	for k := range h.links {
		if h.links[k].Name == name {
			return &h.links[k]
		}
	}
	return &node.Link{}
}

// Links returns what the host's process sees of all interfaces.
func (h *Host) Links() []node.Link { return slices.Clone(h.links) }

// Has says whether the kernel has an address.
func (h *Host) Has(ip netip.Addr) bool { return h.kernel.has(ip) }

// Config returns the node's configuration.
func (h *Host) Config() node.Config { return h.cfg }

// Status returns the node's, or nil without a process.
func (h *Host) Status() *node.Status {
	if h.node == nil {
		return nil
	}
	return h.node.Status(h.now())
}

// addresses lists those of the host's instances.
func (h *Host) addresses() []netip.Addr {
	var ips []netip.Addr
	for _, i := range h.cfg.Instances {
		for _, a := range append(append([]node.Address(nil), i.Addresses...), i.Unadvertised...) {
			ips = append(ips, a.IP)
		}
	}
	return ips
}

// Start begins a new process: it removes what a dead one left, looks at the link and hears its checks' first verdicts.
func (h *Host) Start() {
	if h.node != nil {
		return
	}
	adopted := h.adopts()
	h.begin(h.cfg)
	h.feed(node.Remembered{Routers: h.memory})
	for _, name := range adopted {
		h.feed(node.Adopt{Instance: name})
	}
	h.look()
	for _, name := range slices.Sorted(maps.Keys(h.checks)) {
		if v := h.checks[name]; v != nil {
			h.feed(node.CheckChanged{Check: name, Healthy: v.Healthy, Reason: v.Reason})
		}
	}
	h.names.run()
}

// begin makes a node for a new process.
func (h *Host) begin(cfg node.Config) {
	h.node, h.begun, h.heeds = node.New(cfg, h.now()), cfg, cfg
	h.elapsed, h.cleaning, h.left, h.memorizedVer = 0, false, false, 0
	clear(h.sent)
	clear(h.states)
	clear(h.sighted)
	h.devices = nil
	h.addDevices(cfg)
	h.names = newNames(h, nil, cfg)
}

// Kill ends the process without a word: its addresses stay until their lease runs out.
func (h *Host) Kill() {
	h.end()
	h.kernel.forget()
}

// end is a process that is no more; what it asked the kernel for is still done. On a host that stands still it comes to its end, as the kernel to
// that, when the host goes on.
func (h *Host) end() {
	h.node, h.sealed, h.paused, h.waiting, h.wake, h.lagged, h.names = nil, nil, false, nil, time.Time{}, h.Lag, nil
	h.lived = h.now()
	if h.frozen {
		h.lived = h.clock.of(h.froze)
	}
	h.when(func() { h.ended = h.now() })
	h.wakeSeq++
	clear(h.kernel.untold)
}

// Crash ends the whole host: its addresses are gone with it, and its runtime directory.
func (h *Host) Crash() {
	h.Kill()
	h.memory, h.led = nil, nil
	h.kernel.clear()
}

// Pause stops the process (SIGSTOP); its kernel goes on.
func (h *Host) Pause() { h.paused = h.node != nil && !h.Away() }

// Resume lets a paused process go on: first it reads what came meanwhile.
func (h *Host) Resume() {
	if !h.paused {
		return
	}
	h.paused, h.resumed = false, h.c.now
	events, stalled := h.waiting, h.stalled
	h.waiting, h.stalled = nil, nil
	for _, ev := range events {
		h.feed(ev) // of a host that stands still it comes before what came since then
	}
	h.stalled = append(h.stalled, stalled...)
	h.replan()
}

// replan plans the Elapsed anew, after time went by without the process.
func (h *Host) replan() {
	h.wake = time.Time{}
	h.plan()
	h.names.run()
}

// SetLink changes what is known of the link of that name, and whether it passes anything.
func (h *Host) SetLink(l node.Link) {
	at := slices.IndexFunc(h.links, func(old node.Link) bool { return old.Name == l.Name })
	h.links[at] = l
	h.feed(node.LinkChanged{Link: h.seen(l)})
}

// SetCheck changes a check's verdict; nil is a check that has not spoken when the process starts.
func (h *Host) SetCheck(name string, v *Verdict) {
	h.checks[name] = v
	if v != nil {
		h.feed(node.CheckChanged{Check: name, Healthy: v.Healthy, Reason: v.Reason})
	}
}

// Spoil changes what a check would say, and nobody has looked yet.
func (h *Host) Spoil(name string, v *Verdict) { h.checks[name] = v }

// recheck ends the run of checks that were asked when it began.
func (h *Host) recheck(names []string, began time.Time) {
	for _, name := range names {
		if v := h.checks[name]; v != nil {
			h.feed(node.CheckChanged{Check: name, Healthy: v.Healthy, Reason: v.Reason})
			h.feed(node.Rechecked{Check: name, Began: began})
		}
	}
}

// Reconfigure gives the process another configuration; a process that starts later has it too.
func (h *Host) Reconfigure(cfg node.Config) {
	cfg.Checks = slices.Sorted(maps.Keys(h.checks)) // they are run whoever heeds them
	h.cfg = cfg
	h.addDevices(cfg)
	if h.names != nil {
		h.names.follow(cfg)
		h.names.plan()
	}
	h.feed(node.Reconfigured{Config: cfg})
	if len(h.devices) > 0 {
		h.look()
	}
}

// Feed gives an event to the host's process, as if it had happened there.
func (h *Host) Feed(ev node.Event) { h.feed(ev) }

// feed steps the node, and performs what it asks for.
func (h *Host) feed(ev node.Event) {
	switch {
	case h.node == nil:
		return
	case h.Away():
		h.miss(ev)
		return
	case h.frozen:
		h.stalled = append(h.stalled, func() { h.feed(ev) })
		return
	case h.paused:
		h.wait(ev)
		return
	}
	switch ev := ev.(type) {
	case node.AddressLost:
		delete(h.kernel.untold, ev.IP)
	case node.Reconfigured:
		h.heeds = ev.Config
	}
	actions := h.node.Step(h.now(), ev)
	if h.spins(ev) {
		h.c.Fault("%s: the deadline spins: %d Elapsed in a row that were due at once again", h.Name, maxElapsed)
		h.Kill()
		return
	}
	if h.c.Observe != nil {
		h.c.Observe(h, ev, actions)
	}
	for _, a := range actions {
		h.perform(a)
	}
	h.memorize()
	if h.node.Stopped() {
		h.c.Note("%s exits", h.Name)
		h.leave()
		h.end()
		return
	}
	h.plan()
}

// memorize writes what is to outlive the process: at most once a second, and at its end.
func (h *Host) memorize() {
	v := h.node.MemoryVersion()
	if v != h.memorizedVer && (h.node.Stopped() || h.c.now.Sub(h.memorized) >= time.Second) {
		h.memory, h.memorized, h.memorizedVer = h.node.Memory(h.now()), h.c.now, v
		h.saves++
	}
}

// wait keeps what comes for a process that is stopped; its sockets hold only so many packets.
func (h *Host) wait(ev node.Event) {
	switch ev.(type) {
	case node.Heard, node.Refused, node.Seen, node.Announced:
		if len(h.waiting) >= maxStalled {
			return
		}
	}
	h.waiting = append(h.waiting, ev)
}

// spins counts the Elapsed in a row after which the deadline had come already, and says whether they are too many.
func (h *Host) spins(ev node.Event) bool {
	if _, ok := ev.(node.Elapsed); !ok {
		return false
	}
	if deadline, ok := h.node.Deadline(); !ok || deadline.After(h.now()) {
		h.elapsed = 0
		return false
	}
	h.elapsed++
	return h.elapsed >= maxElapsed
}

// plan sees to it that the node gets its Elapsed.
func (h *Host) plan() {
	if h.node == nil || h.paused || h.frozen || h.Away() {
		return
	}
	deadline, ok := h.node.Deadline()
	if !ok {
		h.wake = time.Time{}
		h.wakeSeq++
		return
	}
	if deadline.Equal(h.wake) {
		return
	}
	h.wake = deadline
	h.wakeSeq++
	seq := h.wakeSeq
	h.c.after(h.clock.real(max(deadline.Sub(h.now()), 0))+h.c.between(0, h.c.cfg.Jitter), func() {
		if h.wakeSeq == seq && !h.frozen && !h.paused && !h.Away() { // a late one comes after what the sockets hold
			h.wake = time.Time{}
			h.feed(node.Elapsed{})
		}
	})
}

// perform does what the daemon would do.
func (h *Host) perform(action node.Action) {
	h.record(action)
	switch a := action.(type) {
	case node.Send:
		if h.Firewall != "" && (h.Walled == "" || h.Walled == a.Interface) {
			failed := node.SendFailed{Instance: a.Instance, Family: a.Family, To: a.Destination, Err: errors.New(h.Firewall)}
			h.after(0, func() { h.feed(failed) })
			return
		}
		h.later(a.Until, action)
	case node.SetAddresses:
		if !h.cfg.Shadow {
			h.kernel.set(a)
		} else if len(a.Addresses) > 0 {
			set := node.AddressesSet{Instance: a.Instance, Request: a.Request}
			h.after(0, func() { h.feed(set) })
		}
	case node.Announce:
		h.later(a.Until, action)
	case node.Probe:
		h.later(time.Time{}, action)
	case node.Changed:
		h.states[a.Instance] = a.To
		if a.To != node.Master && a.To != node.Leaving {
			clear(h.sent)
		}
	case node.Recheck:
		names, began := a.Checks, h.now()
		h.after(checkTime, func() { h.recheck(names, began) })
	case node.LookUp:
		h.names.want(a.Names)
	case node.Notify, node.Warned, node.Noted, node.Compared:
	default:
		panic(fmt.Sprintf("sim: unhandled %T", a))
	}
}

// later sends something after the host's lag, unless it is stale by then.
func (h *Host) later(until time.Time, a node.Action) {
	if h.Lag == 0 {
		h.send(a)
		return
	}
	h.after(h.Lag, func() {
		if !until.IsZero() && h.now().After(until) {
			h.c.Note("%s: dropped as stale", h.Name)
			return
		}
		h.send(a)
	})
}

// send gives something to the link.
func (h *Host) send(a node.Action) {
	switch a := a.(type) {
	case node.Send:
		h.c.carryAdvert(h, a)
	case node.Announce:
		h.c.carryAnnouncements(h, a)
	case node.Probe:
		h.c.carryProbe(h, a.Interface, a.IPs)
	}
}
