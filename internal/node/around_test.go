package node_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestSecondAddress: an advert from any of the interface's own addresses is another host's that has the same one, or ours if it is
// the one that we send from.
func TestSecondAddress(t *testing.T) {
	second4, second6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fe80::2")
	own := []netip.Addr{self4, second4, netip.MustParseAddr("fe80::1"), second6}
	tests := []struct {
		name string
		here func(*node.Instance)
		from netip.Addr
		want string
	}{
		{"the first address", nil, self4, "own"},
		{"the second address", nil, second4, "same-address"},
		{"the second address of IPv6", v6, second6, "same-address"},
		{"the second address where that is the source", func(i *node.Instance) { i.Sources = []netip.Addr{second4} }, second4, "own"},
		{"the first address where the second is the source", func(i *node.Instance) { i.Sources = []netip.Addr{second4} }, self4, "same-address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(tt.here)
			l.step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: mac(1), Source4: self4, Source6: netip.MustParseAddr("fe80::1"), Own: own}})
			l.run(4 * time.Second)
			if tt.want != "own" {
				l.see(tt.from, mac(9))
			}
			l.hear(l.advert(func(a *vrrp.Advert) { a.Priority = 150 }), tt.from)
			if r := l.router(); len(r.Refused) != 1 || r.Refused[tt.want] == nil || len(r.Speakers) != 0 {
				t.Errorf("refused %v, heard %v; want %s", r.Refused, r.Speakers, tt.want)
			}
			if s := l.Status(l.now).Instances[0].State; s != node.Master {
				t.Errorf("%s after it", s)
			}
		})
	}
}

func v6(i *node.Instance) { i.Addresses = addresses("2001:db8::10") }
