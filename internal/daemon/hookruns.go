package daemon

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

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

// keep forgets the runs of hooks that a configuration lacks, and for whom it lacks: names come and go with reloads.
func (h *hookRuns) keep(cfg *config.Config) {
	hooks, names := map[string]bool{}, map[string]bool{}
	for _, hook := range cfg.Hooks {
		hooks[hook.Name] = true
	}
	for _, name := range namesOf(cfg) {
		names[name.Name] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.last, func(key hookKey, _ notify.Report) bool { return !hooks[key.hook] || !names[key.instance] })
}

// hookReports lists the last runs of the hooks that are configured; one that a reload removed may have ended since.
func (d *Daemon) hookReports() []node.HookReport {
	hooks := d.cfg.Load().Hooks
	return slices.DeleteFunc(d.hookRuns.list(), func(r node.HookReport) bool {
		return !slices.ContainsFunc(hooks, func(h config.Hook) bool { return h.Name == r.Name })
	})
}
