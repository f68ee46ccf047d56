package sim

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestJudgeKnowsWhoRestsApart holds that an instance may look on while the rest of its group serves only where all are unhealthy, and another host
// serves it, whatever the log said last of these names.
func TestJudgeKnowsWhoRestsApart(t *testing.T) {
	const better = "10.0.0.2 is master (priority 1), and better than this group: waiting while it is"
	for _, tt := range []struct {
		name         string
		ill, grouped bool
		inside       uint8 // the host's priority in its other instance; the other host has 100, and serves this one
		dead         bool  // the other host's process
		why          string
		want         bool
	}{
		{"each serves a part", true, true, 150, false, better, true},
		{"it waits for another reason", true, true, 150, false, "link_delay: the interface is up for 1s", false},
		{"somebody is healthy", false, true, 150, false, better, false},
		{"it is alone", true, false, 150, false, better, false},
		{"the rest does not serve", true, true, 50, false, better, false},
		{"nobody serves it", true, true, 150, true, better, false},
	} {
		s := healed(func(*node.Instance) {})
		for k, priorities := range [][2]uint8{{50, tt.inside}, {150, 100}} {
			cfg := s.config(s.c.hosts[k], s.common)
			web := cfg.Instances[0]
			inside := web
			inside.Name, inside.VRID, inside.Addresses = "inside", 52, []node.Address{{IP: vip.Next()}}
			web.Priority, inside.Priority = priorities[0], priorities[1]
			cfg.Instances = []node.Instance{web, inside}
			s.c.hosts[k].Reconfigure(cfg)
		}
		if s.o.ill = tt.ill; tt.grouped {
			s.o.kin = []kin{{}}
		}
		startAll(s.c)
		s.c.Run(10 * time.Second)
		a, b := s.c.Host("a"), s.c.Host("b")
		if tt.dead {
			b.Kill()
		}
		for _, h := range s.c.hosts {
			h.states["web"], h.states["inside"] = node.Master, node.Master
		}
		if got := s.restsApart(a, node.InstanceStatus{Name: "web", Why: tt.why}); got != tt.want {
			t.Errorf("%s: web may rest: %t, want %t", tt.name, got, tt.want)
		}
	}
}
