// Package checks asks whether nginx and what it needs are healthy. Each kind of check is one file, with its options and
// its Checker, and one line in Kinds; a Monitor runs one check again and again and gives verdicts.
package checks

import (
	"context"
	"slices"
	"time"
)

// Checker runs one health check once. Nil is healthy; an error is the reason why not. It should return soon after ctx
// ends, with context.Cause(ctx) in its error.
type Checker interface {
	Check(ctx context.Context) error
}

// Examiner is a Checker that has more to say than a reason: a Monitor calls Examine in place of Check.
type Examiner interface {
	Checker
	Examine(ctx context.Context) (Finding, error)
}

// Finding is what a check saw, whether it passed or not.
type Finding struct {
	// Word says in short what was found when the check passed, such as "200 OK".
	Word string
	// Output is what is kept for people who look closer; it may have several lines.
	Output string
}

// Watcher is a Checker that can be told by the kernel when a run is worthwhile. Watch calls changed when something
// happened; it returns when ctx ends, or earlier with the reason why it cannot watch.
type Watcher interface {
	Watch(ctx context.Context, changed func()) error
}

// Options are the settings of one check. The fields have the tags hcl, default and doc, from which the configuration
// is decoded and the manual generated.
type Options interface {
	// Validate names every impossible value.
	Validate() []OptionError
	// New makes the Checker from valid options. It reads the files that the options name; an error says what is
	// wrong with them.
	New() (Checker, error)
}

// Reader is implemented by options that name files which New reads: what they hold is part of the check.
type Reader interface {
	// Reads returns a digest of each file by its path; "" where it cannot be read, of which New says why.
	Reads() map[string]string
}

// Preflighter is implemented by options that name something outside the configuration which can be judged before the
// first run. On the host itself an error means that the check will fail; another host may still have what is missing.
type Preflighter interface {
	Preflight() error
}

// OptionError is one impossible value.
type OptionError struct {
	// Option is the option's name in the configuration; "" means the block as a whole.
	Option string
	// Reason says what is wrong and what is allowed.
	Reason string
}

// Kind is one kind of check.
type Kind struct {
	// Name is the first label of the block: check "NAME" "...".
	Name string
	// Doc is one sentence for the manual.
	Doc string
	// New returns a pointer to the kind's options with their defaults set.
	New func() Options
	// pending is the default of Timing.PendingInterval.
	pending func(interval time.Duration) time.Duration
}

// Kinds are all kinds of checks. A new kind is one file and one line here.
var Kinds = []Kind{
	{Name: "http", Doc: "Sends an HTTP request and judges the answer.", New: newHTTPOptions, pending: fifth},
	{Name: "tcp", Doc: "Opens a TCP or unix connection, and may send a text and expect an answer.", New: newTCPOptions, pending: fifth},
	{Name: "process", Doc: "Looks whether a process runs; its exit is noticed at once.", New: newProcessOptions, pending: moment},
	{Name: "script", Doc: "Runs a program: exit status 0 is healthy.", New: newScriptOptions, pending: fifth},
}

// KindNamed finds a kind by its name.
func KindNamed(name string) (Kind, bool) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return Kinds[i], true
}

func fifth(interval time.Duration) time.Duration { return interval / 5 }

// moment is for a check that costs nothing and whose failure is an event, not a sample.
func moment(interval time.Duration) time.Duration { return min(10*time.Millisecond, interval) }
