package netlab

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is how often Eventually looks: short beside what is waited for, long beside what a look costs.
const pollInterval = 5 * time.Millisecond

// Eventually waits until cond is true, for at most bound. The text that cond returns says what is still missing; the last
// one is in the error.
func Eventually(ctx context.Context, bound time.Duration, cond func() (bool, string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not within %v", bound))
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, reason := cond()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s (%w)", reason, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
