package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxRunning is how many hooks run at once on the host. Many instances change together when a link fails, and 255
// scripts at once would starve the daemon at the very moment when it must send and hear adverts.
const MaxRunning = 32

// stopGrace is how long a hook of an older transition may go on once the daemon stops and a `stop` hook waits behind
// it. The rest of the time for all stop hooks, which is 5 s, is theirs.
const stopGrace = time.Second

// Why a hook was cut off or never run; the runner's error and the report say it.
var (
	errMakeWay  = errors.New("the daemon stops, and stop hooks wait behind this one")
	errStopped  = errors.New("the daemon stops")
	errStopOver = errors.New("the time for stop hooks is over")
)

// Report is the end of one run of a hook, or of the decision not to run it.
type Report struct {
	// Hook is the hook's name.
	Hook string
	// Instance is the instance or group of Transition.
	Instance string
	// Also names the other instances that this run served: only hooks that serve the whole host have some.
	Also []string
	// Transition is the one that the hook was told.
	Transition Transition
	// At is when the run began.
	At   time.Time
	Took time.Duration
	// Output is the end of what the hook wrote, at most command.MaxOutput bytes.
	Output string
	// Err is nil if the hook succeeded.
	Err error
	// Skipped is how many older transitions were coalesced into this one: hooks wanted them, but not all had run yet.
	Skipped int
}

// Notifier runs the hooks.
type Notifier struct {
	report func(Report)
	slots  chan struct{} // one for each hook that runs
	wake   chan struct{} // a lane has work

	mu       sync.Mutex // guards what follows; never held while a hook runs or report is called
	hooks    []Hook
	settings []setting     // what hooks is made of: the configuration of now, and those before it
	lanes    map[key]*lane // those with something to do
	running  bool          // Run is there to start lanes
	stopping bool
	held     chan struct{}           // no hook is begun; closed when none runs any more; nil: they are
	abort    context.CancelCauseFunc // ends everything that runs; set while running
	idle     chan struct{}           // closed when stopping and no lane is left
}

// key names a lane: that of one instance or group, or the one of the host.
type key struct {
	host bool
	subject
}

var hostKey = key{host: true}

// lane is a queue and what is being done for it.
type lane struct {
	key    key
	queue  queue
	active bool                    // a goroutine works on it
	batch  []pending               // what the running hook was told; nil: none runs
	cancel context.CancelCauseFunc // ends the running hook
}

// New makes a Notifier with the hooks in the order of a configuration that names nobody; see Replace. report is called at the end of each run, for
// several instances at once, and may take its time: it delays only the queue whose hook it was.
func New(hooks []Hook, report func(Report)) *Notifier {
	hooks = withUsers(hooks)
	return &Notifier{
		report:   report,
		slots:    make(chan struct{}, MaxRunning),
		wake:     make(chan struct{}, 1),
		hooks:    hooks,
		settings: []setting{{hooks: hooks}},
		lanes:    make(map[key]*lane),
		idle:     make(chan struct{}),
	}
}

// Notify queues a transition and returns at once. What comes before Run is run by Run; what comes after Stop or after
// the end of Run is ignored.
func (n *Notifier) Notify(t Transition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopping {
		return
	}
	n.queue(key{subject: t.subject()}, t)
	n.queue(hostKey, t)
	n.poke()
}

// queue gives a transition to a lane. Where nothing waits or runs that it could replace, and no hook wants it, there is
// nothing to do.
func (n *Notifier) queue(k key, t Transition) {
	hooks := n.hooksOf(k)
	l, ok := n.lanes[k]
	if !ok {
		if !anyWants(hooks, t) {
			return
		}
		l = &lane{key: k}
		n.lanes[k] = l
	}
	l.queue.put(t, hooks)
}

func (n *Notifier) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// hooksOf lists the hooks that a lane runs.
func (n *Notifier) hooksOf(k key) []Hook {
	var hooks []Hook
	for _, h := range n.hooks {
		if h.PerHost == k.host {
			hooks = append(hooks, h)
		}
	}
	return hooks
}

// Replace takes the hooks of a new configuration, and the names of its instances and groups. Queues stay as they are and running
// hooks end in their own time. A hook that is gone is not begun any more; a new one waits for the next transition. An instance or
// a group that is gone still stops after this: hooks that are not for it now hear of that as they were when it was configured.
func (n *Notifier) Replace(hooks []Hook, names []Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := setting{hooks: withUsers(hooks), names: map[Name]bool{}}
	for _, name := range names {
		now.names[name] = true
	}
	n.settings = append([]setting{now}, n.settings[:min(len(n.settings), maxFormer)]...)
	n.hooks = withFormer(n.settings)
}

// Run runs the hooks until ctx ends, then ends those that are running and waits for them. It is called once.
func (n *Notifier) Run(ctx context.Context) error {
	work, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	n.mu.Lock()
	n.running, n.abort = !n.stopping, abort
	n.mu.Unlock()

	var lanes sync.WaitGroup
	start := func() {
		for _, l := range n.startable() {
			lanes.Go(func() { n.work(work, l) })
		}
	}
	for ctx.Err() == nil {
		start()
		select {
		case <-n.wake:
		case <-ctx.Done():
		}
	}
	n.finish()
	start() // what came last is not run any more, but reported
	lanes.Wait()
	return nil
}

// startable lists the lanes that wait for a goroutine, and counts them as active.
func (n *Notifier) startable() []*lane {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ready []*lane
	if n.held != nil {
		return nil
	}
	for _, l := range n.lanes {
		if !l.active {
			l.active = true
			ready = append(ready, l)
		}
	}
	return ready
}

// finish takes no more transitions.
func (n *Notifier) finish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running, n.stopping = false, true
	n.checkIdle()
}

func everything(Transition) bool { return true }

// retire forgets a lane with nothing left to do.
func (n *Notifier) retire(l *lane) {
	delete(n.lanes, l.key)
	n.checkIdle()
}

// checkIdle tells Stop that all is done.
func (n *Notifier) checkIdle() {
	if !n.stopping || len(n.lanes) > 0 {
		return
	}
	select {
	case <-n.idle:
	default:
		close(n.idle)
	}
}

func (n *Notifier) reportLost(lost []job, cause error) {
	for _, j := range lost {
		n.report(Report{
			Hook: j.hook.Name, Instance: j.Instance, Transition: j.Transition, At: time.Now(), Skipped: j.skipped,
			Err: fmt.Errorf("not run: %w", cause),
		})
	}
}
