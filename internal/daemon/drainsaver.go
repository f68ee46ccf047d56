package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/node"
)

const (
	// saveBound is how long who drains waits for the disk, from when it was asked.
	saveBound = 3 * time.Second
	// maxSaves is how many changes of the saved set may wait for a disk that hangs.
	maxSaves = 64
)

// drainSaver saves drains beside the handover that they begin: a disk that hangs must not hold that up. It saves one after
// the other.
type drainSaver struct {
	drains Drains
	log    hclog.Logger

	mu      sync.Mutex    // guards what follows
	last    chan struct{} // closed when the newest save has ended
	waiting int
}

// save is one change of the saved set.
type save struct {
	done  chan error
	until time.Time // who waits for it waits no longer
}

// begin begins to save; mu is held.
func (k *drainSaver) begin(name string, on bool) save {
	began := time.Now()
	s := save{done: make(chan error, 1), until: began.Add(saveBound)}
	if k.waiting >= maxSaves {
		s.done <- fmt.Errorf("save drains: %d earlier changes wait for the disk", k.waiting)
		return s
	}
	k.waiting++
	before, last := k.last, make(chan struct{})
	k.last = last
	go func() { // ends before Run returns, unless the disk hangs
		defer close(last)
		if before != nil {
			<-before
		}
		err := k.drains.Set(name, on)
		if err == nil && time.Since(began) > saveBound {
			k.log.Info("drain saved at last", "name", name, "on", on, "after", time.Since(began).Round(time.Millisecond))
		}
		s.done <- err
		k.mu.Lock()
		defer k.mu.Unlock()
		k.waiting--
	}()
	return s
}

// result waits for the end of a save, up to its bound.
func (s save) result() error {
	select {
	case err := <-s.done:
		return err
	default:
	}
	select {
	case err := <-s.done:
		return err
	case <-time.After(time.Until(s.until)):
		return fmt.Errorf("save drains: the disk has not taken it within %s", saveBound)
	}
}

// wait waits until all is saved, up to the bound of one save.
func (k *drainSaver) wait() {
	k.mu.Lock()
	last := k.last
	k.mu.Unlock()
	if last == nil {
		return
	}
	select {
	case <-last:
	case <-time.After(saveBound):
		k.log.Error("drains are not saved: the disk does not answer")
	}
}

// steerDrain has the loop take a drain or its end, and begins to save it. It returns what was before. The saves come in the
// order of the events.
func (d *Daemon) steerDrain(ctx context.Context, ev node.Drain) (*node.Status, save, error) {
	d.saver.mu.Lock()
	defer d.saver.mu.Unlock()
	s := d.saver.begin(ev.Who, ev.On)
	before, err := d.steer(ctx, ev)
	return before, s, err
}
