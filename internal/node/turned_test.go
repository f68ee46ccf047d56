package node_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// answers is what a master hears for some time of a host that answers for its address from a MAC address.
func (l *listener) answers(mac string, d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); l.run(100 * time.Millisecond) {
		l.step(node.Announced{Interface: "eth0", IP: addresses("192.0.2.10")[0].IP, MAC: mac})
	}
}

// old is an advert that a VRRPv3 router refuses.
func old(a *vrrp.Advert) { a.Version = vrrp.V2 }

// TestContentionNamesTheCause: where the adverts of the host that answers are refused, the log, the hooks and status say whose they are and
// why, and never that none is heard. A stranger's say nothing about it.
func TestContentionNamesTheCause(t *testing.T) {
	const (
		virtual  = "00:00:5e:00:01:33"
		speaks   = " are refused: it speaks VRRPv2, this instance VRRPv3; write the same version on all hosts"
		look     = "look on both hosts for a firewall that drops IP protocol 112, multicast snooping, another interval, version or key"
		begins   = " answers for 192.0.2.10 while this host is master"
		refused  = begins + ": two masters; adverts from 10.0.0.9 (02:00:00:00:00:09)" + speaks
		unheard  = begins + ", and no advert of it is heard: two masters; " + look
		anothers = "; if those are another host's, " + look
	)
	third := netip.MustParseAddr("10.0.0.7")
	bad := func(l *listener, from netip.Addr, mac string) {
		l.see(from, mac)
		l.hear(l.advert(old), from)
	}
	seldom := func(l *listener) {
		l.see(other4, mac(9))
		l.hear(l.advert(func(a *vrrp.Advert) { old(a); a.Interval = 10 * time.Second }), other4)
	}
	tests := []struct {
		name, mac string
		heard     func(*listener) // before it answers
		peer      netip.Addr
		want      string
	}{
		{"nothing is heard", mac(9), func(*listener) {}, netip.Addr{}, mac(9) + unheard},
		{"it is refused", mac(9), func(l *listener) { bad(l, other4, mac(9)) }, other4, mac(9) + refused},
		{"another host is refused", mac(9), func(l *listener) { bad(l, third, mac(7)) }, netip.Addr{}, mac(9) + unheard},
		{"both are, another one last", mac(9), func(l *listener) { bad(l, other4, mac(9)); l.run(time.Second); bad(l, third, mac(7)) }, other4, mac(9) + refused},
		{"it has two MAC addresses", mac(9), func(l *listener) { bad(l, other4, mac(9)); bad(l, other4, virtual) }, other4,
			mac(9) + begins + ": two masters; adverts from 10.0.0.9 (00:00:5e:00:01:33 or 02:00:00:00:00:09)" + speaks},
		{"it answers from a virtual router's", virtual, func(l *listener) { bad(l, other4, mac(9)) }, other4, virtual + refused + anothers},
		{"it advertises from a virtual router's", mac(9), func(l *listener) { bad(l, other4, virtual) }, other4,
			mac(9) + begins + ": two masters; adverts from 10.0.0.9 (" + virtual + ")" + speaks + anothers},
		{"its MAC address was not seen", mac(9), func(l *listener) { l.hear(l.advert(old), other4) }, other4,
			mac(9) + begins + ": two masters; adverts from 10.0.0.9" + speaks + anothers},
		{"that was long ago", mac(9), func(l *listener) { bad(l, other4, mac(9)); l.run(4 * time.Second) }, netip.Addr{}, mac(9) + unheard},
		{"its interval is longer", mac(9), func(l *listener) { seldom(l); l.run(20 * time.Second) }, other4, mac(9) + refused},
		{"it falls silent, as keepalived does where it refuses this host's", mac(9), func(l *listener) {
			bad(l, other4, mac(9))
			l.answers(mac(9), 100*time.Millisecond)
			l.run(4900 * time.Millisecond) // its garp_master_delay
		}, other4, mac(9) + refused},
		{"it was refused, and was not later", mac(9), func(l *listener) {
			seldom(l)
			l.hear(l.advert(nil), other4)
			l.run(12 * time.Second)
		}, netip.Addr{}, mac(9) + unheard},
		{"another process has gone on", mac(9), func(l *listener) { bad(l, other4, mac(9)); l.exchange(t) }, other4, mac(9) + refused},
		{"the packet is none", mac(9), func(l *listener) { l.see(other4, mac(9)); l.refuse(vrrp.ErrChecksum, other4) }, other4,
			mac(9) + begins + ": two masters; adverts from 10.0.0.9 (02:00:00:00:00:09) are refused: " + vrrp.ErrChecksum.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(nil)
			l.run(10 * time.Second)
			tt.heard(l)
			l.said, l.told = nil, nil
			l.answers(tt.mac, 1200*time.Millisecond)
			l.saidOnly(t, tt.want)
			if len(l.told) != 1 || l.told[0].Why != tt.want || l.told[0].Peer != tt.peer || l.told[0].PeerMAC != tt.mac {
				t.Errorf("the hooks were told %+v, want %s at %s: %s", l.told, tt.peer, tt.mac, tt.want)
			}
			i := l.Status(l.now).Instances[0]
			if c := i.Contention; i.TwoMasters != tt.want || c == nil || c.Refused != tt.peer {
				t.Errorf("status says %q with %+v, want %s: %s", i.TwoMasters, c, tt.peer, tt.want)
			}
		})
	}
}

