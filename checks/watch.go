package checks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	firstWatchRetry = time.Second
	maxWatchRetry   = time.Minute
	// watchSettles is how long a Watcher must watch before its last failure is forgotten.
	watchSettles = time.Second
)

// warning is why a Watcher does not watch. It is valid until a time at which a next failure would have come.
type warning struct {
	text  string
	until time.Time
}

// watch keeps a Watcher watching. The check is polled all the same, so its failure is a warning, and it is tried again.
func (l *loop) watch(ctx context.Context, w Watcher) {
	retry := firstWatchRetry
	for {
		start := time.Now()
		err := watchOnce(ctx, w, l.Hasten)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > watchSettles {
			retry = firstWatchRetry
		}
		select {
		case l.warnings <- warning{text: fmt.Sprintf("no events, polling only: %v", err), until: time.Now().Add(retry + watchSettles)}:
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, retry) {
			return
		}
		retry = min(2*retry, maxWatchRetry)
		// What happened while nobody watched is seen by the next run; it should not have to wait for its time.
		l.Hasten()
	}
}

func watchOnce(ctx context.Context, w Watcher, changed func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the watcher crashed: %v; please report this", p)
		}
	}()
	if err := w.Watch(ctx, changed); err != nil {
		return err
	}
	return errors.New("the watcher ended")
}

// sleep waits for d and tells whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
