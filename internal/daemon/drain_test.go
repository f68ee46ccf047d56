package daemon

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestDrainOfWhatHasEnded: nginx died and nobody else is there, so that its host is leaving in vain when the unit around nginx
// drains before it starts it again. What serves nothing is not waited for; a healthy nginx, which is about to be stopped, is.
func TestDrainOfWhatHasEnded(t *testing.T) {
	const waits = "waits"
	process, page := config.Check{Name: "nginx", Kind: "process"}, config.Check{Name: "page", Kind: "http"}
	weighed := config.Check{Name: "php", Kind: "process", Effect: node.Effect{OnFailure: node.Weigh, Weight: -20}}
	for _, tt := range []struct {
		name   string
		state  node.State
		group  string   // that web and inside are in
		failed []string // checks
		want   string
	}{
		{"nginx has ended", node.Leaving, "", []string{"nginx", "page"}, "dead"},
		{"only its page is wrong", node.Leaving, "", []string{"page"}, waits},
		{"a planned handover of a healthy nginx", node.Leaving, "", nil, waits},
		{"a process has ended that only weighs", node.Leaving, "", []string{"php"}, waits},
		{"another's process has ended", node.Leaving, "", []string{"other"}, waits},
		{"one of its group", node.Leaving, "edge", []string{"other"}, "dead"},
		{"a successor is there", node.Backup, "", []string{"nginx"}, waits},
		{"nobody took over before", node.Master, "", []string{"nginx"}, "kept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web, inside := on("web", "eth0", 71, "192.0.2.10"), on("inside", "eth1", 71, "10.0.0.10")
			web.Checks = map[string]node.Effect{"nginx": {}, "page": {}, "php": weighed.Effect}
			inside.Checks = map[string]node.Effect{"other": {}}
			d := newDaemon(&config.Config{
				Node: "lb1", Instances: []node.Instance{web, inside},
				Checks: []config.Check{process, page, weighed, {Name: "other", Kind: "process"}},
			}, Options{Log: hclog.NewNullLogger(), StateDir: t.TempDir(), RuntimeDir: t.TempDir()})
			for _, c := range d.cfg.Load().Checks {
				d.monitors.results.Store(c.Name, checks.Result{Check: c.Name, Healthy: true})
			}
			d.snapshot.Store(&node.Status{Instances: []node.InstanceStatus{
				{Name: "web", Group: tt.group, State: tt.state, Holding: true}, {Name: "inside", Group: tt.group, State: tt.state},
			}})
			ctx, cancel := context.WithTimeout(t.Context(), 10*partedPoll)
			defer cancel()
			go func() { // in the place of the loop; what fails does so while the drain waits, and nothing is published
				(<-d.steers).taken <- d.snapshot.Load()
				for _, name := range tt.failed {
					d.monitors.results.Store(name, checks.Result{Check: name})
				}
			}()
			got, err := d.Drain(ctx, "nginx-stop")
			want := map[string]node.Drained{"dead": {Dead: []string{"web"}}, "kept": {Kept: []string{"web"}}}[tt.want]
			if diff := cmp.Diff(want, got); diff != "" || errors.Is(err, context.DeadlineExceeded) != (tt.want == waits) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
