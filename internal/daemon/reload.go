package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/notify"
)

// Why the configuration is read again.
const (
	askedFor    = "asked for"
	fileChanged = "a file changed"
)

// reloadRequest asks for a reload.
type reloadRequest struct {
	answer chan<- reloadAnswer
}

type reloadAnswer struct {
	done node.Reloaded
	err  error
}

// plan is what changes from one configuration to another, made as far as it can fail before anything is applied.
type plan struct {
	cfg      *config.Config
	changes  config.Changes
	monitors map[string]*checks.Monitor // added or changed
	goingOn  map[string]bool            // of these, those that look at the same thing as before
	gone     []string                   // removed checks
	hooks    []notify.Hook              // all of them
}

// planFor makes the checks and hooks of the new configuration; what is for the helper goes through the door.
func planFor(from, to *config.Config, report func(checks.Result), door Door) (*plan, error) {
	p := &plan{cfg: to, changes: config.Diff(from, to), monitors: map[string]*checks.Monitor{}, goingOn: map[string]bool{}}
	var errs []error
	add := func(c config.Check) {
		checker, err := c.Options.New()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: check %q: %w", c.Range, c.Name, err))
			return
		}
		if door != nil {
			checker = checks.Through(c.Name, c.Options, checker, door)
		}
		p.monitors[c.Name] = checks.NewMonitor(c.Name, checker, c.Timing, report)
	}
	for _, c := range p.changes.Checks.Added {
		add(c)
	}
	for _, c := range p.changes.Checks.Changed {
		if !c.Old.RunsAs(c.New) { // else only what being unhealthy does is another, which is the node's
			p.goingOn[c.New.Name] = c.Old.LooksAtTheSame(c.New)
			add(c.New)
		}
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
	if door != nil {
		p.hooks = notify.Through(p.hooks, door)
	}
	return p, errors.Join(errs...)
}

// Reload reads the configuration again, and waits for the end.
func (d *Daemon) Reload(ctx context.Context) (node.Reloaded, error) {
	answer := make(chan reloadAnswer, 1)
	select {
	case d.reloads <- reloadRequest{answer}:
	case <-d.ended:
		return node.Reloaded{}, errStopping
	case <-ctx.Done():
		return node.Reloaded{}, ctx.Err()
	}
	select {
	case a := <-answer:
		return a.done, a.err
	case <-d.ended:
		return node.Reloaded{}, errStopping
	case <-ctx.Done():
		return node.Reloaded{}, ctx.Err()
	}
}

// reload applies the configuration on the disk, whole or not at all.
func (d *Daemon) reload(ctx context.Context, why string) (node.Reloaded, error) {
	from := d.cfg.Load()
	to, found := config.Load(d.opts.Paths, d.opts.Config)
	d.looked = found.Files
	if to == nil {
		return d.reject(why, errors.New(found.Mistakes()))
	}
	p, err := planFor(from, to, d.checked, d.opts.Door)
	if err == nil {
		if err = guard(d.opts, from, to, thisHost); err != nil { // nothing tells of it when the host has what it lacked
			err = fmt.Errorf("%w; then run: understudy reload (it is not tried again before, unless a file is written)", err)
		}
	}
	if err != nil {
		return d.reject(why, err)
	}
	if p.changes.Empty() {
		d.cfg.Store(to) // it may come from other files, which are to be watched
		again := d.loaded.Load().Rejected != ""
		if again {
			d.accepted()
		}
		if again || why == askedFor {
			d.log.Info("configuration unchanged", "why", why)
		}
		d.tell(from.Findings, to.Findings)
		return node.Reloaded{Summary: "unchanged"}, nil
	}
	d.tellHelper(ctx, from, to) // before anything that is not named any more lets go
	if err := d.apply(ctx, p); err != nil {
		return node.Reloaded{}, err
	}
	d.accepted()
	summary := p.changes.Summary()
	d.log.Info("configuration reloaded", "why", why, "changes", summary)
	d.tell(from.Findings, to.Findings)
	return node.Reloaded{Changed: true, Summary: summary}, nil
}

