package config

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// bind gives each instance the checks that apply to it.
func (l *loader) bind(v *view, blocks hcl.Blocks) {
	instances, all := v.instances, v.checks
	// A block of an unknown kind has a name all the same: whoever refers to it made no second mistake.
	var names []string
	for _, b := range blocks.OfType("check") {
		names = append(names, b.Labels[1])
	}
	for i := range instances {
		in := &instances[i]
		if in.byDefault {
			in.checkNames = names
		} else {
			l.judgeCheckNames(in, names)
		}
		for _, c := range all {
			if slices.Contains(in.checkNames, c.Name) {
				in.Checks[c.Name] = c.Effect
				l.judgeWeight(in, c)
			}
		}
	}
	if len(instances) > 1 && !v.inOneGroup() && !slices.ContainsFunc(instances, func(in instance) bool { return !in.byDefault }) {
		for _, c := range all {
			l.found.warnf(c.Range, "write checks = [...] in each instance", "check %q applies to all %d instances, because none of them says which checks it has",
				c.Name, len(instances))
		}
	}
}

func (l *loader) judgeCheckNames(in *instance, names []string) {
	for i, name := range in.checkNames {
		at := in.block.element("checks", i)
		l.exists(at, "check", name, names)
		if slices.Contains(in.checkNames[:i], name) {
			l.found.errorf(at, "remove one of the two", "checks holds %q twice", name)
		}
	}
}

// judgeWeight refuses a weight that could not act.
func (l *loader) judgeWeight(in *instance, c check) {
	if c.Effect.OnFailure != node.Weigh || !c.block.usable("weight") {
		return
	}
	at := c.block.place("weight")
	if in.block.usable("priority") && in.Priority == maxPriority {
		l.found.errorf(at, "leave weight out, or use a priority of at most 254",
			"check %q has a weight, and instance %q the priority 255, which takes none", c.Name, in.Name)
	}
	if in.block.usable("preempt") && !in.Preempt {
		l.found.errorf(at, "leave weight out: without it the check yields, whatever preempt says",
			"check %q has a weight, and instance %q has preempt = false, so that no other host would take over", c.Name, in.Name)
	}
}

// judgeRouters refuses two instances that would be the same virtual router.
func (l *loader) judgeRouters(instances []instance) {
	type router struct {
		iface  string
		vrid   uint8
		family vrrp.Family
	}
	taken := map[router]string{}
	for _, in := range instances {
		if !in.block.usable("interface") || !in.block.usable("vrid") {
			continue
		}
		for _, f := range in.Families() {
			r := router{in.Interface, in.VRID, f}
			if other, ok := taken[r]; ok {
				l.found.errorf(in.block.place("vrid"), "use another vrid", "vrid %d is taken: instance %q has it on %s with %s", in.VRID, other, in.Interface, f)
				break
			}
			taken[r] = in.Name
		}
	}
}

// defaultLease turns leases off on a host with many addresses, unless they were asked for: each is renewed twice a second.
func (l *loader) defaultLease(instances []instance) {
	count := 0
	for _, in := range instances {
		count += len(in.Addresses) + len(in.Unadvertised)
	}
	if count <= leaseAddresses {
		return
	}
	var without []*instance
	for i := range instances {
		if in := &instances[i]; !in.block.has("lease") {
			in.Lease = false
			without = append(without, in)
		}
	}
	if len(without) == 0 {
		return
	}
	others := ""
	if n := len(without) - 1; n > 0 {
		others = fmt.Sprintf(", nor have %d others", n)
	}
	l.found.notef(without[0].block.at, "write lease = true to have it all the same", "instance %q has no lease%s: this host has %d addresses, more than %d",
		without[0].Name, others, count, leaseAddresses)
}
