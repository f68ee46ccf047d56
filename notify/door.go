package notify

import (
	"context"

	"github.com/understudy-ha/understudy/internal/command"
)

// Door is the way to a helper that runs hooks with rights that the daemon does not have.
type Door interface {
	// Open says whether there is a helper. Without one the daemon runs its hooks itself.
	Open() bool
	// Hook has the helper run the hook of that name, as Runner.Run would.
	Hook(ctx context.Context, name string, t Transition) (command.Outcome, error)
}

// Through returns hooks of which those that run commands run behind a door, while it is open.
func Through(hooks []Hook, door Door) []Hook {
	through := make([]Hook, len(hooks))
	for i, h := range hooks {
		if own, ok := h.Runner.(commandRunner); ok {
			h.Runner = doorRunner{own, h.Name, door}
		}
		through[i] = h
	}
	return through
}

// doorRunner asks the helper; what it wraps is what the daemon runs itself.
type doorRunner struct {
	commandRunner
	hook string
	door Door
}

func (r doorRunner) as(user string, onlyRoot bool) Runner {
	if own, ok := r.commandRunner.as(user, onlyRoot).(commandRunner); ok {
		r.commandRunner = own
	}
	return r
}

// Run implements Runner.
func (r doorRunner) Run(ctx context.Context, t Transition) (command.Outcome, error) {
	if !r.door.Open() {
		return r.commandRunner.Run(ctx, t)
	}
	return r.door.Hook(ctx, r.hook, t)
}

// RunsCommand says whether the hook runs a command, as some user.
func (h Hook) RunsCommand() bool {
	_, ok := h.Runner.(commandRunner)
	return ok
}

// Wants says whether the hook is to be run for a transition.
func (h Hook) Wants(t Transition) bool { return h.wants(t) }

// Run runs the hook once, within its timeout and beside any queue.
func (h Hook) Run(ctx context.Context, t Transition) (command.Outcome, error) {
	return h.withUser().run(ctx, t)
}
