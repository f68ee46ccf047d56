package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/notify"
)

// hook is a Hook with the places of its attributes.
type hook struct {
	Hook
	block block
}

// hook turns a notify block into a Hook; ok is false where it has no kind.
func (l *loader) hook(b *hcl.Block) (h hook, ok bool) {
	h.Hook = Hook{Kind: b.Labels[0], Name: b.Labels[1], Range: headerOf(b)}
	l.named("notify", h.Name, labelOf(b))
	kind, ok := notify.KindNamed(h.Kind)
	if !ok {
		l.unknownName(b.LabelRanges[0], "kind of notify", h.Kind, kindNames(notify.Kinds, func(k notify.Kind) string { return k.Name }))
		return h, false
	}
	before := len(l.found)
	h.PerHost = kind.PerHost
	h.Options = kind.New()
	checks.SetDefaults(&h.Settings)
	checks.SetDefaults(h.Options)
	h.block = l.decode(b, fmt.Sprintf("notify %q %q", h.Kind, h.Name), nil, &h.Settings, h.Options)
	for _, e := range h.Settings.Validate() {
		l.optionError(h.block, e.Option, e.Reason)
	}
	for _, e := range h.Options.Validate() {
		l.optionError(h.block, e.Option, e.Reason)
	}
	if h.block.usable("timeout") && h.Settings.Timeout > maxHookTimeout {
		l.found.errorf(h.block.place("timeout"), "allowed: at most "+brief(maxHookTimeout), "timeout is %s", brief(h.Settings.Timeout))
	}
	if l.here && !findings(l.found[before:]).broken() && h.block.sound() {
		l.verify(h)
	}
	return h, true
}

// verify says what would keep the hook from running on this very machine. To the daemon it is a warning: it moves no
// address, and the hook is run all the same when its time comes.
func (l *loader) verify(h hook) {
	ready, err := h.Build()
	if err != nil {
		l.found.errorf(h.block.at, "", "%v", err)
		return
	}
	if ready.RunsCommand() {
		l.judgeHookUser(h.block, h.Settings.User)
	}
	ready.Privileged = l.hands.door
	switch err := ready.Verify(); {
	case err == nil:
	case errors.Is(err, fs.ErrPermission) && l.hands.door: // root sees what this user does not
	case errors.Is(err, fs.ErrPermission) && !l.onThisHost:
		l.warnHere(h.block.at, "", "this hook is not checked: %v", err)
	default:
		l.warnHere(h.block.at, "", "this hook cannot run: %v", err)
	}
}

// judgeHooks checks that the instances and groups that hooks name exist.
func (l *loader) judgeHooks(hooks []hook, instances []instance, groups []group) {
	names := kindNames(instances, func(in instance) string { return in.Name })
	groupNames := kindNames(groups, func(g group) string { return g.Name })
	for _, h := range hooks {
		for i, name := range h.Settings.Instances {
			l.exists(h.block.element("instances", i), "instance", name, names)
		}
		for i, name := range h.Settings.Groups {
			l.exists(h.block.element("groups", i), "group", name, groupNames)
		}
	}
}
