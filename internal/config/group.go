package config

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/node"
)

// group is what validation knows of a group beside its configuration.
type group struct {
	node.Group
	block block
}

// rawGroup mirrors a group block.
type rawGroup struct {
	Instances []string `hcl:"instances" doc:"The instances that share one fate, in the same order on all hosts."`
}

// group turns a block into a group.
func (l *loader) group(b *hcl.Block) group {
	name := b.Labels[0]
	l.named("group", name, labelOf(b))
	var raw rawGroup
	g := group{block: l.decode(b, fmt.Sprintf("group %q", name), nil, &raw)}
	g.Group = node.Group{Name: name, Instances: raw.Instances}
	switch {
	case !g.block.usable("instances"):
	case len(raw.Instances) == 0:
		l.found.errorf(g.block.place("instances"), "allowed: at least one instance", "instances is empty")
	case len(raw.Instances) == 1:
		l.found.notef(g.block.at, "", "group %q has one instance only, which has one fate without it", name)
	}
	return g
}

// judgeGroups checks the instances that groups name, and that no instance has two fates.
func (l *loader) judgeGroups(groups []group, instances []instance) {
	names := kindNames(instances, func(in instance) string { return in.Name })
	taken := map[string]string{}
	for _, g := range groups {
		if slices.Contains(names, g.Name) {
			l.found.errorf(g.block.at, "give one of the two another name: hooks and status tell them apart by it", "group %q has the name of an instance", g.Name)
		}
		for i, name := range g.Instances {
			at := g.block.element("instances", i)
			l.exists(at, "instance", name, names)
			if other, ok := taken[name]; ok {
				l.found.errorf(at, "an instance has one fate", "instance %q is in group %q already", name, other)
			}
			taken[name] = g.Name
		}
		l.judgePreempt(g, instances)
	}
}

// inOneGroup says whether every instance has the same fate, so that it does not matter whose a check is.
func (v *view) inOneGroup() bool {
	return len(v.groups) == 1 && !slices.ContainsFunc(v.instances, func(in instance) bool { return !slices.Contains(v.groups[0].Instances, in.Name) })
}

// judgePreempt warns of instances that disagree.
func (l *loader) judgePreempt(g group, instances []instance) {
	var yes, no string
	for _, in := range instances {
		switch {
		case !slices.Contains(g.Instances, in.Name) || in.block.has("preempt") && !in.block.usable("preempt"):
		case in.Preempt:
			yes = in.Name
		default:
			no = in.Name
		}
	}
	if yes != "" && no != "" {
		l.found.warnf(g.block.at, "write the same in both", "group %q preempts only where all its instances do: preempt is true in %q and false in %q", g.Name, yes, no)
	}
}

// compareGroups reports groups that two hosts see differently.
func compareGroups(a, b *view) findings {
	var found findings
	for _, x := range a.groups {
		for _, y := range b.groups {
			if x.Name == y.Name && !slices.Equal(x.Instances, y.Instances) {
				found.warnf(x.block.place("instances"), "write the same on all hosts, in the same order: the first decides between equal priorities",
					"instances of group %q is %q on %s and %q on %s", x.Name, x.Instances, a.config.Node, y.Instances, b.config.Node)
			}
		}
	}
	return found
}
