package checks

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// stuckGrace is how long after its timeout a run may still give its own, better reason.
	stuckGrace = 100 * time.Millisecond
	// abandonAfter bounds how long a Monitor that was told to end waits for a check that ignores its context.
	abandonAfter = 2 * time.Second
	// changeGap is the least time between two runs that changes ask for, so that a file which is written all the time
	// costs no processor.
	changeGap = 10 * time.Millisecond
	// jitter is by which share of its interval a run may come earlier or later, so that checks of many hosts and
	// instances do not fall into step.
	jitter = 0.1
)

// Result is one run of a check and the verdict after it.
type Result struct {
	// Check is the check's name.
	Check string
	// Healthy is the verdict after rise and fall; Known tells that there is one, as in every report.
	Healthy, Known bool
	// Changed tells that the verdict differs from the one before, or is the first.
	Changed bool
	// Passed is this run's own outcome.
	Passed bool
	// Absent tells that it failed because nobody is there: no process, or a connection refused.
	Absent bool
	// Reason is one line: why the run failed, or in short what it saw.
	Reason string
	// Output is what is kept of the run for people who look closer.
	Output string
	// Streak is how many runs in a row contradict the verdict, of the Need that change it; both 0 when none does.
	Streak, Need int
	// Warning says why the check does less than it could, such as that events of the kernel are not seen; "" if not.
	Warning string
	// Began and At are when the run began and ended.
	Began, At time.Time
	// Took is how long it ran.
	Took time.Duration
}

// Monitor runs one check at its times. It may be run again after it ended: what belongs to one Run is in a loop, since a check that
// ignores its context may outlive it.
type Monitor struct {
	name    string
	checker Checker
	timing  Timing
	report  func(Result)
	before  verdict // of a process or a run before this one
	haste   *Haste
	shared  bool          // haste is
	changed chan struct{} // it shall run at once; room for one, since many wishes are one
}

// NewMonitor makes a Monitor with a complete and valid Timing. It calls report with each result, one at a time, from
// Run's goroutine.
func NewMonitor(name string, c Checker, t Timing, report func(Result)) *Monitor {
	return &Monitor{name: name, checker: c, timing: t, report: report, haste: new(Haste), changed: make(chan struct{}, 1)}
}

// Hasten makes the check run at once, or once more as soon as the run that is under way has ended. It is for any goroutine, and does not
// wait.
func (m *Monitor) Hasten() {
	select {
	case m.changed <- struct{}{}:
	default: // one wish is waiting already
	}
}

// Share makes the Monitor one of many, before its first run: their haste is bounded together, and they do not go on in step.
func (m *Monitor) Share(h *Haste) { m.haste, m.shared = h, true }

// Resume makes the next Run go on from an earlier one's last result: the verdict stands, and runs in a row count on.
func (m *Monitor) Resume(r Result) {
	m.before = verdict{known: r.Known, healthy: r.Healthy, streak: r.Streak}
}

// Run checks until ctx ends: the first time at once, then at the timing's intervals, and at once when a Watcher sees a
// change or Hasten asks for it. There are never two runs at a time, but for the early second look of a hedger. It returns when its goroutines ended, except that one which ignores its
// context is waited for no longer than two seconds.
func (m *Monitor) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	l := &loop{
		Monitor:  m,
		verdict:  verdict{m.timing.Rise, m.timing.Fall, m.before.known, m.before.healthy, m.before.streak},
		timer:    time.NewTimer(0),
		outcomes: make(chan outcome, 1),
		warnings: make(chan warning),
	}
	_, l.hedges = m.checker.(hedger)
	if w, ok := m.checker.(Watcher); ok {
		l.tasks.Go(func() { l.watch(ctx, w) })
	}
	l.run(ctx)
	l.hurry(false)
	cancel()
	l.timer.Stop()
	waitAtMost(&l.tasks, abandonAfter)
}

func waitAtMost(wg *sync.WaitGroup, limit time.Duration) {
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	}
}

// timedOut is the cause of a context that ended by a check's timeout.
type timedOut time.Duration

// Error names the timeout.
func (e timedOut) Error() string { return "timed out after " + time.Duration(e).String() }

// Is makes it a context.DeadlineExceeded.
func (e timedOut) Is(target error) bool { return target == context.DeadlineExceeded }

// soon is some instant of the next interval.
func soon(d time.Duration) time.Duration { return time.Duration(rand.Float64() * float64(d)) }

func jittered(d time.Duration) time.Duration {
	return d + time.Duration((2*rand.Float64()-1)*jitter*float64(d))
}