// reject keeps the running configuration; the diagnostics reach the log, the status and the service manager. What is known
// already is said again only to who asked: a SIGHUP has no other answer.
func (d *Daemon) reject(why string, err error) (node.Reloaded, error) {
	c := *d.loaded.Load()
	known := c.Rejected == err.Error()
	if !known {
		c.Rejected, c.Since = err.Error(), time.Now()
		d.loaded.Store(&c)
		first, _, _ := strings.Cut(err.Error(), "\n")
		d.systemd.rejects(first)
	}
	if !known || why == askedFor {
		d.log.Error("configuration rejected; the running one goes on", "why", why, "error", err)
	}
	return node.Reloaded{}, err
}

// tell logs what there is to say of a valid configuration, less what was said of the one before it, wherever in the file it stood.
func (d *Daemon) tell(before, now []config.Finding) {
	for _, f := range now {
		if slices.ContainsFunc(before, f.Same) {
			continue
		}
		if f.Severity == config.Warning {
			d.log.Warn("the configuration has a likely mistake", "finding", f.String())
		} else {
			d.log.Info("the configuration is worth a note", "finding", f.String())
		}
	}
}

// accepted takes note that files and daemon agree.
func (d *Daemon) accepted() {
	d.loaded.Store(&node.ConfigReport{Paths: d.opts.Paths, Loaded: time.Now()})
	d.systemd.rejects("")
}

// apply makes a plan true: first the sockets, so that nothing new is deaf, then the node, then checks and hooks.
func (d *Daemon) apply(ctx context.Context, p *plan) error {
	from := d.cfg.Swap(p.cfg)
	d.watcher.SetInterfaces(d.watched())
	d.relock()
	for _, name := range d.wanted() {
		d.inspect(ctx, name)()
	}
	if err := d.openUp(ctx); err != nil {
		return err
	}
	d.names.changed()
	d.notifier.Replace(d.hooksOf(p), namesOf(p.cfg))
	d.hookRuns.keep(p.cfg)
	if d.control != nil {
		d.control.SetSteerGroup(p.cfg.Control.SteerGroup)
	}
	if was := from.Log.Format; was != p.cfg.Log.Format {
		d.log.Warn("log.format takes effect at the next start of the daemon", "running", was, "configured", p.cfg.Log.Format)
	}
	d.log.SetLevel(hclog.LevelFromString(p.cfg.Log.Level))
	d.saveInstances(d.nodeConfig(p.cfg))
	d.post(ctx, node.Reconfigured{Config: d.nodeConfig(p.cfg)})
	d.monitors.replace(p)
	return nil
}

// helperBound is how long the helper may take to read the configuration: until then what a reload changes waits.
const helperBound = 2 * time.Second

// tellHelper has the helper take note of the configuration, so that it can still run the last hooks of what the next one lacks. Where
// none of these has such a hook there is nothing to say.
func (d *Daemon) tellHelper(ctx context.Context, of ...*config.Config) {
	door := d.opts.Door
	stops := slices.ContainsFunc(of, func(c *config.Config) bool {
		return slices.ContainsFunc(c.Hooks, func(h config.Hook) bool { return slices.Contains(h.Settings.On, notify.Stop) })
	})
	if door == nil || d.opts.Shadow || !stops || !door.Open() {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, helperBound, fmt.Errorf("it takes longer than %s", helperBound))
	defer cancel()
	if err := door.Remember(ctx); err != nil && context.Cause(ctx) != context.Canceled {
		d.log.Warn("the helper does not know the configuration: stop hooks of what a reload removes may be refused", "error", err)
	}
}

// namesOf lists whom a configuration names.
func namesOf(cfg *config.Config) (names []notify.Name) {
	for _, i := range cfg.Instances {
		names = append(names, notify.Name{Name: i.Name})
	}
	for _, g := range cfg.Groups {
		names = append(names, notify.Name{Group: true, Name: g.Name})
	}
	return names
}
