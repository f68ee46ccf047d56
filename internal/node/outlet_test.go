package node_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// unicastMaster is a master whose adverts to the lost peers do not leave it.
type unicastMaster struct {
	n     *node.Node
	now   time.Time
	lost  map[netip.Addr]bool
	sent  map[netip.Addr]int
	warns []string
}

func newUnicastMaster(t *testing.T) *unicastMaster {
	t.Helper()
	u := &unicastMaster{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), lost: map[netip.Addr]bool{}, sent: map[netip.Addr]int{}}
	i := node.Instance{
		Name: "web", Interface: "eth0", VRID: 51, Priority: 150, Version: vrrp.V3, Addresses: addresses("192.0.2.10"),
		Interval: time.Second, DeadAdverts: 3, Preempt: true, MinTTL: vrrp.HopLimit,
	}
	for _, ip := range ips("10.0.0.1", "10.0.0.2", "10.0.0.3") {
		i.Peers = append(i.Peers, node.Peer{IP: ip})
	}
	u.n = node.New(node.Config{Name: "a", Instances: []node.Instance{i}}, u.now)
	u.step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source4: netip.MustParseAddr("10.0.0.1")}})
	u.run(5 * time.Second)
	if got := u.state().State; got != node.Master {
		t.Fatalf("the host alone is %s", got)
	}
	return u
}

func (u *unicastMaster) step(ev node.Event) {
	for _, a := range u.n.Step(u.now, ev) {
		switch a := a.(type) {
		case node.Send:
			u.sent[a.Destination]++
			if u.lost[a.Destination] {
				u.step(node.SendFailed{Instance: a.Instance, Family: a.Family, To: a.Destination, Err: errors.New("network is unreachable")})
			}
		case node.Warned:
			u.warns = append(u.warns, a.Why)
		}
	}
}

func (u *unicastMaster) run(d time.Duration) {
	node.Pass(u.n, &u.now, d, func() { u.step(node.Elapsed{}) })
}

// hear lets time pass with an advert of another master every second.
func (u *unicastMaster) hear(seconds int) {
	for range seconds {
		r := received(vrrp.Advert{Version: vrrp.V3, VRID: 51, Priority: 100, Interval: time.Second, Addresses: ips("192.0.2.10")}, netip.MustParseAddr("10.0.0.2"))
		r.To = netip.MustParseAddr("10.0.0.1")
		u.step(node.Heard{Interface: "eth0", Received: r})
		u.run(time.Second)
	}
}

func (u *unicastMaster) state() node.InstanceStatus { return u.n.Status(u.now).Instances[0] }

// TestAPeerThatAdvertsDoNotReach: one of several is shown, and nothing else; only a host whose adverts reach nobody is mute.
func TestAPeerThatAdvertsDoNotReach(t *testing.T) {
	second, third := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	u := newUnicastMaster(t)
	if diff := cmp.Diff(map[netip.Addr]int{second: 2, third: 2}, u.sent, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("adverts by destination (-want +got):\n%s", diff)
	}
	u.lost[third] = true
	u.hear(10)
	i := u.state()
	if r := i.Routers[0]; i.State != node.Master || r.SendError != "" || r.Peers[0].SendError != "" || r.Peers[1].SendError != "network is unreachable" {
		t.Errorf("with one peer out of reach it is %s, send error %q, peers %+v", i.State, r.SendError, r.Peers)
	}
	if want := []string{"the advert to 10.0.0.3 did not leave: network is unreachable"}; !cmp.Equal(want, warned(u.warns, "did not leave")) {
		t.Errorf("it warned %q, want %q once", u.warns, want)
	}
	if p := i.Routers[0].Peers[0]; !p.Heard.Equal(u.now.Add(-time.Second)) || p.Priority != 100 {
		t.Errorf("of the peer that was heard it knows %+v", p)
	}
	u.lost[second] = true
	u.hear(5)
	if i := u.state(); i.State != node.Fault {
		t.Errorf("with every peer out of reach, and a master heard, it is %s: %s", i.State, i.Why)
	}
	u.lost[second] = false
	u.hear(10) // a try every 5 s, and a Master_Down_Interval
	if i := u.state(); i.State != node.Master {
		t.Errorf("with one peer in reach again it is %s: %s", i.State, i.Why)
	}
}

// warned are the warnings with some words.
func warned(all []string, words string) (out []string) {
	for _, w := range all {
		if strings.Contains(w, words) {
			out = append(out, w)
		}
	}
	return out
}
