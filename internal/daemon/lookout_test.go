package daemon

import (
	"net/netip"
	"testing"

	"github.com/understudy-ha/understudy/internal/linux"
)

// TestReads: a packet that the VRRP socket's filter lets through has its reader, but for what the kernel gives no socket: what comes
// over IPv4 from one of the interface's own addresses.
func TestReads(t *testing.T) {
	first4, second4, second6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fe80::2")
	own := []netip.Addr{first4, second4, second6}
	tests := []struct {
		name   string
		own    []netip.Addr
		from   string
		passed bool
		want   bool
	}{
		{"another host's", own, "10.0.0.9", true, true},
		{"from the first address", own, "10.0.0.1", true, false},
		{"from the second address", own, "10.0.0.2", true, false},
		{"from the second address of IPv6, which the kernel delivers", own, "fe80::2", true, true},
		{"from an address that is no longer ours", own[1:], "10.0.0.1", true, true},
		{"what the filter drops", own, "10.0.0.9", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &base{}
			p.own.Store(&tt.own)
			s := linux.Sighting{Packet: linux.Packet{Source: netip.MustParseAddr(tt.from)}, Passed: tt.passed}
			if got := p.reads(s); got != tt.want {
				t.Errorf("the reader has it: %t, want %t", got, tt.want)
			}
		})
	}
}
