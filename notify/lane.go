package notify

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/understudy-ha/understudy/internal/command"
)

// work runs the hooks of one lane until its queue is empty or ctx ends.
func (n *Notifier) work(ctx context.Context, l *lane) {
	for {
		// The slot comes first, so that what is taken from the queue is the latest at the instant when it can be run.
		if !n.acquire(ctx) {
			n.abandon(l, context.Cause(ctx))
			return
		}
		run, ok := n.begin(ctx, l)
		if !ok {
			n.release()
			return
		}
		report := run.perform()
		n.end(l)
		n.release()
		n.report(report)
	}
}

func (n *Notifier) acquire(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case n.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (n *Notifier) release() { <-n.slots }

// run is one run of a hook.
type run struct {
	ctx   context.Context
	hook  Hook
	batch []pending // the last one is what the hook is told
}

// begin takes the next hook from the lane's queue; false when it is empty, or held.
func (n *Notifier) begin(ctx context.Context, l *lane) (run, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held != nil {
		l.active = false
		n.checkQuiet()
		return run{}, false
	}
	hook, batch, ok := l.queue.next(n.hooksOf(l.key))
	if !ok {
		n.retire(l)
		return run{}, false
	}
	ctx, l.cancel = context.WithCancelCause(ctx)
	l.batch = batch
	return run{ctx: ctx, hook: hook, batch: batch}, true
}

func (n *Notifier) end(l *lane) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.cancel(nil)
	l.cancel, l.batch = nil, nil
}

// abandon reports what a lane may not run any more, and only then retires it: when Stop returns, all is reported.
func (n *Notifier) abandon(l *lane, cause error) {
	for lost := n.empty(l); len(lost) > 0; lost = n.empty(l) {
		n.reportLost(lost, cause)
	}
}

// empty drops all that a lane has left, and retires the lane if no hook wanted any of it.
func (n *Notifier) empty(l *lane) []job {
	n.mu.Lock()
	defer n.mu.Unlock()
	lost := l.queue.drop(n.hooksOf(l.key), everything)
	if len(lost) == 0 {
		n.retire(l)
	}
	return lost
}

// perform runs the hook and says how it went.
func (r run) perform() Report {
	latest := r.batch[len(r.batch)-1]
	report := Report{Hook: r.hook.Name, Instance: latest.Instance, Transition: latest.Transition, At: time.Now()}
	for _, p := range r.batch {
		report.Skipped += p.skipped
		if p.subject() != latest.subject() {
			report.Also = append(report.Also, p.Instance)
		}
	}
	outcome, err := r.hook.asFor(latest.Transition).run(r.ctx, latest.Transition)
	report.Took, report.Output, report.Err = time.Since(report.At), outcome.Output, err
	return report
}

// run calls the Runner within the hook's timeout. A panic in it is the failure of one hook: the addresses of the host
// must not fall with it.
func (h Hook) run(ctx context.Context, t Transition) (outcome command.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.Settings.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			outcome = command.Outcome{Output: string(stack[:min(len(stack), command.MaxOutput)])}
			err = fmt.Errorf("panic in the hook's code: %v", p)
		}
	}()
	return h.Runner.Run(ctx, t)
}