// TestCauseComesAndGoes: status says what is known of the other host now, and of one that was refused when it was told of what was known then.
func TestCauseComesAndGoes(t *testing.T) {
	l := listen(nil)
	l.run(10 * time.Second)
	is := func(when string, from netip.Addr, advertiser netip.Addr) {
		t.Helper()
		i := l.Status(l.now).Instances[0]
		if c := i.Contention; i.TwoMasters == "" || c == nil || c.Refused != from || c.Advertiser != advertiser {
			t.Errorf("%s: status says %q with %+v, want %s refused, %s heard", when, i.TwoMasters, c, from, advertiser)
		}
	}
	l.answers(mac(9), 1200*time.Millisecond)
	is("no advert comes", netip.Addr{}, netip.Addr{})
	l.see(other4, mac(9))
	l.hear(l.advert(old), other4)
	is("one is refused", other4, netip.Addr{})
	l.answers(mac(9), 100*time.Millisecond)
	l.hear(l.advert(nil), other4)
	is("one is accepted", netip.Addr{}, other4)
	l.answers(mac(9), 100*time.Millisecond)
	is("and it answers again", netip.Addr{}, other4)

	l = listen(func(i *node.Instance) { i.Announce.Refresh = time.Minute })
	l.run(10 * time.Second)
	l.see(other4, mac(9))
	l.hear(l.advert(old), other4)
	l.answers(mac(9), 1200*time.Millisecond)
	l.run(time.Minute)
	is("its adverts cease", other4, netip.Addr{})
	l.answers(mac(9), 1200*time.Millisecond)
	is("and it answers again", other4, netip.Addr{})
	l.exchange(t)
	is("and another process goes on", other4, netip.Addr{})
	l.answers(mac(8), 100*time.Millisecond)
	is("and another host answers", netip.Addr{}, netip.Addr{})
}

// TestOwnAdvertIsNoCause: what came back of this host's own adverts is no reason why another host's are refused, nor hides it.
func TestOwnAdvertIsNoCause(t *testing.T) {
	const virtual = "00:00:5e:00:01:33"
	l := listen(nil)
	l.run(10 * time.Second)
	back := func() {
		l.see(self4, mac(1))
		l.hear(l.advert(func(a *vrrp.Advert) { a.Priority = 150 }), self4)
	}
	back()
	l.answers(virtual, 1200*time.Millisecond)
	if c := l.Status(l.now).Instances[0].Contention; c == nil || c.Refused.IsValid() {
		t.Errorf("the contention is %+v after this host's own advert came back", c)
	}
	l.see(self4, mac(9))
	l.hear(l.advert(func(a *vrrp.Advert) { a.Priority = 149 }), self4)
	back()
	l.answers(mac(9), 1200*time.Millisecond)
	if c := l.Status(l.now).Instances[0].Contention; c == nil || c.Refused != self4 {
		t.Errorf("the contention is %+v, want the one with this host's own address", c)
	}
}

// TestStrangersAreNotUnheeded: what is damaged or another cluster's is no sign of a second master, and a mistake of a peer's is.
func TestStrangersAreNotUnheeded(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{{vrrp.ErrVersionMismatch, true}, {vrrp.ErrNotPeer, true}, {vrrp.ErrAuthKey, true}, {vrrp.ErrCARP, false}, {vrrp.ErrChecksum, false}, {vrrp.ErrHopLimit, false}} {
		l := listen(nil)
		l.run(5 * time.Second)
		l.step(node.Refused{Interface: "eth0", VRID: 51, From: other4, Err: tt.err})
		if s := l.Status(l.now).Instances[0]; s.State != node.Master || (s.Unheeded != "") != tt.want {
			t.Errorf("%v: %s, unheeded %q, want it told: %t", tt.err, s.State, s.Unheeded, tt.want)
		}
	}
}
