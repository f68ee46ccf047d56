package sim

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
)

// TestSettleWaitsForTheDead holds that a host need not take part whose reload gave its addresses another virtual router, while the kernel of a
// host without a process answers for them, and must otherwise, and soon after.
func TestSettleWaitsForTheDead(t *testing.T) {
	const long = time.Minute
	for _, tt := range []struct {
		name        string
		moved, dead bool
		then        func(b *Host) // what is wrong with it beside that
		want        bool          // that it is found
	}{
		{"the dead one has them", true, true, func(*Host) {}, false},
		{"the dead one has them, and no reload gave them another virtual router", false, true, func(*Host) {}, true},
		{"nobody has them", true, false, func(*Host) {}, false},
		{"nobody has them, and it has no address of its own", true, false, bare, true},
		{"the dead one had them, and it has no address of its own", true, true, bare, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := healed(func(*node.Instance) {})
			a, b := s.c.Host("a"), s.c.Host("b")
			startAll(s.c)
			s.c.Run(10 * time.Second)
			a.Kill()
			if a.kernel.addrs[vip].expires = a.now().Add(long); !tt.dead {
				a.kernel.clear()
			}
			s.moved = tt.moved
			cfg := s.config(b, s.common)
			cfg.Instances[0].VRID = 52
			s.plights[b].vrid, s.common.VRID = 52, 52
			b.Reconfigure(cfg)
			tt.then(b)
			s.recover()
			if got := strings.Contains(strings.Join(s.c.Faults(), "\n"), "takes no part"); got != tt.want {
				t.Errorf("faults %q, want one of b that takes no part: %t; %s", s.c.Faults(), tt.want, standings(b))
			}
		})
	}
}

// bare takes a host's own addresses away.
func bare(h *Host) {
	l := h.Link()
	l.Source4, l.Source6 = netip.Addr{}, netip.Addr{}
	h.SetLink(l)
}
