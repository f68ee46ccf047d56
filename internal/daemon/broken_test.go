package daemon

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// living is a daemon whose loop, timer and setter run; the kernel is a fake, and nobody is on the link.
type living struct {
	*Daemon
	t      *testing.T
	kernel *fakeKernel
	log    *logs
	stop   func()       // as a signal would
	ended  <-chan error // what the loop returned
}

// newLiving starts one with one instance.
func newLiving(t *testing.T) *living {
	t.Helper()
	i := on("web", "eth0", 71, vip1.String())
	i.Priority, i.Version, i.Interval, i.DeadAdverts = 200, vrrp.V3, 20*time.Millisecond, 3
	x := &living{t: t, kernel: &fakeKernel{has: map[place]bool{}}, log: &logs{}}
	log := hclog.New(&hclog.LoggerOptions{Output: x.log, DisableTime: true})
	x.Daemon = newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{i}}, Options{RuntimeDir: t.TempDir(), StateDir: t.TempDir(), Log: log})
	x.addresses = newAddressSetter(x.kernel, x.post, log)
	if err := x.prepare(x.cfg.Load()); err != nil {
		t.Fatal(err)
	}
	var err error
	if x.timer, err = linux.NewTimer(); err != nil {
		t.Fatal(err)
	}
	work, end := context.WithCancel(context.Background())
	stop, signal := context.WithCancelCause(context.Background())
	x.stop = func() { signal(errors.New("a signal")) }
	ended := make(chan error, 1)
	x.ended = ended
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = x.timer.Run(work) })
	tasks.Go(func() { _ = x.addresses.run(work) })
	for _, k := range x.memory {
		tasks.Go(func() { _ = k.run(work) })
	}
	tasks.Go(func() {
		err := x.loop(stop, work)
		close(x.Daemon.ended)
		ended <- err
	})
	t.Cleanup(func() {
		end()
		tasks.Wait()
		x.close()
	})
	link := node.Link{Name: "eth0", Up: true, MAC: "02:00:00:00:00:01", Source4: netip.MustParseAddr("192.0.2.1"), Own: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	x.ports <- portChange{link: link, done: make(chan struct{})}
	return x
}

// state waits until the instance is in a state.
func (x *living) state(want node.State) {
	x.t.Helper()
	eventually(x.t, "it is "+string(want), func() bool { return x.Report().Node.Instances[0].State == want })
}

// result waits for the loop's end.
func (x *living) result() error {
	x.t.Helper()
	select {
	case err := <-x.ended:
		return err
	case <-time.After(bound):
		x.t.Fatalf("the loop did not end:\n%s", x.log)
		return nil
	}
}

// Whatever breaks, the timer too: the addresses are handed over, as at a signal.
func TestWhatBreaksIsHandedOverFor(t *testing.T) {
	for name, timer := range map[string]bool{"something": false, "the timer": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newLiving(t)
			x.state(node.Master)
			if timer {
				_ = x.timer.Close()
			}
			broken := errors.New("links: broken")
			x.broke(broken)
			x.broke(errors.New("control: broken, too")) // neither waits nor counts
			if err := x.result(); !errors.Is(err, broken) {
				t.Errorf("the loop returned %v", err)
			}
			x.addresses.drain(t.Context())
			if last := x.kernel.did[len(x.kernel.did)-1]; last != "web on eth0: " {
				t.Errorf("the last thing done is %q", last)
			}
			if s := x.snapshot.Load().Instances[0]; s.Holding {
				t.Errorf("it still holds: %+v", s)
			}
		})
	}
}

// A watcher that breaks does not take the sockets with it: the handover needs them.
func TestBrokenWatcherLeavesTheSockets(t *testing.T) {
	d := newDaemon(&config.Config{Node: "lb1"}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	d.addresses = newAddressSetter(&fakeKernel{}, d.post, d.log)
	w, err := linux.OpenWatcher(nil, d.virtual)
	if err != nil {
		t.Fatal(err)
	}
	d.watcher = w
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.runPorts(ctx) }()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.broken:
		t.Log("told:", err)
	case <-time.After(bound):
		t.Fatal("nobody is told")
	}
	select {
	case err := <-ended:
		t.Errorf("the sockets are closed (%v) before the handover", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whatever comes first after a sleep, a signal too, does not speak for a master that may have lost meanwhile.
func TestSleepIsKnownBeforeAnythingElse(t *testing.T) {
	for name, first := range map[string]func(*loop){
		"a signal":           func(l *loop) { l.leave(errors.New("a signal")) },
		"a command":          func(l *loop) { l.steer(steering{node.Drain{Who: "admin", On: true}, make(chan *node.Status, 1)}) },
		"an interface":       func(l *loop) { l.port(portChange{link: node.Link{Name: "eth0"}, done: make(chan struct{})}) },
		"a timer's elapsing": (*loop).elapsed,
	} {
		d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{on("web", "eth0", 71, vip1.String())}}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
		d.addresses = newAddressSetter(&fakeKernel{}, d.post, d.log)
		if err := d.prepare(d.cfg.Load()); err != nil {
			t.Fatal(err)
		}
		l := &loop{Daemon: d, ports: map[string]*port{}, node: node.New(d.nodeConfig(d.cfg.Load()), time.Now()), statuses: map[string]string{}}
		l.suspended = -time.Hour
		if first(l); !l.woken {
			t.Errorf("%s: it does not know that it slept", name)
		}
	}
}
