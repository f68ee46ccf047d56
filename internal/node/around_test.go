package node_test

import (
	"fmt"
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

// TestGoneRoutersWaitForNobody: what virtual routers that are gone had to tell of hosts whose MAC address nobody saw must not use up the
// room for those who wait.
func TestGoneRoutersWaitForNobody(t *testing.T) {
	tests := []struct {
		name  string
		hosts string // where the hosts are
		of    func(i node.Instance, k int) []node.Instance
	}{
		{"removed", "10.1.%d.%d", func(i node.Instance, k int) []node.Instance {
			i.VRID += uint8(k)
			return []node.Instance{i}
		}},
		{"replaced by a new family of another instance", "fe80::%d:%d", func(i node.Instance, k int) []node.Instance {
			six := i
			six.Name, six.Addresses = "six", addresses("2001:db8::10")
			if k%2 == 0 {
				return []node.Instance{i, six}
			}
			i.Addresses = append(i.Addresses, six.Addresses...)
			return []node.Instance{i}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(nil)
			refuse := func(is []node.Instance, k, n int) netip.Addr {
				from := netip.MustParseAddr(fmt.Sprintf(tt.hosts, k, n))
				l.step(node.Refused{Interface: "eth0", VRID: is[0].VRID, From: from, Err: vrrp.ErrChecksum})
				return from
			}
			for k := range 100 {
				is := tt.of(l.cfg, k)
				l.step(node.Reconfigured{Config: node.Config{Name: "a", Instances: is}})
				l.run(time.Minute)
				for n := range 6 {
					refuse(is, k, n)
				}
			}
			l.run(time.Minute)
			l.said = nil
			from := refuse(tt.of(l.cfg, 99), 100, 0)
			l.saidOnly(t)
			l.see(from, mac(9))
			if told := l.saidOf(mac(9)); len(told) != 1 {
				t.Errorf("said %q once the MAC address was known", l.said)
			}
		})
	}
}
