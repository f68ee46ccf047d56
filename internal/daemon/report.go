package daemon

import (
	"context"
	"os"
	"time"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
)

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
		Remarks: Remarks(d.cfg.Load()),
	}
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
