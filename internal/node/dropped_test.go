package node_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestDropped: adverts that this host drops are told of once and shown, in a contention too, until one is heard.
func TestDropped(t *testing.T) {
	l := listen(nil)
	const text = "adverts of 10.0.0.9 reach eth0 and are dropped on this host: look at its firewall (INPUT, protocol 112) and rp_filter"
	shown := func() []string {
		var texts []string
		for _, s := range l.Status(l.now).Links {
			for _, d := range s.Dropped {
				texts = append(texts, d.Text)
			}
		}
		return texts
	}
	drop := node.Dropped{Interface: "eth0", VRID: 51, From: other4}
	l.step(drop)
	l.saidOnly(t, text)
	l.step(drop)
	l.saidOnly(t)
	if diff := cmp.Diff([]string{text}, shown()); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	l.refuse(vrrp.ErrChecksum, other4)
	if diff := cmp.Diff([]string(nil), shown()); diff != "" {
		t.Errorf("once one is read, shown (-want +got):\n%s", diff)
	}
	from := other4
	for range 100 {
		from = from.Next()
		l.step(node.Dropped{Interface: "eth0", VRID: 51, From: from})
	}
	if n := len(shown()); n != 16 {
		t.Errorf("%d senders are remembered, want 16", n)
	}
}
