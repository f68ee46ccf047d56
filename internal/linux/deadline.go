package linux

import (
	"context"
	"errors"
	"io"
	"time"
)

// readDeadliner is what a blocked read can be ended on.
type readDeadliner interface {
	SetReadDeadline(t time.Time) error
}

// endReads ends the reads of d when ctx ends, by a deadline in the past. It first lifts the deadline that an earlier
// run left behind. The returned function must be called when the reader is done; when it returns, nothing touches d.
func endReads(ctx context.Context, d readDeadliner) func() {
	// An error here or below means that d is closed, which its reader notices by itself.
	_ = d.SetReadDeadline(time.Time{})
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = d.SetReadDeadline(past)
	})
	return func() {
		if !stop() {
			<-ended
		}
	}
}

// abandon closes c on the way out of a constructor that met err.
func abandon(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
