package checks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/command"
)

// unprivileged is whom the helper runs a check as that names no user: it never runs one as root unasked.
const unprivileged = "nobody"

// ErrUnanswered is in an error of a Door that says nothing about the check, since the helper was not heard at all.
var ErrUnanswered = errors.New("the helper did not answer")

// unansweredGrace is how long a check keeps its last result while the helper cannot be asked: an upgrade that exchanges the program, a
// service manager that reloads. After it nobody knows whether nginx is well, and that counts as failing.
const unansweredGrace = time.Minute

// Commander is implemented by options whose Checker runs a command.
type Commander interface {
	Options
	// RunsAs is the user that it runs as; "" means the daemon's own.
	RunsAs() string
	// Names are the files that the command names by their absolute paths.
	Names() []string
	// As judges the command as that of another user, who is the daemon's.
	As(user string) Preflighter
	// Privileged is the Checker as the helper runs it: as nobody where the options name no user, and only if nobody but
	// root can replace the program.
	Privileged() Command
}

// Command is a Checker that runs a command, of which something can be said before.
type Command interface {
	Examiner
	Preflighter
}

// Door is the way to a helper that runs checks as users that the daemon cannot become.
type Door interface {
	// Open says whether there is a helper. Without one the daemon runs its checks itself.
	Open() bool
	// Check has the helper run the check of that name, as Examiner.Examine would. The error wraps ErrUnanswered if it did not.
	Check(ctx context.Context, name string) (Finding, error)
}

// Through returns the Checker of a check, which runs behind a door, while that is open, if it is a command that another
// user than the daemon's is to run.
func Through(name string, o Options, own Checker, door Door) Checker {
	c, ok := o.(Commander)
	if !ok || c.RunsAs() == "" {
		return own
	}
	return &doorChecker{own: own, check: name, user: c.RunsAs(), door: door, now: time.Now}
}

// doorChecker asks the helper; what it wraps is what the daemon runs itself.
type doorChecker struct {
	own   Checker
	check string
	user  string
	door  Door
	now   func() time.Time

	mu   sync.Mutex
	last answered
}

// answered is the last result that the helper gave.
type answered struct {
	finding Finding
	err     error
	at      time.Time // zero: none yet
}

var _ Examiner = (*doorChecker)(nil)

// Check implements Checker.
func (c *doorChecker) Check(ctx context.Context) error {
	_, err := c.Examine(ctx)
	return err
}

// Examine implements Examiner.
func (c *doorChecker) Examine(ctx context.Context) (Finding, error) {
	if c.door.Open() && !command.OwnUser(c.user) {
		return c.keep(c.door.Check(ctx, c.check))
	}
	if e, ok := c.own.(Examiner); ok {
		return e.Examine(ctx)
	}
	return Finding{}, c.own.Check(ctx)
}

// keep returns the last result for a while where there is no new one.
func (c *doorChecker) keep(f Finding, err error) (Finding, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !errors.Is(err, ErrUnanswered) {
		c.last = answered{f, err, now}
		return f, err
	}
	if c.last.at.IsZero() || now.Sub(c.last.at) > unansweredGrace {
		return f, err
	}
	if c.last.err != nil {
		return c.last.finding, c.last.err
	}
	kept := c.last.finding
	kept.Word = fmt.Sprintf("as %s ago: %v", now.Sub(c.last.at).Round(time.Second), err)
	return kept, nil
}
