package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// on is an instance as configured.
func on(name, ifName string, vrid uint8, addresses ...string) node.Instance {
	i := node.Instance{Name: name, Interface: ifName, VRID: vrid, Version: vrrp.V3, Priority: 100}
	for _, a := range addresses {
		i.Addresses = append(i.Addresses, node.Address{IP: netip.MustParseAddr(a)})
	}
	return i
}

func TestNeedsOfAnInterface(t *testing.T) {
	first := &config.Config{Node: "lb1", Instances: []node.Instance{
		on("web", "eth0", 71, "192.0.2.10", "2001:db8::10"),
		on("mail", "eth0", 72, "192.0.2.11"),
		on("inside", "eth1", 71, "10.9.0.1"),
	}}
	first.Instances[0].Unadvertised = []node.Address{{IP: netip.MustParseAddr("198.51.100.7")}}
	ips := func(all ...string) (list []netip.Addr) {
		for _, a := range all {
			list = append(list, netip.MustParseAddr(a))
		}
		return list
	}
	// Of what leaves the version is not known any more.
	accepts := func(v4, v6 []uint8, leaving ...uint8) map[vrrp.Family][]linux.Accept {
		all := map[vrrp.Family][]linux.Accept{}
		for f, list := range map[vrrp.Family][]uint8{vrrp.IPv4: v4, vrrp.IPv6: v6} {
			for _, vrid := range list {
				a := linux.Accept{VRID: vrid, Version: 3}
				if slices.Contains(leaving, vrid) {
					a.Version = 0
				}
				all[f] = append(all[f], a)
			}
		}
		return all
	}
	tests := []struct {
		name   string
		to     *config.Config // the configuration after a reload; what runs is still the first one
		want   map[string]needs
		wanted []string
	}{
		{"what is configured", first, map[string]needs{
			"eth0": {accepts([]uint8{71, 72}, []uint8{71}), ips("192.0.2.10", "192.0.2.11", "198.51.100.7", "2001:db8::10")},
			"eth1": {accepts([]uint8{71}, nil), ips("10.9.0.1")},
			"eth2": {accepts(nil, nil), nil},
		}, []string{"eth0", "eth1"}},
		{"what a reload removes is needed until it has handed over", &config.Config{Node: "lb1", Instances: []node.Instance{
			on("mail", "eth0", 72, "192.0.2.12"), on("new", "eth2", 73, "10.8.0.1"),
		}}, map[string]needs{
			"eth0": {accepts([]uint8{72, 71}, []uint8{71}, 71), ips("192.0.2.10", "192.0.2.11", "192.0.2.12", "198.51.100.7", "2001:db8::10")},
			"eth1": {accepts([]uint8{71}, nil, 71), ips("10.9.0.1")},
			"eth2": {accepts([]uint8{73}, nil), ips("10.8.0.1")},
		}, []string{"eth0", "eth1", "eth2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(first, Options{Log: hclog.NewNullLogger()})
			d.cfg.Store(tt.to)
			for ifName, want := range tt.want {
				if diff := cmp.Diff(want, d.needsOf(ifName), cmp.AllowUnexported(needs{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("%s (-want +got):\n%s", ifName, diff)
				}
			}
			if diff := cmp.Diff(tt.wanted, d.wanted()); diff != "" {
				t.Errorf("wanted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNeedsOfNames: as long as a name that a reload brought leads nowhere, the sockets let through whom the instance spoke with before it, and
// no longer.
func TestNeedsOfNames(t *testing.T) {
	ip := netip.MustParseAddr
	with := func(peers ...node.Peer) *config.Config {
		i := on("web", "eth0", 71, "192.0.2.10")
		i.Peers, i.Interval, i.DeadAdverts = peers, time.Second, 3
		return &config.Config{Node: "lb1", Instances: []node.Instance{i}}
	}
	to, now := with(node.Peer{Name: "lb1"}, node.Peer{Name: "lb2"}), time.Now()
	for name, tt := range map[string]struct {
		from           *config.Config
		none, some, is string // while no name, one and both are known
	}{
		"peers":     {with(node.Peer{IP: ip("10.0.0.11")}, node.Peer{IP: ip("10.0.0.12")}), "true [10.0.0.12]", "true [10.0.0.11 10.0.0.12]", "true [10.0.0.11 10.0.0.22]"},
		"the group": {with(), "false []", "false []", "true [10.0.0.11 10.0.0.22]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(tt.from, Options{Log: hclog.NewNullLogger()})
			n := node.New(d.nodeConfig(tt.from), now)
			known := map[string][]netip.Addr{}
			step := func(want string, events ...node.Event) {
				t.Helper()
				for _, ev := range events {
					n.Step(now, ev)
				}
				if len(events) > 0 {
					d.snapshot.Store(n.Status(now))
				}
				a := d.accept(&to.Instances[0], vrrp.IPv4)
				if got := fmt.Sprint(a.Unicast, a.Peers); got != want {
					t.Errorf("after %+v the sockets let through %s, want %s", events, got, want)
				}
			}
			step(tt.none, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source4: ip("10.0.0.11")}}) // the sockets are first
			step(tt.none, node.Reconfigured{Config: d.nodeConfig(to)})
			known["lb1"] = []netip.Addr{ip("10.0.0.11")}
			d.names.known.Store(&known)
			step(tt.some)
			step(tt.some, node.Resolved{Name: "lb1", Addresses: known["lb1"]}, node.Resolved{Name: "lb2", Err: errors.New("no such host")})
			known["lb2"] = []netip.Addr{ip("10.0.0.22")}
			step(tt.is, node.Resolved{Name: "lb2", Addresses: known["lb2"]})
			step(tt.is, node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, Source4: ip("10.0.0.11")}})
		})
	}
}

// TestSocketsFollowTheNode: once the node has read another list, or another address of a name, the sockets are told.
func TestSocketsFollowTheNode(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	l := &loop{Daemon: d, ports: map[string]*port{}, node: node.New(d.nodeConfig(d.cfg.Load()), time.Now()), statuses: map[string]string{}}
	for range 2 { // nobody listens: the loop does not wait
		for _, ev := range []node.Event{node.Resolved{Name: "lb2"}, node.Reconfigured{}} {
			l.step(ev)
			l.refresh()
		}
		l.publish(time.Now())
	}
	if len(d.retunes) != 1 {
		t.Fatalf("they are told %d times", len(d.retunes))
	}
	<-d.retunes
	l.step(node.Seen{Interface: "eth0"})
	l.publish(time.Now())
	if len(d.retunes) != 0 {
		t.Error("they are told of nothing new")
	}
}

// TestSocketsFollowTheEndOfAHandover: what a reload removed is needed until it has handed over, and the sockets are told when it has.
func TestSocketsFollowTheEndOfAHandover(t *testing.T) {
	web, mail := on("web", "eth0", 71, "192.0.2.10"), on("mail", "eth0", 72, "192.0.2.11")
	for _, i := range []*node.Instance{&web, &mail} {
		i.Interval, i.DeadAdverts = 100*time.Millisecond, 3
	}
	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{web, mail}}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	d.addresses = newAddressSetter(newShadowKernel(d.log), d.post, d.log) // nobody runs it
	if err := d.prepare(d.cfg.Load()); err != nil {
		t.Fatal(err)
	}
	l := &loop{Daemon: d, ports: map[string]*port{}, statuses: map[string]string{}}
	l.begin()
	l.step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("10.9.0.1")}})
	elapse := func() {
		l.step(node.Elapsed{})
		l.publish(time.Now())
	}
	eventually(t, "it is master", func() bool {
		elapse()
		return d.snapshot.Load().Instances[1].State == node.Master
	})
	d.cfg.Store(&config.Config{Node: "lb1", Instances: []node.Instance{web}})
	l.step(node.Reconfigured{Config: d.nodeConfig(d.cfg.Load())})
	l.publish(time.Now())
	<-d.retunes
	if got := len(d.needsOf("eth0").accepts[vrrp.IPv4]); got != 2 {
		t.Fatalf("while it hands over %d virtual routers are heard, want 2", got)
	}
	eventually(t, "the sockets are told", func() bool {
		elapse()
		return len(d.retunes) == 1
	})
	if got := len(d.needsOf("eth0").accepts[vrrp.IPv4]); got != 1 {
		t.Errorf("after the handover %d virtual routers are heard, want 1", got)
	}
}

