package daemon

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// Bounds of the loop.
const (
	// lateElapsed is how late a timer may be before the sockets are read first: what made it late kept the adverts waiting too.
	lateElapsed = 2 * time.Millisecond
	// readDry bounds how long the loop waits for the readers then, and so does one part of dryShare of the time after which a backup
	// misses the adverts of the instance with the shortest interval: meanwhile no timer is served, on no interface.
	readDry  = 50 * time.Millisecond
	dryShare = 4
	// dryPoll is how often it looks meanwhile whether they are empty: not every packet becomes an event.
	dryPoll = time.Millisecond
	// shortSuspend is a difference between the clocks that is no sleep.
	shortSuspend = 100 * time.Millisecond
	// batch is how many waiting events are taken before the timer is set again and a snapshot is made.
	batch = 64
	// lastHandover is what a handover may take after something broke, and in a cleanup: two waits for a successor, the longest linger,
	// and something for the kernel, the links and the names. What is not handed over by then is left to the cleanup and the leases.
	lastHandover = 15 * time.Second
	// pulse is how often the loop looks at the time then: the timer may be what broke.
	pulse = time.Millisecond
	// snapshotGap is the least time between two snapshots, and snapshotShare the share of the loop's time that they may
	// take: with thousands of instances one costs milliseconds.
	snapshotGap   = 5 * time.Millisecond
	snapshotShare = 20
)

// loop is the only goroutine that touches the node.
type loop struct {
	*Daemon
	node  *node.Node
	ports map[string]*port

	armed       time.Time // what the timer is set to
	snapped     time.Time
	pace        time.Duration     // the least time to the next snapshot
	due         <-chan time.Time  // when a snapshot that had to wait is made
	dirty       bool              // something that readers ask for changed
	retuned     bool              // and what the sockets are for, perhaps
	suspended   time.Duration     // the sum of all sleeps of this machine
	woken       bool              // the machine slept: the sockets are read dry before the next Elapsed
	shortest    time.Duration     // until a backup misses this host's adverts, see soonestMissed
	statuses    map[string]string // instance -> its word in the service manager's status line
	memorized   uint64            // the version of the node's memory that was last given away to be written
	memorizedAt time.Time
	memoryDue   <-chan time.Time  // when the next one is
	sealing     *sealing          // who waits for a calm moment
	sealDue     <-chan time.Time  // when it is looked for again
	unsent      []node.SendFailed // adverts that did not leave, for the node to hear of
	done        bool              // nothing is left to do
	pulses      <-chan time.Time  // in the timer's place, after something broke
	given       <-chan time.Time  // when a handover for that is given up
}

// loop runs until the node has stopped, or work ends. The end of stop begins the handover, and so does what breaks, which is
// returned.
func (d *Daemon) loop(stop, work context.Context) (failure error) {
	l := &loop{Daemon: d, ports: map[string]*port{}, statuses: map[string]string{}}
	l.begin()
	stopping, broken := stop.Done(), d.broken
	for !l.node.Stopped() {
		l.arm()
		select {
		case ev := <-d.events:
			l.wokeUp()
			l.step(ev)
			l.take(batch)
		case c := <-d.ports:
			l.port(c)
		case <-d.timer.C():
			l.elapsed()
		case <-l.pulses:
			l.elapsed()
		case s := <-d.steers:
			l.steer(s)
		case <-d.bars.wake:
			l.wokeUp()
			l.hearBars()
		case <-l.due:
			l.due = nil
		case <-l.memoryDue:
			l.memorize()
		case s := <-d.sealings:
			l.sealing, l.sealDue = &s, time.After(0)
		case <-l.sealDue:
			l.trySeal()
		case alive := <-d.pings:
			close(alive)
		case <-stopping:
			stopping = nil
			l.leave(context.Cause(stop))
		case failure = <-broken:
			broken = nil
			l.pulses, l.given = time.Tick(pulse), time.After(lastHandover)
			d.log.Error("the daemon cannot go on: it hands over and ends", "error", failure)
			l.leave(failure)
		case <-l.given:
			d.log.Error("the handover did not end; what is left is for cleanup and the leases", "after", lastHandover)
			return failure
		case <-work.Done():
			return failure
		}
		if l.done {
			return failure
		}
		l.refresh()
		l.remember()
	}
	l.memorize()
	l.publish(time.Now())
	return failure
}

