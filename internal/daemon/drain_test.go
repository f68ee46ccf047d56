package daemon

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
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
	const goesOn = "goes on"
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
		{"only its page is wrong", node.Leaving, "", []string{"page"}, goesOn},
		{"a planned handover of a healthy nginx", node.Leaving, "", nil, goesOn},
		{"a process has ended that only weighs", node.Leaving, "", []string{"php"}, goesOn},
		{"another's process has ended", node.Leaving, "", []string{"other"}, goesOn},
		{"one of its group", node.Leaving, "edge", []string{"other"}, "dead"},
		{"a successor is there", node.Backup, "", []string{"nginx"}, goesOn},
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
			if diff := cmp.Diff(want, got); diff != "" || errors.Is(err, context.DeadlineExceeded) != (tt.want == goesOn) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// drainedHost is one whose only instance is drained at 5 s, when it has been master for a while.
type drainedHost struct {
	now   time.Time
	node  *node.Node
	d     *Daemon
	web   node.Instance
	was   *node.InstanceStatus // when it was drained
	how   parted               // what the drain came to
	words string
}

func newDrainedHost(t *testing.T) *drainedHost {
	t.Helper()
	web := on("web", "eth0", 71, "192.0.2.10")
	web.Interval, web.DeadAdverts, web.Preempt = time.Second, 3, true
	web.Checks = map[string]node.Effect{"app": {OnFailure: node.Release}}
	h := &drainedHost{now: time.Unix(1000, 0), web: web}
	h.node = node.New(node.Config{Name: "lb1", Instances: []node.Instance{web}}, h.now)
	h.d = newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{web}}, Options{Log: hclog.NewNullLogger()})
	h.step(node.CheckChanged{Check: "app", Healthy: true})
	h.link(true)
	h.run(5 * time.Second)
	if h.was = &h.node.Status(h.now).Instances[0]; !h.was.Holding {
		t.Fatalf("it is %s: %s", h.was.State, h.was.Why)
	}
	h.step(node.Drain{Who: "admin", On: true})
	return h
}

// step feeds an event, and looks what the drain has come to.
func (h *drainedHost) step(ev node.Event) {
	var set []node.Event
	for _, a := range h.node.Step(h.now, ev) {
		if a, ok := a.(node.SetAddresses); ok && len(a.Addresses) > 0 {
			set = append(set, node.AddressesSet{Instance: a.Instance, Request: a.Request})
		}
	}
	for _, ev := range set {
		h.node.Step(h.now, ev)
	}
	if h.was != nil && (h.how == waits || h.how == unheard) {
		h.how, h.words = h.d.outcome(h.node.Status(h.now), h.was)
	}
}

// run lets time go by.
func (h *drainedHost) run(d time.Duration) {
	until := h.now.Add(d)
	for at, ok := h.node.Deadline(); ok && at.Before(until); at, ok = h.node.Deadline() {
		h.now = at
		h.step(node.Elapsed{})
	}
	h.now = until
}

func (h *drainedHost) link(up bool) {
	h.step(node.LinkChanged{Link: node.Link{
		Name: "eth0", Up: up, Reason: `interface "eth0" has no carrier`, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("10.0.0.1"),
	}})
}

// heard is an advert of another host.
func (h *drainedHost) heard(priority, vrid uint8) {
	a := vrrp.Advert{Version: vrrp.V3, VRID: vrid, Priority: priority, Interval: time.Second, Addresses: []netip.Addr{h.web.Addresses[0].IP}}
	from := netip.MustParseAddr("10.0.0.9")
	h.step(node.Heard{Interface: "eth0", Received: vrrp.Received{Advert: a, From: from, To: vrrp.IPv4.Group(), HopLimit: vrrp.HopLimit}})
}

