package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// Bounds of the daemon.
const (
	// eventQueue is how many events may wait for the loop. Whoever has one more waits; what the network sends then waits
	// in the sockets' buffers.
	eventQueue = 1024
	// releaseBound is how long the kernel has to take the addresses away; it needs milliseconds.
	releaseBound = 5 * time.Second
	// stopHooks is how long all `stop` hooks have together, after that.
	stopHooks = 5 * time.Second
	// tasksBound is how long all that the daemon does has to end after that. The longest waits for a disk for saveBound.
	tasksBound = saveBound + time.Second
)

// Options are what the daemon needs beside its configuration.
type Options struct {
	Paths      []string // where the configuration was read from, and is read again
	Config     config.Options
	RuntimeDir string // held.json, the control socket
	StateDir   string // the drains, and what authentication remembers
	Version    string
	// Shadow makes it a silent observer: it decides and says what it would do, sends nothing and touches no address. It keeps
	// its drains and memory in the runtime directory, in files of its own: they are not those of a daemon of this host.
	Shadow bool
	// Serve makes the control socket; nil: none.
	Serve func(d *Daemon, steerGroup string) (Server, error)
	// All has Cleanup remove what only the kernel's tag shows to be an understudy's too, whichever daemon it was.
	All bool
	// Door is the way to the helper that runs commands as other users; nil: the daemon runs all of them itself.
	Door Door
	Log  hclog.Logger
	// Program is the file that this program was started from, for Reexec; Flush writes what the log holds back before it.
	Program string
	Flush   func()
	// Inherited is what the program before this one left in the same process; nil: there was none.
	Inherited *Inherited
}

// Door runs hooks and checks for a daemon that may not.
type Door interface {
	notify.Door
	checks.Door
	// Remember tells the helper that the daemon goes by the configuration which is on the disk.
	Remember(ctx context.Context) error
}

// Server is the control socket.
type Server interface {
	Run(context.Context) error
	SetSteerGroup(string)
	// Files are what another program in this process needs to go on.
	Files() []syscall.Conn
	Close() error
}

// Daemon runs one node. Make it with New, run it once with Run.
type Daemon struct {
	opts     Options
	log      hclog.Logger
	started  time.Time
	stop     context.Context // Run's: its end is the wish to stop
	cfg      atomic.Pointer[config.Config]
	virtuals atomic.Pointer[virtuals]

	events   chan node.Event
	ports    chan portChange
	changes  chan chan<- struct{} // there is a new configuration, for the sockets: they close what comes when they follow it
	retunes  chan struct{}        // whom the node hears may have changed, for them too; one at most
	steers   chan steering
	pings    chan chan<- struct{} // asks the loop whether it is alive
	reloads  chan reloadRequest
	reexecs  chan chan<- error
	sealings chan sealing
	wentOn   chan struct{} // closed when the loop has taken over from the program before
	broken   chan error    // why the daemon cannot go on
	ended    chan struct{} // closed when the loop takes no more events

	timer      *linux.Timer
	kernel     *linux.Addresses // used by the setter's goroutine while it runs; nil: a shadow
	addresses  *addressSetter
	announcer  *announcements
	notifier   *notify.Notifier
	monitors   *monitors
	watcher    *linux.Watcher
	control    Server // nil: none
	systemd    *systemd
	names      *names
	drains     Drains
	saver      *drainSaver
	bars       *bars
	groups     *groupKeeper
	memory     memories
	drained    []string // what was saved, at the start
	remembered node.Remembered
	adopt      []string                // instances whose addresses a dead daemon left here
	left       map[string][]netip.Addr // cleanup: those of each instance
	recalled   []node.Resolved         // cleanup: where the peers' names led
	unclaimed  time.Duration           // cleanup: how long addresses stay that nobody took
	until      time.Time               // cleanup: when it is over, whatever hangs

	snapshot  atomic.Pointer[node.Status]
	published atomic.Pointer[chan struct{}] // closed when the next snapshot is there
	loaded    atomic.Pointer[node.ConfigReport]
	unwatched atomic.Pointer[string]            // which of the configuration's files are not watched, and why
	reexeced  atomic.Pointer[node.ReexecReport] // nil: it was not asked for
	hookRuns  hookRuns
	looked    []string // what the last reload read or looked for, for runReload
}

