package node_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// saidOf are the lines about whoever has a MAC address.
func (l *listener) saidOf(mac string) []string {
	return slices.DeleteFunc(slices.Clone(l.said), func(line string) bool { return !strings.Contains(line, "("+mac+")") })
}

// TestNewsComeBack: a fault is told once while it goes on, however long and with whatever between, and again when it comes back
// after it was mended or its sender was away.
func TestNewsComeBack(t *testing.T) {
	kinds := []struct {
		name  string
		fault func(*listener)
	}{
		{"a refusal", func(l *listener) { l.refuse(vrrp.ErrChecksum, other4) }},
		{"a notice", func(l *listener) { l.hear(l.advert(func(a *vrrp.Advert) { a.Interval = 2 * time.Second }), other4) }},
	}
	fine := func(l *listener) { l.hear(l.advert(nil), other4) }
	silent := func(*listener) {}
	tests := []struct {
		name      string
		meanwhile func(*listener)
		lasts     time.Duration
		want      int // how often it is told when it comes after that
	}{
		{"at once", silent, 0, 0},
		{"after half a minute without it", fine, 30 * time.Second, 0},
		{"after a minute without it", fine, time.Minute, 1},
		{"after a day without it", fine, 24 * time.Hour, 1},
		{"after nine minutes of silence", silent, 9 * time.Minute, 0},
		{"after ten minutes of silence", silent, 10 * time.Minute, 1},
	}
	for _, kind := range kinds {
		for _, tt := range tests {
			t.Run(kind.name+" "+tt.name, func(t *testing.T) {
				l := listen(nil)
				l.see(other4, mac(9))
				step := func(do func(*listener)) {
					l.run(time.Second)
					do(l)
				}
				for range 3600 {
					step(kind.fault)
				}
				for range 3600 {
					step(fine)
					step(kind.fault)
				}
				if told := l.saidOf(mac(9)); len(told) != 1 {
					t.Fatalf("told %d times while it went on: %q", len(told), told)
				}
				l.said = nil
				for range tt.lasts / time.Second {
					step(tt.meanwhile)
				}
				kind.fault(l)
				kind.fault(l)
				if told := l.saidOf(mac(9)); len(told) != tt.want {
					t.Errorf("told %d times, want %d: %q", len(told), tt.want, told)
				}
			})
		}
	}
}

// TestNewsOfAHost: what all virtual routers tell together is bounded, and what there was no room for is told later.
func TestNewsOfAHost(t *testing.T) {
	const routers, bound = 255, 60
	cfg := node.Config{Name: "a"}
	for k := range routers {
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(k + 1)})
		cfg.Instances = append(cfg.Instances, node.Instance{
			Name: fmt.Sprint("web", k+1), Interface: "eth0", VRID: uint8(k + 1), Priority: 150, Version: vrrp.V3, Addresses: []node.Address{{IP: ip}},
			Interval: time.Second, DeadAdverts: 3,
		})
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	n := node.New(cfg, now)
	told := map[string]int{}
	most := 0
	for range 6 {
		before := len(told)
		for second := range 60 {
			for k := range routers {
				ev := node.Refused{Interface: "eth0", VRID: uint8(k + 1), From: other4, MAC: mac(9), Err: vrrp.ErrChecksum}
				for _, a := range n.Step(now.Add(time.Duration(second)*time.Second), ev) {
					if w, ok := a.(node.Warned); ok {
						told[w.Instance]++
					}
				}
			}
		}
		most = max(most, len(told)-before)
		now = now.Add(time.Minute)
	}
	if len(told) != routers || most > bound {
		t.Errorf("told of %d routers, at most %d in a minute, want %d and %d", len(told), most, routers, bound)
	}
	for name, times := range told {
		if times != 1 {
			t.Errorf("told %d times of %s", times, name)
		}
	}
}

// TestShortInterval: a peer whose interval is that of a handover's advert is told of as any other that differs, whoever of the two is
// master and whichever way the adverts go; a handover is not.
func TestShortInterval(t *testing.T) {
	const short = 10 * time.Millisecond
	unicast := func(i *node.Instance) { i.Peers, i.MinTTL = []node.Peer{{IP: self4}, {IP: other4}}, vrrp.HopLimit }
	tests := []struct {
		name        string
		here, there time.Duration
		version     vrrp.Version
		refused     bool
	}{
		{"theirs is a handover's", time.Second, short, vrrp.V3, false},
		{"ours is a handover's", short, time.Second, vrrp.V3, false},
		{"neither is", time.Second, 2 * time.Second, vrrp.V3, false},
		{"VRRPv2", time.Second, 2 * time.Second, vrrp.V2, true},
		{"VRRPv2 the other way round", 2 * time.Second, time.Second, vrrp.V2, true},
	}
	for _, tt := range tests {
		for _, peers := range []bool{false, true} {
			for _, master := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, unicast %t, master %t", tt.name, peers, master), func(t *testing.T) {
					l := listen(func(i *node.Instance) {
						i.Interval, i.Version = tt.here, tt.version
						if peers {
							unicast(i)
						}
					})
					l.see(other4, mac(9))
					priority := uint8(200)
					if master {
						l.run(4 * tt.here)
						priority = 100
					}
					state := map[bool]node.State{false: node.Backup, true: node.Master}[master]
					for range 10 {
						r := received(l.advert(func(a *vrrp.Advert) { a.Interval, a.Priority = tt.there, priority }), other4)
						if peers {
							r.To = self4
						}
						l.step(node.Heard{Interface: "eth0", Received: r})
						l.run(min(tt.here, tt.there))
					}
					tally, want := l.router().Notices, "interval-mismatch from 10.0.0.9 (02:00:00:00:00:09), accepted all the same: its interval is %s, this host's %s: "
					if tt.refused {
						tally, want = l.router().Refused, "adverts from 10.0.0.9 (02:00:00:00:00:09) are refused: its interval is %s, this host's %s, and "
						state = node.Master // each of the two
					}
					want = fmt.Sprintf(want, tt.there, tt.here)
					if told := l.saidOf(mac(9)); len(told) != 1 || !strings.HasPrefix(told[0], want) || !strings.HasSuffix(told[0], "; write the same advertise_interval on all hosts") {
						t.Errorf("said %q, want %q", told, want)
					}
					if c := tally["interval-mismatch"]; c == nil || c.Last != other4 || !strings.HasSuffix(c.Text, "; write the same advertise_interval on all hosts") {
						t.Errorf("status has %+v", c)
					}
					if s := l.Status(l.now).Instances[0].State; s != state {
						t.Errorf("%s, want %s", s, state)
					}
				})
			}
		}
	}
	t.Run("a handover", func(t *testing.T) {
		l := listen(nil)
		l.see(other4, mac(9))
		for range 10 {
			l.hear(l.advert(func(a *vrrp.Advert) { a.Priority = 200 }), other4)
			for range 2 { // the network doubles it
				l.hear(l.advert(func(a *vrrp.Advert) { a.Interval, a.Priority = short, 200 }), other4)
			}
			l.hear(l.advert(func(a *vrrp.Advert) { a.Priority = 0 }), other4)
		}
		l.saidOnly(t)
	})
}