// TestDrainEnds: a drain says that another host took over only where one was heard, and which; that this one has let go says nothing.
func TestDrainEnds(t *testing.T) {
	fails := node.CheckChanged{Check: "app", Reason: "refused"}
	for _, tt := range []struct {
		name  string
		do    func(*drainedHost)
		want  parted
		words string
	}{
		{"a successor serves", func(h *drainedHost) { h.run(8 * time.Millisecond); h.heard(100, 71) }, moved, "10.0.0.9"},
		{"nobody comes", func(*drainedHost) {}, kept, ""},
		{"a successor that gives up at once", func(h *drainedHost) { h.run(8 * time.Millisecond); h.heard(100, 71); h.heard(0, 71) }, kept, ""},
		{"its link fails", func(h *drainedHost) { h.link(false) }, orphaned, `fault: interface "eth0" has no carrier`},
		{"its link fails when a successor was heard", func(h *drainedHost) { h.run(8 * time.Millisecond); h.heard(100, 71); h.link(false) }, moved, "10.0.0.9"},
		{"a check releases, and nobody comes", func(h *drainedHost) { h.step(fails) }, orphaned, `fault: check "app": refused`},
		{"a check releases, and a successor comes", func(h *drainedHost) { h.step(fails); h.run(8 * time.Millisecond); h.heard(100, 71) }, moved, "10.0.0.9"},
		{"it wakes late, and nobody is there", func(h *drainedHost) { h.now = h.now.Add(10 * time.Second) }, kept, ""},
		{"it wakes late, and hears somebody", func(h *drainedHost) {
			h.now = h.now.Add(10 * time.Second)
			h.step(node.Elapsed{})
			h.run(500 * time.Millisecond)
			h.heard(100, 71)
		}, moved, "10.0.0.9"},
		{"it wakes late, and its link fails", func(h *drainedHost) {
			h.now = h.now.Add(10 * time.Second)
			h.step(node.Elapsed{})
			h.link(false)
		}, orphaned, `fault: interface "eth0" has no carrier`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newDrainedHost(t)
			tt.do(h)
			h.run(5 * time.Second)
			if h.how != tt.want || h.words != tt.words {
				t.Errorf("ended as %d (%s), want %d (%s)", h.how, h.words, tt.want, tt.words)
			}
		})
	}
}

// TestDrainThatHearsNobody: this host has let go of its addresses without a successor, and listens: the drain waits for what it hears,
// which publishes nothing by itself, and not for ever.
func TestDrainThatHearsNobody(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // until another master is heard
		want  node.Drained
		took  time.Duration
	}{
		{"a master is heard", 700 * time.Millisecond, node.Drained{Moved: []string{"web"}, To: map[string]string{"web": "10.0.0.9"}}, 700 * time.Millisecond},
		{"nobody", time.Hour, node.Drained{Dropped: []string{"web"}, Why: map[string]string{"web": "backup: woke late"}}, unheardBound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDaemon(&config.Config{Node: "lb1"}, Options{Log: hclog.NewNullLogger(), StateDir: t.TempDir(), RuntimeDir: t.TempDir()})
				d.snapshot.Store(&node.Status{Instances: []node.InstanceStatus{{Name: "web", State: node.Leaving, Holding: true}}})
				began, done := time.Now(), make(chan struct{})
				defer close(done)
				go func() { // in the place of the loop
					for {
						select {
						case s := <-d.steers:
							was := d.snapshot.Load()
							now := node.InstanceStatus{Name: "web", State: node.Backup, Why: "woke late", LetGo: node.LetGo{At: began}}
							if at := began.Add(tt.after); !time.Now().Before(at) {
								now.Routers = []node.RouterStatus{{Peer: netip.MustParseAddr("10.0.0.9"), PeerPrio: 100, Heard: at}}
							}
							d.snapshot.Store(&node.Status{Instances: []node.InstanceStatus{now}})
							s.taken <- was
						case <-done:
							return
						}
					}
				}()
				got, err := d.Drain(t.Context(), "admin")
				if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
				if took := time.Since(began); took < tt.took || took > tt.took+2*partedPoll {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
			})
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
			h := newDrainedHost(t)
			h.run(500 * time.Millisecond)
			cfg := node.Config{Name: "lb1"}
			c := h.web
			c.Addresses = []node.Address{h.web.Addresses[0]}
			if tt.reload(&c) {
				cfg.Instances = []node.Instance{c}
			}
			h.step(node.Reconfigured{Config: cfg})
			h.run(2 * time.Second)
			if tt.rival {
				h.heard(200, c.VRID)
			}
			h.run(8 * time.Second)
			if h.how != tt.want {
				t.Errorf("ended as %d (%s), want %d", h.how, h.words, tt.want)
			}
		})
	}
}
