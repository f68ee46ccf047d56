package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/node"
)

// rawEffect mirrors what a check block says about being unhealthy.
type rawEffect struct {
	OnFailure string `hcl:"on_failure,optional" doc:"\"yield\" (default): hand over to any healthier host. \"release\": leave the election."`
	Weight    int    `hcl:"weight,optional" doc:"Subtracted from the priority while unhealthy if negative, added while healthy if positive."`
}

var effects = map[string]node.OnFailure{"": node.Yield, "yield": node.Yield, "release": node.Release}

// check is a Check with the places of its attributes.
type check struct {
	Check
	block block
}

// check turns a block into a Check; ok is false where it has no kind.
func (l *loader) check(b *hcl.Block) (c check, ok bool) {
	c.Check = Check{Kind: b.Labels[0], Name: b.Labels[1], Range: headerOf(b)}
	l.named("check", c.Name, labelOf(b))
	kind, ok := checks.KindNamed(c.Kind)
	if !ok {
		l.unknownName(b.LabelRanges[0], "kind of check", c.Kind, kindNames(checks.Kinds, func(k checks.Kind) string { return k.Name }))
		return c, false
	}
	title := fmt.Sprintf("check %q %q", c.Kind, c.Name)
	var effect rawEffect
	c.Options = kind.New()
	c.block = l.decode(b, title, nil, &c.Timing, &effect, c.Options)
	l.judgeTiming(c.block, c.Timing)
	c.Timing = kind.Complete(c.Timing)
	for _, e := range c.Timing.Validate() {
		l.optionError(c.block, e.Option, e.Reason)
	}
	mistakes := c.Options.Validate()
	for _, e := range mistakes {
		l.optionError(c.block, e.Option, e.Reason)
	}
	c.Effect = l.effect(c.block, effect)
	if len(mistakes) == 0 && c.block.sound() {
		c.Reads = l.reads(c.Options)
		l.preflight(c)
	}
	return c, true
}

// reads looks into the files that options name, on this machine only.
func (l *loader) reads(options checks.Options) map[string]string {
	r, ok := options.(checks.Reader)
	if !ok || !l.here {
		return nil
	}
	digests := r.Reads()
	for _, path := range slices.Sorted(maps.Keys(digests)) {
		l.files.look(path)
	}
	return digests
}

func kindNames[T any](kinds []T, name func(T) string) []string {
	var names []string
	for _, k := range kinds {
		names = append(names, name(k))
	}
	return names
}

// judgeTiming refuses what a zero that is written would hide behind a default, and a period without an end.
func (l *loader) judgeTiming(b block, t checks.Timing) {
	for _, o := range []struct {
		name string
		zero bool
	}{
		{"interval", t.Interval == 0}, {"timeout", t.Timeout == 0}, {"pending_interval", t.PendingInterval == 0},
		{"rise", t.Rise == 0}, {"fall", t.Fall == 0},
	} {
		if o.zero && b.usable(o.name) {
			l.found.errorf(b.place(o.name), "write a value above 0, or leave it out for the default", "%s is 0", o.name)
		}
	}
	if b.usable("interval") && t.Interval > maxCheckPeriod {
		l.found.errorf(b.place("interval"), "allowed: at most "+brief(maxCheckPeriod), "interval is %s", brief(t.Interval))
	}
}

// optionError puts a mistake at the option's place. One whose value could not be had is not judged twice.
func (l *loader) optionError(b block, option, reason string) {
	switch {
	case option == "":
		if b.sound() {
			l.found.errorf(b.at, "", "%s %s", b.title, reason)
		}
	case slices.Contains(b.missing, option), b.has(option) && !b.usable(option):
	default:
		l.found.errorf(b.place(option), "", "%s %s", option, reason)
	}
}

func (l *loader) effect(b block, raw rawEffect) node.Effect {
	if b.has("weight") && b.has("on_failure") {
		l.found.errorf(b.place("weight"), "remove one of the two: a check changes the priority, or yields or releases",
			"weight and on_failure are both set")
	}
	if b.has("weight") {
		if b.usable("weight") && (raw.Weight == 0 || raw.Weight < -maxWeight || raw.Weight > maxWeight) {
			l.found.errorf(b.place("weight"), fmt.Sprintf("allowed: -%d..-1 or 1..%d", maxWeight, maxWeight), "weight is %d", raw.Weight)
		}
		return node.Effect{OnFailure: node.Weigh, Weight: raw.Weight}
	}
	if b.usable("on_failure") {
		l.oneOf(b, "on_failure", raw.OnFailure, []string{"yield", "release"})
	}
	return node.Effect{OnFailure: effects[raw.OnFailure]}
}

// preflight asks a check's options what can be known on this very machine.
func (l *loader) preflight(c check) {
	p, ok := c.Options.(checks.Preflighter)
	if !ok || !l.here {
		return
	}
	command, asked := l.asksHelper(c.Options)
	switch own, ok := c.Options.(checks.Commander); {
	case asked:
		p = command
	case ok && own.RunsAs() == "" && l.hands.another():
		p = own.As(l.hands.name())
	}
	err := p.Preflight()
	if err == nil {
		if err = l.judgeCheckUser(c.Options); err != nil && l.hands.socket != "" {
			l.files.look(l.hands.socket)
		}
	}
	if c, ok := c.Options.(checks.Commander); ok && err != nil {
		for _, path := range c.Names() {
			l.files.look(path)
		}
	}
	switch at := c.block.at; {
	case err == nil:
		for _, path := range slices.Sorted(maps.Keys(c.Reads)) {
			l.judgeReader(at, path, "chmod a+r FILE")
		}
	case errors.Is(err, fs.ErrPermission) && asked: // root sees what this user does not
	case errors.Is(err, fs.ErrPermission) && !l.onThisHost:
		l.warnHere(at, "", "this check is not checked: %v", err)
	default:
		l.amiss(at, "", "this check cannot run: %v", err)
	}
}
