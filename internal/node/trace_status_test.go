package node_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/internal/node"
)

// peers prints the hosts that a virtual router has in its list.
func (tr *tracer) peers(r node.RouterStatus) {
	for _, p := range r.Peers {
		former := ""
		if p.Former {
			former = "; as before the reload"
		}
		tr.printf("    peer %s %s: priority %d%s%s%s", p.Name, p.Address, p.Priority, prefixed("; ", p.SendError), prefixed("; ", p.Problem), former)
	}
	if len(r.Peers) > 0 && !r.Unicast {
		tr.printf("    the group; as before the reload")
	}
}

// signers are the hosts that signed, with what was refused.
func signers(r node.RouterStatus) string {
	var b strings.Builder
	for _, s := range r.Auth.Senders {
		fmt.Fprintf(&b, "; %s signs with key %d", s.Address, s.Key)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(&b, "; refused %d %s", r.Refused[reason].Count, reason)
	}
	return b.String()
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
