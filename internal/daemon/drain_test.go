package daemon

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/checks"
	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// TestDrainOfWhatHasEnded: nginx died and nobody else is there, so that its host is leaving in vain when the unit around nginx
// drains before it starts it again. What serves nothing is not waited for; a healthy nginx, which is about to be stopped, is.
func TestDrainOfWhatHasEnded(t *testing.T) {
	const waits = "waits"
	process, page := config.Check{Name: "nginx", Kind: "process"}, config.Check{Name: "page", Kind: "http"}
	weighed := config.Check{Name: "php", Kind: "process", Effect: node.Effect{OnFailure: node.Weigh, Weight: -20}}
	for _, tt := range []struct {
		name   string
		state  node.State
		group  string   // that web and inside are in
		failed []string // checks
		want   string
	}{
		{"nginx has ended", node.Leaving, "", []string{"nginx", "page"}, "dead"},
		{"only its page is wrong", node.Leaving, "", []string{"page"}, waits},
		{"a planned handover of a healthy nginx", node.Leaving, "", nil, waits},
		{"a process has ended that only weighs", node.Leaving, "", []string{"php"}, waits},
		{"another's process has ended", node.Leaving, "", []string{"other"}, waits},
		{"one of its group", node.Leaving, "edge", []string{"other"}, "dead"},
		{"a successor is there", node.Backup, "", []string{"nginx"}, waits},
		{"nobody took over before", node.Master, "", []string{"nginx"}, "kept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web, inside := on("web", "eth0", 71, "192.0.2.10"), on("inside", "eth1", 71, "10.0.0.10")
			web.Checks = map[string]node.Effect{"nginx": {}, "page": {}, "php": weighed.Effect}
			inside.Checks = map[string]node.Effect{"other": {}}
			d := newDaemon(&config.Config{
				Node: "lb1", Instances: []node.Instance{web, inside},
				Checks: []config.Check{process, page, weighed, {Name: "other", Kind: "process"}},
			}, Options{Log: hclog.NewNullLogger(), StateDir: t.TempDir(), RuntimeDir: t.TempDir()})
			for _, c := range d.cfg.Load().Checks {
				d.monitors.results.Store(c.Name, checks.Result{Check: c.Name, Healthy: true})
			}
			d.snapshot.Store(&node.Status{Instances: []node.InstanceStatus{
				{Name: "web", Group: tt.group, State: tt.state, Holding: true}, {Name: "inside", Group: tt.group, State: tt.state},
			}})
			ctx, cancel := context.WithTimeout(t.Context(), 10*partedPoll)
			defer cancel()
			go func() { // in the place of the loop; what fails does so while the drain waits, and nothing is published
				(<-d.steers).taken <- d.snapshot.Load()
				for _, name := range tt.failed {
					d.monitors.results.Store(name, checks.Result{Check: name})
				}
			}()
			got, err := d.Drain(ctx, "nginx-stop")
			want := map[string]node.Drained{"dead": {Dead: []string{"web"}}, "kept": {Kept: []string{"web"}}}[tt.want]
			if diff := cmp.Diff(want, got); diff != "" || errors.Is(err, context.DeadlineExceeded) != (tt.want == waits) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestDrainBesideAReload: while an instance that is drained hands over, a reload gives it another VRID, name or address, or removes it.
// As long as this host has the addresses no other one was found, whatever they belong to now; what is removed has nobody to go to.
func TestDrainBesideAReload(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reload func(*node.Instance) bool // false: it is removed
		rival  bool                      // another host is master under the new VRID
		want   parted
	}{
		{"nothing of it", func(*node.Instance) bool { return true }, false, kept},
		{"another VRID", func(i *node.Instance) bool { i.VRID = 72; return true }, false, kept},
		{"another VRID, and name", func(i *node.Instance) bool { i.VRID, i.Name = 72, "www"; return true }, false, kept},
		{"another VRID, of which another host is master", func(i *node.Instance) bool { i.VRID = 72; return true }, true, moved},
		{"another name", func(i *node.Instance) bool { i.Name = "www"; return true }, false, kept},
		{"another address", func(i *node.Instance) bool { i.Addresses[0].IP = netip.MustParseAddr("192.0.2.11"); return true }, false, kept},
		{"no instance", func(*node.Instance) bool { return false }, false, removed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			web, here, there := on("web", "eth0", 71, "192.0.2.10"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
			web.Interval, web.DeadAdverts, web.Preempt = time.Second, 3, true
			now := time.Unix(1000, 0)
			n := node.New(node.Config{Name: "lb1", Instances: []node.Instance{web}}, now)
			d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{web}}, Options{Log: hclog.NewNullLogger()})
			var was *node.InstanceStatus // when it was drained
			var got parted
			ended := false
			step := func(ev node.Event) {
				var set []string
				for _, a := range n.Step(now, ev) {
					if a, ok := a.(node.SetAddresses); ok && len(a.Addresses) > 0 {
						set = append(set, a.Instance)
					}
				}
				for _, name := range set {
					n.Step(now, node.AddressesSet{Instance: name})
				}
				if was != nil && !ended {
					got, ended = d.outcome(n.Status(now), was)
				}
			}
			run := func(until time.Time) {
				for at, ok := n.Deadline(); ok && at.Before(until); at, ok = n.Deadline() {
					now = at
					step(node.Elapsed{})
				}
				now = until
			}
			step(node.LinkChanged{Link: node.Link{Name: "eth0", Up: true, MAC: "02:00:00:00:00:01", Source4: here}})
			run(now.Add(5 * time.Second))
			if was = &n.Status(now).Instances[0]; !was.Holding {
				t.Fatalf("it is %s: %s", was.State, was.Why)
			}
			step(node.Drain{Who: "admin", On: true})
			run(now.Add(500 * time.Millisecond))
			cfg := node.Config{Name: "lb1"}
			c := web
			c.Addresses = []node.Address{web.Addresses[0]}
			if tt.reload(&c) {
				cfg.Instances = []node.Instance{c}
			}
			step(node.Reconfigured{Config: cfg})
			run(now.Add(2 * time.Second))
			if tt.rival {
				a := vrrp.Advert{Version: vrrp.V3, VRID: c.VRID, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{c.Addresses[0].IP}}
				step(node.Heard{Interface: "eth0", Received: vrrp.Received{Advert: a, From: there, To: vrrp.IPv4.Group(), HopLimit: vrrp.HopLimit}})
			}
			run(now.Add(8 * time.Second))
			if !ended || got != tt.want {
				t.Errorf("ended %t as %d, want %d", ended, got, tt.want)
			}
		})
	}
}
