package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/control"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// Bounds of watching the configuration.
const (
	// settled is how long the files must rest before they are read: an editor writes in several steps.
	settled = 200 * time.Millisecond
	// restless is how long a file that keeps changing may put that off.
	restless = 2 * time.Second
)

// reloadRequest asks for a reload.
type reloadRequest struct {
	why    string
	answer chan<- reloadAnswer
}

type reloadAnswer struct {
	done control.Reloaded
	err  error
}

// plan is what changes from one configuration to another, made as far as it can fail before anything is applied.
type plan struct {
	cfg      *config.Config
	changes  config.Changes
	monitors map[string]*checks.Monitor // added or changed
	gone     []string                   // removed checks
	hooks    []notify.Hook              // all of them
}

// planFor makes the checks and hooks of the new configuration.
func planFor(from, to *config.Config, report func(checks.Result)) (*plan, error) {
	p := &plan{cfg: to, changes: config.Diff(from, to), monitors: map[string]*checks.Monitor{}}
	var errs []error
	add := func(c config.Check) {
		checker, err := c.Options.New()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: check %q: %w", c.Range, c.Name, err))
			return
		}
		p.monitors[c.Name] = checks.NewMonitor(c.Name, checker, c.Timing, report)
	}
	for _, c := range p.changes.Checks.Added {
		add(c)
	}
	for _, c := range p.changes.Checks.Changed {
		add(c.New)
	}
	for _, c := range p.changes.Checks.Removed {
		p.gone = append(p.gone, c.Name)
	}
	for _, h := range to.Hooks {
		hook, err := h.Build()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.Range, err))
			continue
		}
		p.hooks = append(p.hooks, hook)
	}
	return p, errors.Join(errs...)
}

// Reload reads the configuration again, and waits for the end.
func (d *Daemon) Reload(ctx context.Context) (control.Reloaded, error) {
	answer := make(chan reloadAnswer, 1)
	select {
	case d.reloads <- reloadRequest{"asked for", answer}:
	case <-ctx.Done():
		return control.Reloaded{}, ctx.Err()
	}
	select {
	case a := <-answer:
		return a.done, a.err
	case <-ctx.Done():
		return control.Reloaded{}, ctx.Err()
	}
}

// runReload reloads when asked, and when a file in the watched directories changes.
func (d *Daemon) runReload(ctx context.Context) error {
	files, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("the configuration's files are not watched; use understudy reload", "error", err)
		files = &fsnotify.Watcher{}
	} else {
		defer func() { _ = files.Close() }()
		d.watchFiles(files)
	}
	var pending, latest time.Time
	timer := time.NewTimer(0)
	<-timer.C
	for {
		select {
		case r := <-d.reloads:
			done, err := d.reload(ctx, r.why)
			r.answer <- reloadAnswer{done, err}
			d.watchFiles(files)
		case ev := <-files.Events:
			if !relevant(ev) || !d.cfg.Load().Reload.Watch {
				continue
			}
			now := time.Now()
			if pending.IsZero() {
				pending, latest = now, now.Add(restless)
			}
			timer.Reset(min(settled, time.Until(latest)))
		case err := <-files.Errors:
			d.log.Warn("watch the configuration's files", "error", err)
		case <-timer.C:
			pending = time.Time{}
			_, _ = d.reload(ctx, "a file changed") // reload has logged it
			d.watchFiles(files)
		case <-ctx.Done():
			return nil
		}
	}
}

// relevant leaves out what changes no content.
func relevant(ev fsnotify.Event) bool { return ev.Op&^fsnotify.Chmod != 0 }

// watchFiles watches the directories of the configuration; one that is missing is watched once it is there, since its
// parent is.
func (d *Daemon) watchFiles(files *fsnotify.Watcher) {
	for _, path := range d.opts.Paths {
		for _, dir := range []string{filepath.Dir(filepath.Clean(path)), path, filepath.Join(path, "checks.d"), filepath.Join(path, "conf.d")} {
			_ = files.Add(dir) // a file or a missing directory: its parent's events are enough
		}
	}
}

// reload applies the configuration on the disk, whole or not at all.
func (d *Daemon) reload(ctx context.Context, why string) (control.Reloaded, error) {
	from := d.cfg.Load()
	to, diags := config.Load(d.opts.Paths, d.opts.Config)
	if to == nil || diags.HasErrors() {
		return d.reject(errors.New(strings.TrimSpace(config.Format(diags))))
	}
	if len(to.Instances) == 0 {
		return d.reject(fmt.Errorf("no instance in %v", d.opts.Paths))
	}
	p, err := planFor(from, to, d.checked)
	if err != nil {
		return d.reject(err)
	}
	if p.changes.Empty() {
		if d.loaded.Load().Rejected != "" {
			d.accepted()
		}
		d.log.Debug("configuration unchanged", "why", why)
		return control.Reloaded{Summary: "unchanged"}, nil
	}
	if err := d.apply(ctx, p); err != nil {
		return control.Reloaded{}, err
	}
	d.accepted()
	summary := p.changes.Summary()
	d.log.Info("configuration reloaded", "why", why, "changes", summary)
	return control.Reloaded{Changed: true, Summary: summary}, nil
}

// reject keeps the running configuration; the diagnostics reach the log, the status and the service manager.
func (d *Daemon) reject(err error) (control.Reloaded, error) {
	c := *d.loaded.Load()
	if c.Rejected != err.Error() {
		c.Rejected, c.Since = err.Error(), time.Now()
		d.loaded.Store(&c)
		d.log.Error("configuration rejected; the running one goes on", "error", err)
		first, _, _ := strings.Cut(err.Error(), "\n")
		d.systemd.status("configuration rejected: " + first)
	}
	return control.Reloaded{}, err
}

// accepted takes note that files and daemon agree.
func (d *Daemon) accepted() {
	d.loaded.Store(&control.Configuration{Paths: d.opts.Paths, Loaded: time.Now()})
}

// apply makes a plan true: first the sockets, so that nothing new is deaf, then the node, then checks and hooks.
func (d *Daemon) apply(ctx context.Context, p *plan) error {
	d.cfg.Store(p.cfg)
	d.watcher.SetInterfaces(append(interfaces(p.cfg), d.oldInterfaces()...))
	select {
	case d.changes <- p.cfg:
	case <-ctx.Done():
		return ctx.Err()
	}
	d.notifier.Replace(p.hooks)
	d.control.SetSteerGroup(p.cfg.Control.SteerGroup)
	d.log.SetLevel(hclog.LevelFromString(p.cfg.Log.Level))
	d.saveInstances(d.nodeConfig(p.cfg))
	d.post(ctx, node.Reconfigured{Config: d.nodeConfig(p.cfg)})
	d.monitors.replace(p)
	return nil
}

// oldInterfaces are those of instances that are still handing over.
func (d *Daemon) oldInterfaces() []string {
	var names []string
	if s := d.snapshot.Load(); s != nil {
		for _, i := range s.Instances {
			names = append(names, i.Interface)
		}
	}
	return names
}
