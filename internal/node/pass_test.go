package node

import "time"

// Pass lets time pass: a step is made at each of the node's deadlines.
func Pass(n *Node, now *time.Time, d time.Duration, step func()) {
	for end := now.Add(d); ; step() {
		at, ok := n.Deadline()
		if !ok || at.After(end) {
			*now = end
			return
		}
		*now = at
	}
}
