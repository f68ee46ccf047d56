package checks

import (
	"context"

	"github.com/understudy-ha/understudy/internal/command"
)

// unprivileged is whom the helper runs a check as that names no user: it never runs one as root unasked.
const unprivileged = "nobody"

// Commander is implemented by options whose Checker runs a command.
type Commander interface {
	Options
	// RunsAs is the user that it runs as; "" means the daemon's own.
	RunsAs() string
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
	// Check has the helper run the check of that name, as Examiner.Examine would.
	Check(ctx context.Context, name string) (Finding, error)
}

// Through returns the Checker of a check, which runs behind a door, while that is open, if it is a command that another
// user than the daemon's is to run.
func Through(name string, o Options, own Checker, door Door) Checker {
	c, ok := o.(Commander)
	if !ok || c.RunsAs() == "" {
		return own
	}
	return doorChecker{own, name, c.RunsAs(), door}
}

// doorChecker asks the helper; what it wraps is what the daemon runs itself.
type doorChecker struct {
	own   Checker
	check string
	user  string
	door  Door
}

var _ Examiner = doorChecker{}

// Check implements Checker.
func (c doorChecker) Check(ctx context.Context) error {
	_, err := c.Examine(ctx)
	return err
}

// Examine implements Examiner.
func (c doorChecker) Examine(ctx context.Context) (Finding, error) {
	if c.door.Open() && !command.OwnUser(c.user) {
		return c.door.Check(ctx, c.check)
	}
	if e, ok := c.own.(Examiner); ok {
		return e.Examine(ctx)
	}
	return Finding{}, c.own.Check(ctx)
}
