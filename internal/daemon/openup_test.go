package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// opening is a daemon whose sockets take their time.
type opening struct {
	*Daemon
	began   time.Time
	heard   []string // what the node was told, each with how long after the beginning
	stopped func()
}

// newOpening makes one. The sockets hear of a change after one time, and follow it after another; negative: never.
func newOpening(t *testing.T, hear, follow time.Duration) *opening {
	t.Helper()
	o := &opening{began: time.Now(), Daemon: newDaemon(withPeers("lb2"), Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})}
	o.watcher = new(linux.Watcher)
	o.addresses = newAddressSetter(&fakeKernel{}, o.post, o.log)
	if err := o.prepare(o.cfg.Load()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = o.addresses.run(ctx) })
	tasks.Go(func() {
		for {
			select {
			case ev := <-o.events:
				if _, tells := ev.(node.CheckChanged); !tells {
					o.heard = append(o.heard, time.Since(o.began).String())
				}
			case <-ctx.Done():
				return
			}
		}
	})
	tasks.Go(func() {
		wait := func(d time.Duration) bool {
			after := time.After(d)
			if d < 0 {
				after = nil
			}
			select {
			case <-after:
				return true
			case <-ctx.Done():
				return false
			}
		}
		if !wait(hear) {
			return
		}
		if followed := <-o.changes; wait(follow) {
			close(followed)
		}
	})
	o.stopped = func() { cancel(); tasks.Wait() }
	return o
}

// TestNodeHearsOfAChangeAfterTheSockets: a node that knows of a virtual router before its socket lets it hear the master takes the
// addresses from it. Sockets that hang hold nothing up for ever.
func TestNodeHearsOfAChangeAfterTheSockets(t *testing.T) {
	reload := func(o *opening) error {
		p, err := planFor(o.cfg.Load(), &config.Config{Node: "lb1", Instances: []node.Instance{on("mail", "eth0", 72, "192.0.2.11")}}, o.checked, nil)
		return errors.Join(err, o.apply(context.Background(), p))
	}
	resolve := func(o *opening) error {
		o.names.of["lb2"] = &name{busy: true}
		o.names.take(context.Background(), time.Now(), node.Resolved{Name: "lb2", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.12")}})
		return nil
	}
	for name, change := range map[string]func(*opening) error{"a reload": reload, "a name's address": resolve} {
		for about, tt := range map[string]struct{ hear, follow, want time.Duration }{
			"that are quick":          {0, 0, 0},
			"that are busy":           {time.Second, 0, time.Second},
			"that take long":          {0, 2 * time.Second, 2 * time.Second},
			"that hang":               {0, -1, socketsBound},
			"that hang at something":  {-1, 0, socketsBound},
			"that are as slow as can": {2 * time.Second, 4 * time.Second, socketsBound},
		} {
			t.Run(name+", sockets "+about, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := newOpening(t, tt.hear, tt.follow)
					if err := change(o); err != nil {
						t.Error(err)
					}
					synctest.Wait()
					o.stopped()
					if want := []string{tt.want.String()}; !slices.Equal(o.heard, want) {
						t.Errorf("the node heard of it after %v, want %v", o.heard, want)
					}
				})
			})
		}
	}
}

// TestNobodyWaitsForSocketsOfADaemonThatEnds tells that a reload and a look-up end with it.
func TestNobodyWaitsForSocketsOfADaemonThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDaemon(withPeers(), Options{Log: hclog.NewNullLogger()})
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.openUp(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		close(d.ended)
		if err := d.openUp(t.Context()); !errors.Is(err, errStopping) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
	})
}
