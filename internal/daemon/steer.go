package daemon

import (
	"context"

	"github.com/understudy-ha/understudy/internal/node"
)

// steer has the loop take an event, and publish what came of it. It returns what was before.
func (d *Daemon) steer(ctx context.Context, ev node.Event) (before *node.Status, err error) {
	taken := make(chan *node.Status, 1)
	select {
	case d.steers <- steering{ev, taken}:
	case <-d.ended:
		return nil, errStopping
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return <-taken, nil // the loop has it, and never waits
}

// steering is an event whose effect somebody waits for; without one it asks for a snapshot.
type steering struct {
	event node.Event
	taken chan<- *node.Status // gets what was before, with an event
}
