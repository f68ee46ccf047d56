package daemon

import (
	"context"
	"sync"

	"github.com/understudy-ha/understudy/checks"
)

// monitors runs the checks, each in a goroutine of its own that it waits for.
type monitors struct {
	report  func(checks.Result)
	results sync.Map // check name -> checks.Result, the newest
	rechecks

	mu      sync.Mutex                 // guards what follows
	haste   checks.Haste               // of all checks
	waiting map[string]*checks.Monitor // until runAll starts them
	running map[string]*runningCheck
	ctx     context.Context // set while runAll runs
	tasks   sync.WaitGroup
}

// runningCheck is a monitor's goroutine.
type runningCheck struct {
	cancel  context.CancelFunc
	done    chan struct{}
	monitor *checks.Monitor
}

func newMonitors(report func(checks.Result)) *monitors {
	return &monitors{report: report, rechecks: newRechecks(), waiting: map[string]*checks.Monitor{}, running: map[string]*runningCheck{}}
}

// prepare takes the first configuration's monitors; runAll starts them.
func (m *monitors) prepare(p *plan) {
	for name, monitor := range p.monitors {
		monitor.Share(&m.haste)
		m.waiting[name] = monitor
	}
}

// runAll runs the checks until ctx ends.
func (m *monitors) runAll(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	for name, monitor := range m.waiting {
		m.start(name, monitor)
	}
	clear(m.waiting)
	m.mu.Unlock()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-m.due:
			m.hasten()
		}
	}
	m.mu.Lock()
	m.ctx = nil
	m.mu.Unlock()
	m.tasks.Wait()
	return nil
}

// hasten has the checks run that are asked for. One that does not run now begins with a run later.
func (m *monitors) hasten() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, r := range m.running {
		if m.wanted(name) {
			r.monitor.Hasten()
		}
	}
}

// start runs one; mu is held.
func (m *monitors) start(name string, monitor *checks.Monitor) {
	ctx, cancel := context.WithCancel(m.ctx)
	r := &runningCheck{cancel, make(chan struct{}), monitor}
	m.running[name] = r
	m.tasks.Go(func() {
		defer close(r.done)
		defer cancel()
		monitor.Run(ctx)
	})
}

// pause ends all checks; resume lets them go on from their last results.
func (m *monitors) pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.running {
		r.cancel()
	}
	for name, r := range m.running {
		<-r.done // a monitor ends within two seconds
		m.waiting[name] = r.monitor
	}
	clear(m.running)
}

func (m *monitors) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil {
		return // runAll has ended
	}
	for name, monitor := range m.waiting {
		if last, ok := m.results.Load(name); ok {
			monitor.Resume(last.(checks.Result))
		}
		m.start(name, monitor)
	}
	clear(m.waiting)
}

// list returns the newest results.
func (m *monitors) list() (all []checks.Result) {
	m.results.Range(func(_, r any) bool {
		all = append(all, r.(checks.Result))
		return true
	})
	return all
}

// restore takes the results of the program before this one, for checks that are still configured.
func (m *monitors) restore(results []checks.Result) {
	for _, r := range results {
		if monitor := m.waiting[r.Check]; monitor != nil {
			m.results.Store(r.Check, r)
			monitor.Resume(r)
		}
	}
}

// replace ends what is gone or changed, and starts what is new. Of one check there are never two runs at a time.
func (m *monitors) replace(p *plan) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ending := append([]string(nil), p.gone...)
	for name := range p.monitors {
		ending = append(ending, name)
	}
	for _, name := range ending {
		if r := m.running[name]; r != nil {
			r.cancel()
		}
	}
	for _, name := range ending {
		if r := m.running[name]; r != nil {
			<-r.done // a monitor ends within two seconds
			delete(m.running, name)
		}
	}
	for _, name := range p.gone {
		m.results.Delete(name)
		m.forget(name)
		delete(m.waiting, name)
	}
	for name, monitor := range p.monitors {
		monitor.Share(&m.haste)
		if last, ok := m.results.Load(name); ok && p.goingOn[name] {
			monitor.Resume(last.(checks.Result)) // else one failure would be the verdict, whatever fall says
		}
		if m.ctx == nil {
			m.waiting[name] = monitor // runAll did not begin yet, or has ended
			continue
		}
		m.start(name, monitor)
	}
}