// leave begins the handover.
func (l *loop) leave(why error) {
	l.wokeUp()
	l.log.Info("stopping", "why", why)
	if l.opts.Shadow {
		l.done = true // it has nothing to hand over
		return
	}
	l.systemd.stopping("handing over")
	l.step(node.Stop{})
}

// begin makes the node, and tells it what was before it.
func (l *loop) begin() {
	cfg := l.nodeConfig(l.cfg.Load())
	l.shortest = soonestMissed(cfg.Instances)
	if l.opts.Inherited != nil {
		l.goOn(cfg)
		return
	}
	l.node = node.New(cfg, time.Now())
	l.slept()
	l.hearBars()
	l.step(l.remembered)
	for _, who := range l.drained {
		l.step(node.Drain{Who: who, On: true})
	}
	for _, r := range l.recalled {
		l.step(r)
	}
	for _, instance := range l.adopt {
		l.step(node.Adopt{Instance: instance, Left: l.left[instance]})
	}
	if l.unclaimed > 0 {
		l.step(node.Stop{})
	} else {
		l.saveInstances(cfg)
		l.systemd.ready(l.summary())
	}
	l.publish(time.Now())
}

// nodeConfig is the node's part of a configuration.
func (d *Daemon) nodeConfig(c *config.Config) node.Config {
	n := node.Config{Name: c.Node, Instances: c.Instances, Groups: c.Groups, Shadow: d.opts.Shadow, Unclaimed: d.unclaimed}
	for _, check := range c.Checks {
		n.Checks = append(n.Checks, check.Name)
	}
	return n
}

// take takes what else is waiting, up to so many.
func (l *loop) take(most int) {
	for range most {
		select {
		case ev := <-l.events:
			l.step(ev)
		default:
			return
		}
	}
}

// step feeds the node and performs what it asks for.
func (l *loop) step(ev node.Event) {
	if r, ok := ev.(node.Reconfigured); ok {
		l.shortest = soonestMissed(r.Config.Instances)
		l.besideBars(func() { l.feed(ev) })
		return
	}
	l.feed(ev)
}

// feed does it, whatever the event is.
func (l *loop) feed(ev node.Event) {
	for _, a := range l.node.Step(time.Now(), ev) {
		l.perform(a)
		l.dirty = l.dirty || tells(a)
	}
	switch ev.(type) {
	case node.Reconfigured, node.Resolved: // whom the node hears may have changed
		l.dirty, l.retuned = true, true
	}
	// Only now: what the node wants because of a failure must not be overtaken by what it wanted before it knew.
	for len(l.unsent) > 0 {
		failed := l.unsent[0]
		l.unsent = l.unsent[1:]
		l.step(failed)
	}
}

// arm sets the timer to the node's deadline.
func (l *loop) arm() {
	at, ok := l.node.Deadline()
	if !ok || at.Equal(l.armed) || l.pulses != nil {
		return
	}
	if err := l.timer.Set(at); err != nil {
		l.log.Error("set the timer", "error", err)
	}
	l.armed = at
}

// elapsed acts on the timer. When that is late, the adverts that came in the meantime are heard first.
func (l *loop) elapsed() {
	l.armed = time.Time{}
	l.wokeUp()
	at, ok := l.node.Deadline()
	if !ok || time.Now().Before(at) {
		return
	}
	if late := time.Since(at); l.woken || late > lateElapsed {
		l.readDry(l.dryBound(late))
		l.woken = false
	}
	l.step(node.Elapsed{})
}

// wokeUp tells the node of a sleep before it hears of anything else.
func (l *loop) wokeUp() {
	if gap := l.slept(); gap > 0 {
		l.woken = true
		l.step(node.Woke{Gap: gap})
	}
}

// slept says how long the machine was suspended since the last call; little is the noise of reading two clocks.
func (l *loop) slept() time.Duration {
	suspended, err := linux.Suspended()
	if err != nil {
		return 0
	}
	gap := suspended - l.suspended
	if gap < shortSuspend {
		return 0
	}
	l.suspended = suspended
	return gap
}

// soonestMissed is after how long a silence the first backup of the instances takes over, whatever its skew; so much that readDry is
// the bound where that is longer.
func soonestMissed(instances []node.Instance) time.Duration {
	soonest := dryShare * readDry
	for _, i := range instances {
		soonest = min(soonest, i.DeadInterval())
	}
	return soonest
}