// New opens what the daemon needs of the kernel and removes what a dead one left behind. It starts nothing.
func New(cfg *config.Config, o Options) (*Daemon, error) {
	d := newDaemon(cfg, o)
	// What can fail without touching anything comes first, and the runtime directory is ours before the kernel is touched.
	for _, open := range append(d.harmless(), d.openControl, d.lockInstances, d.openAddresses, d.adoptOrSweep, d.openDrains, d.openMemory) {
		if err := open(cfg); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

// harmless are the steps of New that change nothing that anybody else could see: a program on trial takes them too.
func (d *Daemon) harmless() []func(*config.Config) error {
	return []func(*config.Config) error{d.prepare, d.inherit, d.rights, d.openKernel}
}

// newDaemon makes what needs nothing of the kernel.
func newDaemon(cfg *config.Config, o Options) *Daemon {
	d := &Daemon{
		opts: o, log: o.Log, started: time.Now(), stop: context.Background(),
		events:   make(chan node.Event, eventQueue),
		ports:    make(chan portChange),
		changes:  make(chan chan<- struct{}),
		retunes:  make(chan struct{}, 1),
		steers:   make(chan steering),
		pings:    make(chan chan<- struct{}),
		reloads:  make(chan reloadRequest),
		reexecs:  make(chan chan<- error),
		sealings: make(chan sealing),
		wentOn:   make(chan struct{}),
		broken:   make(chan error, 1),
		ended:    make(chan struct{}),
		systemd:  newSystemd(o.Log),
		drains:   Drains{StateDir: o.StateDir, RuntimeDir: o.RuntimeDir, Shadow: o.Shadow},
		hookRuns: hookRuns{last: map[hookKey]notify.Report{}},
	}
	d.cfg.Store(cfg)
	d.published.Store(new(make(chan struct{})))
	d.loaded.Store(&node.ConfigReport{Paths: o.Paths, Loaded: d.started})
	d.unwatched.Store(new(""))
	d.announcer = newAnnouncements(d.log)
	d.saver = &drainSaver{drains: d.drains, log: d.log}
	d.memory = newMemories(o.RuntimeDir, o.StateDir, d.log)
	if o.Shadow {
		d.memory = memories{newMemoryKeeper(filepath.Join(o.RuntimeDir, shadowMemoryFile), d.log)}
	}
	d.monitors = newMonitors(d.checked)
	d.names = newNames(d)
	d.bars = newBars()
	d.groups = newGroupKeeper(d.log, d.othersRouters)
	d.snapshot.Store(node.New(d.nodeConfig(cfg), d.started).Status(d.started)) // readers may come before the loop runs
	return d
}

// rights says what the daemon may not do before it begins anything.
func (d *Daemon) rights(*config.Config) error {
	if d.opts.Shadow {
		return linux.CheckListenCaps()
	}
	return linux.CheckCaps()
}

// openKernel opens timer and links.
func (d *Daemon) openKernel(*config.Config) (err error) {
	if err := linux.DropAmbient(); err != nil {
		return err
	}
	if d.timer, err = linux.NewTimer(); err != nil {
		return err
	}
	d.watcher, err = linux.OpenWatcher(d.watched(), d.virtual)
	return err
}

// openAddresses opens the kernel's side of the addresses; a shadow has none.
func (d *Daemon) openAddresses(*config.Config) (err error) {
	if d.opts.Shadow {
		d.addresses = newAddressSetter(newShadowKernel(d.log), d.post, d.log)
		return nil
	}
	if d.kernel, err = linux.OpenAddresses(d.opts.RuntimeDir); err != nil {
		return err
	}
	d.addresses = newAddressSetter(d.kernel, d.post, d.log)
	d.addresses.lookAt, d.addresses.stands = d.lookAt, d.bars.stands
	return nil
}

// openControl opens the control socket; it also keeps two daemons from sharing a runtime directory.
func (d *Daemon) openControl(cfg *config.Config) (err error) {
	if d.opts.Serve != nil {
		d.control, err = d.opts.Serve(d, cfg.Control.SteerGroup)
	}
	return err
}

// openDrains reads what was drained before.
func (d *Daemon) openDrains(*config.Config) error {
	if d.opts.Inherited != nil {
		return nil // the node knows, also what could not be saved
	}
	var err error
	if d.drained, err = d.drains.Load(); err != nil {
		d.log.Error("saved drains", "error", err)
	}
	return nil
}

// prepare makes the checks and hooks of the first configuration.
func (d *Daemon) prepare(cfg *config.Config) error {
	p, err := planFor(&config.Config{}, cfg, d.checked, d.opts.Door)
	if err != nil {
		return err
	}
	d.notifier = notify.New(nil, d.hookEnded)
	d.notifier.Replace(d.hooksOf(p), namesOf(cfg))
	d.monitors.prepare(p)
	return nil
}

// virtual says whether an address is one of ours, which is never a source and whose loss is to be repaired.
func (d *Daemon) virtual(ip netip.Addr) bool {
	cfg := d.cfg.Load()
	v := d.virtuals.Load()
	if v == nil || v.of != cfg {
		v = virtualsOf(cfg)
		d.virtuals.Store(v)
	}
	return v.ips[ip]
}

// virtuals is the set of a configuration's addresses.
type virtuals struct {
	of  *config.Config
	ips map[netip.Addr]bool
}

func virtualsOf(cfg *config.Config) *virtuals {
	v := &virtuals{cfg, map[netip.Addr]bool{}}
	for _, i := range cfg.Instances {
		for _, list := range [][]node.Address{i.Addresses, i.Unadvertised} {
			for _, a := range list {
				v.ips[a.IP] = true
			}
		}
	}
	return v
}

// Run runs the daemon until ctx ends and every instance has handed over, the addresses are released and the `stop` hooks
// have run. It returns nil then, and an error if something that it cannot do without broke: it hands over for that, too.
func (d *Daemon) Run(ctx context.Context) error {
	d.stop = ctx
	work, end := context.WithCancel(context.Background())
	defer end()
	var tasks sync.WaitGroup
	task := func(what string, run func(context.Context) error) {
		tasks.Go(func() {
			if err := run(work); err != nil && work.Err() == nil {
				d.broke(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	task("timer", d.timer.Run)
	task("addresses", d.addresses.run)
	task("announcements", d.announcer.run)
	task("hooks", d.notifier.Run)
	for _, k := range d.memory {
		task("memory", k.run)
	}
	task("links", d.runPorts)
	task("names", d.names.run)
	if !d.opts.Shadow {
		task("groups", d.groups.run)
	}
	task("checks", d.monitors.runAll)
	task("reload", d.runReload)
	if d.control != nil {
		task("control", d.control.Run)
	}
	tasks.Go(func() { d.tellHelper(work, d.cfg.Load()) })
	task("systemd", d.runWatchdog)
	if d.opts.Inherited != nil {
		task("inheritance", d.runInheritance)
	}
	err := d.loop(ctx, work)
	close(d.ended)
	d.finish(work)
	end()
	if !inTime(tasksBound, tasks.Wait) {
		// What it uses stays open until the process ends, which it does now. An address that is left is for cleanup and the leases.
		d.log.Error("something that the daemon does has not come back, such as a look at a file on a server that is gone; it ends all the same", "after", tasksBound)
		return err
	}
	d.saver.wait()
	d.close()
	return err
}

// broke tells the loop that something ended that the daemon cannot do without. The first such thing is enough.
func (d *Daemon) broke(err error) {
	select {
	case d.broken <- err:
	default:
	}
}

// finish waits for what the loop's last actions asked for: the release, then the `stop` hooks.
func (d *Daemon) finish(work context.Context) {
	release, cancel := context.WithTimeout(work, releaseBound)
	defer cancel()
	d.addresses.drain(release)
	hooks, cancel := context.WithTimeout(work, stopHooks)
	defer cancel()
	d.notifier.Stop(hooks)
}

// close gives back what New opened.
func (d *Daemon) close() {
	var errs []error
	if d.timer != nil {
		errs = append(errs, d.timer.Close())
	}
	if d.kernel != nil {
		errs = append(errs, d.kernel.Close())
	}
	if d.watcher != nil {
		errs = append(errs, d.watcher.Close())
	}
	if d.control != nil {
		errs = append(errs, d.control.Close())
	}
	d.bars.close()
	if err := errors.Join(errs...); err != nil {
		d.log.Debug("close", "error", err)
	}
}

// post gives the loop an event; it waits when the queue is full, and gives up when the loop has ended.
func (d *Daemon) post(ctx context.Context, ev node.Event) {
	select {
	case d.events <- ev:
	case <-d.ended:
	case <-ctx.Done():
	}
}

// errStopping says that the loop takes nothing any more.
var errStopping = errors.New("the daemon stops")
