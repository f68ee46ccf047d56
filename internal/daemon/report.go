package daemon

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// hookRuns keeps the last run of each hook for each instance.
type hookRuns struct {
	mu   sync.Mutex // guards what follows
	last map[hookKey]notify.Report
}

type hookKey struct{ hook, instance string }

func (h *hookRuns) add(r notify.Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[hookKey{r.Hook, r.Instance}] = r
}

// restore takes the runs of the program before this one.
func (h *hookRuns) restore(runs []node.HookReport) {
	for _, r := range runs {
		last := notify.Report{Hook: r.Name, Instance: r.Instance, Transition: notify.Transition{State: notify.State(r.State)}, At: r.At, Took: r.Took, Output: r.Output}
		if r.Error != "" {
			last.Err = errors.New(r.Error)
		}
		h.add(last)
	}
}

// list returns them in a stable order.
func (h *hookRuns) list() []node.HookReport {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []node.HookReport
	for key, r := range h.last {
		run := node.HookReport{Name: key.hook, Instance: key.instance, State: string(r.Transition.State), At: r.At, Took: r.Took, Output: r.Output}
		if r.Err != nil {
			run.Error = r.Err.Error()
		}
		out = append(out, run)
	}
	slices.SortFunc(out, func(a, b node.HookReport) int {
		return strings.Compare(a.Name+"\x00"+a.Instance, b.Name+"\x00"+b.Instance)
	})
	return out
}

// freshBound is how long a reader waits for a new snapshot before it takes the old one, whose age it shows.
const freshBound = time.Second

// Report is what status shows. It reads snapshots only: the loop is asked for a new one, and not waited for if it is busy.
func (d *Daemon) Report() node.Report {
	ctx, cancel := context.WithTimeout(context.Background(), freshBound)
	defer cancel()
	_, _ = d.steer(ctx, nil)
	loaded := *d.loaded.Load()
	loaded.Unwatched = *d.unwatched.Load()
	return node.Report{
		Version: d.opts.Version, PID: os.Getpid(), Started: d.started, Node: d.snapshot.Load(),
		Checks: d.checkReports(), Hooks: d.hookReports(), Config: loaded, Reexec: d.reexeced.Load(),
	}
}

// hookReports lists the last runs of the hooks that are configured.
func (d *Daemon) hookReports() []node.HookReport {
	hooks := d.cfg.Load().Hooks
	return slices.DeleteFunc(d.hookRuns.list(), func(r node.HookReport) bool {
		return !slices.ContainsFunc(hooks, func(h config.Hook) bool { return h.Name == r.Name })
	})
}

// checkReports lists the checks in the order of the configuration.
func (d *Daemon) checkReports() []node.CheckReport {
	var out []node.CheckReport
	for _, c := range d.cfg.Load().Checks {
		check := node.CheckReport{Name: c.Name, Kind: c.Kind}
		if v, ok := d.monitors.results.Load(c.Name); ok {
			r := v.(checks.Result)
			check = node.CheckReport{
				Name: c.Name, Kind: c.Kind, Known: true, Healthy: r.Healthy, Reason: r.Reason, Output: r.Output,
				Streak: r.Streak, Need: r.Need, At: r.At, Took: r.Took, Warning: r.Warning, Hint: d.nonlocalHint(r),
			}
		}
		out = append(out, check)
	}
	return out
}

// Undrain lifts a drain.
func (d *Daemon) Undrain(ctx context.Context, name string) error {
	_, save, err := d.steerDrain(ctx, node.Drain{Who: name})
	if err == nil {
		d.log.Info("undrained", "name", name)
	}
	saveErr := save.result()
	if saveErr != nil {
		d.log.Error("the drain comes back with the next start", "name", name, "error", saveErr)
	}
	return cmp.Or(err, saveErr)
}

// steer has the loop take an event, and publish what came of it. It returns what was before.
func (d *Daemon) steer(ctx context.Context, ev node.Event) (before *node.Status, err error) {
	taken := make(chan *node.Status, 1)
	select {
	case d.steers <- steering{ev, taken}:
	case <-d.ended:
		return nil, errStopping
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return <-taken, nil // the loop has it, and never waits
}

// steering is an event whose effect somebody waits for; without one it asks for a snapshot.
type steering struct {
	event node.Event
	taken chan<- *node.Status // gets what was before, with an event
}