func TestVirtualAddresses(t *testing.T) {
	cfg := &config.Config{Node: "lb1", Instances: []node.Instance{on("web", "eth0", 71, "192.0.2.10")}}
	cfg.Instances[0].Unadvertised = []node.Address{{IP: netip.MustParseAddr("198.51.100.7")}}
	d := newDaemon(cfg, Options{Log: hclog.NewNullLogger()})
	for ip, want := range map[string]bool{"192.0.2.10": true, "198.51.100.7": true, "192.0.2.11": false, "2001:db8::10": false} {
		if got := d.virtual(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is virtual: %t", ip, got)
		}
	}
}

func TestSummaryIsShort(t *testing.T) {
	var many []node.Instance
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		many = append(many, on(name, "eth0", 1, "192.0.2.10"))
	}
	tests := []struct {
		name      string
		instances []node.Instance
		statuses  map[string]string
		want      string
	}{
		{"one", many[:1], map[string]string{"a": "master"}, "a: master"},
		{"one of which nothing is known", many[:1], nil, "a: init"},
		{"as many as fit", many[:8], map[string]string{"b": "backup"}, "a: init, b: backup, c: init, d: init, e: init, f: init, g: init, h: init"},
		{"more", many, map[string]string{"j": "master"}, "a: init, b: init, c: init, d: init, e: init, f: init, g: init, h: init, and 2 more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &loop{Daemon: newDaemon(&config.Config{Instances: tt.instances}, Options{Log: hclog.NewNullLogger()}), statuses: tt.statuses}
			if got := l.summary(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestAcceptsOnlySigned: the kernel drops what is not signed where nothing else would be accepted.
func TestAcceptsOnlySigned(t *testing.T) {
	password, err := vrrp.NewPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		auth *vrrp.Auth
		want bool
	}{
		{"no keys", nil, false},
		{"keys", &vrrp.Auth{Mode: vrrp.Enforce, Active: 1}, true},
		{"keys that are being rolled out", &vrrp.Auth{Mode: vrrp.Permissive, Active: 1}, false},
		{"keys that do not sign yet", &vrrp.Auth{Mode: vrrp.ReceiveOnly, Active: 1}, false},
		{"VRRPv2's password", &vrrp.Auth{Password: password}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := on("web", "eth0", 71, "192.0.2.10")
			i.Auth = tt.auth
			if a := new(Daemon).accept(&i, vrrp.IPv4); a.Signed != tt.want {
				t.Errorf("only signed: %t, want %t", a.Signed, tt.want)
			}
		})
	}
}
