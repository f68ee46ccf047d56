package checks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

// maxReason bounds a Result's Reason in bytes: it goes into a log line, the rest is in the Output.
const maxReason = 512

// loop is the state of one Run of a Monitor; only Run's goroutine touches it, but for the channels, the tasks, and ahead, which is the
// running attempt's.
type loop struct {
	*Monitor
	tasks    sync.WaitGroup
	verdict  verdict
	timer    *time.Timer  // the next run is due, or the running one is overdue
	outcomes chan outcome // the end of the running one; room for one, since it may end when nobody listens
	warnings chan warning

	ahead   *attempt // a second look that began while the first still waited; its outcome is the next run's
	running bool
	stuck   bool // the running one was already reported as failing
	hedges  bool // the check may look again while it still waits
	hasty   bool // between two verdicts it looks more often; see Haste
	placed  bool // for which it took a place
	spread  bool // the second run was put where chance wants it, so that many do not go on in step
	again   bool // something changed while it ran, so it may have seen the old state
	started time.Time
	warning warning
}

func (l *loop) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.timer.C:
			l.due(ctx)
		case o := <-l.outcomes:
			if ctx.Err() != nil {
				return // it failed because we end
			}
			l.ended(o)
		case <-l.changed:
			if l.running {
				l.again = true
			} else {
				l.runSoon()
			}
		case l.warning = <-l.warnings:
		}
	}
}

// due starts a run, or reports that the running one does not come back.
func (l *loop) due(ctx context.Context) {
	if !l.running {
		l.running, l.stuck, l.again, l.started = true, false, false, time.Now()
		hedge := l.hedges && l.verdict.known && l.verdict.healthy
		l.tasks.Go(func() { l.outcomes <- l.perform(ctx, hedge) })
		l.timer.Reset(l.timing.Timeout + stuckGrace)
		return
	}
	select {
	case o := <-l.outcomes: // it came back in the same instant
		l.ended(o)
		return
	default:
	}
	// Each interval in which it still hangs counts as one more failed run, else a check that hangs for good would be
	// one single failure and never a verdict.
	l.stuck = true
	took := time.Since(l.started)
	l.add(outcome{began: l.started, took: took, err: fmt.Errorf("%w and has not returned for %s",
		timedOut(l.timing.Timeout), took.Round(time.Millisecond))})
	l.timer.Reset(jittered(l.period()))
}

// ended takes the outcome of a run and plans the next one.
func (l *loop) ended(o outcome) {
	l.running = false
	if l.stuck {
		// Its failure was counted. The timer stands at the next run's time, unless a change asks for it now.
		if l.again {
			l.runSoon()
		}
		return
	}
	l.add(o)
	if l.again {
		l.runSoon()
		return
	}
	if l.shared && !l.spread {
		// All begin at once, since their first words are waited for.
		l.spread = true
		l.timer.Reset(soon(l.period()))
		return
	}
	// From start to start, so that a check which uses up its timeout costs no extra time.
	l.timer.Reset(max(0, jittered(l.period())-time.Since(l.started)))
}

func (l *loop) runSoon() {
	l.timer.Reset(max(0, changeGap-time.Since(l.started)))
}

func (l *loop) period() time.Duration {
	if l.hasty {
		return l.timing.PendingInterval
	}
	return l.timing.Interval
}

// hurry begins or ends to look more often, if not too many do.
func (l *loop) hurry(on bool) {
	switch {
	case on && !l.hasty:
		c, isCheap := l.checker.(cheap)
		isCheap = isCheap && c.cheap()
		l.placed = !isCheap && begin(&l.haste.hasty)
		l.hasty = isCheap || l.placed
	case !on && l.hasty:
		if l.placed {
			end(&l.haste.hasty)
		}
		l.hasty, l.placed = false, false
	}
}

// add counts an outcome and reports it.
func (l *loop) add(o outcome) {
	r := Result{
		Check:  l.name,
		Known:  true,
		Passed: o.err == nil,
		Reason: o.finding.Word,
		Output: o.finding.Output,
		Began:  o.began,
		At:     time.Now(),
		Took:   o.took,
	}
	if o.err != nil {
		r.Reason = o.err.Error()
		_, process := l.checker.(*processChecker)
		r.Absent = process || errors.Is(o.err, syscall.ECONNREFUSED)
	}
	r.Reason = oneLine(r.Reason)
	r.Changed = l.verdict.add(r.Passed)
	r.Healthy = l.verdict.healthy
	l.hurry(l.verdict.pending())
	if l.verdict.pending() {
		r.Streak, r.Need = l.verdict.streak, l.verdict.need()
	}
	if r.At.Before(l.warning.until) {
		r.Warning = oneLine(l.warning.text)
	}
	l.report(r)
}

// oneLine makes a text fit for a log line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) <= maxReason {
		return s
	}
	cut := maxReason - len("...")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
