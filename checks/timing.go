package checks

import (
	"fmt"
	"time"
)

const (
	defaultInterval = time.Second
	maxTimeout      = time.Second // of the default
	defaultRise     = 2
	defaultFall     = 2
	maxStreak       = 100 // of rise and fall: with more, a check decides nothing in useful time
	minInterval     = 10 * time.Millisecond
	minPending      = time.Millisecond
)

// Timing says when a check runs and how many results make a verdict.
type Timing struct {
	// Interval is the time from one run to the next while the verdict stands.
	Interval time.Duration `hcl:"interval,optional" default:"1s" doc:"Time from one run to the next."`
	// Timeout is how long one run may take; 0 means the interval, at most 1 s.
	Timeout time.Duration `hcl:"timeout,optional" doc:"How long one run may take, at most the interval. Default: the interval, at most 1s."`
	// PendingInterval is the time from one run to the next while a change of the verdict is pending; 0 means the
	// kind's default.
	PendingInterval time.Duration `hcl:"pending_interval,optional" doc:"Time from one run to the next while a change of the verdict is pending. Default: interval/5; process 10ms."`
	// Rise is how many successes in a row make an unhealthy check healthy.
	Rise int `hcl:"rise,optional" default:"2" doc:"Successes in a row before healthy, 1 to 100."`
	// Fall is how many failures in a row make a healthy check unhealthy.
	Fall int `hcl:"fall,optional" default:"2" doc:"Failures in a row before unhealthy, 1 to 100."`
}

// Complete replaces the zero fields of t by the kind's defaults.
func (k Kind) Complete(t Timing) Timing {
	if t.Interval == 0 {
		t.Interval = defaultInterval
	}
	if t.Timeout == 0 {
		t.Timeout = min(t.Interval, maxTimeout)
	}
	if t.PendingInterval == 0 {
		t.PendingInterval = max(k.pending(t.Interval), minPending)
	}
	if t.Rise == 0 {
		t.Rise = defaultRise
	}
	if t.Fall == 0 {
		t.Fall = defaultFall
	}
	return t
}

// Validate names every impossible value of a complete Timing.
func (t Timing) Validate() []OptionError {
	var errs []OptionError
	if t.Interval < minInterval {
		errs = append(errs, OptionError{"interval", fmt.Sprintf("%s is too short; the least is %s", t.Interval, minInterval)})
	}
	if t.Timeout <= 0 || t.Timeout > t.Interval {
		errs = append(errs, OptionError{"timeout", fmt.Sprintf("%s is not above 0s and at most the interval, %s", t.Timeout, t.Interval)})
	}
	if t.PendingInterval < minPending || t.PendingInterval > t.Interval {
		errs = append(errs, OptionError{"pending_interval",
			fmt.Sprintf("%s is not between %s and the interval, %s", t.PendingInterval, minPending, t.Interval)})
	}
	for _, o := range []struct {
		name  string
		value int
	}{{"rise", t.Rise}, {"fall", t.Fall}} {
		if o.value < 1 || o.value > maxStreak {
			errs = append(errs, OptionError{o.name, fmt.Sprintf("%d is not between 1 and %d", o.value, maxStreak)})
		}
	}
	return errs
}
