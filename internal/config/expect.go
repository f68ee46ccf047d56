package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/understudy-ha/understudy/internal/node"
)

// rawExpect mirrors an expect block.
type rawExpect struct {
	Priority int `hcl:"priority,optional" doc:"The other host's priority. Left out: what this file gives it."`
}

// expectations decodes what the block says about the other hosts; the node's own is kept, so that a file that all hosts
// share may name them all.
func (l *loader) expectations(in *instance, title string) {
	taken := map[string]hcl.Range{}
	for _, b := range in.block.nestedOf("expect") {
		e := expect{node: b.Labels[0], at: headerOf(b)}
		l.named("node", e.node, labelOf(b))
		l.unique(taken, "expect", e.node, e.at)
		var raw rawExpect
		d := l.decode(b, fmt.Sprintf("expect %q of %s", e.node, title), nil, &raw)
		l.within(d, "priority", raw.Priority, minPriority, maxPriority, "")
		if d.usable("priority") {
			e.priority = raw.Priority
		}
		in.expects = append(in.expects, e)
	}
}

// expectOf is the block about a node, or the zero expect.
func (in *instance) expectOf(name string) expect {
	for _, e := range in.expects {
		if e.node == name {
			return e
		}
	}
	return expect{}
}

// effective is the priority of an instance whose checks all pass but the one that is named, and the sum that it comes from.
func effective(in *node.Instance, failing string) (sum, clamped int) {
	sum = int(in.Priority)
	for name, e := range in.Checks {
		sum += e.Adds(name != failing)
	}
	return sum, int(in.Effective(sum))
}
