package daemon

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// fakeBroadcaster notes what is sent; each frame takes its time.
type fakeBroadcaster struct {
	slow time.Duration
	sent []string
	err  error
}

func (f *fakeBroadcaster) Announce(ips []netip.Addr) (failed []linux.AddressError) {
	time.Sleep(f.slow)
	for _, ip := range ips {
		f.sent = append(f.sent, "announce "+ip.String())
		if f.err != nil {
			failed = append(failed, linux.AddressError{IP: ip, Err: f.err})
		}
	}
	return failed
}

func (f *fakeBroadcaster) Probe(ip, _ netip.Addr) error {
	f.sent = append(f.sent, "probe "+ip.String())
	return f.err
}

func (f *fakeBroadcaster) Close() error { return nil }

func TestAnnouncements(t *testing.T) {
	fresh := func(p *port, a *announcements, instance string) {
		a.announce(p, node.Announce{Instance: instance, IPs: []netip.Addr{vip1, vip2}, Until: time.Now().Add(time.Minute)})
	}
	tests := []struct {
		name string
		do   func(p *port, a *announcements)
		want []string
	}{
		{"a round goes out in order", func(p *port, a *announcements) { fresh(p, a, "web") }, []string{"announce 192.0.2.10", "announce 192.0.2.11"}},
		{"a probe goes out", func(p *port, a *announcements) { a.probe(p, node.Probe{IPs: []netip.Addr{vip1}}) }, []string{"probe 192.0.2.10"}},
		{"what is queued is dropped at step-down", func(p *port, a *announcements) {
			fresh(p, a, "web")
			a.drop("web")
		}, nil},
		{"the rest of a round is dropped too", func(p *port, a *announcements) {
			fresh(p, a, "web")
			time.AfterFunc(500*time.Millisecond, func() { a.drop("web") })
		}, []string{"announce 192.0.2.10"}},
		{"another instance's is not", func(p *port, a *announcements) {
			fresh(p, a, "web")
			a.drop("mail")
		}, []string{"announce 192.0.2.10", "announce 192.0.2.11"}},
		{"what comes after the step-down is not", func(p *port, a *announcements) {
			a.drop("web")
			fresh(p, a, "web")
		}, []string{"announce 192.0.2.10", "announce 192.0.2.11"}},
		{"what is stale is dropped", func(p *port, a *announcements) {
			a.announce(p, node.Announce{Instance: "web", IPs: []netip.Addr{vip1, vip2}, Until: time.Now().Add(999 * time.Millisecond)})
		}, []string{"announce 192.0.2.10"}},
		{"what waits for a port that is closed is dropped", func(p *port, a *announcements) {
			fresh(p, a, "web")
			p.closed.Store(true)
		}, nil},
		{"what waits for a device that is closed is dropped", func(p *port, a *announcements) {
			d := &device{announcer: p.announcer}
			p.devices = map[deviceKey]*device{{71, vrrp.IPv4}: d}
			a.announce(p, node.Announce{Instance: "web", IPs: []netip.Addr{vip1, vip2}, VirtualMAC: 71, Until: time.Now().Add(time.Minute)})
			time.AfterFunc(500*time.Millisecond, d.close)
		}, []string{"announce 192.0.2.10"}},
		{"without a port nothing is sent", func(_ *port, a *announcements) { fresh(nil, a, "web") }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeBroadcaster{slow: time.Second}
				a := newAnnouncements(hclog.NewNullLogger())
				tt.do(&port{base: &base{announcer: f}}, a)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := a.run(ctx); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(tt.want, f.sent); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAnnouncementsNeverMakeTheLoopWait(t *testing.T) {
	var log strings.Builder
	a := newAnnouncements(hclog.New(&hclog.LoggerOptions{Output: &log}))
	p := &port{base: &base{announcer: &fakeBroadcaster{}}}
	for range announceQueue + 1 { // nobody takes them
		a.announce(p, node.Announce{Instance: "web", IPs: []netip.Addr{vip1}, Until: time.Now().Add(time.Minute)})
	}
	if !strings.Contains(log.String(), "too many announcements wait") {
		t.Errorf("nobody is told that a round was left out: %s", log.String())
	}
}

func TestAnnouncementThatDoesNotLeaveIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		a := newAnnouncements(hclog.New(&hclog.LoggerOptions{Output: &log}))
		f := &fakeBroadcaster{err: errors.New("network is down")}
		a.announce(&port{base: &base{announcer: f}}, node.Announce{Instance: "web", IPs: []netip.Addr{vip1, vip2}, Until: time.Now().Add(time.Minute)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = a.run(ctx)
		if n := strings.Count(log.String(), "network is down"); n != 2 {
			t.Errorf("said %d times, want once for each address:\n%s", n, log.String())
		}
	})
}
