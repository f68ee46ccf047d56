package node

import (
	"slices"
	"time"
)

// lookUpGap is the least time between two wishes of an instance to have its peers' names looked up. Anybody on the link can forge
// what makes it wish so.
const lookUpGap = 5 * time.Second

// lookUp has the names of an instance's peers looked up at once, if it has any: a host whose address changed is heard as a stranger,
// hears nothing, and rises beside a living master.
func (n *Node) lookUp(now time.Time, i *instance) {
	if !i.lookedUp.IsZero() && now.Sub(i.lookedUp) < lookUpGap {
		return
	}
	names := i.cfg.peerNames()
	if len(names) == 0 {
		return
	}
	i.lookedUp = now
	n.do(LookUp{i.cfg.Name, names})
}

// peerNames are the peers that are configured by name, in order.
func (i *Instance) peerNames() []string {
	var names []string
	for _, p := range i.Peers {
		if p.Name != "" && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}
