package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
	"github.com/understudy-ha/understudy/vrrp"
)

// hungKernel does not come back from Set until it is let go.
type hungKernel struct {
	fakeKernel
	let chan struct{}
}

func (k *hungKernel) Set(wants ...linux.Want) []linux.AddressError {
	<-k.let
	return k.fakeKernel.Set(wants...)
}

// newCleanup makes the daemon of a cleanup after an instance on an interface that does not exist.
func newCleanup(t *testing.T, kernel addressKernel) (*Daemon, []node.Instance) {
	t.Helper()
	i := on("web", "none0", 71, vip1.String())
	i.Priority, i.Version, i.Interval, i.DeadAdverts = 200, vrrp.V3, time.Second, 3
	held := []node.Instance{i}
	d := newDaemon(&config.Config{Node: "lb1", Instances: held}, Options{RuntimeDir: t.TempDir(), StateDir: t.TempDir(), Log: hclog.NewNullLogger()})
	d.addresses = newAddressSetter(kernel, d.post, d.log)
	d.left = map[string][]netip.Addr{"web": {vip1}}
	d.until = time.Now().Add(cleanupBound)
	var err error
	if d.timer, err = linux.NewTimer(); err != nil {
		t.Fatal(err)
	}
	if d.watcher, err = linux.OpenWatcher(d.watched(), d.virtual); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d, held
}

// A cleanup that has nowhere to speak keeps what is left for a moment, and releases it.
func TestCleanupReleasesWhereItCannotSpeak(t *testing.T) {
	kernel := &fakeKernel{}
	d, held := newCleanup(t, kernel)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if err := d.relinquish(ctx, held); err != nil {
		t.Error(err)
	}
	if last := kernel.did[len(kernel.did)-1]; last != "web on none0: " {
		t.Errorf("the last thing done is %q", last)
	}
}

// A signal, and the bound, end a cleanup wherever it is, with their reason.
func TestCleanupEndsWithItsContext(t *testing.T) {
	d, held := newCleanup(t, &fakeKernel{})
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("signal: terminated")
	cancel(signal)
	if err := d.relinquish(ctx, held); !errors.Is(err, signal) {
		t.Errorf("it returned %v", err)
	}
}

// A kernel that hangs does not keep a cleanup, which has nothing to do any more than to say so.
func TestCleanupDoesNotHangWithTheKernel(t *testing.T) {
	t.Parallel()
	kernel := &hungKernel{let: make(chan struct{})}
	d, held := newCleanup(t, kernel)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := d.relinquish(ctx, held)
	if took := time.Since(began); took > releaseBound+bound {
		t.Errorf("it took %v", took)
	}
	close(kernel.let) // before the test's own end closes what the setter uses
	if !errors.Is(err, errKernelHangs) {
		t.Fatalf("it returned %v", err)
	}
	if err := d.letGo(err); !strings.Contains(err.Error(), "stay until their lease ends") {
		t.Errorf("it says %q", err)
	}
}

func TestInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		if inTime(releaseBound, func() { <-let }) {
			t.Error("what hangs came back")
		}
		close(let)
		if !inTime(releaseBound, func() { time.Sleep(releaseBound - time.Millisecond) }) {
			t.Error("what came back in time did not")
		}
	})
}

// Whatever follows each other, and hangs, has one bound: a handover that uses all of its time leaves less for the release.
func TestCleanupHasOneBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Daemon{until: time.Now().Add(cleanupBound)}
		began := time.Now()
		let := make(chan struct{})
		for _, want := range []time.Duration{releaseBound, 2 * releaseBound, 3 * releaseBound, cleanupBound, cleanupBound} {
			if inTime(d.releaseTime(), func() { <-let }) {
				t.Error("what hangs came back")
			}
			if took := time.Since(began); took != want {
				t.Errorf("it has taken %s by then, want %s", took, want)
			}
		}
		close(let)
	})
}

// TestUnitWaitsLongEnough: the service manager kills neither a daemon that stops nor a cleanup before their own bounds end them.
func TestUnitWaitsLongEnough(t *testing.T) {
	const room = 2 * time.Second // to start and to end on a busy host
	text, err := os.ReadFile("../../packaging/systemd/understudy.service")
	if err != nil {
		t.Fatal(err)
	}
	limit := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindSubmatch(text)
	if limit == nil {
		t.Fatal("the unit has no TimeoutStopSec in seconds")
	}
	waits, err := time.ParseDuration(string(limit[1]) + "s")
	if err != nil {
		t.Fatal(err)
	}
	for what, takes := range map[string]time.Duration{"a stop": lastHandover + releaseBound + stopHooks, "a cleanup": cleanupBound} {
		if takes+room > waits {
			t.Errorf("%s may take %s, and the service manager waits for %s", what, takes, waits)
		}
	}
}
