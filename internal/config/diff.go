package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// Changes is what a reload has to do. Where a configuration is the same, the zero Changes says so.
type Changes struct {
	Instances Delta[node.Instance]
	// Renamed instances are the same virtual routers under another name; they may have changed as well.
	Renamed []Pair[node.Instance]
	Groups  Delta[node.Group]
	Checks  Delta[Check]
	Hooks   Delta[Hook]
	// Settings names the blocks with other values: "control", "reload", "log".
	Settings []string
}

// Delta is what happened to the things of one sort, in the order of the new configuration (removed: of the old one).
type Delta[T any] struct {
	Added, Removed []T
	Changed        []Pair[T]
}

// Pair is one thing before and after.
type Pair[T any] struct {
	Old, New T
}

// Empty says that nothing has to be done.
func (c Changes) Empty() bool {
	return c.Instances.empty() && len(c.Renamed) == 0 && c.Groups.empty() && c.Checks.empty() && c.Hooks.empty() && len(c.Settings) == 0
}

func (d Delta[T]) empty() bool {
	return len(d.Added) == 0 && len(d.Removed) == 0 && len(d.Changed) == 0
}

// Diff compares two valid configurations of one node. An instance is the same one if it shares a virtual router
// (interface, VRID and family) with the old one, whatever its name; groups, checks and hooks go by name.
func Diff(from, to *Config) Changes {
	var c Changes
	diffInstances(&c, from.Instances, to.Instances)
	c.Groups = diffNamed(from.Groups, to.Groups, func(g node.Group) string { return g.Name }, func(a, b node.Group) bool {
		return slices.Equal(a.Instances, b.Instances)
	})
	c.Checks = diffNamed(from.Checks, to.Checks, func(c Check) string { return c.Name }, sameCheck)
	c.Hooks = diffNamed(from.Hooks, to.Hooks, func(h Hook) string { return h.Name }, sameHook)
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"control", from.Control != to.Control},
		{"reload", from.Reload != to.Reload},
		{"log", from.Log != to.Log},
	} {
		if s.changed {
			c.Settings = append(c.Settings, s.name)
		}
	}
	return c
}

func diffInstances(c *Changes, from, to []node.Instance) {
	before := predecessors(from, to)
	for i, now := range to {
		if before[i] < 0 {
			c.Instances.Added = append(c.Instances.Added, now)
			continue
		}
		pair := Pair[node.Instance]{Old: from[before[i]], New: now}
		switch {
		case pair.Old.Name != now.Name:
			c.Renamed = append(c.Renamed, pair)
		case !reflect.DeepEqual(pair.Old, now):
			c.Instances.Changed = append(c.Instances.Changed, pair)
		}
	}
	for i, was := range from {
		if !slices.Contains(before, i) {
			c.Instances.Removed = append(c.Instances.Removed, was)
		}
	}
}

// predecessors returns for each new instance the index of the old one that it continues, or -1. Equal names are matched
// first: where an instance was split by families, the half that kept the name is the old one.
func predecessors(from, to []node.Instance) []int {
	before := slices.Repeat([]int{-1}, len(to))
	for _, sameName := range []bool{true, false} {
		for i := range to {
			if before[i] >= 0 {
				continue
			}
			for j := range from {
				if shareRouter(&from[j], &to[i]) && !slices.Contains(before, j) && (!sameName || from[j].Name == to[i].Name) {
					before[i] = j
					break
				}
			}
		}
	}
	return before
}

func shareRouter(a, b *node.Instance) bool {
	return a.Interface == b.Interface && a.VRID == b.VRID &&
		slices.ContainsFunc(a.Families(), func(f vrrp.Family) bool { return slices.Contains(b.Families(), f) })
}

func diffNamed[T any](from, to []T, name func(T) string, same func(a, b T) bool) Delta[T] {
	var d Delta[T]
	for _, now := range to {
		i := slices.IndexFunc(from, func(was T) bool { return name(was) == name(now) })
		switch {
		case i < 0:
			d.Added = append(d.Added, now)
		case !same(from[i], now):
			d.Changed = append(d.Changed, Pair[T]{Old: from[i], New: now})
		}
	}
	for _, was := range from {
		if !slices.ContainsFunc(to, func(now T) bool { return name(was) == name(now) }) {
			d.Removed = append(d.Removed, was)
		}
	}
	return d
}

// sameCheck ignores where the block stands in its file.
func sameCheck(a, b Check) bool {
	a.Range, b.Range = hcl.Range{}, hcl.Range{}
	return reflect.DeepEqual(a, b)
}

func sameHook(a, b Hook) bool {
	a.Range, b.Range = hcl.Range{}, hcl.Range{}
	return reflect.DeepEqual(a, b)
}

// Summary says in one line what changed.
func (c Changes) Summary() string {
	var parts []string
	name := func(i node.Instance) string { return i.Name }
	replaced := diffNamed(c.Instances.Removed, c.Instances.Added, name, func(a, b node.Instance) bool { return false })
	instances := Delta[node.Instance]{Added: replaced.Added, Removed: replaced.Removed, Changed: c.Instances.Changed}
	parts = append(parts, summarize("instance", instances, name)...)
	for _, p := range replaced.Changed {
		parts = append(parts, fmt.Sprintf("instance %s replaced (%s -> %s)", p.New.Name, routerOf(&p.Old), routerOf(&p.New)))
	}
	for _, p := range c.Renamed {
		parts = append(parts, fmt.Sprintf("instance %s renamed %s", p.Old.Name, p.New.Name))
	}
	parts = append(parts, summarize("group", c.Groups, func(g node.Group) string { return g.Name })...)
	parts = append(parts, summarize("check", c.Checks, func(c Check) string { return c.Name })...)
	parts = append(parts, summarize("notify", c.Hooks, func(h Hook) string { return h.Name })...)
	for _, s := range c.Settings {
		parts = append(parts, s+" changed")
	}
	return strings.Join(parts, ", ")
}

// routerOf names the virtual router of an instance.
func routerOf(i *node.Instance) string {
	words := []string{i.Interface, "vrid", fmt.Sprint(i.VRID)}
	for _, f := range i.Families() {
		words = append(words, f.String())
	}
	return strings.Join(words, " ")
}

func summarize[T any](what string, d Delta[T], name func(T) string) []string {
	var parts []string
	for _, x := range d.Added {
		parts = append(parts, fmt.Sprintf("%s %s added", what, name(x)))
	}
	for _, x := range d.Removed {
		parts = append(parts, fmt.Sprintf("%s %s removed", what, name(x)))
	}
	for _, p := range d.Changed {
		parts = append(parts, fmt.Sprintf("%s %s changed", what, name(p.New)))
	}
	return parts
}
