package daemon

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/vishvananda/netlink"

	"github.com/understudy-ha/understudy/internal/config"
	"github.com/understudy-ha/understudy/internal/linux"
	"github.com/understudy-ha/understudy/internal/node"
)

// TestDeviceThatCannotBeFinished: what the kernel tells of a device that is made, and deleted again, does not have it made again at once.
func TestDeviceThatCannotBeFinished(t *testing.T) {
	onAWire(t)
	web := on(strings.Repeat("x", 300), "v0", 71, "10.9.0.100") // the kernel takes no alias of that length, which comes last
	web.VirtualMAC = true
	d := newDaemon(&config.Config{Node: "lb1", Instances: []node.Instance{web}}, Options{RuntimeDir: t.TempDir(), Log: hclog.NewNullLogger()})
	var err error
	if d.kernel, err = linux.OpenAddresses(d.opts.RuntimeDir); err != nil {
		t.Fatal(err)
	}
	defer d.kernel.Close()
	if d.watcher, err = linux.OpenWatcher(d.watched(), d.virtual); err != nil {
		t.Fatal(err)
	}
	defer d.watcher.Close()
	d.addresses = newAddressSetter(&fakeKernel{}, d.post, d.log)
	const long = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { _ = d.addresses.run(ctx) })
	others.Go(func() {
		for {
			select {
			case c := <-d.ports:
				close(c.done)
			case <-d.events:
			case <-ctx.Done():
				return
			}
		}
	})
	events := make(chan netlink.LinkUpdate, 10000)
	if err := netlink.LinkSubscribe(events, ctx.Done()); err != nil {
		t.Fatal(err)
	}
	if err := d.runPorts(ctx); err != nil { // in this thread, which alone is in the namespace
		t.Fatal(err)
	}
	deleted := 0
	for len(events) > 0 {
		if e := <-events; e.Header.Type == syscall.RTM_DELLINK && e.Attrs().Name == "us4-71-v0" {
			deleted++
		}
	}
	if most := int(long/reopenGap) + 2; deleted == 0 || deleted > most {
		t.Errorf("the device was made and deleted %d times within %s, want 1 to %d", deleted, long, most)
	}
}