// dryBound is how long the loop may wait for the readers. Who is so late that a backup has missed its adverts already has nothing to
// lose by a longer wait, and the advert of that backup to find.
func (l *loop) dryBound(late time.Duration) time.Duration {
	if l.woken || late > l.shortest {
		return readDry
	}
	return l.shortest / dryShare
}

// readDry lets the readers deliver what waits in the VRRP sockets by now, and takes it, as far as they come in time. Under a flood
// neither the sockets nor the queue are ever empty for long: what comes later is not waited for.
func (l *loop) readDry(most time.Duration) {
	behind := map[hearer]linux.Mark{}
	for _, p := range l.ports {
		for _, h := range p.hearers() {
			behind[h] = h.Mark()
		}
	}
	if l.waitFor(behind, most) {
		l.take(len(l.events))
	}
}

// waitFor takes what the readers deliver until all sockets are past their marks; it says whether they came so far in time.
func (l *loop) waitFor(behind map[hearer]linux.Mark, most time.Duration) bool {
	bound, poll := time.NewTimer(most), time.NewTicker(dryPoll)
	defer bound.Stop()
	defer poll.Stop()
	for {
		maps.DeleteFunc(behind, caughtUp)
		if len(behind) == 0 {
			return true
		}
		l.take(batch)
		select {
		case ev := <-l.events:
			l.step(ev)
		case <-poll.C:
		case <-bound.C:
			return false
		}
	}
}

// caughtUp says whether a socket's reader has delivered all that had arrived by a mark. A broken one delivers nothing more.
func caughtUp(h hearer, m linux.Mark) bool {
	passed, err := h.Passed(m)
	return passed || err != nil
}

// tells says whether an action is one that readers of snapshots wait for. Adverts and renewals only move counters: who asks
// for those gets a snapshot made for them.
func tells(a node.Action) bool {
	switch a := a.(type) {
	case node.Send, node.Announce:
		return false
	case node.SetAddresses:
		return a.Until.IsZero()
	default:
		return true
	}
}

// steer takes what somebody asks for, and makes a snapshot for them.
func (l *loop) steer(s steering) {
	l.wokeUp()
	now := time.Now()
	var before *node.Status
	if s.event != nil {
		before = l.node.Status(now) // the newest snapshot may not have what happened a moment ago
		l.step(s.event)
	}
	if s.event != nil || now.Sub(l.snapped) >= l.pace {
		l.publish(time.Now())
	}
	s.taken <- before
}

// refresh publishes a snapshot when something happened, or sees to it that one is made soon.
func (l *loop) refresh() {
	if !l.dirty || l.due != nil {
		return
	}
	if wait := l.pace - time.Since(l.snapped); wait > 0 {
		l.due = time.After(wait)
		return
	}
	l.publish(time.Now())
}

// publish makes the snapshot that readers load.
func (l *loop) publish(now time.Time) {
	status := l.node.Status(now)
	if len(status.Instances) < len(l.snapshot.Load().Instances) {
		l.retuned = true // what a reload removed has handed over: nothing is heard for it any more
	}
	l.snapshot.Store(status)
	l.snapped, l.dirty = time.Now(), false
	l.pace = max(snapshotGap, snapshotShare*l.snapped.Sub(now))
	close(*l.published.Swap(new(make(chan struct{}))))
	if l.retuned {
		l.retuned = false
		l.know(status)
		select {
		case l.retunes <- struct{}{}:
		default: // the sockets have not followed the change before yet
		}
	}
}

// know takes the instances of now for all that there are: a reload renames and removes some.
func (l *loop) know(now *node.Status) {
	clear(l.statuses)
	for _, i := range now.Instances {
		l.statuses[i.Name] = string(i.State)
	}
	maps.DeleteFunc(l.announcer.epoch, func(name string, _ *atomic.Uint64) bool { return l.statuses[name] == "" })
}

// summary is the line that `systemctl status` shows. It is made anew at each change, so it goes through the first instances
// only.
func (l *loop) summary() string {
	const most = 8
	instances := l.cfg.Load().Instances
	var words []string
	for _, i := range instances[:min(len(instances), most)] {
		state := l.statuses[i.Name]
		if state == "" {
			state = string(node.Init)
		}
		words = append(words, fmt.Sprintf("%s: %s", i.Name, state))
	}
	if len(instances) > most {
		words = append(words, fmt.Sprintf("and %d more", len(instances)-most))
	}
	if l.opts.Shadow {
		return "a shadow, would be: " + strings.Join(words, ", ")
	}
	return strings.Join(words, ", ")
}
